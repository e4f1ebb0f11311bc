//! One measured figure, printed as one line of JSON.

use serde::Serialize;

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
            nodes,
            runtime: runtime.to_owned(),
        }
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
