//! Requests a second and how long they take: one node alone beside an empty server, ten nodes beside etcd, a hundred.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    balance,
    doors::Doors,
    empty::Empty,
    etcd::Etcd,
    grpc::EtcdPuts,
    http::{Gets, Puts, Same},
    keys::Keys,
    load::{self, Load, Outcome, Talk},
};
use crate::{
    bench::Bench,
    debian,
    figure::{Figure, Target},
    running::WARM_UP,
    support::{free_ports, until},
};

/// Connections of throughput.
const MANY: usize = 64;
/// Connections of latency.
const FEW: usize = 16;
/// Keys that are put and got.
const KEYS: usize = 10_000;
/// How long each run is counted, seconds.
const STRETCH: u64 = 5;

/// One kind of request, a value a run.
#[derive(Debug, Default)]
pub(crate) struct Speed {
    rate: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    wrong: Vec<f64>,
}

impl Speed {
    /// Adds a run.
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    pub(crate) fn push(&mut self, outcome: &Outcome) {
        for complaint in &outcome.complaints {
            eprintln!("kv: {complaint}");
        }
        self.rate.push(outcome.rate());
        self.p50_ms.push(outcome.percentile(50.0));
        self.p99_ms.push(outcome.percentile(99.0));
        self.wrong.push(outcome.wrong as f64);
    }

    /// Prints it under `name`, beside what rate and 99th percentile must be.
    pub(crate) fn print(self, name: &str, nodes: u32, runtime: &str, rate: Option<f64>, p99_ms: Option<f64>) {
        if self.rate.is_empty() {
            return;
        }
        let print = |what: &str, unit, values, target: Option<Target>| {
            let figure = Figure::new(format!("{name}_{what}"), unit, values, nodes, runtime);
            if let Some(target) = target { figure.against(target) } else { figure }.print();
        };
        print("rate", "requests/s", self.rate, rate.map(Target::Least));
        print("p50", "ms", self.p50_ms, None);
        print("p99", "ms", self.p99_ms, p99_ms.map(Target::Median));
        print("wrong", "answers", self.wrong, Some(Target::Every(0.0)));
    }
}

/// Puts, then gets of what was put, as fast as they are answered.
fn puts_and_gets(
    bench: &Bench,
    doors: &Doors,
    keys: &Arc<Keys>,
    connections: usize,
    run: u32,
    into: (&mut Speed, &mut Speed),
) {
    let stretch = bench.stretch(STRETCH);
    let puts = |number| -> Box<dyn Talk> { Box::new(Puts::new(keys.clone(), number, connections, run * 10_000, true)) };
    into.0.push(&load::run(Load::flat_out(doors.lines(connections, puts), stretch)));
    let gets =
        |number| -> Box<dyn Talk> { Box::new(Gets::random(keys.clone(), u64::from(run) * 1_000 + number as u64)) };
    into.1.push(&load::run(Load::flat_out(doors.lines(connections, gets), stretch)));
}

/// One node without a network; dropping it ends it.
struct Alone {
    child: Child,
    addr: SocketAddr,
    _data: TempDir,
}

impl Alone {
    fn start() -> Self {
        let data = TempDir::new().expect("a folder for a node");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_ports(1)));
        let child = Command::new(env!("CARGO_BIN_EXE_p2pnet"))
            .args(["node", "--name", "node1", "--bind", "127.0.0.1", "--port", &addr.port().to_string()])
            .arg("--data")
            .arg(data.path())
            .env_remove("CLUSTER_SECRET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("p2pnet runs");
        let alone = Self { child, addr, _data: data };
        until("the node is healthy", Duration::from_secs(20), || {
            let mut stream = std::net::TcpStream::connect(addr).ok()?;
            std::io::Write::write_all(&mut stream, b"GET /health HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
                .ok()?;
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answer).ok()?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        });
        alone
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `alone`: one node and an empty server, in turn.
pub(crate) fn measure_alone(bench: &Bench) {
    /// What one node serves of an empty server's rate, at least.
    const SHARE: f64 = 0.6;
    let (mut put, mut get, mut empty) = (Speed::default(), Speed::default(), Speed::default());
    let node = Alone::start();
    let keys = Arc::new(Keys::new("alone", KEYS));
    let doors = Doors::of(node.addr);
    doors.fill(&keys, 1);
    let server = Empty::start();
    for run in 1..=bench.options.runs {
        eprintln!("kv alone: run {run} of {}", bench.options.runs);
        empty.push(&empty_server(bench, &server));
        puts_and_gets(bench, &doors, &keys, MANY, run, (&mut put, &mut get));
    }
    let ratios = get.rate.iter().zip(&empty.rate).map(|(ours, empty)| ours / empty).collect();
    empty.print("kv_empty_server", 1, "process", None, None);
    put.print("kv_alone_put", 1, "process", None, None);
    get.print("kv_alone_get", 1, "process", None, None);
    Figure::new("kv_alone_get_over_empty_server", "ratio", ratios, 1, "process").against(Target::Least(SHARE)).print();
}

/// Ten nodes at 64 connections.
#[derive(Debug, Default)]
struct Ten {
    put: Speed,
    get: Speed,
}

impl Ten {
    const NODES: u32 = 10;

    /// A network of its own: as new as the etcd it is compared with.
    fn round(&mut self, bench: &Bench, run: u32) -> &'static str {
        let lab = bench.lab_usually_in("process", bench.nodes_or(Self::NODES));
        let running = bench.start(&lab, bench.nodes_or(Self::NODES));
        let doors = bench.block_on(Doors::direct(&lab, &running));
        // Nobody watches meanwhile: what folds reports would take its share of the processor.
        drop(running);
        let keys = Arc::new(Keys::new("ten", KEYS));
        doors.fill(&keys, 1);
        puts_and_gets(bench, &doors, &keys, MANY, run, (&mut self.put, &mut self.get));
        lab.runtime
    }

    fn print(self, bench: &Bench, runtime: &str) {
        let nodes = bench.nodes_or(Self::NODES);
        self.put.print("kv_put", nodes, runtime, Some(4_000.0), None);
        self.get.print("kv_get", nodes, runtime, Some(12_000.0), None);
    }
}

/// `ten`: without etcd.
pub(crate) fn measure_ten(bench: &Bench) {
    let (mut ten, mut runtime) = (Ten::default(), "process");
    for run in 1..=bench.options.runs {
        eprintln!("kv ten: run {run} of {}", bench.options.runs);
        runtime = ten.round(bench, run);
    }
    ten.print(bench, runtime);
}

/// etcd's puts: to all members alike, and to the leader alone, which spares the others the way to it.
#[derive(Debug, Default)]
struct EtcdSpeed {
    all: Speed,
    leader: Speed,
}

impl EtcdSpeed {
    fn program() -> PathBuf {
        debian::find("etcd", "etcd-server", "etcd.io").unwrap_or_else(|why| {
            eprintln!("{why}");
            std::process::exit(1);
        })
    }

    /// Three new members.
    fn round(&mut self, bench: &Bench, program: &Path) {
        let etcd = Etcd::start(program);
        let keys = Arc::new(Keys::new("ten", KEYS));
        let leader = etcd.leader().expect("it has one");
        for (speed, doors) in [(&mut self.all, etcd.members()), (&mut self.leader, &[leader])] {
            let lines = (0..MANY).map(|number| -> (SocketAddr, Box<dyn Talk>) {
                (doors[number % doors.len()], Box::new(EtcdPuts::new(keys.clone(), number, MANY)))
            });
            let before = etcd.log_length();
            let outcome = load::run(Load::flat_out(lines.collect(), bench.stretch(STRETCH)));
            assert!(etcd.log_length() - before >= outcome.right(), "etcd acknowledged what it has not logged");
            speed.push(&outcome);
        }
    }

    /// The better of the two, a value a run.
    fn best(&self) -> impl Iterator<Item = f64> {
        self.all.rate.iter().zip(&self.leader.rate).map(|(all, leader)| all.max(*leader))
    }

    fn print(self) {
        self.all.print("kv_etcd_put", 3, "process", None, None);
        self.leader.print("kv_etcd_put_to_leader", 3, "process", None, None);
    }
}

/// `etcd`: ten nodes of ours and three members of etcd, in turn. Ours is held against the better of etcd's two ways.
pub(crate) fn measure_etcd(bench: &Bench) {
    let program = EtcdSpeed::program();
    let (mut ten, mut etcd, mut runtime) = (Ten::default(), EtcdSpeed::default(), "process");
    for run in 1..=bench.options.runs {
        eprintln!("kv etcd: run {run} of {}, p2pnet", bench.options.runs);
        runtime = ten.round(bench, run);
        eprintln!("kv etcd: run {run} of {}, etcd", bench.options.runs);
        etcd.round(bench, &program);
    }
    let ratios = ten.put.rate.iter().zip(etcd.best()).map(|(ours, theirs)| ours / theirs).collect();
    ten.print(bench, runtime);
    etcd.print();
    let nodes = bench.nodes_or(Ten::NODES);
    Figure::new("kv_put_over_etcd", "ratio", ratios, nodes, runtime).against(Target::Least(1.0)).print();
}

/// `others`: the empty server and etcd.
pub(crate) fn measure_others(bench: &Bench) {
    let (mut empty, mut etcd) = (Speed::default(), EtcdSpeed::default());
    let server = Empty::start();
    let program = EtcdSpeed::program();
    for run in 1..=bench.options.runs {
        eprintln!("kv others: run {run} of {}", bench.options.runs);
        empty.push(&empty_server(bench, &server));
        etcd.round(bench, &program);
    }
    empty.print("kv_empty_server", 1, "process", None, None);
    etcd.print();
}

fn empty_server(bench: &Bench, server: &Empty) -> Outcome {
    let lines = Doors::of(server.addr).lines(MANY, |_| Box::new(Same::get("/")));
    load::run(Load::flat_out(lines, bench.stretch(STRETCH)))
}

/// `hundred`: at 16 and at 64 connections, and what else there is to see of a hundred nodes with 10,000 keys.
pub(crate) fn measure_hundred(bench: &Bench) {
    let nodes = bench.nodes();
    let lab = bench.lab(nodes);
    let mut running = bench.start(&lab, nodes);
    bench.block_on(running.rest(&mut (), WARM_UP));
    let doors = bench.block_on(Doors::direct(&lab, &running));
    let published = bench.block_on(Doors::published(&running));
    drop(running);
    let memory = balance::memory(&lab);
    balance::owners(bench, &doors, nodes);
    let keys = Arc::new(Keys::new("hundred", KEYS));
    doors.fill(&keys, 1);
    balance::print_memory(bench, &lab, memory);
    let (mut put16, mut get16, mut put64, mut get64) =
        (Speed::default(), Speed::default(), Speed::default(), Speed::default());
    let (mut put_published, mut get_published) = (Speed::default(), Speed::default());
    for run in 1..=bench.options.runs {
        eprintln!("kv hundred: run {run} of {}", bench.options.runs);
        puts_and_gets(bench, &doors, &keys, FEW, 4 * run, (&mut put16, &mut get16));
        puts_and_gets(bench, &doors, &keys, MANY, 4 * run + 1, (&mut put64, &mut get64));
        if bench.in_docker() {
            let into = (&mut put_published, &mut get_published);
            puts_and_gets(bench, &published, &keys, FEW, 4 * run + 2, into);
        }
    }
    let runtime = bench.runtime();
    put16.print("kv_put_16", nodes, runtime, None, Some(60.0));
    get16.print("kv_get_16", nodes, runtime, None, Some(25.0));
    put64.print("kv_put_64", nodes, runtime, None, None);
    get64.print("kv_get_64", nodes, runtime, None, None);
    put_published.print("kv_put_16_published", nodes, runtime, None, None);
    get_published.print("kv_get_16_published", nodes, runtime, None, None);
    balance::measure(bench, &lab, &keys, nodes);
}
