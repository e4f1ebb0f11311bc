//! One measured figure, printed as one line of JSON.

use serde_json::{Value, json};

/// Prints one object as one line.
pub(crate) fn print(figure: Value) {
    println!("{figure}");
}

/// The value below which that share of `sorted` lies; 0 of none.
pub(crate) fn quantile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(((last as f64) * share).round() as usize).copied().unwrap_or(0)
}

/// The middle and the spread of `values`.
pub(crate) fn spread(mut values: Vec<u64>) -> Value {
    values.sort_unstable();
    let (min, max) = (values.first().copied().unwrap_or(0), values.last().copied().unwrap_or(0));
    json!({"p50": quantile(&values, 0.5), "p99": quantile(&values, 0.99), "min": min, "max": max, "n": values.len()})
}
