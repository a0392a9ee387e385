//! The expression language, read by precedence climbing.
//!
//! ```text
//! or  := and ("or" and)*            and := not ("and" not)*        not := "not" not | compare
//! compare := sum (("<"|"<="|">"|">="|"=="|"!=") sum)*
//! sum := term (("+"|"-") term)*     term := unary (("*"|"/") unary)*
//! unary := "-" unary | number | term | function "(" …, … ")" | "(" or ")"
//! term := metric ("[" window "]")? | ("rank"|"pct_rank") "(" or ")" | "breadth" "(" or ")"
//!       | "vs" "(" text "," or ")"
//! ```

use std::sync::Arc;

use super::expr::{Comparison, Expr, Function, HIGHEST, Operator};
use super::term::{Among, Term};
use crate::candle::validate_symbol;
use crate::metrics::{Barred, Metric, Single, Windowed};
use crate::time::{TIMEFRAMES, Window};

/// Deepest nesting of parentheses, functions and signs.
pub const DEEPEST: usize = 24;

/// Longest expression in bytes.
pub const LONGEST: usize = 16 * 1024;

/// Most arguments of `min` and `max`.
pub const MOST_ARGUMENTS: usize = 16;

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{fault}")]
pub struct InvalidExpr {
    /// What is wrong.
    pub fault: ExprFault,
    /// Byte of the expression at which it is wrong.
    pub position: usize,
}

/// What can be wrong with an expression.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExprFault {
    /// A name that is no metric.
    #[error("there is no metric {name:?}")]
    UnknownMetric {
        /// The name as written.
        name: String,
        /// The nearest name there is.
        suggestion: Option<String>,
    },
    /// A name before `(` that is no function.
    #[error(
        "there is no function {name:?}: there are abs, min, max, default, rank, pct_rank, breadth \
         and vs"
    )]
    UnknownFunction {
        /// The name as written.
        name: String,
        /// The nearest name there is.
        suggestion: Option<String>,
    },
    /// Something else than the grammar asks for.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What is there.
        found: String,
        /// What could be there.
        expected: &'static str,
        /// What to write instead, where that is plain.
        suggestion: Option<String>,
    },
    /// A number where a condition is needed.
    #[error("{text} is a number, but a condition is needed here, such as {text} > 0")]
    NotACondition {
        /// The number, as an expression.
        text: String,
    },
    /// A condition where a number is needed.
    #[error("{text} is a condition, but a number is needed here")]
    NotANumber {
        /// The condition.
        text: String,
    },
    /// The wrong number of arguments.
    #[error("{function}() takes {takes}, not {given}")]
    Arguments {
        /// The function.
        function: &'static str,
        /// What it takes.
        takes: &'static str,
        /// How many there are.
        given: usize,
    },
    /// A function of all symbols inside of another.
    #[error("{text} already takes all symbols, and cannot stand inside of {function}()")]
    Nested {
        /// The inner one.
        text: String,
        /// The outer one.
        function: &'static str,
    },
    /// What is asked of all symbols names no metric of theirs.
    #[error("{function}() asks something of every symbol, and {text} names no metric")]
    NothingAsked {
        /// The function.
        function: &'static str,
        /// What it was given.
        text: String,
    },
    /// A time ago that is none.
    #[error("{given:?} is no time ago: write 1m to 1d, such as change_5m[15m]")]
    Lag {
        /// What was given.
        given: String,
        /// The nearest that could be.
        suggestion: Option<String>,
    },
    /// A symbol that cannot be.
    #[error("{given:?} is no symbol")]
    Symbol {
        /// What was given.
        given: String,
    },
    /// A number too large or too small to be one.
    #[error("{text} is no finite number")]
    NumberRange {
        /// The number as written.
        text: String,
    },
    /// Nested too deeply.
    #[error("nested deeper than {DEEPEST} levels")]
    TooDeep,
    /// Too long.
    #[error("longer than {LONGEST} bytes")]
    TooLong,
}

impl ExprFault {
    /// What to write instead, where that is known.
    #[must_use]
    pub fn suggestion(&self) -> Option<&str> {
        match self {
            Self::UnknownMetric { suggestion, .. }
            | Self::UnknownFunction { suggestion, .. }
            | Self::Unexpected { suggestion, .. }
            | Self::Lag { suggestion, .. } => suggestion.as_deref(),
            _ => None,
        }
    }
}

/// Reads a condition.
///
/// # Errors
/// The first thing that is wrong, with its position.
pub fn parse_condition(text: &str) -> Result<Expr, InvalidExpr> {
    let expr = read(text)?;
    // What is read must read back from its canonical form, as saved states do.
    match read(&expr.to_string()) {
        Ok(_) => Ok(expr),
        Err(InvalidExpr { fault, .. }) => Err(InvalidExpr { fault, position: 0 }),
    }
}

/// Reads one thing that a condition can read, such as `change_5m[15m]`.
///
/// # Errors
/// The first thing that is wrong, with its position.
pub fn parse_term(text: &str) -> Result<Term, InvalidExpr> {
    match placed(text)? {
        (Expr::Term(term), _) => Ok(term),
        (other, position) => Err(unexpected(other.to_string(), "a metric", None, position)),
    }
}

fn read(text: &str) -> Result<Expr, InvalidExpr> {
    let (expr, position) = placed(text)?;
    condition(expr, position)
}

fn placed(text: &str) -> Result<Placed, InvalidExpr> {
    if text.len() > LONGEST {
        return Err(InvalidExpr { fault: ExprFault::TooLong, position: LONGEST });
    }
    let mut parser = Parser { tokens: tokenize(text)?, next: 0, depth: 0 };
    let (expr, position) = parser.or()?;
    if parser.peek() != &Token::End {
        return Err(parser.unexpected("an operator or the end"));
    }
    if expr.height() > HIGHEST {
        return Err(InvalidExpr { fault: ExprFault::TooDeep, position });
    }
    Ok((expr, position))
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    Operator(Operator),
    Comparison(Comparison),
    Text(String),
    Ago(String),
    Open,
    Close,
    Comma,
    End,
}

impl Token {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Name(name) => format!("{name:?}"),
            Self::Operator(operator) => format!("{:?}", operator.symbol()),
            Self::Comparison(comparison) => format!("{:?}", comparison.symbol()),
            Self::Text(text) => format!("the text {text:?}"),
            Self::Ago(text) => format!("\"[{text}]\""),
            Self::Open => "\"(\"".into(),
            Self::Close => "\")\"".into(),
            Self::Comma => "\",\"".into(),
            Self::End => "the end".into(),
        }
    }
}

fn tokenize(text: &str) -> Result<Vec<(Token, usize)>, InvalidExpr> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let position = text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            tokens.push((Token::End, position));
            return Ok(tokens);
        };
        let (token, length) = match first {
            '0'..='9' | '.' => number(rest, position)?,
            'a'..='z' | 'A'..='Z' | '_' => {
                let length = run(rest, |c| c.is_ascii_alphanumeric() || c == '_');
                (Token::Name(rest[..length].to_owned()), length)
            }
            '"' | '\'' => enclosed(rest, first, "a text's end", Token::Text, position)?,
            '[' => enclosed(rest, ']', "\"]\"", Token::Ago, position)?,
            _ => symbol(rest, first, position)?,
        };
        tokens.push((token, position));
        rest = &rest[length..];
    }
}

/// Bytes of the longest beginning of `text` whose characters all `belong`.
fn run(text: &str, belong: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belong(c)).unwrap_or(text.len())
}

/// What stands between the first character and `end`, trimmed.
fn enclosed(
    rest: &str,
    end: char,
    expected: &'static str,
    token: fn(String) -> Token,
    position: usize,
) -> Result<(Token, usize), InvalidExpr> {
    let inner = &rest[1..];
    let Some(length) = inner.find(end) else {
        return Err(unexpected("the end".into(), expected, None, position + rest.len()));
    };
    Ok((token(inner[..length].trim().to_owned()), 1 + length + end.len_utf8()))
}

fn number(rest: &str, position: usize) -> Result<(Token, usize), InvalidExpr> {
    let digits = |text: &str| run(text, |c| c.is_ascii_digit() || c == '_');
    let mut length = digits(rest);
    if rest[length..].starts_with('.') {
        length += 1 + digits(&rest[length + 1..]);
    }
    if rest[length..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[length + 1..].starts_with(['+', '-']));
        let exponent = digits(&rest[length + 1 + sign..]);
        length += if exponent > 0 { 1 + sign + exponent } else { 0 };
    }
    // Letters that follow belong to it, so that `5m` is told as one thing.
    let whole = length + run(&rest[length..], |c| c.is_ascii_alphanumeric() || c == '_');
    let text = &rest[..whole];
    match text.replace('_', "").parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((Token::Number(value), whole)),
        Ok(_) => Err(InvalidExpr { fault: ExprFault::NumberRange { text: text.into() }, position }),
        Err(_) => Err(unexpected(format!("{text:?}"), "a number or a metric", None, position)),
    }
}

fn symbol(rest: &str, first: char, position: usize) -> Result<(Token, usize), InvalidExpr> {
    const SYMBOLS: [(&str, Token); 13] = [
        ("<=", Token::Comparison(Comparison::LessOrEqual)),
        (">=", Token::Comparison(Comparison::GreaterOrEqual)),
        ("==", Token::Comparison(Comparison::Equal)),
        ("!=", Token::Comparison(Comparison::NotEqual)),
        ("<", Token::Comparison(Comparison::Less)),
        (">", Token::Comparison(Comparison::Greater)),
        ("+", Token::Operator(Operator::Add)),
        ("-", Token::Operator(Operator::Subtract)),
        ("*", Token::Operator(Operator::Multiply)),
        ("/", Token::Operator(Operator::Divide)),
        ("(", Token::Open),
        (")", Token::Close),
        (",", Token::Comma),
    ];
    const INSTEAD: [(char, &str); 8] = [
        ('=', "=="),
        ('&', "and"),
        ('|', "or"),
        ('!', "not"),
        ('≥', ">="),
        ('≤', "<="),
        ('×', "*"),
        ('−', "-"),
    ];
    if let Some((text, token)) = SYMBOLS.into_iter().find(|(text, _)| rest.starts_with(text)) {
        return Ok((token, text.len()));
    }
    let instead = INSTEAD.iter().find(|(wrong, _)| *wrong == first);
    let suggestion = instead.map(|(_, right)| (*right).to_owned());
    Err(unexpected(format!("{first:?}"), "a metric, a number or an operator", suggestion, position))
}

fn unexpected(
    found: String,
    expected: &'static str,
    suggestion: Option<String>,
    position: usize,
) -> InvalidExpr {
    InvalidExpr { fault: ExprFault::Unexpected { found, expected, suggestion }, position }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
}

/// An expression and where it begins.
type Placed = (Expr, usize);

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(token, _)| token)
    }

    fn position(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |(_, position)| *position)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_word = matches!(self.peek(), Token::Name(name) if name.eq_ignore_ascii_case(word));
        self.next += usize::from(is_word);
        is_word
    }

    fn unexpected(&self, expected: &'static str) -> InvalidExpr {
        unexpected(self.peek().text(), expected, None, self.position())
    }

    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, InvalidExpr>,
    ) -> Result<T, InvalidExpr> {
        if self.depth == DEEPEST {
            return Err(InvalidExpr { fault: ExprFault::TooDeep, position: self.position() });
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn or(&mut self) -> Result<Placed, InvalidExpr> {
        self.joined("or", Self::and, Expr::Or)
    }

    fn and(&mut self) -> Result<Placed, InvalidExpr> {
        self.joined("and", Self::not, Expr::And)
    }

    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Placed, InvalidExpr>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Result<Placed, InvalidExpr> {
        let (first, position) = part(self)?;
        let mut parts = vec![first];
        let mut begins = position;
        while self.takes_word(word) {
            if let [only] = &mut parts[..] {
                *only = condition(only.clone(), begins)?;
            }
            let (next, at) = part(self)?;
            begins = at;
            parts.push(condition(next, begins)?);
        }
        let only = parts.len() == 1;
        Ok((if only { parts.remove(0) } else { join(parts) }, position))
    }

    fn not(&mut self) -> Result<Placed, InvalidExpr> {
        let position = self.position();
        if !self.takes_word("not") {
            return self.comparison();
        }
        let (inner, at) = self.nested(Self::not)?;
        Ok((Expr::Not(Box::new(condition(inner, at)?)), position))
    }

    fn comparison(&mut self) -> Result<Placed, InvalidExpr> {
        let (mut left, position) = self.sum()?;
        let mut begins = position;
        let mut links = Vec::new();
        while let Token::Comparison(comparison) = *self.peek() {
            self.take();
            let (right, at) = self.sum()?;
            let (from, to) = (number_of(left, begins)?, number_of(right, at)?);
            links.push(Expr::Compare(comparison, Box::new(from), Box::new(to.clone())));
            (left, begins) = (to, at);
        }
        Ok(match links.len() {
            0 => (left, position),
            1 => (links.remove(0), position),
            _ => (Expr::And(links), position),
        })
    }

    fn sum(&mut self) -> Result<Placed, InvalidExpr> {
        self.chain(&[Operator::Add, Operator::Subtract], Self::term)
    }

    fn term(&mut self) -> Result<Placed, InvalidExpr> {
        self.chain(&[Operator::Multiply, Operator::Divide], Self::unary)
    }

    fn chain(
        &mut self,
        operators: &[Operator],
        part: fn(&mut Self) -> Result<Placed, InvalidExpr>,
    ) -> Result<Placed, InvalidExpr> {
        let (mut left, position) = part(self)?;
        let mut links = 0;
        while let Token::Operator(operator) = *self.peek() {
            if !operators.contains(&operator) {
                break;
            }
            links += 1;
            if links > LONGEST_CHAIN {
                return Err(InvalidExpr { fault: ExprFault::TooDeep, position: self.position() });
            }
            self.take();
            let (right, at) = part(self)?;
            let (from, to) = (number_of(left, position)?, number_of(right, at)?);
            left = Expr::Arithmetic(operator, Box::new(from), Box::new(to));
        }
        Ok((left, position))
    }

    fn unary(&mut self) -> Result<Placed, InvalidExpr> {
        let position = self.position();
        if self.peek() != &Token::Operator(Operator::Subtract) {
            return self.primary();
        }
        self.take();
        let (inner, at) = self.nested(Self::unary)?;
        let negated = match number_of(inner, at)? {
            Expr::Number(number) => Expr::Number(-number),
            other => Expr::Negate(Box::new(other)),
        };
        Ok((negated, position))
    }

    fn primary(&mut self) -> Result<Placed, InvalidExpr> {
        let position = self.position();
        match self.peek().clone() {
            Token::Number(number) => {
                self.take();
                Ok((Expr::Number(number), position))
            }
            Token::Open => {
                self.take();
                let (inner, _) = self.nested(Self::or)?;
                self.close()?;
                Ok((inner, position))
            }
            Token::Name(name) if is_word(&name) => Err(self.unexpected("a metric or a number")),
            Token::Name(name) => {
                self.take();
                let expr = if self.peek() == &Token::Open {
                    self.take();
                    self.nested(|parser| parser.call(&name, position))?
                } else {
                    Expr::Term(self.metric(&name, position)?)
                };
                Ok((expr, position))
            }
            _ => Err(self.unexpected("a metric or a number")),
        }
    }

    fn close(&mut self) -> Result<(), InvalidExpr> {
        match self.peek() {
            Token::Close => {
                self.take();
                Ok(())
            }
            _ => Err(self.unexpected("\")\" or an operator")),
        }
    }

    /// A metric, and how long ago if that is said.
    fn metric(&mut self, name: &str, position: usize) -> Result<Term, InvalidExpr> {
        let metric = metric(name, position)?;
        let Token::Ago(ago) = self.peek().clone() else { return Ok(Term::Now(metric)) };
        let position = self.position();
        self.take();
        let window = Window::parse(&ago).map_err(|_| {
            let suggestion = nearest(&ago, TIMEFRAMES.map(|known| known.to_string()));
            let fault = ExprFault::Lag { given: ago.clone(), suggestion };
            InvalidExpr { fault, position: position + 1 }
        })?;
        Ok(Term::Then(metric, window))
    }

    fn call(&mut self, name: &str, position: usize) -> Result<Expr, InvalidExpr> {
        if name == "default" {
            return self.default_call();
        }
        if let Some(name) = Among::NAMES.into_iter().find(|known| *known == name) {
            return self.among(name, position);
        }
        let function = Function::ALL.into_iter().find(|function| function.name() == name);
        let function = function.ok_or_else(|| {
            let names = ["abs", "min", "max", "default"].into_iter().chain(Among::NAMES);
            let suggestion = nearest(name, names.map(str::to_owned));
            let fault = ExprFault::UnknownFunction { name: name.to_owned(), suggestion };
            InvalidExpr { fault, position }
        })?;
        let mut parts = Vec::new();
        loop {
            let (part, at) = self.or()?;
            parts.push(number_of(part, at)?);
            if self.peek() != &Token::Comma {
                break;
            }
            self.take();
        }
        self.close()?;
        let (fits, takes) = match function {
            Function::Abs => (parts.len() == 1, "one number"),
            Function::Min | Function::Max => {
                ((2..=MOST_ARGUMENTS).contains(&parts.len()), "2 to 16 numbers")
            }
        };
        let wrong = ExprFault::Arguments { function: function.name(), takes, given: parts.len() };
        if fits {
            Ok(Expr::Call(function, parts))
        } else {
            Err(InvalidExpr { fault: wrong, position })
        }
    }

    /// `x)` of `rank(`, and what the other functions of all symbols take.
    fn among(&mut self, name: &'static str, position: usize) -> Result<Expr, InvalidExpr> {
        let symbol = if name == "vs" { Some(self.symbol_and_comma()?) } else { None };
        let (argument, at) = self.or()?;
        self.close()?;
        let mut asked = false;
        let mut inner = None;
        argument.visit_terms(&mut |term, _| {
            asked = true;
            if term.is_among() && inner.is_none() {
                inner = Some(term.to_string());
            }
        });
        if let Some(text) = inner {
            let fault = ExprFault::Nested { text, function: name };
            return Err(InvalidExpr { fault, position });
        }
        if argument.height() > HIGHEST {
            return Err(InvalidExpr { fault: ExprFault::TooDeep, position: at });
        }
        if !asked {
            let fault = ExprFault::NothingAsked { function: name, text: argument.to_string() };
            return Err(InvalidExpr { fault, position: at });
        }
        let among = match (name, symbol) {
            ("breadth", _) => Among::Breadth(condition(argument, at)?),
            ("rank", _) => Among::Rank(number_of(argument, at)?),
            (_, Some(symbol)) => Among::Versus(symbol, number_of(argument, at)?),
            _ => Among::PctRank(number_of(argument, at)?),
        };
        Ok(Expr::Term(Term::Among(Arc::new(among))))
    }

    /// `"BTCUSDT",` of `vs(`.
    fn symbol_and_comma(&mut self) -> Result<Arc<str>, InvalidExpr> {
        let position = self.position();
        let Token::Text(symbol) = self.peek().clone() else {
            let expected = "a symbol in quotes, such as \"BTCUSDT\"";
            let suggestion = match self.peek() {
                Token::Name(name) => Some(format!("{name:?}")),
                _ => None,
            };
            return Err(unexpected(self.peek().text(), expected, suggestion, position));
        };
        self.take();
        if validate_symbol(&symbol).is_err() || symbol.contains(['"', '\'', '\\']) {
            return Err(InvalidExpr { fault: ExprFault::Symbol { given: symbol }, position });
        }
        if self.peek() != &Token::Comma {
            return Err(self.unexpected("\",\" and the number to compare"));
        }
        self.take();
        Ok(symbol.into())
    }

    /// `metric, value)` of `default(`.
    fn default_call(&mut self) -> Result<Expr, InvalidExpr> {
        let position = self.position();
        let Token::Name(name) = self.peek().clone() else {
            return Err(self.unexpected("the metric that default() is for"));
        };
        self.take();
        let term = self.metric(&name, position)?;
        if self.peek() != &Token::Comma {
            return Err(self.unexpected("\",\" and the value while the metric is not ready"));
        }
        self.take();
        let at = self.position();
        let (value, _) = self.unary()?;
        let Expr::Number(value) = value else {
            return Err(unexpected(value.to_string(), "a plain number", None, at));
        };
        self.close()?;
        Ok(Expr::Default(term, value))
    }
}

/// Longest chain of sums or of products: it nests as deeply.
const LONGEST_CHAIN: usize = 64;

fn is_word(name: &str) -> bool {
    ["and", "or", "not"].iter().any(|word| name.eq_ignore_ascii_case(word))
}

fn condition(expr: Expr, position: usize) -> Result<Expr, InvalidExpr> {
    if expr.is_condition() {
        return Ok(expr);
    }
    Err(InvalidExpr { fault: ExprFault::NotACondition { text: expr.to_string() }, position })
}

fn number_of(expr: Expr, position: usize) -> Result<Expr, InvalidExpr> {
    if !expr.is_condition() {
        return Ok(expr);
    }
    Err(InvalidExpr { fault: ExprFault::NotANumber { text: expr.to_string() }, position })
}

fn metric(name: &str, position: usize) -> Result<Metric, InvalidExpr> {
    Metric::parse(name).ok_or_else(|| {
        let suggestion = nearest_metric(name);
        let fault = ExprFault::UnknownMetric { name: name.to_owned(), suggestion };
        InvalidExpr { fault, position }
    })
}

/// The metric whose name is nearest to `name`.
#[must_use]
pub fn nearest_metric(name: &str) -> Option<String> {
    let own = name.rsplit_once('_').and_then(|(_, window)| Window::parse(window).ok());
    let windows: Vec<Window> = own.into_iter().chain(TIMEFRAMES).collect();
    let windowed = Windowed::ALL
        .iter()
        .flat_map(|kind| windows.iter().map(|window| Metric::Windowed(*kind, *window).to_string()));
    let barred = Barred::ALL.iter().flat_map(|kind| {
        TIMEFRAMES.iter().map(|window| Metric::Barred(*kind, *window).to_string())
    });
    let singles = Single::ALL.iter().map(|single| single.name().to_owned());
    nearest(name, singles.chain(windowed).chain(barred))
}

/// The candidate that takes the fewest changes to become, unless that is most of the name.
#[must_use]
pub fn nearest(name: &str, candidates: impl IntoIterator<Item = String>) -> Option<String> {
    let name = name.to_lowercase();
    // A stranger's word may be long; nothing near it is.
    if name.len() > 64 {
        return None;
    }
    let near = candidates
        .into_iter()
        .map(|known| (strsim::osa_distance(&name, &known.to_lowercase()), known));
    let (distance, known) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + name.len() / 4).then_some(known)
}
