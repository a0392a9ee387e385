//! What a notebook shows: `screener.look` makes it, in Python.

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;

/// What the function `name` of `screener.look` makes of these arguments.
pub(super) fn call<'py>(
    py: Python<'py>,
    name: &str,
    arguments: impl PyCallArgs<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    py.import("screener.look")?.getattr(name)?.call1(arguments)
}
