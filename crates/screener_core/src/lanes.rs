//! Four numbers worked on at once, with the widest instructions the machine has.
//!
//! What is computed in lanes is written once, for any `Simd`, and compiled for each; [`level`]
//! says which one runs here. Each lane is computed as it would be alone and nothing is fused, so
//! every machine gives the same bits.

use fearless_simd::Level;

/// Numbers in one vector.
pub const LANES: usize = 4;

/// Four numbers where they are kept.
pub type Lanes = [f64; LANES];

/// The instructions of this machine, to be dispatched on: none wider than four numbers.
#[inline]
#[must_use]
pub fn level() -> Level {
    let level = Level::new();
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = level.as_avx2() {
        return Level::Avx2(avx2);
    }
    level
}
