//! What history asks of the core: the archive's text as minutes, minutes as a file, and one look at
//! them.

use std::cell::RefCell;

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{errors, frame};
use crate::frame::archive::Minutes;
use crate::frame::glance::{Bounds, Glance};
use crate::frame::input::InputError;
use crate::frame::parquet;

/// A month has 5 MB; what is larger is not kept.
const LARGEST_KEPT: usize = 16 << 20;

thread_local! {
    /// Memory that is touched for the first time costs more than the copy into it.
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The minutes of an archive file's text, from a byte on; `None` for a text that is not as the
/// archive's are.
#[pyfunction]
pub(super) fn archive_minutes<'py>(
    py: Python<'py>,
    text: PyBuffer<u8>,
    skip: usize,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut copy = TEXT.take();
    copy.resize(text.item_count(), 0);
    text.copy_to_slice(py, &mut copy)?;
    let parsed = py.detach(|| {
        std::panic::catch_unwind(|| Minutes::parse(copy.get(skip..).unwrap_or_default()))
    });
    if copy.len() <= LARGEST_KEPT {
        TEXT.set(copy);
    }
    let parsed =
        errors::calmly(py, || parsed.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))?;
    let Some(minutes) = parsed else { return Ok(None) };
    match minutes.into_table() {
        Ok(table) => frame::polars(py, table).map(Some),
        Err(_) => Ok(None),
    }
}

/// A frame as the bytes of a Parquet file, with metadata of its own.
#[pyfunction]
pub(super) fn parquet_bytes<'py>(
    py: Python<'py>,
    frame: &Bound<'py, PyAny>,
    metadata: Vec<(String, String)>,
) -> PyResult<Bound<'py, PyBytes>> {
    let table = frame::read(frame)?.into_table();
    let written = errors::calmly(py, || py.detach(|| parquet::bytes(&table, metadata)))?;
    let bytes = written.map_err(|error| {
        errors::data_error(py, &format!("the frame is no Parquet file: {error}"), None, None)
    })?;
    Ok(PyBytes::new(py, &bytes))
}

/// One look at the candles of a symbol: whether each is a minute after the one before it, whether
/// all are sound, whether all are within bounds, and how many are without a trade.
#[pyfunction]
pub(super) fn glance(
    py: Python<'_>,
    frame: &Bound<'_, PyAny>,
    step: f64,
    spread: f64,
    volume: f64,
) -> PyResult<(bool, bool, bool, usize)> {
    let rows = frame::read(frame)?;
    let bounds = Bounds { step, range: spread, volume };
    let seen = errors::calmly(py, || py.detach(|| Glance::of(&rows, bounds)))?;
    let seen = seen.map_err(|error| errors::input_error(py, &InputError::Frame(error)))?;
    Ok((seen.are_minutes, seen.are_sound, seen.are_usual, seen.quiet))
}
