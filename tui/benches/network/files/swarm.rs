//! One file to a hundred nodes, each of which sends so many bytes a second at most; and what 2,000 files cost in memory.

use std::time::{Duration, Instant};

use super::{
    ours,
    trees::{ONE, TWO_THOUSAND, Tree, Wanted},
    walker,
};
use crate::{
    bench::Bench,
    figure::{Figure, Target, median_of},
    processes,
    running::WARM_UP,
    support::text,
};

/// Nodes that have to get it.
const RECEIVERS: u32 = 100;
/// Bytes a second that each node sends at most.
const EGRESS: f64 = 6e6;
/// How the same is typed.
const EGRESS_TYPED: &str = "6M";
/// Chunks of the file: 32 MiB in pieces of 128 KiB.
const CHUNKS: u32 = 256;
/// For all to have it; the bound is under six seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// Seconds that the last of [`RECEIVERS`] takes at least: with equal upload rates and equal chunks the last chunk leaves the
/// source when all others have, and then has to double until everybody has it (Mundinger, Weber, Weiss 2006).
fn bound() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "32 MiB")]
    let once = ONE.bytes() as f64 / EGRESS;
    once * (1.0 + f64::from(RECEIVERS.ilog2()) / f64::from(CHUNKS))
}

/// `swarm`.
pub(super) fn measure(bench: &Bench) {
    let (mut last, mut middle, mut over, mut source) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for run in 1..=bench.options.runs {
        eprintln!("files: one to {RECEIVERS}, run {run} of {}", bench.options.runs);
        let network = ours::Ours::start_with(bench, RECEIVERS as usize + 1, &["--egress", EGRESS_TYPED]);
        let folders = network.folders_of_all();
        let urls = network.urls(bench);
        // Asked before there is anything to move: a hundred answers take longer than a watch.
        let before = transferred(bench, &urls);
        let wanted: Vec<Wanted> = ONE.plant(&folders, u64::from(run));
        let began = Instant::now();
        network.rescan(bench, &urls[..1]);
        let mut times = walker::until_union(&folders, &wanted, began, PATIENCE);
        walker::check(&folders, &wanted);
        let after = transferred(bench, &urls);
        times.remove(wanted[0].home);
        let (slowest, median) = (times.iter().copied().fold(0.0, f64::max), median_of(times));
        let received: f64 = after.iter().zip(&before).map(|(after, before)| after.received - before.received).sum();
        #[expect(clippy::cast_precision_loss, reason = "32 MiB")]
        let size = ONE.bytes() as f64;
        let (needed, sent) = (size * f64::from(RECEIVERS), after[0].sent - before[0].sent);
        eprintln!("  last {slowest:.2} s, median {median:.2} s, bound {:.2} s", bound());
        last.push(slowest / bound());
        middle.push(median / bound());
        over.push(received / needed);
        source.push(sent / size);
    }
    let print = |name: &str, values, target: Option<Target>| {
        let figure = Figure::new(name, "ratio", values, RECEIVERS, bench.runtime_usually("process"));
        target.into_iter().fold(figure, Figure::against).print();
    };
    print("swarm_last_over_bound", last, Some(Target::Median(1.7)));
    print("swarm_median_over_bound", middle, Some(Target::Median(1.25)));
    print("swarm_received_over_needed", over, Some(Target::Median(1.05)));
    print("swarm_source_sent_over_size", source, None);
}

/// What a node says it has moved, bytes of contents.
struct Moved {
    received: f64,
    sent: f64,
}

fn transferred(bench: &Bench, urls: &[String]) -> Vec<Moved> {
    bench.block_on(async {
        let client = reqwest::Client::new();
        let mut all = Vec::new();
        for url in urls {
            let answer = client.get(format!("{url}/metrics")).send().await.expect("a node answers");
            let metrics = answer.text().await.expect("metrics are text");
            let number = |name: &str| -> f64 {
                let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
                line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in:\n{metrics}"))
            };
            let received = number("p2pnet_file_received_bytes_total");
            all.push(Moved { received, sent: number("p2pnet_file_sent_bytes_total") });
        }
        all
    })
}

/// `lean`: memory of each node of ten when it has 2,000 files, and before.
pub(super) fn measure_lean(bench: &Bench) {
    const NODES: usize = 10;
    let network = ours::Ours::start_with(bench, NODES, &[]);
    std::thread::sleep(WARM_UP);
    let rss = || {
        processes::node_pids(network.lab())
            .iter()
            .filter(|(name, _)| *name != "gateway")
            .filter_map(|(_, pid)| processes::rss_mib(*pid))
            .collect::<Vec<_>>()
    };
    let print = |name: &str, values, target: Option<Target>| {
        let figure = Figure::new(name, "MiB", values, 10, network.lab().runtime);
        target.into_iter().fold(figure, Figure::against).print();
    };
    print("rss_without_files", rss(), None);
    let folders = network.folders_of_all();
    plant_and_wait(bench, &network, TWO_THOUSAND, &folders);
    std::thread::sleep(WARM_UP);
    print("rss_with_2000_files", rss(), Some(Target::Every(12.0)));
    let status = network.lab().run(&["status"]);
    eprint!("{}", text(&status));
}

fn plant_and_wait(bench: &Bench, network: &ours::Ours, tree: Tree, folders: &[std::path::PathBuf]) {
    let wanted = tree.plant(folders, 1);
    network.rescan(bench, &network.urls(bench));
    walker::until_union(folders, &wanted, Instant::now(), PATIENCE);
    walker::check(folders, &wanted);
}
