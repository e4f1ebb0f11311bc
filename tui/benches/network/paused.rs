//! Deaths declared while 30 % of the nodes are paused, and when they wake.
//!
//! To take a paused node for dead is right: nobody can tell. To take a healthy one for dead is not, neither for those who
//! run on nor for those who wake with every deadline long past.

use std::time::{Duration, Instant};

use p2pnet::{cluster::UnitState, network::Network};
use p2pnet_shared::{NodeName, UnixMillis};

use crate::{
    bench::Bench,
    hog::{Stretches, agree},
    journal::Journal,
    running::{Running, WARM_UP},
};

/// Pauses 30 % of the nodes for a while, others in each run.
#[expect(clippy::cast_precision_loss, reason = "counts")]
pub(crate) fn measure(bench: &Bench) {
    let (_lab, mut running) = bench.network(bench.nodes());
    let (mut healthy, mut agreement, mut paused_deaths) = (Stretches::default(), Vec::new(), Vec::new());
    let pause = bench.stretch(10);
    bench.block_on(async {
        running.rest(&mut (), WARM_UP).await;
        for run in 1..=bench.options.runs {
            eprintln!("paused: run {run} of {}", bench.options.runs);
            let up = running.up();
            let (chosen, others) = split(&up, run);
            let mut journals = (Journal::new(others), Journal::new(chosen.clone()));
            let resumed = sleep_through(&mut running, &mut journals, &chosen, pause).await;
            // Until the engine has told that they go on, nobody's view is held against theirs.
            let is_up =
                |network: &Network, name: &NodeName| network.node(name).is_some_and(|node| node.state == UnitState::Up);
            let agreed = |network: &Network, now: UnixMillis| {
                network.summary(now).converged && chosen.iter().all(|name| is_up(network, name))
            };
            running.until_seeing("all agree", &mut journals, |_, network, now| agreed(network, now)).await;
            agreement.push(resumed.elapsed().as_secs_f64() * 1_000.0);
            // Looks on for a while; the time it takes is no figure.
            let (mut healthy_journal, paused_journal) = journals;
            agree(&mut running, &mut healthy_journal).await;
            paused_deaths.push(paused_journal.false_deaths() as f64);
            healthy.push(&healthy_journal);
        }
    });
    healthy.print(bench, "paused", "_healthy");
    bench.print("paused_deaths_paused", "members", paused_deaths);
    bench.print("paused_resume_to_agreement", "ms", agreement);
}

/// Every third or fourth node, 30 % in all, others in each run.
fn split(up: &[NodeName], run: u32) -> (Vec<NodeName>, Vec<NodeName>) {
    let numbered: Vec<(usize, NodeName)> = up.iter().cloned().enumerate().collect();
    let is_chosen = |at: usize| [0, 3, 7].contains(&((at + run as usize) % 10));
    let (chosen, others): (Vec<_>, Vec<_>) = numbered.into_iter().partition(|(at, _)| is_chosen(*at));
    let names = |list: Vec<(usize, NodeName)>| list.into_iter().map(|(_, name)| name).collect();
    (names(chosen), names(others))
}

/// Pauses `chosen` for a while; when the engine was asked to let them go on.
async fn sleep_through(
    running: &mut Running,
    journals: &mut (Journal, Journal),
    chosen: &[NodeName],
    pause: Duration,
) -> Instant {
    let cluster = running.cluster.clone();
    running.during("nodes are paused", journals, cluster.pause_nodes(chosen)).await.expect("nodes can be paused");
    running.rest(journals, pause).await;
    // Stamped before the engine is asked, so that times are never flattered.
    let asked_at = Instant::now();
    running.during("nodes go on", journals, cluster.resume_nodes(chosen)).await.expect("paused nodes can go on");
    asked_at
}
