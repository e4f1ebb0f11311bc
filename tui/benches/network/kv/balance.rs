//! How evenly keys lie, what moves when a node comes or goes, what keys cost in memory, and that all nodes name the same
//! owners.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use p2pnet_shared::{
    NodeName,
    ring::{Ring, VNODES},
};

use super::{
    copies::Copies,
    doors::Doors,
    http,
    keys::Keys,
    load::{self, Load, Step, Talk},
};
use crate::{
    bench::Bench,
    figure::{Figure, Target},
    processes::{node_pids, rss_mib},
    running::Running,
    support::Lab,
};

/// Owners every node is asked for.
const OWNERS: usize = 1_000;
/// Copies of every key.
const N: usize = 3;
/// How long nothing may be on its way before it counts as done.
const STILL: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(120);

/// Resident memory of every node, MiB.
pub(crate) fn memory(lab: &Lab) -> Vec<f64> {
    let nodes = node_pids(lab).into_iter().filter(|(name, _)| name != "gateway");
    nodes.filter_map(|(_, pid)| rss_mib(pid)).collect()
}

/// Prints memory without keys and with them.
pub(crate) fn print_memory(bench: &Bench, lab: &Lab, without: Vec<f64>) {
    bench.print("kv_rss_per_node_without_keys", "MiB", without);
    bench.print("kv_rss_per_node_with_10000_keys", "MiB", memory(lab));
}

/// Asks one node for the owners of all keys. Who is first with a key says what the others must say, to the letter.
struct Owners {
    keys: Arc<Keys>,
    said: Arc<Vec<OnceLock<Vec<u8>>>>,
    next: usize,
}

impl Talk for Owners {
    fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        if self.next >= self.keys.count() {
            return false;
        }
        out.extend_from_slice(b"GET /owner/");
        self.keys.write_name(self.next, out);
        out.extend_from_slice(b" HTTP/1.1\r\nHost: bench\r\n\r\n");
        self.next += 1;
        true
    }

    fn answer(&mut self, received: &[u8], _out: &mut Vec<u8>) -> Step {
        let said = &self.said[self.next - 1];
        http::step(received, |answer| {
            if answer.status != 200 {
                return Err(answer.complaint());
            }
            let first = said.get_or_init(|| answer.body.to_vec());
            let differ = || format!("{}, but another said {}", answer.complaint(), String::from_utf8_lossy(first));
            if *first == answer.body { Ok(()) } else { Err(differ()) }
        })
    }
}

/// Every node names the same owner and replicas of 1,000 keys.
#[expect(clippy::cast_precision_loss, reason = "a count")]
pub(crate) fn owners(bench: &Bench, doors: &Doors, nodes: u32) {
    let keys = Arc::new(Keys::new("owner", OWNERS));
    let said = Arc::new((0..OWNERS).map(|_| OnceLock::new()).collect::<Vec<_>>());
    let ask = |_| Box::new(Owners { keys: keys.clone(), said: said.clone(), next: 0 }) as Box<dyn Talk>;
    let asked = load::run(Load::to_the_end(doors.lines(doors.count(), ask)));
    for complaint in &asked.complaints {
        eprintln!("kv: {complaint}");
    }
    assert_eq!(asked.right() + asked.wrong as usize, OWNERS * doors.count(), "every node was asked for every key");
    let figure = Figure::new("kv_owners_that_differ", "answers", vec![asked.wrong as f64], nodes, bench.runtime());
    figure.against(Target::Every(0.0)).print();
}

/// Balance, then three nodes that come and three that leave, one after the other.
pub(crate) fn measure(bench: &Bench, lab: &Lab, keys: &Arc<Keys>, nodes: u32) {
    const TIMES: u32 = 3;
    let (mut joins, mut leaves) = (Moves::default(), Moves::default());
    bench.block_on(async {
        let mut copies = Copies::of(keys.places());
        let mut running = Running::attach(lab, PATIENCE).await;
        settle(&mut running, &mut copies).await;
        print_balance(bench, &copies, &running);
        for number in 1..=TIMES {
            eprintln!("kv moves: {number} of {TIMES}");
            let before = Ring::of(VNODES, running.up());
            copies.remember();
            lab.ok(&["add-nodes", "1"]);
            settle(&mut running, &mut copies).await;
            let newcomer = NodeName::numbered(nodes + number);
            let after = Ring::of(VNODES, running.up());
            assert_eq!(after.members().len(), before.members().len() + 1, "one has come");
            joins.push(&copies, keys, &after, &newcomer);
        }
        for number in 1..=TIMES {
            let leaver = NodeName::numbered(number * 7);
            let before = Ring::of(VNODES, running.up());
            copies.remember();
            lab.ok(&["remove-node", leaver.as_str(), "--signal", "TERM"]);
            copies.bury(std::slice::from_ref(&leaver));
            settle(&mut running, &mut copies).await;
            leaves.push(&copies, keys, &before, &leaver);
        }
    });
    joins.print(bench, "kv_join_moves");
    leaves.print(bench, "kv_leave_moves");
}

/// Copies that came over what had to come.
#[derive(Debug, Default)]
struct Moves {
    over_share: Vec<f64>,
    over_mean: Vec<f64>,
}

impl Moves {
    /// `node` came to `ring`, or goes from it.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    fn push(&mut self, copies: &Copies, keys: &Keys, ring: &Ring, node: &NodeName) {
        let share = keys.places().into_iter().filter(|place| ring.preference(*place, N).contains(node)).count();
        self.over_share.push(copies.come() as f64 / share as f64);
        self.over_mean.push(copies.come() as f64 * ring.members().len() as f64 / (keys.count() * N) as f64);
    }

    fn print(self, bench: &Bench, name: &str) {
        bench.print_against(Target::Median(1.3), &format!("{name}_over_its_share"), "ratio", self.over_share);
        bench.print(&format!("{name}_over_mean_share"), "ratio", self.over_mean);
    }
}

/// Waits until all agree, every key has its copies, and nothing has been on its way for a while.
async fn settle(running: &mut Running, copies: &mut Copies) {
    let mut still_since = None;
    running
        .until_seeing("every key has its copies and nothing moves", copies, |copies, network, now| {
            let still = copies.short() == 0 && copies.is_still() && network.summary(now).converged;
            still_since = still.then(|| still_since.unwrap_or(now));
            still_since.is_some_and(|since| Duration::from_millis(now.since(since)) > STILL)
        })
        .await;
}

/// The fullest node over the mean: of all copies, and of owned keys alone.
#[expect(clippy::cast_precision_loss, reason = "counts")]
fn print_balance(bench: &Bench, copies: &Copies, running: &Running) {
    let held: HashMap<NodeName, usize> = copies.per_node();
    let of = |counts: Vec<f64>| {
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        counts.iter().copied().fold(0.0, f64::max) / mean
    };
    let up = running.up();
    let copies_of = |node: &NodeName| held.get(node).copied().unwrap_or(0) as f64;
    let owned_by = |node: &NodeName| copies.counts().get(node).map_or(0.0, |counts| counts.owned as f64);
    let balance = of(up.iter().map(copies_of).collect());
    bench.print_against(Target::Every(1.4), "kv_keys_max_over_mean", "ratio", vec![balance]);
    bench.print("kv_owned_keys_max_over_mean", "ratio", vec![of(up.iter().map(owned_by).collect())]);
}
