//! Accepted at one node → the last node has it.

use p2pnet::{verb::Verb, verbs};
use p2pnet_shared::NodeName;

use crate::bench::Running;

/// Five broadcasts from different nodes, one after the other; milliseconds from the origin's stamp to the last node's.
///
/// # Panics
/// When a node receives one twice, or not at all within two minutes.
#[expect(clippy::cast_precision_loss, reason = "milliseconds")]
pub(crate) async fn measure(running: &mut Running) -> Vec<f64> {
    let mut times = Vec::new();
    for number in 1..=5 {
        let text = format!("apple {number}");
        let verb = Verb::Broadcast { from: NodeName::numbered(number), text: text.clone() };
        verbs::run(&running.cluster, verb).await.expect("a node that is up accepts a broadcast");
        let find = |network: &p2pnet::network::Network| {
            network.traces().find(|trace| trace.text.as_ref() == Some(&text)).cloned()
        };
        running
            .until("every node has it", |network, _| {
                find(network).is_some_and(|trace| trace.delivered > 1 && trace.delivered == trace.expected)
            })
            .await;
        let trace = find(&running.network).expect("just seen");
        assert_eq!(trace.duplicates, 0, "a node received {} twice", trace.id);
        times.push(trace.last_ms() as f64);
    }
    times
}
