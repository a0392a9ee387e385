//! Single columns of an Arrow frame, read as what they are needed as.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Schema, TimeUnit};
use rustc_hash::FxHashMap;

use super::output::Table;

/// A frame whose columns cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A column that is needed is not there.
    #[error("the frame has no column {column:?}")]
    MissingColumn {
        /// Its name.
        column: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A column of another type than can be read.
    #[error("column {column:?} holds {found}, not {expected}")]
    ColumnType {
        /// Its name.
        column: &'static str,
        /// The type it has.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// More rows than can be numbered.
    #[error("the frame has {rows} rows; give at most 4294967295 at once")]
    TooManyRows {
        /// Its rows.
        rows: usize,
    },
    /// Arrow itself failed.
    #[error("Arrow could not read the frame: {message}")]
    Arrow {
        /// What it says.
        message: String,
    },
}

/// The columns of a frame by name, whatever batches it came in.
#[derive(Clone, Debug)]
pub struct Frame {
    batch: RecordBatch,
}

impl Frame {
    /// A frame of `batches`, each with `schema`.
    ///
    /// # Errors
    /// When there are too many rows, or the batches do not have that schema.
    pub fn new(schema: &Arc<Schema>, batches: &[RecordBatch]) -> Result<Self, FrameError> {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        if u32::try_from(rows).is_err() {
            return Err(FrameError::TooManyRows { rows });
        }
        let batch = match batches {
            [only] => only.clone(),
            many => arrow_select::concat::concat_batches(schema, many).map_err(arrow_failed)?,
        };
        Ok(Self { batch })
    }

    /// All columns in one batch.
    #[must_use]
    pub fn into_table(self) -> Table {
        Table { schema: self.batch.schema(), batches: vec![self.batch] }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A column; `None` when it is not there.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&ArrayRef> {
        self.batch.column_by_name(column)
    }

    /// A column that is needed.
    ///
    /// # Errors
    /// When it is not there; then `remedy` says what to do.
    pub fn need(
        &self,
        column: &'static str,
        remedy: &'static str,
    ) -> Result<&ArrayRef, FrameError> {
        self.get(column).ok_or(FrameError::MissingColumn { column, remedy })
    }

    /// A column that need not be there, read by `read`; one without any value is not there.
    ///
    /// # Errors
    /// When it cannot be read as that.
    pub fn optional<T>(
        &self,
        column: &'static str,
        read: impl FnOnce(&'static str, &ArrayRef) -> Result<T, FrameError>,
    ) -> Result<Option<T>, FrameError> {
        let some = self.get(column).filter(|array| array.null_count() < array.len());
        some.map(|array| read(column, array)).transpose()
    }
}

fn arrow_failed(error: arrow_schema::ArrowError) -> FrameError {
    FrameError::Arrow { message: error.to_string() }
}

fn wrong_type(column: &'static str, array: &ArrayRef, expected: &'static str) -> FrameError {
    FrameError::ColumnType { column, found: array.data_type().to_string(), expected }
}

/// Numbers as 64-bit floats; float columns are not copied.
///
/// # Errors
/// When the column does not hold numbers.
pub fn floats(column: &'static str, array: &ArrayRef) -> Result<Float64Array, FrameError> {
    let is_number = array.data_type().is_numeric() || array.data_type() == &DataType::Null;
    if !is_number {
        return Err(wrong_type(column, array, "numbers (cast it to Float64)"));
    }
    if let Some(floats) = array.as_primitive_opt::<Float64Type>() {
        return Ok(floats.clone());
    }
    let cast = arrow_cast::cast(array, &DataType::Float64).map_err(arrow_failed)?;
    Ok(cast.as_primitive::<Float64Type>().clone())
}

/// Truth values.
///
/// # Errors
/// When the column does not hold them.
pub fn truths(column: &'static str, array: &ArrayRef) -> Result<BooleanArray, FrameError> {
    match array.data_type() {
        DataType::Boolean => Ok(array.as_boolean().clone()),
        DataType::Null => Ok(BooleanArray::from(vec![None; array.len()])),
        _ => Err(wrong_type(column, array, "true and false")),
    }
}

/// Times in ms since the epoch.
#[derive(Clone, Debug)]
pub struct Times {
    /// The times, floored to a millisecond.
    pub ms: Int64Array,
    /// First row whose time is no whole millisecond, and that time in its own unit.
    pub fractional: Option<(usize, i64)>,
    /// First row whose time is larger than 64 bits with a sign can hold.
    pub beyond: Option<(usize, u64)>,
}

/// Integers as ms since the epoch, timestamps of any unit and zone turned into that.
///
/// # Errors
/// When the column holds neither.
pub fn times(column: &'static str, array: &ArrayRef) -> Result<Times, FrameError> {
    const EXPECTED: &str =
        "times (cast it to Int64 milliseconds since 1970, UTC, or to a timestamp)";
    let unsigned = array.as_primitive_opt::<UInt64Type>();
    let beyond = unsigned.and_then(|times| {
        let is_beyond =
            |row: &usize| times.is_valid(*row) && i64::try_from(times.value(*row)).is_err();
        (0..times.len()).find(is_beyond).map(|row| (row, times.value(row)))
    });
    let raw = match array.data_type() {
        DataType::Timestamp(..) | DataType::Null => DataType::Int64,
        kind if kind.is_integer() => DataType::Int64,
        _ => return Err(wrong_type(column, array, EXPECTED)),
    };
    let raw = arrow_cast::cast(array, &raw).map_err(arrow_failed)?;
    let raw = raw.as_primitive::<Int64Type>();
    let (multiply, divide) = match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => (1000, 1),
        DataType::Timestamp(TimeUnit::Microsecond, _) => (1, 1000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => (1, 1_000_000),
        _ => return Ok(Times { ms: raw.clone(), fractional: None, beyond }),
    };
    let fractional = (0..raw.len()).find(|row| raw.is_valid(*row) && raw.value(*row) % divide != 0);
    Ok(Times {
        ms: raw.unary(|time: i64| time.saturating_mul(multiply).div_euclid(divide)),
        fractional: fractional.map(|row| (row, raw.value(row))),
        beyond,
    })
}

/// A column of texts that repeat: the texts, each once, and which one each row holds.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    /// Every text, in order of appearance.
    pub distinct: Vec<Arc<str>>,
    /// The number of each row's text; [`Texts::NULL`] for none.
    pub numbers: Vec<u32>,
}

impl Texts {
    /// The number of no text.
    pub const NULL: u32 = u32::MAX;

    /// The text of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&Arc<str>> {
        self.distinct.get(*self.numbers.get(row)? as usize)
    }
}

/// Texts of any Arrow kind, dictionaries included.
///
/// # Errors
/// When the column does not hold texts.
pub fn texts(column: &'static str, array: &ArrayRef) -> Result<Texts, FrameError> {
    match array.data_type() {
        DataType::Utf8 => Ok(collect(array.as_string::<i32>().iter())),
        DataType::LargeUtf8 => Ok(collect(array.as_string::<i64>().iter())),
        DataType::Utf8View => Ok(collect(array.as_string_view().iter())),
        DataType::Null => {
            Ok(Texts { distinct: Vec::new(), numbers: vec![Texts::NULL; array.len()] })
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = texts(column, dictionary.values())?;
            let keys = if values.numbers.is_empty() {
                vec![0; array.len()]
            } else {
                dictionary.normalized_keys()
            };
            let text_of = |(row, key): (usize, &usize)| {
                if array.is_valid(row) { values.get(*key).map(|text| &**text) } else { None }
            };
            Ok(collect(keys.iter().enumerate().map(text_of)))
        }
        _ => Err(wrong_type(column, array, "texts")),
    }
}

fn collect<'a>(rows: impl Iterator<Item = Option<&'a str>>) -> Texts {
    let mut texts = Texts::default();
    let mut known: FxHashMap<&'a str, u32> = FxHashMap::default();
    let mut last: Option<(&'a str, u32)> = None;
    for row in rows {
        let number = match (row, last) {
            (None, _) => Texts::NULL,
            (Some(text), Some((same, number))) if text == same => number,
            (Some(text), _) => *known.entry(text).or_insert_with(|| {
                texts.distinct.push(text.into());
                texts.distinct.len() as u32 - 1
            }),
        };
        last = row.map(|text| (text, number)).or(last);
        texts.numbers.push(number);
    }
    texts
}
