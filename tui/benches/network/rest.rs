//! What a network costs when nothing happens.

use std::time::Duration;

use crate::{
    bench::Bench,
    processes::{cpu_seconds, node_pids, rss_mib},
    support::Lab,
    terminal::Terminal,
};

/// Leaves the network alone, then takes memory of each node and processor time of all nodes, the gateway and a
/// dashboard over the same stretch, from the kernel's accounting.
pub(crate) fn measure(bench: &Bench, lab: &Lab) {
    let dashboard = Terminal::open(lab, &[], 160, 45);
    dashboard.wait_for("the network", Duration::from_secs(60), |screen| screen.contains("CONVERGED"));
    let dashboard_pid = dashboard.child.process_id().expect("it runs");
    let rest = Duration::from_secs(bench.options.rest_secs);
    std::thread::sleep(rest / 2);
    let pids = node_pids(lab);
    let before: Vec<f64> = pids.values().filter_map(|pid| cpu_seconds(*pid)).collect();
    let gateway_before = pids.get("gateway").and_then(|pid| cpu_seconds(*pid)).unwrap_or(0.0);
    let dashboard_before = cpu_seconds(dashboard_pid).expect("it runs");
    std::thread::sleep(rest);
    let seconds = rest.as_secs_f64();
    let after: Vec<f64> = pids.values().filter_map(|pid| cpu_seconds(*pid)).collect();
    let gateway = pids.get("gateway").and_then(|pid| cpu_seconds(*pid)).unwrap_or(0.0) - gateway_before;
    let everything: f64 = after.iter().sum::<f64>() - before.iter().sum::<f64>();
    let dashboard = cpu_seconds(dashboard_pid).expect("it runs") - dashboard_before;
    bench.print("cpu_all_nodes_at_rest", "percent of a core", vec![(everything - gateway) / seconds * 100.0]);
    bench.print("cpu_gateway_at_rest", "percent of a core", vec![gateway / seconds * 100.0]);
    bench.print("cpu_dashboard_at_rest", "percent of a core", vec![dashboard / seconds * 100.0]);
    let rss = pids.iter().filter(|(name, _)| *name != "gateway").filter_map(|(_, pid)| rss_mib(*pid));
    bench.print("rss_per_node_at_rest", "MiB", rss.collect());
}
