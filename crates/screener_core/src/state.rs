//! An engine's state as bytes, and back.
//!
//! What is saved is what cannot be computed: candles, the bars that have left the ring, what the
//! rules have raised, and the configuration. Windows and indicators are built anew from that, so a
//! loaded engine cannot disagree with its own candles. Layout: magic, version, length of the
//! payload, checksum of the payload (XXH3-64), payload (postcard).

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::bar::SavedBars;
use crate::candle::validate_symbol;
use crate::engine::{Config, Engine};
use crate::gate::Gate;
use crate::past::Past;
use crate::ring::{Ring, SavedRing};
use crate::rule::RuleSet;
use crate::screen::crowd::SavedCrowd;
use crate::screen::{Screen, Stats, Tracked};
use crate::symbol::Symbol;

const MAGIC: [u8; 8] = *b"SCREENER";

/// Version of the payload; a blob of another one is refused.
pub const VERSION: u32 = 2;

const HEADER: usize = 28;

/// A blob that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It does not begin as a saved engine does.
    #[error("these bytes are not a saved screener engine")]
    Foreign,
    /// It was saved by another version.
    #[error("this state has version {found}, and this screener reads version {VERSION}")]
    Version {
        /// The version it has.
        found: u32,
    },
    /// It is shorter or longer than it says.
    #[error("this state has {found} bytes of {expected}: it was cut short or something was added")]
    Length {
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// Its checksum is wrong.
    #[error("this state is damaged: its checksum does not match")]
    Damaged,
    /// It is whole, and yet cannot be.
    #[error("this state contradicts itself: {what}")]
    Impossible {
        /// What cannot be.
        what: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
struct SavedEngine {
    config: Config,
    rules: String,
    floors: bool,
    stats: Stats,
    symbols: Vec<SavedSymbol>,
    crowd: SavedCrowd,
}

#[derive(Serialize, Deserialize)]
struct SavedSymbol {
    name: String,
    ring: Option<SavedRing>,
    bars: SavedBars,
    market_cap: Option<f64>,
    gate: Gate,
    past: Past,
    among: Vec<f64>,
}

impl Engine {
    /// The whole state as bytes.
    ///
    /// # Errors
    /// Never in practice: everything in it can be written.
    pub fn save(&mut self) -> Result<Vec<u8>, StateError> {
        self.refresh();
        let mut symbols: Vec<SavedSymbol> = self.tracked().iter().map(SavedSymbol::of).collect();
        symbols.sort_by(|a, b| a.name.cmp(&b.name));
        let saved = SavedEngine {
            config: self.config().clone(),
            rules: self.rules().to_string(),
            floors: self.rules().floors(),
            stats: self.stats(),
            symbols,
            crowd: self.save_crowd(),
        };
        let payload = postcard::to_stdvec(&saved)
            .map_err(|_| StateError::Impossible { what: "it cannot be written" })?;
        let mut blob = Vec::with_capacity(HEADER + payload.len());
        blob.extend_from_slice(&MAGIC);
        blob.extend_from_slice(&VERSION.to_le_bytes());
        blob.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        blob.extend_from_slice(&xxh3_64(&payload).to_le_bytes());
        blob.extend_from_slice(&payload);
        Ok(blob)
    }

    /// The engine that was saved; it goes on exactly as that one would have.
    ///
    /// # Errors
    /// When the bytes are foreign, of another version, cut, damaged, or contradict themselves.
    pub fn load(blob: &[u8]) -> Result<Self, StateError> {
        let saved: SavedEngine = postcard::from_bytes(payload(blob)?)
            .map_err(|_| StateError::Impossible { what: "its fields cannot be read" })?;
        let rules = RuleSet::parse(&saved.rules, saved.floors)
            .map_err(|_| StateError::Impossible { what: "its rules cannot be read" })?;
        let mut engine = Self::new(saved.config, &rules)
            .map_err(|_| StateError::Impossible { what: "its rules name no windows" })?;
        let tracked = saved.symbols.into_iter().map(|symbol| symbol.load(engine.screen()));
        let tracked = tracked.collect::<Result<Vec<Tracked>, StateError>>()?;
        if !tracked.is_sorted_by(|a, b| a.name < b.name) {
            return Err(StateError::Impossible { what: "a symbol is there twice" });
        }
        engine.resume(tracked, saved.stats);
        if !engine.resume_crowd(saved.crowd) {
            return Err(StateError::Impossible { what: "a minute waits for a symbol it has not" });
        }
        Ok(engine)
    }
}

fn payload(blob: &[u8]) -> Result<&[u8], StateError> {
    let Some(rest) = blob.strip_prefix(&MAGIC) else { return Err(StateError::Foreign) };
    let cut = || StateError::Length { found: blob.len() as u64, expected: HEADER as u64 };
    let (version, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(StateError::Version { found: version });
    }
    let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let (checksum, payload) = rest.split_first_chunk().ok_or_else(cut)?;
    let (length, found) = (u64::from_le_bytes(*length), payload.len() as u64);
    if length != found {
        let whole = |bytes: u64| bytes.saturating_add(HEADER as u64);
        return Err(StateError::Length { found: whole(found), expected: whole(length) });
    }
    if xxh3_64(payload) != u64::from_le_bytes(*checksum) {
        return Err(StateError::Damaged);
    }
    Ok(payload)
}

impl SavedSymbol {
    fn of(tracked: &Tracked) -> Self {
        Self {
            name: tracked.name.to_string(),
            ring: tracked.symbol.ring().map(Ring::save),
            bars: tracked.symbol.saved_bars(),
            market_cap: tracked.symbol.market_cap(),
            gate: tracked.gate.clone(),
            past: tracked.past.clone(),
            among: tracked.among.clone(),
        }
    }

    fn load(self, screen: &Screen) -> Result<Tracked, StateError> {
        validate_symbol(&self.name)
            .map_err(|_| StateError::Impossible { what: "a symbol's name cannot be" })?;
        let ring = self.ring.map(|saved| {
            Ring::load(saved).ok_or(StateError::Impossible { what: "a symbol's candles cannot be" })
        });
        let windows = screen.bindings().layout().windows();
        let symbol = Symbol::load(ring.transpose()?, self.bars, self.market_cap, windows)
            .ok_or(StateError::Impossible { what: "a symbol's bars do not fit its candles" })?;
        let mut tracked = screen.track(&self.name);
        if !self.past.fits(screen.lookback()) || self.among.len() != tracked.among.len() {
            return Err(StateError::Impossible { what: "a symbol's past is not what rules ask" });
        }
        (tracked.symbol, tracked.gate) = (symbol, self.gate);
        (tracked.past, tracked.among) = (self.past, self.among);
        Ok(tracked)
    }
}
