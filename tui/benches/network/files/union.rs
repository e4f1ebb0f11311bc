//! The race: four trees, four runners, 4 and 8 nodes.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    ours::Ours,
    rsync::Rsync,
    syncthing::Syncthing,
    trees::{TREES, Tree, Wanted},
    walker,
};
use crate::{
    bench::Bench,
    debian,
    figure::{Figure, Target},
};

/// For everybody to have everything. The slowest seen took ten seconds.
const PATIENCE: Duration = Duration::from_secs(180);

/// Somebody who makes all folders the same.
pub(super) trait Runner {
    /// As in the figures.
    fn name(&self) -> &'static str;
    /// Where the files are, one folder for each node.
    fn folders(&self) -> Vec<PathBuf>;
    /// The folders have changed: go. Returns at once, or when it is done.
    fn go(&mut self, bench: &Bench);
}

/// `cp -r` from each folder to each other, one after another.
struct Copy {
    folders: tempfile::TempDir,
    nodes: usize,
}

impl Runner for Copy {
    fn name(&self) -> &'static str {
        "cp"
    }

    fn folders(&self) -> Vec<PathBuf> {
        (0..self.nodes).map(|node| self.folders.path().join(node.to_string())).collect()
    }

    fn go(&mut self, _: &Bench) {
        let folders = self.folders();
        // What each folder had to begin with, before copies come to it.
        let own: Vec<Vec<PathBuf>> = folders.iter().map(|folder| entries(folder)).collect();
        for (to, target) in folders.iter().enumerate() {
            for (from, entries) in own.iter().enumerate().filter(|(from, entries)| *from != to && !entries.is_empty()) {
                let status = std::process::Command::new("cp").arg("-r").args(entries).arg(target).status();
                assert!(status.expect("cp runs").success(), "cp from {from} to {to} failed");
            }
        }
    }
}

fn entries(folder: &std::path::Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

/// Runs the race.
pub(super) fn measure(bench: &Bench) {
    let syncthing =
        debian::find("syncthing", "syncthing", "https://syncthing.net").map_err(|why| eprintln!("{why}")).ok();
    let rsync = debian::find("rsync", "rsync", "https://rsync.samba.org").map_err(|why| eprintln!("{why}")).ok();
    for nodes in [4, 8] {
        for tree in TREES {
            let mut times = std::collections::BTreeMap::<&'static str, Vec<f64>>::new();
            for run in 1..=bench.options.runs {
                eprintln!("files: {} at {nodes} nodes, run {run} of {}", tree.name, bench.options.runs);
                let seed = u64::from(run) << 32 | nodes as u64;
                let mut race = |runner: &mut dyn Runner| {
                    let seconds = once(bench, runner, tree, seed);
                    eprintln!("  {:<10} {seconds:.2} s", runner.name());
                    times.entry(runner.name()).or_default().push(seconds);
                };
                race(&mut Ours::start(bench, nodes));
                if let Some(program) = &syncthing {
                    race(&mut Syncthing::start(program, nodes));
                }
                if let Some(program) = &rsync {
                    race(&mut Rsync::start(program, nodes));
                }
                let folders = tempfile::tempdir().expect("a folder");
                (0..nodes)
                    .for_each(|node| std::fs::create_dir(folders.path().join(node.to_string())).expect("a folder"));
                race(&mut Copy { folders, nodes });
            }
            print(tree, nodes, bench.runtime_usually("process"), &times);
        }
    }
}

/// Plants, lets go, and waits until an outside walker sees the union; then everything is hashed.
fn once(bench: &Bench, runner: &mut dyn Runner, tree: Tree, seed: u64) -> f64 {
    let folders = runner.folders();
    let wanted: Vec<Wanted> = tree.plant(&folders, seed);
    let began = Instant::now();
    runner.go(bench);
    let done = walker::until_union(&folders, &wanted, began, PATIENCE);
    walker::check(&folders, &wanted);
    done.into_iter().fold(0.0, f64::max)
}

/// `runtime` is that of our own nodes; all others are processes.
fn print(tree: Tree, nodes: usize, runtime: &str, times: &std::collections::BTreeMap<&'static str, Vec<f64>>) {
    let nodes_u32 = u32::try_from(nodes).expect("a few nodes");
    for (runner, seconds) in times {
        let name = format!("union_{}_{nodes}_{runner}", tree.name);
        let runtime = if *runner == "ours" { runtime } else { "process" };
        Figure::new(name, "s", seconds.clone(), nodes_u32, runtime).print();
    }
    let ours = &times["ours"];
    for (other, limit) in [("syncthing", 0.5), ("rsync", 1.0)] {
        let Some(others) = times.get(other) else { continue };
        let ratios = ours.iter().zip(others).map(|(ours, other)| ours / other).collect();
        let name = format!("union_{}_{nodes}_ours_over_{other}", tree.name);
        let figure = Figure::new(name, "ratio", ratios, nodes_u32, runtime);
        // The last tree has no bound of its own.
        if tree == TREES[3] { figure.print() } else { figure.against(Target::Median(limit)).print() }
    }
}
