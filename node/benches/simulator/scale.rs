//! Ten thousand nodes on a shared table: one killed, then a hundred.

use std::time::Instant;

use serde_json::json;

use crate::{
    Options,
    figure::{print, quantile},
    large::kill_some,
};

const NODES: usize = 10_000;

/// Prints `large` for 1 and 100 kills.
pub(crate) fn measure(options: &Options) {
    let began = Instant::now();
    let mut network = options.network(1);
    network.start_known(NODES);
    assert!(network.all_agree());
    let start_s = began.elapsed().as_secs_f64();
    for kills in [1, 100] {
        let began = Instant::now();
        network.watcher.no_false_deaths = true;
        let times = kill_some(&mut network, kills, 7, 120_000);
        assert_eq!(times.len(), kills * network.running().len(), "every survivor knew of each, once");
        let own_rows = network.own_rows();
        network.rebase();
        print(json!({
            "figure": "large", "unit": "ms", "nodes": NODES, "kills": kills, "first": times[0],
            "p50": quantile(&times, 0.5), "p99": quantile(&times, 0.99), "last": times[times.len() - 1],
            "false_deaths": network.watcher.false_deaths(), "own_rows_per_node": own_rows,
            "own_rows_on_a_new_base": network.own_rows(), "peak_rss_mib": peak_rss_mib(),
            "start_wall_s": start_s, "wall_s": began.elapsed().as_secs_f64(),
        }));
        network.run_for(10_000);
    }
}

/// The most memory this process ever had, as Linux tells it; 0 elsewhere.
fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}
