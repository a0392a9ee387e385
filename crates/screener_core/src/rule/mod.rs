//! Rules: conditions over metrics, as data.

pub mod compile;
pub mod explain;
pub mod expr;
pub mod parse;
pub mod preset;
mod source;

use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

use crate::metrics::{Layout, Metric, Windowed};
use crate::time::Window;

use compile::{NotFollowed, Program};
use expr::Expr;
pub use source::{InvalidRules, RulesFault};

/// How much a rule matters to whoever is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Low,
    /// Worth a look.
    #[default]
    Medium,
    /// Look now.
    High,
}

/// Where the price is expected to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Up.
    Up,
    /// Down.
    Down,
    /// Neither.
    #[default]
    Flat,
}

impl Severity {
    /// The name in files and frames.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl Direction {
    /// The name in files and frames.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Flat => "flat",
        }
    }
}

/// One rule (SPEC 5).
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What it is called in alerts.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// The window whose price, volume, change and position an alert tells.
    pub timeframe: Window,
    /// The rule.
    pub when: Expr,
    /// Guards of liquidity and over-extension, read only when floors are on.
    pub floor: Option<Expr>,
    /// Shortest time between two alerts of a symbol, ms.
    pub cooldown: i64,
    /// How much it matters.
    pub severity: Severity,
    /// Where the price is expected to go.
    pub direction: Direction,
}

impl Rule {
    /// The conditions that are read.
    pub fn conditions(&self, floors: bool) -> impl Iterator<Item = &Expr> {
        std::iter::once(&self.when).chain(self.floor.as_ref().filter(|_| floors))
    }

    /// Every metric that is named in what is read, in order, each once.
    #[must_use]
    pub fn metrics(&self, floors: bool) -> Vec<Metric> {
        named(self.conditions(floors), |_| true)
    }

    /// Those of them that have to be ready: not inside of `default()`.
    #[must_use]
    pub fn needed(&self, floors: bool) -> Vec<Metric> {
        named(self.conditions(floors), |has_default| !has_default)
    }

    /// What the version is the digest of: name, `when`, `floor` if on, cooldown in ms, a line each.
    #[must_use]
    pub fn canonical_text(&self, floors: bool) -> String {
        let mut text = format!("name={}\nwhen={}\n", self.name, self.when);
        if let Some(floor) = self.floor.as_ref().filter(|_| floors) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "floor={floor}");
        }
        let _ = writeln!(text, "cooldown={}", self.cooldown);
        text
    }

    /// First 16 hex digits of SHA-256 over the canonical text.
    #[must_use]
    pub fn version(&self, floors: bool) -> String {
        let digest = Sha256::digest(self.canonical_text(floors));
        digest.iter().take(8).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl fmt::Display for Rule {
    /// The rule as TOML that reads back to the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&source::write(self))
    }
}

/// The metrics named in conditions, in order, each once; `wanted` is told of `default()`.
fn named<'a>(
    conditions: impl IntoIterator<Item = &'a Expr>,
    wanted: impl Fn(bool) -> bool,
) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for condition in conditions {
        condition.visit_metrics(&mut |metric, has_default| {
            if wanted(has_default) && !metrics.contains(&metric) {
                metrics.push(metric);
            }
        });
    }
    metrics
}

/// Rules that are judged together, and whether their floors are on.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    floors: bool,
    /// The rules compiled for themselves, to be asked about metrics from anywhere.
    layout: Layout,
    compiled: Vec<CompiledRule>,
}

impl PartialEq for RuleSet {
    fn eq(&self, other: &Self) -> bool {
        self.rules == other.rules && self.floors == other.floors
    }
}

impl RuleSet {
    /// The rules of a TOML text.
    ///
    /// # Errors
    /// What is wrong with the text or an expression in it, and where.
    pub fn parse(text: &str, floors: bool) -> Result<Self, InvalidRules> {
        let rules = source::read(text)?;
        let layout = Layout::new(windows(&rules, floors));
        let compiled = compile(&rules, floors, &layout)?;
        Ok(Self { rules, floors, layout, compiled })
    }

    /// The rules, in the order given.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether floors are on.
    #[must_use]
    pub const fn floors(&self) -> bool {
        self.floors
    }

    /// The rule called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// The rule's name that is nearest to `name`.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<String> {
        parse::nearest(name, self.rules.iter().map(|rule| rule.name.clone()))
    }

    /// Every window that has to be followed for these rules.
    pub fn windows(&self) -> impl Iterator<Item = Window> + '_ {
        windows(&self.rules, self.floors)
    }

    /// Compiles the rules against a layout that follows their windows.
    ///
    /// # Errors
    /// When the layout does not follow a window that is named.
    pub fn compile(&self, layout: &Layout) -> Result<Vec<CompiledRule>, NotFollowed> {
        compile(&self.rules, self.floors, layout)
    }
}

fn windows(rules: &[Rule], floors: bool) -> impl Iterator<Item = Window> + '_ {
    rules.iter().flat_map(move |rule| {
        let named = rule.metrics(floors).into_iter().filter_map(Metric::window);
        named.chain([rule.timeframe])
    })
}

fn compile(
    rules: &[Rule],
    floors: bool,
    layout: &Layout,
) -> Result<Vec<CompiledRule>, NotFollowed> {
    rules.iter().map(|rule| CompiledRule::of(rule, floors, layout)).collect()
}

impl fmt::Display for RuleSet {
    /// The rules as TOML that reads back to the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.rules.iter().enumerate() {
            let between = if index == 0 { "" } else { "\n" };
            write!(f, "{between}{rule}")?;
        }
        Ok(())
    }
}

/// A rule against a layout.
#[derive(Clone, Debug)]
pub struct CompiledRule {
    /// Its conditions.
    pub program: Program,
    /// Its version.
    pub version: String,
    /// What it names, for evidence.
    pub named: Vec<Metric>,
}

impl CompiledRule {
    fn of(rule: &Rule, floors: bool, layout: &Layout) -> Result<Self, NotFollowed> {
        // An alert tells these of the rule's timeframe.
        let told = Metric::Windowed(Windowed::Change, rule.timeframe);
        layout.slot(told).ok_or(NotFollowed { metric: told })?;
        Ok(Self {
            program: Program::compile(rule, floors, layout)?,
            version: rule.version(floors),
            named: rule.metrics(floors),
        })
    }
}
