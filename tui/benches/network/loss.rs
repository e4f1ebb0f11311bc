//! Broadcasts on bad days: every node that lives receives each exactly once, while every node loses 30 % of what it
//! sends, and right after half of the network was killed.
//!
//! A lost datagram is gone; a lost frame of a link comes late, as TCP sends it again (`p2pnet fault loss`). What broadcasts
//! meet under loss is therefore lateness, and whatever membership makes of it: the deaths it declares are told as well.

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
    journal::Journal,
    ledger::Ledger,
    processes::kill_at_once,
    running::{Running, WARM_UP, Witness},
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

/// Who has which message, and what was said of whom meanwhile.
type Books = (Ledger, Journal);

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
#[expect(clippy::cast_precision_loss, reason = "counts")]
pub(crate) fn measure_loss(bench: &Bench) {
    let (lab, mut running) = bench.network(bench.nodes());
    let (mut outcomes, mut false_deaths, mut lost) = (Outcomes::default(), Vec::new(), Vec::new());
    bench.block_on(running.rest(&mut (), WARM_UP));
    lab.ok(&["fault", "loss", "30%"]);
    for run in 1..=bench.options.runs {
        eprintln!("loss: run {run} of {}", bench.options.runs);
        bench.block_on(async {
            let up = everybody(&running);
            let mut books = (Ledger::default(), Journal::new(up.clone()));
            let ids = send_from(&mut running, &mut books, &origins(&up, run)).await;
            let audience = up.into_iter().collect();
            wait(&mut running, &mut books, &ids, &audience).await;
            outcomes.push(&books.0, &ids, &audience);
            false_deaths.push(books.1.false_deaths() as f64);
            lost.push(books.1.lost_to_faults() as f64);
        });
    }
    lab.ok(&["heal"]);
    bench.block_on(running.until_agreed(&mut ()));
    outcomes.print(bench, "loss");
    bench.print("loss_false_deaths", "members", false_deaths);
    // That datagrams were lost is measured, not assumed; it rises from run to run.
    bench.print("loss_datagrams_lost", "datagrams", lost);
}

/// `half`: half of the nodes are killed at once, and the others broadcast right after.
#[expect(clippy::cast_precision_loss, reason = "counts")]
pub(crate) fn measure_half(bench: &Bench) {
    let (mut outcomes, mut false_deaths) = (Outcomes::default(), Vec::new());
    for run in 1..=bench.options.runs {
        eprintln!("half: run {run} of {}", bench.options.runs);
        let (lab, mut running) = bench.network(bench.nodes());
        bench.block_on(async {
            running.rest(&mut (), WARM_UP).await;
            let up = running.up();
            let is_chosen = |at: usize| (at + run as usize).is_multiple_of(2);
            let pick = |wanted: bool| {
                let picked = up.iter().enumerate().filter(|(at, _)| is_chosen(*at) == wanted);
                picked.map(|(_, name)| name.clone()).collect::<Vec<NodeName>>()
            };
            let (killed, survivors) = (pick(true), pick(false));
            let mut books = (Ledger::default(), Journal::new(survivors.clone()));
            if !kill_at_once(&lab, &killed) {
                eprintln!("half: the engine kills them, a few at a time: their processes cannot be reached from here");
                let cluster = running.cluster.clone();
                let kill = cluster.stop_nodes(&killed, Signal::Kill);
                running.during("the engine kills", &mut books, kill).await.expect("nodes can be killed");
            }
            let ids = send_from(&mut running, &mut books, &origins(&survivors, run)).await;
            let audience = survivors.into_iter().collect();
            wait(&mut running, &mut books, &ids, &audience).await;
            outcomes.push(&books.0, &ids, &audience);
            false_deaths.push(books.1.false_deaths() as f64);
        });
    }
    outcomes.print(bench, "half");
    bench.print("half_false_deaths", "members", false_deaths);
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
        ids.push(running.during("a message is accepted", witness, send(&cluster, origin.clone(), &text)).await);
    }
    ids
}

async fn wait(running: &mut Running, books: &mut Books, ids: &[MessageId], audience: &BTreeSet<NodeName>) {
    running.holds_within(PATIENCE, books, |books, _, _| books.0.all_have(ids, audience)).await;
    running.rest(books, AFTERMATH).await;
}
