//! `GET /metrics`: the node's numbers as Prometheus reads them (text format 0.0.4).

use std::fmt::Write;

use p2pnet_shared::wire::membership::Status;

use super::{load, peer::Node};

/// All of them.
pub(super) fn text(node: &Node) -> String {
    let mut text = String::new();
    let by_status = |status| node.membership.members().filter(|member| member.status == status).count() as u64;
    let _ =
        writeln!(text, "# HELP p2pnet_members Members by what this node believes of them\n# TYPE p2pnet_members gauge");
    for (label, status) in
        [("alive", Status::Alive), ("suspect", Status::Suspect), ("dead", Status::Dead), ("left", Status::Left)]
    {
        let _ = writeln!(text, "p2pnet_members{{status=\"{label}\"}} {}", by_status(status));
    }
    let counters = &node.counters;
    let gauges = [
        ("links", "TCP links to overlay neighbours", node.link_count() as u64),
        ("health", "Lifeguard's local health, 0 is well", u64::from(node.membership.health())),
        ("resident_memory_bytes", "Resident memory", load::rss_bytes()),
        ("timer_late_milliseconds", "Worst lateness of a timer in the last seconds", counters.timer_late_ms_max),
    ];
    let counts = [
        ("cpu_milliseconds_total", "Processor time used", load::cpu_ms()),
        ("datagrams_sent_total", "Membership datagrams sent", counters.datagrams_sent),
        ("datagrams_received_total", "Datagrams received", counters.datagrams_received),
        ("datagram_bytes_sent_total", "Bytes of membership datagrams sent", counters.datagram_bytes_sent),
        ("datagram_bytes_received_total", "Bytes of datagrams received", counters.datagram_bytes_received),
        ("datagrams_undecodable_total", "Datagrams that were not ours", counters.undecodable),
        ("frames_sent_total", "Frames handed to links", counters.frames_sent),
        ("frames_received_total", "Frames received over links", counters.frames_received),
        ("frames_redundant_total", "Broadcast frames already known", node.broadcast.redundant_frames()),
        ("messages_delivered_total", "Broadcasts delivered here", counters.delivered),
        ("dropped_total", "Datagrams and frames a full queue did not take", counters.dropped),
    ];
    for (kind, numbers) in [("gauge", gauges.as_slice()), ("counter", counts.as_slice())] {
        for (name, help, value) in numbers {
            let _ = writeln!(text, "# HELP p2pnet_{name} {help}\n# TYPE p2pnet_{name} {kind}\np2pnet_{name} {value}");
        }
    }
    text
}
