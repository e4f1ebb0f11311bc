//! What a network costs when nothing happens.

use std::{collections::BTreeMap, process::Command, time::Duration};

use crate::{
    bench::{Bench, cpu_seconds},
    support::Lab,
    terminal::Terminal,
};

/// Leaves the network alone, then takes memory of each node and processor time of all nodes, the gateway and a
/// dashboard over the same stretch, from the kernel's accounting.
#[expect(clippy::cast_precision_loss, reason = "bytes and seconds of ordinary size")]
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
    let rss = pids.iter().filter(|(name, _)| *name != "gateway").filter_map(|(_, pid)| rss_bytes(*pid));
    bench.print("rss_per_node_at_rest", "MiB", rss.map(|bytes| bytes as f64 / (1024.0 * 1024.0)).collect());
}

/// The process of each node and of the gateway: those whose environment names this network.
fn node_pids(lab: &Lab) -> BTreeMap<String, u32> {
    let mut pids = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let variables: BTreeMap<String, String> = environment
            .split(|byte| *byte == 0)
            .filter_map(|pair| String::from_utf8_lossy(pair).split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
            .collect();
        if variables.get("NETWORK") != Some(&lab.network) {
            continue;
        }
        let name = variables.get("NODE_NAME").cloned().unwrap_or_else(|| "gateway".to_owned());
        pids.insert(name, pid);
    }
    assert!(!pids.is_empty(), "no process of {} found by {:?}", lab.network, Command::new("/proc"));
    pids
}

fn rss_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
