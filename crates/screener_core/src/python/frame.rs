//! Frames across the Arrow PyCapsule interface.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3_arrow::PyTable;
use pyo3_arrow::input::AnyRecordBatch;

use super::errors;
use crate::frame::column::Frame;
use crate::frame::input::InputError;
use crate::frame::output::Table;

/// The columns of anything that speaks the Arrow PyCapsule interface.
pub(super) fn read(given: &Bound<'_, PyAny>) -> PyResult<Frame> {
    const REMEDY: &str = "give a polars or pyarrow table, a pandas 3 or duckdb frame, or anything \
                          else with __arrow_c_stream__";
    let py = given.py();
    let streams = given.hasattr(intern!(py, "__arrow_c_stream__"))?;
    if !streams && !given.hasattr(intern!(py, "__arrow_c_array__"))? {
        let kind = given.get_type().name()?;
        let reason = format!("{kind} is not an Arrow frame");
        return Err(errors::data_error(py, &reason, None, Some(REMEDY)));
    }
    let take = |given: &Bound<'_, PyAny>| -> PyResult<PyTable> {
        Ok(given.extract::<AnyRecordBatch>()?.into_table()?)
    };
    let table = take(given).or_else(|error| {
        // polars exports columns that hold nothing but nulls in a way Arrow's readers refuse.
        let mended = without_untyped_nulls(given).ok_or(error)?;
        take(&mended)
    });
    let table = table.map_err(|error| {
        let reason = format!("the frame could not be read: {error}");
        errors::data_error(py, &reason, None, Some(REMEDY))
    })?;
    let (batches, schema) = table.into_inner();
    let frame = errors::calmly(py, || Frame::new(&schema, &batches))?;
    frame.map_err(|error| errors::input_error(py, &InputError::Frame(error)))
}

/// A table as an object with `__arrow_c_stream__`.
pub(super) fn table(table: Table) -> PyResult<PyTable> {
    PyTable::try_new(table.batches, Arc::clone(&table.schema))
}

/// A table as a polars frame; polars is imported here and nowhere else in the core.
pub(super) fn polars<'py>(py: Python<'py>, given: Table) -> PyResult<Bound<'py, PyAny>> {
    py.import("polars")?.getattr("DataFrame")?.call1((table(given)?,))
}

/// A polars frame whose columns of the type `Null` have become floats without a value.
fn without_untyped_nulls<'py>(given: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let polars = given.py().import("polars").ok()?;
    if !given.is_instance(&polars.getattr("DataFrame").ok()?).ok()? {
        return None;
    }
    let types = pyo3::types::PyDict::new(given.py());
    types.set_item(polars.getattr("Null").ok()?, polars.getattr("Float64").ok()?).ok()?;
    given.call_method1("cast", (types,)).ok()
}
