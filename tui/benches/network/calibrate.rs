//! A hundred real nodes and a hundred simulated ones under one schedule: whether the simulator may be believed.
//!
//! ```text
//! start, 30 s to settle, 60 s of nothing (bytes), then five times: kill one node (detection), 20 s of nothing
//! ```
//! The simulator's half runs first and as a program of its own: two at once would disturb one another. In the simulator
//! a node dies the moment it is told to. An engine takes its time, so detection is told from the request and from the
//! moment the process is gone, and the latter is compared.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use p2pnet_shared::NodeName;
use serde_json::Value;

use crate::{
    bench::Bench,
    figure::{Figure, Target, median_of},
    kill::kill,
    traffic::Meter,
};

/// Members in all, the bootstrap among them.
const MEMBERS: u32 = 100;
const SETTLE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(60);
const KILLS: u32 = 5;
const BETWEEN: Duration = Duration::from_secs(20);
/// How far the two may be apart, percent.
const APART: f64 = 15.0;

/// What one side measured.
#[derive(Debug)]
struct Side {
    /// The median survivor of each kill, milliseconds.
    detection_ms: Vec<f64>,
    /// Membership datagrams, mean of all nodes, bytes a second.
    bytes_per_s: f64,
}

/// `calibrate`: both sides and how far they are apart. `--nodes` changes both.
pub(crate) fn measure(bench: &Bench) {
    let members = bench.nodes_or(MEMBERS - 1) + 1;
    let simulated = simulate(members);
    let (lab, mut running) = bench.network(members - 1);
    let mut meter = Meter::default();
    let mut kills = Vec::new();
    bench.block_on(async {
        running.rest(&mut (), SETTLE).await;
        running.rest(&mut meter, IDLE).await;
        for number in 1..=KILLS {
            let victim = NodeName::numbered(number * (members - 1) / KILLS);
            kills.push(kill(&mut running, &lab, &[victim]).await);
            running.rest(&mut (), BETWEEN).await;
        }
    });
    let rates = meter.rates();
    let from_end = kills.iter().map(|kill| kill.from_end.expect("this host sees the nodes' processes").median);
    let real = Side {
        detection_ms: from_end.collect(),
        bytes_per_s: rates.iter().sum::<f64>() / f64::from(u32::try_from(rates.len()).expect("at most 1,000")),
    };
    let print = |figure: &str, unit, values: Vec<f64>, runtime: &str| {
        Figure::new(figure, unit, values, members - 1, runtime).print();
    };
    let runtime = bench.runtime();
    let from_request = kills.iter().map(|kill| kill.from_request.median).collect();
    print("calibrate_detection_from_request", "ms", from_request, runtime);
    print("calibrate_engine", "ms", kills.iter().filter_map(|kill| kill.engine_ms).collect(), runtime);
    for (side, runtime) in [(&real, runtime), (&simulated, "simulator")] {
        print("calibrate_detection", "ms", side.detection_ms.clone(), runtime);
        print("calibrate_traffic_per_node", "bytes/s", vec![side.bytes_per_s], runtime);
    }
    let apart = |figure: &str, simulated: f64, real: f64| {
        let percent = (simulated - real).abs() / real * 100.0;
        let figure = Figure::new(figure, "percent", vec![percent], members - 1, runtime);
        figure.against(Target::Every(APART)).print();
    };
    apart("calibrate_detection_apart", median_of(simulated.detection_ms), median_of(real.detection_ms));
    apart("calibrate_traffic_apart", simulated.bytes_per_s, real.bytes_per_s);
}

/// The simulator's half, which prints one line of JSON.
///
/// # Panics
/// When it does not run, or prints no such line.
fn simulate(members: u32) -> Side {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["bench", "-p", "p2pnet-node", "--bench", "simulator", "--", "calibrate"])
        .args(["--nodes", &members.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "the simulator's half of the calibration failed: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.rfind(|line| line["figure"] == "calibrate");
    let line = line.unwrap_or_else(|| panic!("no `calibrate` figure in what the simulator printed: {text}"));
    assert_eq!(line["nodes"], members, "the simulator ran another network: {line}");
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number in {line}"));
    Side {
        detection_ms: line["detection_ms"].as_array().expect("a list of times").iter().map(number).collect(),
        bytes_per_s: number(&line["bytes_per_node_per_s"]),
    }
}
