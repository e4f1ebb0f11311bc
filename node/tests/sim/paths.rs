//! Where messages went (invariants 14 to 16), and the shape of the overlay (17).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use p2pnet_shared::{MessageId, NodeName, wire::broadcast::PATH_MAX};

use crate::{invariants::number, network::Network, wire::NodeId};

/// How a message came to one life of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    /// Microseconds.
    pub(crate) at: u64,
    pub(crate) hops: usize,
}

/// Every message, where it was sent and where it arrived.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// Over which links, from whom to whom, each message was sent while they were up.
    walked: HashMap<MessageId, HashSet<(NodeId, NodeId)>>,
    /// When each node's life had each message.
    pub(crate) deliveries: BTreeMap<MessageId, BTreeMap<(NodeId, u32), Delivery>>,
    /// Frames with a message in them.
    pub(crate) frames: u64,
}

impl Paths {
    pub(crate) fn forwarded(&mut self, from: NodeId, to: NodeId, message: &MessageId) {
        self.frames += 1;
        if let Some(walked) = self.walked.get_mut(message) {
            walked.insert((from, to));
        } else {
            self.walked.insert(message.clone(), HashSet::from([(from, to)]));
        }
    }

    pub(crate) fn delivered(
        &mut self,
        clock: u64,
        to: (NodeId, u32),
        name: &NodeName,
        message: &MessageId,
        path: &[NodeName],
    ) {
        let ends = (path.first(), path.last());
        assert_eq!(ends, (Some(&message.origin), Some(name)), "invariant 16: a path from origin to here");
        let different = path.iter().collect::<BTreeSet<_>>().len();
        assert_eq!(different, path.len(), "invariant 16: a path meets nobody twice: {path:?}");
        assert!(path.len() <= PATH_MAX + 1, "invariant 16: a path of {} hops", path.len());
        for step in path.windows(2) {
            let ends = (number(&step[0]), number(&step[1]));
            let walked = self.walked.get(message).is_some_and(|walked| walked.contains(&ends));
            assert!(walked, "invariant 16: {ends:?} of {path:?} was no link then");
        }
        let delivery = Delivery { at: clock, hops: path.len() - 1 };
        let before = self.deliveries.entry(message.clone()).or_default().insert(to, delivery);
        assert!(before.is_none(), "invariant 14: {message} delivered twice at {name}");
    }

    /// Whether that life of a node has the message.
    pub(crate) fn has(&self, message: &MessageId, node: NodeId, life: u32) -> bool {
        self.deliveries.get(message).is_some_and(|reached| reached.contains_key(&(node, life)))
    }
}

impl Network {
    /// What is wrong with the overlay when nothing has happened for a while: it is to be symmetric, alive and connected.
    pub(crate) fn overlay_trouble(&self) -> Option<String> {
        let views: BTreeMap<NodeId, BTreeSet<NodeId>> = self
            .running()
            .into_iter()
            .filter_map(|id| {
                let peer = self.nodes[id].peer.as_ref()?;
                Some((id, peer.broadcast.neighbours().map(number).collect()))
            })
            .collect();
        for (id, view) in &views {
            for other in view {
                match views.get(other) {
                    None => return Some(format!("node {id} has node {other}, which does not run, as its neighbour")),
                    Some(theirs) if !theirs.contains(id) => return Some(format!("{id} has {other}, not the reverse")),
                    Some(_) => {}
                }
            }
        }
        let first = views.keys().next()?;
        let (mut reached, mut next) = (BTreeSet::from([*first]), vec![*first]);
        while let Some(id) = next.pop() {
            next.extend(views[&id].iter().filter(|other| reached.insert(**other)));
        }
        (reached.len() < views.len()).then(|| format!("only {} of {} hang together", reached.len(), views.len()))
    }
}
