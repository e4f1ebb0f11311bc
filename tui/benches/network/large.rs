//! As many nodes as one machine carries: started, agreed, one killed, and what they cost.

use std::time::Instant;

use crate::{
    bench::Bench,
    kill::{Times, kill},
    processes::{cpu_seconds, node_pids, rss_mib},
};
use p2pnet_shared::NodeName;

/// `large`: once, whatever the runs.
pub(crate) fn measure(bench: &Bench) {
    let nodes = bench.nodes();
    let lab = bench.lab(nodes);
    let started = Instant::now();
    let mut running = bench.start(&lab, nodes);
    bench.print("large_start_to_agree", "ms", vec![started.elapsed().as_secs_f64() * 1_000.0]);
    let stretch = bench.stretch(60);
    bench.block_on(running.rest(&mut (), stretch / 2));
    let pids = node_pids(&lab);
    let cpu = || pids.values().filter_map(|pid| cpu_seconds(*pid)).sum::<f64>();
    let (began, before) = (Instant::now(), cpu());
    bench.block_on(running.rest(&mut (), stretch));
    if !pids.is_empty() {
        let share = (cpu() - before) / began.elapsed().as_secs_f64() * 100.0;
        bench.print("large_cpu_all", "percent of a core", vec![share]);
        let (gateway, nodes): (Vec<_>, Vec<_>) = pids.iter().partition(|(name, _)| *name == "gateway");
        bench.print("large_rss_per_node", "MiB", nodes.iter().filter_map(|(_, pid)| rss_mib(**pid)).collect());
        bench.print("large_rss_gateway", "MiB", gateway.iter().filter_map(|(_, pid)| rss_mib(**pid)).collect());
    }
    let killed = bench.block_on(kill(&mut running, &lab, &[NodeName::numbered(nodes / 2)]));
    let mut times = Times::default();
    times.push(killed.from_request, killed.engine_ms);
    times.print(bench, "large_kill_one");
}
