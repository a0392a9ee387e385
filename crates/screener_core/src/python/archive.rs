//! The archive's files as frames.

use std::cell::RefCell;

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;

use super::{errors, frame};
use crate::frame::archive::Minutes;

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
