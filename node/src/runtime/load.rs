//! What the node costs, by the kernel's accounting, and what it has counted.

use p2pnet_shared::telemetry::Load;

use super::peer::Node;

/// Counts since the node started (but for the lateness, which is since the last report).
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) datagrams_sent: u64,
    pub(super) datagram_bytes_sent: u64,
    pub(super) datagrams_received: u64,
    pub(super) datagram_bytes_received: u64,
    /// Datagrams that were not ours or not sealed with our secret.
    pub(super) undecodable: u64,
    pub(super) frames_sent: u64,
    pub(super) frames_received: u64,
    pub(super) delivered: u64,
    /// Datagrams and frames that a full queue did not take.
    pub(super) dropped: u64,
    pub(super) timer_late_ms_max: u64,
}

pub(super) fn own_load(node: &Node) -> Load {
    let counters = &node.counters;
    Load {
        rss_bytes: rss_bytes(),
        cpu_ms: cpu_ms(),
        timer_late_ms_max: counters.timer_late_ms_max,
        health: node.membership.health(),
        links: u32::try_from(node.broadcast.neighbours().count()).unwrap_or(u32::MAX),
        datagram_bytes_sent: counters.datagram_bytes_sent,
        redundant_frames: node.broadcast.redundant_frames(),
        dropped: counters.dropped + counters.undecodable,
    }
}

/// Resident memory of this process, bytes; 0 where the system does not tell.
pub(super) fn rss_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let resident = pages.and_then(|pages| pages.split_whitespace().nth(1)?.parse::<u64>().ok());
    resident.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Processor time this process has used, milliseconds.
pub(super) fn cpu_ms() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(used.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(used.tv_nsec).unwrap_or(0) / 1_000_000
}
