//! Minutes as the bytes of a Parquet file.
//!
//! Numbers that change a little from row to row take other encodings than a general writer uses:
//! the bytes of prices and quote volumes are put together by their place, so that Zstandard has
//! half the work, and of integers only differences are kept.

use arrow_schema::{DataType, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::output::Table;

/// Floats whose bytes stay together: volumes are small multiples of a lot, which come again whole.
const WHOLE: [&str; 2] = ["volume", "taker_buy_volume"];

/// A table as a Parquet file, compressed with Zstandard at its first level.
///
/// `metadata` are keys and values of the file. Floats are stored as `BYTE_STREAM_SPLIT`, volumes as
/// `PLAIN`, integers as `DELTA_BINARY_PACKED`, texts with a dictionary; each column chunk has its
/// statistics.
///
/// # Errors
/// When a column is of a type that Parquet does not have.
pub fn bytes(table: &Table, metadata: Vec<(String, String)>) -> Result<Vec<u8>, ParquetError> {
    let properties = properties(&table.schema, metadata)?;
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        // The types of Parquet tell all there is to tell.
        .with_skip_arrow_metadata(true);
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut file, table.schema.clone(), options)?;
    for batch in &table.batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(file)
}

fn properties(
    schema: &Schema,
    metadata: Vec<(String, String)>,
) -> Result<WriterProperties, ParquetError> {
    let metadata = metadata.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(metadata));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        let encoding = match field.data_type() {
            DataType::Float64 if WHOLE.contains(&field.name().as_str()) => Encoding::PLAIN,
            DataType::Float64 => Encoding::BYTE_STREAM_SPLIT,
            DataType::Int32 | DataType::Int64 => Encoding::DELTA_BINARY_PACKED,
            _ => continue,
        };
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, encoding);
    }
    Ok(properties.build())
}
