//! What is asked of the benchmark, and the rounds of its quick figures: a network is started, measured and removed, as
//! often as there are runs.

use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use p2pnet::cluster::PUBLISH_UP_TO;

use crate::{
    bare, broadcast,
    figure::{Figure, Target},
    files::FilesPart,
    kill,
    kv::Part,
    rest,
    running::Running,
    supervisor,
    support::{Lab, text},
};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Word {
    /// Nothing → every node agrees, beside the bare create and start of the same containers.
    Start,
    /// One node, then ten at once, killed → every survivor knows.
    Kill,
    /// Accepted at one node → the last node has it.
    Broadcast,
    /// Memory and processor time when nothing happens.
    Rest,
    /// A key pressed while the network starts → seen on screen.
    Keys,
    /// The same kills in a cluster of Serf agents on this machine, in turn with ours.
    Serf,
    /// Deaths declared while every core is hogged.
    Hog,
    /// Deaths declared while and after 30 % of the nodes are paused.
    Paused,
    /// Broadcasts while every node loses 30 % of what it sends.
    Loss,
    /// Broadcasts right after half of the nodes were killed.
    Half,
    /// Bytes a second a node sends when nothing happens.
    Traffic,
    /// Real nodes and simulated ones under one schedule.
    Calibrate,
    /// Deaths declared while nothing happens.
    Idle,
    /// A thousand nodes.
    Large,
    /// The key-value store.
    Kv,
    /// The shared folder.
    Files,
}

/// What is measured when nothing is named: minutes, not hours.
const QUICK: [Word; 5] = [Word::Start, Word::Kill, Word::Broadcast, Word::Rest, Word::Keys];

/// What to measure, on how many nodes.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// How many nodes beside the bootstrap: 100, and 1,000 for `large`.
    #[arg(long)]
    nodes: Option<u32>,
    /// `docker` or `process`; `docker` where nothing else is said.
    #[arg(long)]
    runtime: Option<String>,
    /// Which parts of `kv`; all without any.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) part: Vec<Part>,
    /// Which parts of `files`; all but `schedule` without any.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) files_part: Vec<FilesPart>,
    /// How often each figure is measured.
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: u32,
    /// How long the network is left alone before and while its cost at rest is measured, seconds.
    #[arg(long, default_value_t = 60)]
    pub(crate) rest_secs: u64,
    /// How long the stretch of `hog` (60), `traffic` (60) and the pause of `paused` (10) is, seconds.
    #[arg(long)]
    secs: Option<u64>,
    /// How long `idle` looks on, minutes.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) minutes: f64,
    /// Which figures; the first five without any.
    #[arg(value_enum)]
    figures: Vec<Word>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One invocation. Dropped when a measurement gave up as well: nobody waits then for what it still had under way.
pub(crate) struct Bench {
    /// As asked.
    pub(crate) options: Options,
    /// `None` once it is dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Bench {
    /// Ready to measure.
    pub(crate) fn new(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { options, runtime: Some(runtime.expect("a runtime")) }
    }

    /// Whether `word` was asked for.
    pub(crate) fn wants(&self, word: Word) -> bool {
        let words = if self.options.figures.is_empty() { &QUICK[..] } else { &self.options.figures };
        words.contains(&word)
    }

    /// How many nodes beside the bootstrap.
    pub(crate) fn nodes(&self) -> u32 {
        self.nodes_or(if self.options.figures == [Word::Large] { 1_000 } else { 100 })
    }

    /// As many as were asked for, else `usual`.
    pub(crate) fn nodes_or(&self, usual: u32) -> u32 {
        self.options.nodes.unwrap_or(usual)
    }

    /// The stretch that was asked for, else `usual` seconds.
    pub(crate) fn stretch(&self, usual: u64) -> Duration {
        Duration::from_secs(self.options.secs.unwrap_or(usual))
    }

    /// `docker` or `process`.
    pub(crate) fn runtime(&self) -> &str {
        self.options.runtime.as_deref().unwrap_or("docker")
    }

    /// Whether nodes are containers.
    pub(crate) fn in_docker(&self) -> bool {
        self.runtime() != "process"
    }

    /// Runs something to its end.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it is there until it is dropped").block_on(work)
    }

    /// A network's name, ports and folders for one round with `nodes` nodes.
    pub(crate) fn lab(&self, nodes: u32) -> Lab {
        self.lab_in(if self.in_docker() { "docker" } else { "process" }, nodes)
    }

    /// The same in the runtime that was asked for, else in `usual`.
    pub(crate) fn lab_usually_in(&self, usual: &'static str, nodes: u32) -> Lab {
        self.lab_in(self.runtime_usually(usual), nodes)
    }

    /// The runtime of such a network.
    pub(crate) fn runtime_usually(&self, usual: &'static str) -> &'static str {
        let asked = self.options.runtime.as_deref();
        asked.map_or(usual, |asked| if asked == "process" { "process" } else { "docker" })
    }

    fn lab_in(&self, runtime: &'static str, nodes: u32) -> Lab {
        // Without published ports only the gateway has one, and the engine chooses it.
        let ports = if runtime == "docker" && nodes > PUBLISH_UP_TO { 0 } else { nodes };
        let lab = Lab::new(runtime, u16::try_from(ports).expect("at most 1,000") + 20);
        supervisor::write_down(&lab.network);
        lab
    }

    /// A new network of `nodes` nodes that all agree. Whoever drops the lab removes it.
    pub(crate) fn network(&self, nodes: u32) -> (Lab, Running) {
        let lab = self.lab(nodes);
        let running = self.start(&lab, nodes);
        (lab, running)
    }

    /// `start-network`, as a user has it, to its end, and on until all agree.
    pub(crate) fn start(&self, lab: &Lab, nodes: u32) -> Running {
        self.start_with(lab, nodes, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(&self, lab: &Lab, nodes: u32, more: &[&str]) -> Running {
        let patience = Duration::from_secs(120 + u64::from(nodes) / 2);
        let mut args = lab.start_args(nodes);
        *args.last_mut().expect("the last is how long to wait") = patience.as_secs().max(240).to_string();
        let output =
            lab.command().args(&args).args(more).args(["--network", &lab.network]).output().expect("p2pnet runs");
        assert!(output.status.success(), "{}", text(&output));
        self.block_on(async {
            let mut running = Running::attach(lab, patience).await;
            running.until_agreed(&mut ()).await;
            running
        })
    }

    /// Prints a figure of this invocation.
    pub(crate) fn print(&self, figure: &str, unit: &'static str, values: Vec<f64>) {
        if !values.is_empty() {
            Figure::new(figure, unit, values, self.nodes(), self.runtime()).print();
        }
    }

    /// Prints a figure of this invocation beside what it must reach.
    pub(crate) fn print_against(&self, target: Target, figure: &str, unit: &'static str, values: Vec<f64>) {
        if !values.is_empty() {
            Figure::new(figure, unit, values, self.nodes(), self.runtime()).against(target).print();
        }
    }

    /// The quick figures but the keys.
    pub(crate) fn rounds(&self) {
        let nodes = self.nodes();
        let mut start = Vec::new();
        let mut baseline = Vec::new();
        let mut kills = kill::Kills::default();
        let mut broadcasts = broadcast::Broadcasts::default();
        for run in 1..=self.options.runs {
            eprintln!("run {run} of {}", self.options.runs);
            let lab = self.lab(nodes);
            let started = Instant::now();
            let mut running = self.start(&lab, nodes);
            start.push(started.elapsed().as_secs_f64() * 1000.0);
            let bare = (self.wants(Word::Start) && self.in_docker()).then(|| self.block_on(bare::read(&lab)));
            if self.wants(Word::Broadcast) {
                self.block_on(broadcasts.measure(&mut running));
            }
            if self.wants(Word::Rest) && run == self.options.runs {
                rest::measure(self, &lab);
            }
            if self.wants(Word::Kill) {
                self.block_on(kills.measure(&mut running, &lab, nodes));
            }
            drop(running);
            if let Some(bare) = bare {
                lab.ok(&["stop-network", "--keep-data"]);
                baseline.push(self.block_on(bare.create_and_start()));
            }
        }
        if self.wants(Word::Start) {
            let ratios = start.iter().zip(&baseline).map(|(ours, bare)| ours / bare).collect();
            self.print("start_to_agree", "ms", start);
            self.print("bare_create_and_start", "ms", baseline);
            self.print("start_to_agree_over_bare", "ratio", ratios);
        }
        broadcasts.print(self);
        kills.print(self);
    }
}
