//! Rules: conditions over metrics, as data.

pub mod bindings;
pub mod compile;
pub mod explain;
pub mod expr;
pub mod manner;
pub mod parse;
pub mod preset;
mod source;
pub mod term;

use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

use crate::time::Window;

use bindings::{Bindings, NotFollowed};
use compile::Program;
use expr::Expr;
use manner::{Manner, Trigger};
pub use source::{InvalidRules, Pattern, RulesFault};
use term::Term;

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
    /// How it is told when it holds.
    pub manner: Manner,
    /// Whether it is judged at all.
    pub enabled: bool,
    /// Whether its alerts are only kept and scored, and not delivered to anybody.
    pub shadow: bool,
    /// What is otherwise for some symbols; the last that is for a symbol counts.
    pub overrides: Vec<Override>,
}

/// What a rule is for some symbols.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// Which symbols.
    pub symbols: Vec<Pattern>,
    /// The rule for them, without overrides of its own.
    pub rule: Rule,
}

impl Rule {
    /// The conditions that are read to tell whether it holds.
    pub fn conditions(&self, floors: bool) -> impl Iterator<Item = &Expr> {
        std::iter::once(&self.when).chain(self.floor.as_ref().filter(|_| floors))
    }

    /// Everything that is read to tell whether it holds, in order, each once.
    #[must_use]
    pub fn terms(&self, floors: bool) -> Vec<Term> {
        named(self.conditions(floors), |_| true)
    }

    /// What of that has to be ready: not inside of `default()`.
    #[must_use]
    pub fn needed(&self, floors: bool) -> Vec<Term> {
        named(self.conditions(floors), |has_default| !has_default)
    }

    /// Calls `see` with everything that is read, be it to tell that it has ended.
    pub fn visit_all_terms(&self, floors: bool, see: &mut impl FnMut(&Term)) {
        for condition in self.conditions(floors).chain(self.manner.clear_when.as_ref()) {
            condition.visit_terms(&mut |term, _| see(term));
        }
    }

    /// Whether it takes all symbols of a minute to judge it.
    #[must_use]
    pub fn is_among(&self, floors: bool) -> bool {
        let mut found = false;
        self.visit_all_terms(floors, &mut |term| found |= term.is_among());
        found
    }

    /// The rule, and what it is for some symbols.
    pub fn variants(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.overrides.iter().map(|other| &other.rule))
    }

    /// Which of [`Rule::variants`] is the one for `symbol`.
    #[must_use]
    pub fn variant_for(&self, symbol: &str) -> usize {
        let matches =
            |other: &Override| other.symbols.iter().any(|pattern| pattern.matches(symbol));
        self.overrides.iter().rposition(matches).map_or(0, |place| place + 1)
    }

    /// The rule as it is for `symbol`.
    #[must_use]
    pub fn for_symbol(&self, symbol: &str) -> &Self {
        self.variants().nth(self.variant_for(symbol)).unwrap_or(self)
    }

    /// What the version is the digest of: name, `when`, `floor` if on, cooldown in ms, a line each;
    /// then what is said of how it is told.
    #[must_use]
    pub fn canonical_text(&self, floors: bool) -> String {
        let mut text = format!("name={}\nwhen={}\n", self.name, self.when);
        let mut line = |name: &str, value: Option<&dyn fmt::Display>| {
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{name}={value}");
            }
        };
        fn told<T: fmt::Display>(value: Option<&T>) -> Option<&dyn fmt::Display> {
            value.map(|value| value as &dyn fmt::Display)
        }
        let Manner { hold, trigger, clear_when, repeat, expires, quiet_hours, max_per_hour } =
            &self.manner;
        line("floor", told(self.floor.as_ref().filter(|_| floors)));
        line("cooldown", Some(&self.cooldown));
        line("hold", told((*hold > 0).then_some(hold)));
        line("trigger", told((*trigger != Trigger::Cooldown).then_some(&trigger.name())));
        line("clear_when", told(clear_when.as_ref()));
        line("repeat", told(repeat.as_ref()));
        line("expires", told(expires.as_ref()));
        for hours in quiet_hours {
            line("quiet_hours", Some(hours));
        }
        line("max_per_hour", told(max_per_hour.as_ref()));
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

/// What is named in conditions, in order, each once; `wanted` is told of `default()`.
fn named<'a>(
    conditions: impl IntoIterator<Item = &'a Expr>,
    wanted: impl Fn(bool) -> bool,
) -> Vec<Term> {
    let mut terms = Vec::new();
    for condition in conditions {
        condition.visit_terms(&mut |term, has_default| {
            if wanted(has_default) && !terms.contains(term) {
                terms.push(term.clone());
            }
        });
    }
    terms
}

/// Rules that are judged together, and whether their floors are on.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    floors: bool,
    /// The rules compiled for themselves, to be asked about metrics from anywhere.
    bindings: Bindings,
    compiled: Vec<Vec<CompiledRule>>,
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
        let bindings = Bindings::new(&rules, floors, &[]);
        let compiled = compile(&rules, floors, &bindings)?;
        Ok(Self { rules, floors, bindings, compiled })
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

    /// Where in a row lies all that the rules name, with `more` windows.
    #[must_use]
    pub fn bind(&self, more: &[Window]) -> Bindings {
        Bindings::new(&self.rules, self.floors, more)
    }

    /// Every rule's variants, compiled.
    ///
    /// # Errors
    /// When something that is named is not followed.
    pub fn compile(&self, bindings: &Bindings) -> Result<Vec<Vec<CompiledRule>>, NotFollowed> {
        compile(&self.rules, self.floors, bindings)
    }
}

fn compile(
    rules: &[Rule],
    floors: bool,
    bindings: &Bindings,
) -> Result<Vec<Vec<CompiledRule>>, NotFollowed> {
    let of_rule = |rule: &Rule| {
        rule.variants().map(|variant| CompiledRule::of(variant, floors, bindings)).collect()
    };
    rules.iter().map(of_rule).collect()
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

/// A rule, or what it is for some symbols, against a row of values.
#[derive(Clone, Debug)]
pub struct CompiledRule {
    /// Its conditions.
    pub program: Program,
    /// What ends it, if that is said.
    pub clear: Option<Program>,
    /// Its version.
    pub version: String,
    /// What it names, for evidence.
    pub named: Vec<Term>,
}

impl CompiledRule {
    fn of(rule: &Rule, floors: bool, bindings: &Bindings) -> Result<Self, NotFollowed> {
        let clear = rule.manner.clear_when.as_ref();
        Ok(Self {
            program: Program::compile(rule.conditions(floors), bindings)?,
            clear: clear.map(|clear| Program::compile([clear], bindings)).transpose()?,
            version: rule.version(floors),
            named: rule.terms(floors),
        })
    }
}
