//! Bytes a second a node sends when nothing happens: membership datagrams by its own count, and everything by the
//! kernel's count of its interface.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use p2pnet::network::Observation;
use p2pnet_shared::{
    NodeName,
    telemetry::{FeedLine, Report},
};

use crate::{
    bench::Bench,
    figure::Target,
    processes::{bytes_sent, node_pids},
    running::Witness,
    support::Lab,
};

/// How long a new network is left alone first: it has much to say in its first seconds.
const SETTLE: Duration = Duration::from_secs(30);
/// What a node may send, bytes a second.
const LIMIT: f64 = 1_000.0;

/// The counter of membership bytes as each node first and last reported it.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    readings: BTreeMap<NodeName, [(Instant, u64); 2]>,
}

impl Meter {
    /// Bytes a second of every node that reported more than once. Reports come every five seconds, give or take one.
    #[expect(clippy::cast_precision_loss, reason = "bytes of minutes")]
    pub(crate) fn rates(&self) -> Vec<f64> {
        let between = self.readings.values().map(|[first, last]| {
            let bytes = last.1.saturating_sub(first.1);
            bytes as f64 / last.0.duration_since(first.0).as_secs_f64()
        });
        between.filter(|rate| rate.is_finite()).collect()
    }
}

impl Witness for Meter {
    fn observe(&mut self, observation: &Observation) {
        let Observation::Feed(FeedLine::Report { node, report: Report::Load(load) }) = observation else { return };
        let reading = (Instant::now(), load.datagram_bytes_sent);
        self.readings.entry(node.clone()).or_insert([reading; 2])[1] = reading;
    }
}

/// `traffic`: a minute of a network nobody touches.
pub(crate) fn measure(bench: &Bench) {
    let (lab, mut running) = bench.network(bench.nodes());
    let stretch = bench.stretch(60);
    let mut meter = Meter::default();
    bench.block_on(running.rest(&mut (), SETTLE));
    let (began, before) = (Instant::now(), sent(bench, &lab));
    bench.block_on(running.rest(&mut meter, stretch));
    let (seconds, after) = (began.elapsed().as_secs_f64(), sent(bench, &lab));
    bench.block_on(running.until_agreed(&mut ()));
    bench.print_against(Target::Every(LIMIT), "membership_traffic_per_node", "bytes/s", meter.rates());
    let rates = before.iter().filter_map(|(name, before)| Some((after.get(name)? - before) / seconds));
    bench.print_against(Target::Every(LIMIT), "wire_traffic_per_node", "bytes/s", rates.collect());
}

/// What each node's interface has sent so far: every protocol, reports to the gateway and the frames' headers included.
/// Empty for local processes, which share one interface.
#[expect(clippy::cast_precision_loss, reason = "bytes of minutes")]
fn sent(bench: &Bench, lab: &Lab) -> BTreeMap<String, f64> {
    if !bench.in_docker() {
        eprintln!("traffic: local processes share the host's interface; only their own count of datagrams is told");
        return BTreeMap::new();
    }
    let nodes = node_pids(lab).into_iter().filter(|(name, _)| name != "gateway");
    nodes.filter_map(|(name, pid)| Some((name, bytes_sent(pid)? as f64))).collect()
}
