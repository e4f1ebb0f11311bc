//! A hundred nodes in one thread: the very cores the real node runs, on a pretend network with one seed.
//!
//! ```text
//! network.rs, heap.rs    time and the queue of events         schedule.rs   faults as values, drawn from a seed
//! lives.rs               start, crash, pause, restart         campaign.rs   many seeds: faults, calm, one last kill
//! effects.rs             what the cores ask for               shrink.rs     the shortest schedule that still fails
//! wire.rs, links.rs      what happens in between              rival.rs      foca on the same wire
//! counters.rs            proof that a fault struck            overload.rs, versus.rs   one overloaded member, ours and foca's
//!
//! invariants.rs          what must hold after every step, by number; trace.rs, traffic.rs, paths.rs are parts of it; checks.rs: they can fail
//! support/ledger.rs      what users were told of the store, judged like Jepsen; ledger_checks.rs: it can fail
//! store.rs, pipes.rs, disks.rs, users.rs   the store of each node, its connections, its disk, and who asks it
//! keeper.rs              what must hold of copies on disks; keeper_checks.rs: it can fail
//! keyed.rs, keys*.rs     scenarios of the store; keys_campaign.rs its campaign
//! folder.rs, folder/      the shared folder's engine, in a simulation of its own
//! large.rs, thousands.rs ten thousand nodes on one table
//! start.rs, kill.rs, faults.rs, broadcast.rs   scenarios
//! ```
//! Each scenario runs with a few fixed seeds. One that fails prints its seed and the command that replays it, line for
//! line: the same seed gives the same run. `P2PNET_SIM_SEED=7 cargo test -p p2pnet-node --test sim` runs every scenario
//! with that seed alone, `P2PNET_SIM_SEED=100..200` with each of a hundred.
//!
//! The campaign runs 256 seeds. `P2PNET_SIM_SEEDS=0..4096 cargo test -p p2pnet-node --test sim campaign` runs others; a seed
//! that fails is printed with its schedule, the shortest part of it that was found to fail too, and its command.

mod broadcast;
mod campaign;
mod checks;
mod counters;
mod disks;
mod effects;
mod faults;
mod folder;
mod heap;
mod invariants;
mod keeper;
mod keeper_checks;
mod keyed;
mod keys;
mod keys_campaign;
mod keys_cut;
mod keys_moves;
mod keys_trouble;
mod kill;
mod large;
#[path = "../support/ledger.rs"]
mod ledger;
mod ledger_checks;
mod links;
mod lives;
mod network;
mod overload;
mod paths;
mod pipes;
mod rival;
mod schedule;
mod shrink;
mod start;
mod store;
mod thousands;
mod trace;
mod traffic;
mod users;
mod versus;
mod wire;

/// Says how to replay when a scenario fails.
struct Replay {
    scenario: &'static str,
    seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { scenario, seed } = self;
            eprintln!("replay: P2PNET_SIM_SEED={seed} cargo test -p p2pnet-node --test sim -- --exact {scenario}");
        }
    }
}

/// Runs a scenario with each seed, or with those in `P2PNET_SIM_SEED`.
fn with_seeds(scenario: &'static str, seeds: &[u64], run: impl Fn(u64)) {
    let number = |text: &str| text.parse().expect("P2PNET_SIM_SEED is a number, or two with `..` between them");
    let given = std::env::var("P2PNET_SIM_SEED").ok().map(|given| match given.split_once("..") {
        Some((first, end)) => (number(first)..number(end)).collect(),
        None => vec![number(&given)],
    });
    for seed in given.unwrap_or_else(|| seeds.to_vec()) {
        let _replay = Replay { scenario, seed };
        run(seed);
    }
}
