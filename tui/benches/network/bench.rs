//! The rounds: a network is started, measured and removed, as often as there are runs.

use std::{
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use clap::Parser;
use p2pnet::{
    cluster::{Cluster, RuntimeChoice},
    network::{Network, Observation},
    observe,
};
use p2pnet_shared::UnixMillis;
use tokio::sync::mpsc;

use crate::{
    bare, broadcast,
    figure::Figure,
    kill, rest,
    support::{Lab, text},
};

/// What to measure, on how many nodes.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// How many nodes beside the bootstrap.
    #[arg(long, default_value_t = 100)]
    pub(crate) nodes: u32,
    /// `docker` or `process`.
    #[arg(long, default_value = "docker")]
    pub(crate) runtime: String,
    /// How often each figure is measured.
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: u32,
    /// How long the network is left alone before and while its cost at rest is measured, seconds.
    #[arg(long, default_value_t = 60)]
    pub(crate) rest_secs: u64,
    /// Which figures; all without any.
    figures: Vec<String>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One invocation.
pub(crate) struct Bench {
    /// As asked.
    pub(crate) options: Options,
    runtime: tokio::runtime::Runtime,
}

/// A network that runs, and what is known of it.
pub(crate) struct Running {
    /// The way to ask for things.
    pub(crate) cluster: Cluster,
    /// What is known.
    pub(crate) network: Network,
    observations: mpsc::Receiver<Observation>,
}

impl Bench {
    /// Ready to measure.
    pub(crate) fn new(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { options, runtime: runtime.expect("a runtime") }
    }

    /// Whether `figure` was asked for.
    pub(crate) fn wants(&self, figure: &str) -> bool {
        self.options.figures.is_empty() || self.options.figures.iter().any(|wanted| wanted == figure)
    }

    /// A network's name, ports and folders for one round.
    pub(crate) fn lab(&self) -> Lab {
        let runtime = if self.options.runtime == "process" { "process" } else { "docker" };
        Lab::new(runtime, u16::try_from(self.options.nodes).expect("below 1,000") + 20)
    }

    /// Prints a figure of this invocation.
    pub(crate) fn print(&self, figure: &str, unit: &'static str, values: Vec<f64>) {
        if !values.is_empty() {
            Figure::new(figure, unit, values, self.options.nodes, &self.options.runtime).print();
        }
    }

    /// Every figure but the keys.
    pub(crate) fn rounds(&self) {
        let mut start = Vec::new();
        let mut baseline = Vec::new();
        let mut kills = kill::Kills::default();
        let mut broadcasts = Vec::new();
        for run in 1..=self.options.runs {
            eprintln!("run {run} of {}", self.options.runs);
            let lab = self.lab();
            let started = Instant::now();
            self.start(&lab);
            let mut running = self.runtime.block_on(Running::attach(&lab));
            self.runtime.block_on(running.until("all agree", |network, now| network.summary(now).converged));
            start.push(started.elapsed().as_secs_f64() * 1000.0);
            let bare = (self.wants("start") && self.options.runtime == "docker")
                .then(|| self.runtime.block_on(bare::read(&lab)));
            if self.wants("broadcast") {
                broadcasts.extend(self.runtime.block_on(broadcast::measure(&mut running)));
            }
            if self.wants("rest") && run == self.options.runs {
                rest::measure(self, &lab);
            }
            if self.wants("kill") {
                self.runtime.block_on(kills.measure(&mut running, self.options.nodes));
            }
            drop(running);
            if let Some(bare) = bare {
                lab.ok(&["stop-network", "--keep-data"]);
                baseline.push(self.runtime.block_on(bare.create_and_start()));
            }
        }
        if self.wants("start") {
            let ratios = start.iter().zip(&baseline).map(|(ours, bare)| ours / bare).collect();
            self.print("start_to_agree", "ms", start);
            self.print("bare_create_and_start", "ms", baseline);
            self.print("start_to_agree_over_bare", "ratio", ratios);
        }
        self.print("broadcast_to_last_node", "ms", broadcasts);
        kills.print(self);
    }

    /// `start-network`, as a user has it, to its end.
    fn start(&self, lab: &Lab) {
        let args = lab.start_args(self.options.nodes);
        let output = lab.command().args(&args).args(["--network", &lab.network]).output().expect("p2pnet runs");
        assert!(output.status.success(), "{}", text(&output));
    }
}

impl Running {
    /// Attaches to the network of `lab`, which runs.
    async fn attach(lab: &Lab) -> Self {
        let network = lab.network.parse().expect("a network name");
        let cluster = Cluster::find(&network, RuntimeChoice::Auto).await;
        let cluster = cluster.expect("the engine answers").expect("the network runs");
        let observations = observe::observe(&cluster);
        Self { cluster, network: Network::default(), observations }
    }

    /// Folds observations until `holds`, showing each to `saw`.
    ///
    /// # Panics
    /// When it does not hold within two minutes.
    pub(crate) async fn until_seeing(
        &mut self,
        what: &str,
        mut saw: impl FnMut(&Observation),
        mut holds: impl FnMut(&Network, UnixMillis) -> bool,
    ) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let waited = tokio::time::timeout(Duration::from_millis(50), self.observations.recv()).await;
            if let Ok(observation) = waited {
                let observation = observation.expect("the observer lives as long as its receiver");
                saw(&observation);
                self.network.observe(now(), observation);
                while let Ok(observation) = self.observations.try_recv() {
                    saw(&observation);
                    self.network.observe(now(), observation);
                }
            }
            if holds(&self.network, now()) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not within two minutes: {what}: {:?}",
                self.network.summary(now()).reason
            );
        }
    }

    /// Folds observations until `holds`.
    pub(crate) async fn until(&mut self, what: &str, holds: impl FnMut(&Network, UnixMillis) -> bool) {
        self.until_seeing(what, |_| (), holds).await;
    }
}

/// The wall clock.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    UnixMillis(u64::try_from(since.as_millis()).expect("before the year 584,556,019"))
}

/// Processor time a process has used so far, seconds; `None` when it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let hertz = Command::new("getconf").arg("CLK_TCK").output().ok()?;
    Some(ticks / String::from_utf8(hertz.stdout).ok()?.trim().parse::<f64>().ok()?)
}
