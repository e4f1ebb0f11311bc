//! How much a node sends (invariant 6): no datagram beyond the limit, and never more in ten seconds than its own timers
//! and what it was sent can explain.

use std::collections::HashMap;

use p2pnet_node::membership::Config;
use p2pnet_shared::wire::{DATAGRAM_MAX_BYTES, ENVELOPE_MAX_BYTES};

use crate::wire::NodeId;

/// The unsealed envelope; a sealed one adds the rest of [`ENVELOPE_MAX_BYTES`].
const PLAIN_ENVELOPE_BYTES: usize = 6;
/// Over so many microseconds the bytes are added up.
const WINDOW_US: u64 = 10_000_000;
/// Datagrams that one received may cause: its answer, a correction, a round of gossip for a refutation.
const ANSWERS: usize = 5;
/// Rows that one datagram of a full state has room for, at the least.
const ROWS_PER_DATAGRAM: usize = 10;

#[derive(Debug, Default)]
struct Window {
    began: u64,
    bytes: usize,
    received: usize,
}

/// What each node has sent lately.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    windows: HashMap<NodeId, Window>,
}

impl Traffic {
    pub(crate) fn born(&mut self, id: NodeId) {
        self.windows.remove(&id);
    }

    pub(crate) fn heard(&mut self, id: NodeId, clock: u64) {
        self.window(id, clock).received += 1;
    }

    fn window(&mut self, id: NodeId, clock: u64) -> &mut Window {
        let window = self.windows.entry(id).or_default();
        if clock - window.began >= WINDOW_US {
            *window = Window { began: clock, ..Window::default() };
        }
        window
    }

    pub(crate) fn sent(&mut self, id: NodeId, clock: u64, bytes: usize, nodes: usize, config: &Config) {
        let window = self.window(id, clock);
        window.bytes += bytes;
        let ceiling = ceiling(window.received, nodes, config);
        assert!(window.bytes <= ceiling, "invariant 6: {} bytes in ten seconds, at most {ceiling}", window.bytes);
    }
}

/// No datagram is larger than the wire allows, also once it is sealed.
pub(crate) fn largest_allowed(bytes: usize, sealed: bool) {
    let envelope = if sealed { 0 } else { ENVELOPE_MAX_BYTES - PLAIN_ENVELOPE_BYTES };
    let largest = bytes + envelope;
    assert!(largest <= DATAGRAM_MAX_BYTES, "invariant 6: a datagram of {largest} bytes");
}

/// Bytes that a node which was sent `received` datagrams sends in a window at most.
fn ceiling(received: usize, nodes: usize, config: &Config) -> usize {
    let in_window = |every_ms: u64| (WINDOW_US / 1_000 / every_ms.max(1)) as usize + 1;
    let gossip = config.gossip_fanout * in_window(config.gossip_interval.0);
    let probe = (2 + config.indirect_probes) * (in_window(config.probe_interval.0) + nodes);
    let contacts = config.leave_fanout + config.seeds_max.min(4 * nodes) + in_window(config.contact_retry.0);
    let states = in_window(1_000) * config.full_states_per_second as usize * (nodes / ROWS_PER_DATAGRAM + 1);
    (gossip + probe + contacts + ANSWERS * received + states.min(received * (nodes / ROWS_PER_DATAGRAM + 1)))
        * DATAGRAM_MAX_BYTES
}
