//! The core of `screener`: candles in, metrics and alerts out.
//!
//! A module imports only from those before it:
//! `time`, `num`, `lanes` → `candle` → `ring` → `window`; `indicator` → `bar` → `metrics` → `symbol`;
//! `rule` → `alert`, `gate`, `past` → `screen` → `engine` → `frame`, `replay`, `state` → `python`.

pub mod alert;
pub mod bar;
pub mod candle;
pub mod engine;
pub mod frame;
pub mod gate;
pub mod guard;
pub mod indicator;
pub mod lanes;
pub mod metrics;
pub mod num;
pub mod past;
#[cfg(feature = "python")]
mod python;
pub mod replay;
pub mod ring;
pub mod rule;
pub mod screen;
pub mod state;
pub mod symbol;
pub mod time;
pub mod window;
