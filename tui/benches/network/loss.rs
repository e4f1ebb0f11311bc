//! Broadcasts on bad days: every node that lives receives each exactly once, while every node loses 30 % of what it
//! sends, and right after half of the network was killed.

use std::{collections::BTreeSet, time::Duration};

use p2pnet::{
    cluster::{Role, UnitState},
    verb::Signal,
};
use p2pnet_shared::{MessageId, NodeName};

use crate::{
    bench::Bench,
    broadcast::send,
    figure::Target,
    ledger::Ledger,
    running::{Running, Witness},
};

/// Messages in each run, from as many different nodes.
const MESSAGES: usize = 20;
/// After this long a message that has not arrived counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);
/// Looked on after the last arrival, for a second arrival of the same.
const AFTERMATH: Duration = Duration::from_secs(10);

/// What became of the messages: a value a run, and of times and hops one a message.
#[derive(Debug, Default)]
struct Outcomes {
    undelivered: Vec<f64>,
    duplicates: Vec<f64>,
    last_ms: Vec<f64>,
    hops: Vec<f64>,
}

impl Outcomes {
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    fn push(&mut self, ledger: &Ledger, ids: &[MessageId], audience: &BTreeSet<NodeName>) {
        let outcomes: Vec<_> = ids.iter().map(|id| ledger.outcome(id, audience)).collect();
        self.undelivered.push(outcomes.iter().map(|outcome| outcome.missing).sum::<usize>() as f64);
        self.duplicates.push(outcomes.iter().map(|outcome| outcome.duplicates).sum::<u32>().into());
        // A message some node lacks has no last node.
        let whole = outcomes.iter().filter(|outcome| outcome.missing == 0);
        self.last_ms.extend(whole.filter_map(|outcome| outcome.last_ms));
        self.hops.extend(outcomes.iter().map(|outcome| outcome.hops as f64));
    }

    fn print(self, bench: &Bench, name: &str) {
        let never = Target::Every(0.0);
        bench.print_against(never, &format!("{name}_undelivered"), "deliveries", self.undelivered);
        bench.print_against(never, &format!("{name}_duplicates"), "deliveries", self.duplicates);
        bench.print(&format!("{name}_to_last_node"), "ms", self.last_ms);
        bench.print(&format!("{name}_hops"), "hops of the longest way", self.hops);
    }
}

/// `loss`: every node loses 30 % of what it sends.
pub(crate) fn measure_loss(bench: &Bench) {
    let (lab, mut running) = bench.network(bench.nodes());
    let mut outcomes = Outcomes::default();
    lab.ok(&["fault", "loss", "30%"]);
    for run in 1..=bench.options.runs {
        eprintln!("loss: run {run} of {}", bench.options.runs);
        bench.block_on(async {
            let (up, mut ledger) = (everybody(&running), Ledger::default());
            let ids = send_from(&mut running, &mut ledger, &origins(&up, run)).await;
            let audience = up.into_iter().collect();
            wait(&mut running, &mut ledger, &ids, &audience).await;
            outcomes.push(&ledger, &ids, &audience);
        });
    }
    lab.ok(&["heal"]);
    bench.block_on(running.until_agreed(&mut ()));
    outcomes.print(bench, "loss");
}

/// `half`: half of the nodes are killed at once, and the others broadcast right after.
pub(crate) fn measure_half(bench: &Bench) {
    let mut outcomes = Outcomes::default();
    for run in 1..=bench.options.runs {
        eprintln!("half: run {run} of {}", bench.options.runs);
        let (_lab, mut running) = bench.network(bench.nodes());
        bench.block_on(async {
            let (up, mut ledger) = (running.up(), Ledger::default());
            let odd = |at: usize| (at + run as usize) % 2 == 0;
            let pick = |wanted: bool| {
                let picked = up.iter().enumerate().filter(|(at, _)| odd(*at) == wanted);
                picked.map(|(_, name)| name.clone()).collect::<Vec<NodeName>>()
            };
            let (killed, survivors) = (pick(true), pick(false));
            let cluster = running.cluster.clone();
            let kill = cluster.stop_nodes(&killed, Signal::Kill);
            running.during(&mut ledger, kill).await.expect("nodes can be killed");
            let ids = send_from(&mut running, &mut ledger, &origins(&survivors, run)).await;
            let audience = survivors.into_iter().collect();
            wait(&mut running, &mut ledger, &ids, &audience).await;
            outcomes.push(&ledger, &ids, &audience);
        });
    }
    outcomes.print(bench, "half");
}

/// The nodes the engine says are up: under loss few agree at any one moment.
fn everybody(running: &Running) -> Vec<NodeName> {
    let nodes = running.network.nodes().filter(|node| node.role != Role::Gateway);
    nodes.filter(|node| node.state == UnitState::Up).map(|node| node.name.clone()).collect()
}

/// Different nodes all over the network, others in each run.
fn origins(up: &[NodeName], run: u32) -> Vec<NodeName> {
    let count = MESSAGES.min(up.len());
    (0..count).map(|at| up[(at * up.len() / count + run as usize) % up.len()].clone()).collect()
}

/// One message from each of `origins`, one after the other without waiting for any to arrive.
async fn send_from(running: &mut Running, witness: &mut impl Witness, origins: &[NodeName]) -> Vec<MessageId> {
    let mut ids = Vec::new();
    for (number, origin) in origins.iter().enumerate() {
        let cluster = running.cluster.clone();
        let text = format!("pear {number}");
        ids.push(running.during(witness, send(&cluster, origin.clone(), &text)).await);
    }
    ids
}

async fn wait(running: &mut Running, ledger: &mut Ledger, ids: &[MessageId], audience: &BTreeSet<NodeName>) {
    running.holds_within(PATIENCE, ledger, |ledger, _, _| ledger.all_have(ids, audience)).await;
    running.rest(ledger, AFTERMATH).await;
}
