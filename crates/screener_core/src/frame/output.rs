//! Alerts, metrics and candles as record batches.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, StructArray,
};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};

use crate::alert::Alert;
use crate::metrics::Layout;
use crate::replay::Features;
use crate::ring::HeldCandle;
use crate::rule::term::Term;

/// A table: its schema, and its rows in one or more batches.
#[derive(Clone, Debug)]
pub struct Table {
    /// The columns.
    pub schema: Arc<Schema>,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

impl Table {
    pub(super) fn of(columns: Vec<(String, ArrayRef)>) -> Result<Self, ArrowError> {
        let fields =
            columns.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Fields>()));
        let arrays = columns.into_iter().map(|(_, array)| array).collect();
        let batches = vec![RecordBatch::try_new(Arc::clone(&schema), arrays)?];
        Ok(Self { schema, batches })
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

/// Values of one thing; `NaN` becomes null, counts become integers.
fn values_column(is_count: bool, values: impl Iterator<Item = f64>) -> ArrayRef {
    let ready = values.map(|value| (!value.is_nan()).then_some(value));
    if is_count {
        Arc::new(ready.map(|value| value.map(|count| count as i64)).collect::<Int64Array>())
    } else {
        numbers(ready)
    }
}

const fn values_type(is_count: bool) -> DataType {
    if is_count { DataType::Int64 } else { DataType::Float64 }
}

/// One row an alert (SPEC 5.4); `evidence` is a struct with a field for each of `named`, and with the
/// members of the minute when one of them asks something of all symbols.
///
/// # Errors
/// When Arrow refuses the columns.
pub fn alerts(alerts: &[Alert], named: &[Term]) -> Result<Table, ArrowError> {
    let text = |part: fn(&Alert) -> &str| texts(alerts.iter().map(part));
    let number = |part: fn(&Alert) -> Option<f64>| numbers(alerts.iter().map(part));
    let owned = |values: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let times = alerts.iter().map(|alert| alert.triggered_at);
    let told = |alert: &Alert, term: &Term| {
        let evidence = alert.evidence.iter().find(|(named, _)| named == term);
        evidence.and_then(|(_, value)| *value).unwrap_or(f64::NAN)
    };
    let mut evidence: Vec<(Field, ArrayRef)> = named
        .iter()
        .map(|term| {
            let values = alerts.iter().map(|alert| told(alert, term));
            let field = Field::new(term.to_string(), values_type(term.is_count()), true);
            (field, values_column(term.is_count(), values))
        })
        .collect();
    if named.iter().any(Term::is_among) {
        evidence.extend(members(alerts));
    }
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = evidence.into_iter().unzip();
    let fields = Fields::from(fields);
    let evidence = StructArray::try_new_with_length(fields, columns, None, alerts.len())?;
    Table::of(vec![
        ("id".into(), owned(alerts.iter().map(|alert| alert.id.to_string()).collect())),
        ("triggered_at".into(), Arc::new(times.collect::<Int64Array>())),
        ("exchange".into(), text(|alert| &alert.exchange)),
        ("symbol".into(), text(|alert| &alert.symbol)),
        ("rule".into(), text(|alert| &alert.rule)),
        (
            "timeframe".into(),
            owned(alerts.iter().map(|alert| alert.timeframe.to_string()).collect()),
        ),
        ("price".into(), number(|alert| Some(alert.price))),
        ("quote_volume".into(), number(|alert| alert.quote_volume)),
        ("change".into(), number(|alert| alert.change)),
        ("vcp".into(), number(|alert| alert.vcp)),
        ("state".into(), text(|alert| alert.state.name())),
        ("rule_version".into(), text(|alert| &alert.rule_version)),
        ("evidence".into(), Arc::new(evidence)),
    ])
}

/// Of how many symbols each alert was told, and which were absent.
fn members(alerts: &[Alert]) -> [(Field, ArrayRef); 2] {
    let counts = alerts.iter().map(|alert| alert.among.as_ref().map(|among| among.count as i64));
    let mut absent = ListBuilder::new(StringBuilder::new());
    for alert in alerts {
        let names = alert.among.as_ref().map(|among| among.absent.iter().map(|name| Some(&**name)));
        absent.append_option(names);
    }
    let counts: ArrayRef = Arc::new(counts.collect::<Int64Array>());
    let absent: ArrayRef = Arc::new(absent.finish());
    [
        (Field::new("members", DataType::Int64, true), counts),
        (Field::new("absent", absent.data_type().clone(), true), absent),
    ]
}

/// One row a symbol, one column a metric; `rows` are (symbol, open time of the newest minute,
/// values in the layout's order).
///
/// # Errors
/// When Arrow refuses the columns.
pub fn snapshot(rows: &[(Arc<str>, i64, Vec<f64>)], layout: &Layout) -> Result<Table, ArrowError> {
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("symbol".into(), texts(rows.iter().map(|(symbol, ..)| &**symbol))),
        (
            "open_time".into(),
            Arc::new(rows.iter().map(|(_, time, _)| *time).collect::<Int64Array>()),
        ),
    ];
    for metric in layout.metrics() {
        if let Some(slot) = layout.slot(metric) {
            let values = rows.iter().map(|(.., values)| slot.of(values));
            columns.push((metric.to_string(), values_column(metric.is_count(), values)));
        }
    }
    Table::of(columns)
}

/// The minutes of one symbol, oldest first.
///
/// # Errors
/// When Arrow refuses the columns.
pub fn candles(symbol: &str, held: &[HeldCandle]) -> Result<Table, ArrowError> {
    let number = |part: fn(&HeldCandle) -> Option<f64>| numbers(held.iter().map(part));
    let truth = |part: fn(&HeldCandle) -> bool| -> ArrayRef {
        Arc::new(held.iter().map(|held| Some(part(held))).collect::<BooleanArray>())
    };
    let times = held.iter().map(|held| held.candle.open_time);
    let event_times = held.iter().map(|held| held.candle.event_time);
    Table::of(vec![
        ("symbol".into(), texts(held.iter().map(|_| symbol))),
        ("open_time".into(), Arc::new(times.collect::<Int64Array>())),
        ("open".into(), number(|held| Some(held.candle.open))),
        ("high".into(), number(|held| Some(held.candle.high))),
        ("low".into(), number(|held| Some(held.candle.low))),
        ("close".into(), number(|held| Some(held.candle.close))),
        ("volume".into(), number(|held| Some(held.candle.volume))),
        ("quote_volume".into(), number(|held| Some(held.candle.quote_volume))),
        ("trades".into(), number(|held| held.candle.trades)),
        ("taker_buy_volume".into(), number(|held| held.candle.taker_buy_volume)),
        ("taker_buy_quote_volume".into(), number(|held| held.candle.taker_buy_quote_volume)),
        ("closed".into(), truth(|held| held.candle.closed)),
        ("event_time".into(), Arc::new(event_times.collect::<Int64Array>())),
        ("source".into(), texts(held.iter().map(|held| held.candle.source.name()))),
        ("synthetic".into(), truth(|held| held.synthetic)),
        ("pending".into(), truth(|held| held.pending)),
    ])
}

/// One row a minute and symbol, one column a metric; a batch for each symbol.
///
/// # Errors
/// When Arrow refuses the columns.
pub fn features(features: Vec<Features>, metrics: &[Term]) -> Result<Table, ArrowError> {
    let mut fields = vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("open_time", DataType::Int64, true),
    ];
    fields
        .extend(metrics.iter().map(|m| Field::new(m.to_string(), values_type(m.is_count()), true)));
    let schema = Arc::new(Schema::new(fields));
    let batch = |features: Features| {
        let symbol = features.open_times.iter().map(|_| &*features.symbol);
        let mut arrays: Vec<ArrayRef> = vec![texts(symbol)];
        arrays.push(Arc::new(Int64Array::from(features.open_times)));
        let columns = metrics.iter().zip(features.columns);
        arrays.extend(
            columns.map(|(metric, values)| values_column(metric.is_count(), values.into_iter())),
        );
        RecordBatch::try_new(Arc::clone(&schema), arrays)
    };
    let batches = features.into_iter().map(batch).collect::<Result<_, _>>()?;
    Ok(Table { schema, batches })
}
