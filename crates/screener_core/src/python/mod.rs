//! The Python face: bindings only. A binding extracts, calls the core, converts.

mod alert;
mod candle;
mod engine;
mod errors;
mod frame;
mod history;
mod look;
mod rules;

use pyo3::prelude::*;

/// The compiled part of the package `screener`.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::alert::Alert;
    #[pymodule_export]
    use super::candle::Candle;
    #[pymodule_export]
    use super::engine::{Engine, replay, windows};
    #[pymodule_export]
    use super::history::{archive_minutes, glance, parquet_bytes};
    #[pymodule_export]
    use super::rules::{Clause, Explanation, Rule, RuleSet, preset, presets};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
