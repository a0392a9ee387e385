//! Expressions over metrics, as a tree; its printed form is canonical.

use std::fmt;

use super::term::Term;

/// Most numbers that may have to be held at once while an expression is computed.
pub const HIGHEST: usize = 64;

/// An expression: a number or a condition (see [`Expr::is_condition`]).
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number as written.
    Number(f64),
    /// A metric or what else is read; the rule does not hold while it is not ready.
    Term(Term),
    /// `default(metric, value)`: the metric, or the value while it is not ready.
    Default(Term, f64),
    /// `-x`
    Negate(Box<Expr>),
    /// `a + b`, `a - b`, `a * b`, `a / b`
    Arithmetic(Operator, Box<Expr>, Box<Expr>),
    /// `abs(x)`, `min(a, b, …)`, `max(a, b, …)`
    Call(Function, Vec<Expr>),
    /// `a < b`; a chain `a < b < c` is a conjunction of two.
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// `a and b and …`
    And(Vec<Expr>),
    /// `a or b or …`
    Or(Vec<Expr>),
    /// `not a`
    Not(Box<Expr>),
}

/// Arithmetic operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}

/// Functions of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `abs(x)`
    Abs,
    /// `min(a, b, …)`
    Min,
    /// `max(a, b, …)`
    Max,
}

/// Comparisons of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Operator {
    /// As it is written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }

    /// Applies it.
    #[inline]
    #[must_use]
    pub fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
        }
    }
}

impl Function {
    /// Every function.
    pub const ALL: [Self; 3] = [Self::Abs, Self::Min, Self::Max];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Abs => "abs",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

impl Comparison {
    /// As it is written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }

    /// Whether it holds.
    #[inline]
    #[must_use]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
        }
    }
}

impl Expr {
    /// Whether it is a condition; otherwise it is a number.
    #[must_use]
    pub const fn is_condition(&self) -> bool {
        matches!(self, Self::Compare(..) | Self::And(_) | Self::Or(_) | Self::Not(_))
    }

    /// The conditions that all have to hold for this one to hold.
    #[must_use]
    pub fn clauses(&self) -> Vec<&Self> {
        match self {
            Self::And(parts) => parts.iter().flat_map(Self::clauses).collect(),
            clause => vec![clause],
        }
    }

    /// Numbers held at once while it is computed; at most [`HIGHEST`] in what the parser reads.
    #[must_use]
    pub fn height(&self) -> usize {
        let pair = |left: &Self, right: &Self| left.height().max(1 + right.height());
        match self {
            Self::Number(_) | Self::Term(_) | Self::Default(..) => 1,
            Self::Negate(inner) | Self::Not(inner) => inner.height(),
            Self::Arithmetic(_, left, right) | Self::Compare(_, left, right) => pair(left, right),
            Self::Call(_, parts) => {
                parts.iter().enumerate().map(|(held, part)| held + part.height()).max().unwrap_or(0)
            }
            Self::And(parts) | Self::Or(parts) => {
                1 + parts.iter().map(Self::height).max().unwrap_or(0)
            }
        }
    }

    /// Calls `see` with every term and whether it stands inside of `default()`.
    pub fn visit_terms(&self, see: &mut dyn FnMut(&Term, bool)) {
        match self {
            Self::Number(_) => {}
            Self::Term(term) => see(term, false),
            Self::Default(term, _) => see(term, true),
            Self::Negate(inner) | Self::Not(inner) => inner.visit_terms(see),
            Self::Arithmetic(_, left, right) | Self::Compare(_, left, right) => {
                left.visit_terms(see);
                right.visit_terms(see);
            }
            Self::Call(_, parts) | Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.visit_terms(see));
            }
        }
    }

    /// How tightly the outermost operator binds, as the parser reads it.
    const fn binding(&self) -> u8 {
        match self {
            Self::Or(_) => 0,
            Self::And(_) => 1,
            Self::Not(_) => 2,
            Self::Compare(..) => 3,
            Self::Arithmetic(Operator::Add | Operator::Subtract, ..) => 4,
            Self::Arithmetic(Operator::Multiply | Operator::Divide, ..) => 5,
            Self::Negate(_) => 6,
            Self::Number(_) | Self::Term(_) | Self::Default(..) | Self::Call(..) => 7,
        }
    }
}

/// A number in the fewest digits that read back to it.
struct Shortest(f64);

impl fmt::Display for Shortest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = self;
        let plain = *number == 0.0 || (1e-6..1e16).contains(&number.abs());
        if plain { write!(f, "{number}") } else { write!(f, "{number:e}") }
    }
}

/// `inner`, in parentheses unless it binds at least as tightly as `least`.
struct Bound<'a>(&'a Expr, u8);

impl fmt::Display for Bound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(inner, least) = self;
        if inner.binding() >= *least { write!(f, "{inner}") } else { write!(f, "({inner})") }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |f: &mut fmt::Formatter<'_>, parts: &[Self], between: &str, least: u8| {
            for (index, part) in parts.iter().enumerate() {
                let between = if index == 0 { "" } else { between };
                write!(f, "{between}{}", Bound(part, least))?;
            }
            Ok(())
        };
        match self {
            Self::Number(number) => Shortest(*number).fmt(f),
            Self::Term(term) => term.fmt(f),
            Self::Default(term, value) => write!(f, "default({term}, {})", Shortest(*value)),
            Self::Negate(inner) => write!(f, "-{}", Bound(inner, 6)),
            Self::Arithmetic(operator, left, right) => {
                let least = self.binding();
                write!(
                    f,
                    "{} {} {}",
                    Bound(left, least),
                    operator.symbol(),
                    Bound(right, least + 1)
                )
            }
            Self::Call(function, parts) => {
                write!(f, "{}(", function.name())?;
                listed(f, parts, ", ", 0)?;
                f.write_str(")")
            }
            Self::Compare(comparison, left, right) => {
                write!(f, "{} {} {}", Bound(left, 4), comparison.symbol(), Bound(right, 4))
            }
            Self::And(parts) => listed(f, parts, " and ", 2),
            Self::Or(parts) => listed(f, parts, " or ", 1),
            Self::Not(inner) => write!(f, "not {}", Bound(inner, 2)),
        }
    }
}
