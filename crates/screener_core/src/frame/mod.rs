//! Frames: Arrow record batches in and out.

pub mod archive;
pub mod column;
pub mod glance;
pub mod input;
pub mod output;
#[cfg(feature = "parquet")]
pub mod parquet;
