//! Killed → known dead by every survivor.

use p2pnet::cluster::Role;
use p2pnet_shared::NodeName;

use crate::{
    bench::{Bench, Running, now},
    survivors::Survivors,
};

/// First, median and last survivor, milliseconds, a value a run.
#[derive(Debug, Default)]
struct Times {
    first: Vec<f64>,
    median: Vec<f64>,
    last: Vec<f64>,
}

/// Of one kill, and of ten at once.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    one: Times,
    ten: Times,
}

impl Kills {
    /// Kills one node and, once all agree again, ten at once.
    pub(crate) async fn measure(&mut self, running: &mut Running, nodes: u32) {
        kill(running, &[NodeName::numbered(nodes / 2)], &mut self.one).await;
        if nodes >= 20 {
            let ten: Vec<NodeName> = (1..=10).map(NodeName::numbered).collect();
            kill(running, &ten, &mut self.ten).await;
        }
    }

    /// Prints the six figures.
    pub(crate) fn print(self, bench: &Bench) {
        for (name, times) in [("one", self.one), ("ten", self.ten)] {
            bench.print(&format!("kill_{name}_first_survivor"), "ms", times.first);
            bench.print(&format!("kill_{name}_median_survivor"), "ms", times.median);
            bench.print(&format!("kill_{name}_last_survivor"), "ms", times.last);
        }
    }
}

async fn kill(running: &mut Running, victims: &[NodeName], times: &mut Times) {
    let up = running.network.nodes().filter(|node| node.role != Role::Gateway && node.agrees);
    let up: Vec<NodeName> = up.map(|node| node.name.clone()).collect();
    let mut survivors = Survivors::new(now(), victims, up.into_iter());
    running.cluster.stop_nodes(victims, p2pnet::verb::Signal::Kill).await.expect("nodes can be killed");
    // Two closures look at the same survivors, one after the other.
    let survivors_cell = std::cell::RefCell::new(&mut survivors);
    running
        .until_seeing(
            "every survivor knows",
            |observation| survivors_cell.borrow_mut().observe(observation),
            |_, _| survivors_cell.borrow().all_know(),
        )
        .await;
    let (first, median, last) = survivors.first_median_last();
    times.first.push(first);
    times.median.push(median);
    times.last.push(last);
    running.until("all agree again", |network, now| network.summary(now).converged).await;
}
