//! Accepted at one node → the last node has it.

use p2pnet::{cluster::Cluster, network::Network, verb::Verb, verbs};
use p2pnet_shared::{MessageId, NodeName};

use crate::{bench::Bench, figure::Target, running::Running};

/// Each broadcast: time to its last node and the hops of its longest way.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    last_ms: Vec<f64>,
    hops: Vec<f64>,
}

impl Broadcasts {
    /// Five broadcasts from different nodes, one after the other; milliseconds from the origin's stamp to the last node's.
    ///
    /// # Panics
    /// When a node receives one twice, or not at all in time.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds and hops")]
    pub(crate) async fn measure(&mut self, running: &mut Running) {
        for number in 1..=5 {
            let id = send(&running.cluster, NodeName::numbered(number), &format!("apple {number}")).await;
            let everybody = |network: &Network| {
                network.trace(&id).is_some_and(|trace| trace.delivered > 1 && trace.delivered == trace.expected)
            };
            running.until_seeing("every node has it", &mut (), |(), network, _| everybody(network)).await;
            let trace = running.network.trace(&id).expect("just seen");
            assert_eq!(trace.duplicates, 0, "a node received {id} twice");
            self.last_ms.push(trace.last_ms() as f64);
            self.hops.push(trace.hops_max() as f64);
        }
    }

    /// Prints what was measured.
    pub(crate) fn print(self, bench: &Bench) {
        bench.print_against(Target::Median(100.0), "broadcast_to_last_node", "ms", self.last_ms);
        bench.print_against(Target::Every(8.0), "broadcast_hops", "hops of the longest way", self.hops);
    }
}

/// Lets `from` broadcast `text`.
///
/// # Panics
/// When it does not accept it.
pub(crate) async fn send(cluster: &Cluster, from: NodeName, text: &str) -> MessageId {
    let verb = Verb::Broadcast { from, text: text.to_owned() };
    let outcome = verbs::run(cluster, verb).await.expect("a node that is up accepts a broadcast");
    outcome.lines[0].parse().expect("the first line is the message's id")
}
