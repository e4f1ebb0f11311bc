//! One measured figure, printed as one line of JSON.

use serde::Serialize;

/// What a figure must reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// The median is at most this: for times and ratios, which a shared machine blurs.
    Median(f64),
    /// Every value is at most this: for counts of what may never happen.
    Every(f64),
    /// The median is at least this: for rates.
    Least(f64),
}

/// A figure over several runs. Quote the median and the range, never one absolute time: machines are shared and noisy.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    figure: String,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    /// In the order they were measured.
    values: Vec<f64>,
    /// `median at most 0.5`, `every one at most 0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
    nodes: u32,
    runtime: String,
}

impl Figure {
    /// The figure `figure` in `unit`, measured `values.len()` times.
    ///
    /// # Panics
    /// Without a value.
    pub(crate) fn new(
        figure: impl Into<String>,
        unit: &'static str,
        values: Vec<f64>,
        nodes: u32,
        runtime: &str,
    ) -> Self {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        Self {
            figure: figure.into(),
            unit,
            median: median(&sorted),
            min: sorted[0],
            max: sorted[sorted.len() - 1],
            values,
            target: None,
            met: None,
            nodes,
            runtime: runtime.to_owned(),
        }
    }

    /// The same beside what it must reach.
    pub(crate) fn against(mut self, target: Target) -> Self {
        let (words, met) = match target {
            Target::Median(limit) => (format!("median at most {limit}"), self.median <= limit),
            Target::Every(limit) => (format!("every one at most {limit}"), self.max <= limit),
            Target::Least(limit) => (format!("median at least {limit}"), self.median >= limit),
        };
        (self.target, self.met) = (Some(words), Some(met));
        self
    }

    /// Prints it on standard output.
    pub(crate) fn print(&self) {
        println!("{}", serde_json::to_string(self).expect("numbers and text are JSON"));
    }
}

/// The middle of sorted values; of two middles, their mean.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// The middle of values in any order.
pub(crate) fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    median(&values)
}
