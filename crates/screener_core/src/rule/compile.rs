//! Conditions compiled against a row of values: names become slots, and most clauses one comparison.

use super::bindings::{Bindings, NotFollowed};
use super::expr::{Comparison, Expr, Function, HIGHEST, Operator};
use super::named;
use super::term::Term;
use crate::metrics::Slot;

/// Conditions that all have to hold, ready to be judged.
#[derive(Clone, Debug)]
pub struct Program {
    /// Clauses that compare two multiples, as nearly all do.
    orders: Box<[Order]>,
    /// The others.
    general: Box<[Code]>,
    /// Metrics that have to be ready, each once.
    needed: Box<[Slot]>,
    /// Minutes looked back at: none of them may be pending.
    reach: i64,
}

/// `low < high`, or `low <= high`.
#[derive(Clone, Copy, Debug)]
struct Order {
    low: Multiple,
    high: Multiple,
    strict: bool,
}

/// A multiple of a metric; a number is a multiple of 1.
#[derive(Clone, Copy, Debug)]
struct Multiple {
    factor: f64,
    slot: Slot,
}

impl Multiple {
    #[inline]
    fn value(self, values: &[f64]) -> f64 {
        self.factor * self.slot.of(values)
    }

    fn of(expr: &Expr, bindings: &Bindings) -> Result<Option<Self>, NotFollowed> {
        let multiple =
            |factor: f64, term: &Term| bindings.slot(term).map(|slot| Some(Self { factor, slot }));
        match expr {
            Expr::Number(number) => {
                Ok(Some(Self { factor: *number, slot: bindings.layout().one() }))
            }
            Expr::Term(term) => multiple(1.0, term),
            Expr::Arithmetic(Operator::Multiply, left, right) => match (&**left, &**right) {
                (Expr::Number(factor), Expr::Term(term))
                | (Expr::Term(term), Expr::Number(factor)) => multiple(*factor, term),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

impl Program {
    /// Compiles conditions that all have to hold.
    ///
    /// # Errors
    /// When something that is named is not followed.
    pub fn compile<'a>(
        conditions: impl IntoIterator<Item = &'a Expr>,
        bindings: &Bindings,
    ) -> Result<Self, NotFollowed> {
        let conditions: Vec<&Expr> = conditions.into_iter().collect();
        let (mut orders, mut general) = (Vec::new(), Vec::new());
        for clause in conditions.iter().flat_map(|condition| condition.clauses()) {
            match Order::of(clause, bindings)? {
                Some(order) => orders.push(order),
                None => general.push(Code::compile(clause, bindings)?),
            }
        }
        let read = named(conditions.iter().copied(), |_| true);
        let needed = named(conditions, |has_default| !has_default);
        let needed = needed.iter().map(|term| bindings.slot(term));
        Ok(Self {
            orders: orders.into(),
            general: general.into(),
            needed: needed.collect::<Result<_, _>>()?,
            reach: read.iter().map(Term::reach).max().unwrap_or(0),
        })
    }

    /// Whether the conditions hold, with no pending minute among the newest `settled` ones.
    ///
    /// Nearly always the first clause already does not.
    #[inline]
    #[must_use]
    pub fn holds(&self, values: &[f64], settled: i64) -> bool {
        self.orders.first().is_none_or(|order| order.holds(values))
            && self.holds_wholly(values, settled)
    }

    #[inline(never)]
    fn holds_wholly(&self, values: &[f64], settled: i64) -> bool {
        self.orders.iter().all(|order| order.holds(values))
            && self.general.iter().all(|code| code.run(values) == Some(1.0))
            && self.is_known(values, settled)
    }

    /// Whether it can be said that the conditions hold or do not: all that is named is ready, with
    /// no pending minute among the newest `settled` ones.
    #[must_use]
    pub fn is_known(&self, values: &[f64], settled: i64) -> bool {
        settled >= self.reach && self.needed.iter().all(|slot| !slot.of(values).is_nan())
    }
}

impl Order {
    fn of(clause: &Expr, bindings: &Bindings) -> Result<Option<Self>, NotFollowed> {
        let Expr::Compare(comparison, left, right) = clause else { return Ok(None) };
        let (low, high, strict) = match comparison {
            Comparison::Less => (left, right, true),
            Comparison::LessOrEqual => (left, right, false),
            Comparison::Greater => (right, left, true),
            Comparison::GreaterOrEqual => (right, left, false),
            Comparison::Equal | Comparison::NotEqual => return Ok(None),
        };
        let (low, high) = (Multiple::of(low, bindings)?, Multiple::of(high, bindings)?);
        Ok(low.zip(high).map(|(low, high)| Self { low, high, strict }))
    }

    /// Without branches: what is not finite has no order.
    #[inline]
    fn holds(self, values: &[f64]) -> bool {
        let (low, high) = (self.low.value(values), self.high.value(values));
        let holds = (low < high) | (!self.strict & (low == high));
        holds & (f64::NEG_INFINITY < low) & (high < f64::INFINITY)
    }
}

/// Any expression as operations on a stack; conditions are 1 or 0.
#[derive(Clone, Debug)]
pub struct Code(Box<[Operation]>);

#[derive(Clone, Copy, Debug)]
enum Operation {
    Number(f64),
    Load(Slot),
    LoadOr(Slot, f64),
    Negate,
    Arithmetic(Operator),
    Call(Function, usize),
    Compare(Comparison),
    And,
    Or,
    Not,
}

impl Code {
    /// Compiles `expr`.
    ///
    /// # Errors
    /// When something that is named is not followed.
    pub fn compile(expr: &Expr, bindings: &Bindings) -> Result<Self, NotFollowed> {
        let mut operations = Vec::new();
        emit(expr, bindings, &mut operations)?;
        Ok(Self(operations.into()))
    }

    /// The value; `None` when a metric is not ready or a number on the way is not finite. Every
    /// part is looked at, so that what is undefined cannot hide behind an `or`.
    #[must_use]
    pub fn run(&self, values: &[f64]) -> Option<f64> {
        let mut stack = [0.0_f64; HIGHEST];
        let mut height = 0;
        for operation in &self.0 {
            let takes = operation.takes();
            let from = usize::checked_sub(height, takes)?;
            let result = operation.apply(stack.get(from..height)?, values);
            if !result.is_finite() {
                return None;
            }
            *stack.get_mut(from)? = result;
            height = from + 1;
        }
        stack.first().copied()
    }
}

impl Operation {
    const fn takes(self) -> usize {
        match self {
            Self::Number(_) | Self::Load(_) | Self::LoadOr(..) => 0,
            Self::Negate | Self::Not => 1,
            Self::Arithmetic(_) | Self::Compare(_) | Self::And | Self::Or => 2,
            Self::Call(_, count) => count,
        }
    }

    fn apply(self, taken: &[f64], values: &[f64]) -> f64 {
        let truth = |holds: bool| f64::from(u8::from(holds));
        match (self, taken) {
            (Self::Number(number), _) => number,
            (Self::Load(slot), _) => slot.of(values),
            (Self::LoadOr(slot, instead), _) => {
                let value = slot.of(values);
                if value.is_nan() { instead } else { value }
            }
            (Self::Negate, [x]) => -x,
            (Self::Not, [x]) => truth(*x == 0.0),
            (Self::Arithmetic(operator), [left, right]) => operator.apply(*left, *right),
            (Self::Compare(comparison), [left, right]) => truth(comparison.holds(*left, *right)),
            (Self::And, [left, right]) => truth(*left != 0.0 && *right != 0.0),
            (Self::Or, [left, right]) => truth(*left != 0.0 || *right != 0.0),
            (Self::Call(Function::Abs, _), [x]) => x.abs(),
            (Self::Call(Function::Min, _), parts) => {
                parts.iter().copied().fold(f64::INFINITY, f64::min)
            }
            (Self::Call(Function::Max, _), parts) => {
                parts.iter().copied().fold(f64::NEG_INFINITY, f64::max)
            }
            _ => f64::NAN,
        }
    }
}

fn emit(expr: &Expr, bindings: &Bindings, into: &mut Vec<Operation>) -> Result<(), NotFollowed> {
    let mut parts = |parts: &[&Expr]| parts.iter().try_for_each(|part| emit(part, bindings, into));
    let last = match expr {
        Expr::Number(number) => Operation::Number(*number),
        Expr::Term(term) => Operation::Load(bindings.slot(term)?),
        Expr::Default(term, value) => Operation::LoadOr(bindings.slot(term)?, *value),
        Expr::Negate(inner) => parts(&[inner]).map(|()| Operation::Negate)?,
        Expr::Not(inner) => parts(&[inner]).map(|()| Operation::Not)?,
        Expr::Arithmetic(operator, left, right) => {
            parts(&[left, right]).map(|()| Operation::Arithmetic(*operator))?
        }
        Expr::Compare(comparison, left, right) => {
            parts(&[left, right]).map(|()| Operation::Compare(*comparison))?
        }
        Expr::Call(function, arguments) => {
            arguments.iter().try_for_each(|argument| emit(argument, bindings, into))?;
            Operation::Call(*function, arguments.len())
        }
        Expr::And(conditions) => return emit_joined(conditions, Operation::And, bindings, into),
        Expr::Or(conditions) => return emit_joined(conditions, Operation::Or, bindings, into),
    };
    into.push(last);
    Ok(())
}

/// Conditions joined pair by pair, so that any number of them needs little stack.
fn emit_joined(
    conditions: &[Expr],
    join: Operation,
    bindings: &Bindings,
    into: &mut Vec<Operation>,
) -> Result<(), NotFollowed> {
    for (index, condition) in conditions.iter().enumerate() {
        emit(condition, bindings, into)?;
        if index > 0 {
            into.push(join);
        }
    }
    Ok(())
}
