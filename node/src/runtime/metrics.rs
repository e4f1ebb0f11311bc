//! What a node counts, and what it costs.
//!
//! Counters only ever rise and are shared with the tasks; everything else is read where it lives when somebody asks.
//! Printed in Prometheus' text format (version 0.0.4) by `GET /metrics`.

use std::{
    fmt::{Display, Write},
    sync::atomic::{AtomicU64, Ordering},
};

/// One counter.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, amount: usize) {
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Since the node started.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) datagrams_in: Count,
    pub(super) datagrams_out: Count,
    pub(super) datagram_bytes_in: Count,
    pub(super) datagram_bytes_out: Count,
    /// Datagrams that did not decode.
    pub(super) datagrams_refused: Count,
    /// Datagrams the system had no room for.
    pub(super) datagrams_dropped: Count,
    /// Datagrams lost to faults set on purpose.
    pub(super) lost_to_faults: Count,
    pub(super) frames_in: Count,
    pub(super) frames_out: Count,
    pub(super) frame_bytes_in: Count,
    pub(super) frame_bytes_out: Count,
    /// Frames that did not decode or were too long; each closed its link.
    pub(super) frames_refused: Count,
    /// Links closed because their queue was full.
    pub(super) links_overflowed: Count,
    /// Times a link's queue went past its mark.
    pub(super) links_crowded: Count,
    /// Links refused: too many, a stale life, or the other of two.
    pub(super) links_refused: Count,
    /// The store's connections.
    pub(super) store: Traffic,
    /// The shared folder's.
    pub(super) files: Traffic,
    pub(super) kv_puts: Count,
    pub(super) kv_gets: Count,
    pub(super) kv_deletes: Count,
    /// Puts, gets and deletes answered with 503 or 507.
    pub(super) kv_failed: Count,
    /// Connections refused because there were too many.
    pub(super) connections_refused: Count,
    pub(super) http_requests: Count,
    /// HTTP replies of 400 and above.
    pub(super) http_errors: Count,
    pub(super) gossips: Count,
    pub(super) probes: Count,
    pub(super) delivered: Count,
    /// Addresses heard of that found the queue full.
    pub(super) heard_dropped: Count,
    /// Readers of `/events` that were too slow.
    pub(super) readers_dropped: Count,
    /// Beacons on the local network: received, those that another pace or another network made us drop, and sent.
    pub(super) beacons_in: Count,
    pub(super) beacons_limited: Count,
    pub(super) beacons_refused: Count,
    pub(super) beacons_out: Count,
    /// Links to the gateway that started over because the queue was full.
    pub(super) reports_overflowed: Count,
}

/// What one kind of connections between any two nodes carried, since the node started.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Packets received from and handed to other nodes.
    pub(super) packets_in: Count,
    pub(super) packets_out: Count,
    pub(super) bytes_in: Count,
    pub(super) bytes_out: Count,
    /// Packets that did not decode or were too long; each closed its connection.
    pub(super) packets_refused: Count,
    /// Packets that could be lost and found a full queue.
    pub(super) packets_dropped: Count,
    /// Connections that were dialled, and those of them that did not come up.
    pub(super) dialled: Count,
    pub(super) failed: Count,
    /// Connections that were refused: too many, or an earlier life.
    pub(super) refused: Count,
    /// Connections closed because their queue was full.
    pub(super) overflowed: Count,
}

impl Counters {
    /// Frames and datagrams dropped: full queues and bytes that did not decode.
    pub(super) fn dropped(&self) -> u64 {
        let dropped = [&self.datagrams_refused, &self.datagrams_dropped, &self.frames_refused, &self.links_overflowed];
        let of = |traffic: &Traffic| traffic.packets_refused.get() + traffic.overflowed.get();
        dropped.into_iter().map(Count::get).sum::<u64>() + of(&self.store) + of(&self.files)
    }
}

/// Resident memory, bytes; 0 where the system does not say.
pub(super) fn rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Processor time used by this process so far, milliseconds.
pub(super) fn cpu_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Prometheus text in the making.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, "counter", help, &[("", value.to_string())]);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, "gauge", help, &[("", value.to_string())]);
    }

    /// One metric with a value per label, written as `{status="alive"}`.
    pub(super) fn metric(&mut self, name: &str, kind: &str, help: &str, values: &[(&str, String)]) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "# HELP p2pnet_{name} {help}\n# TYPE p2pnet_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(self.0, "p2pnet_{name}{labels} {value}");
        }
    }

    pub(super) fn counters(&mut self, counters: &Counters) {
        let c = counters;
        for (name, help, count) in [
            ("datagrams_received_total", "Membership datagrams received.", &c.datagrams_in),
            ("datagrams_sent_total", "Membership datagrams sent.", &c.datagrams_out),
            ("datagram_received_bytes_total", "Bytes of datagrams received.", &c.datagram_bytes_in),
            ("datagram_sent_bytes_total", "Bytes of datagrams sent.", &c.datagram_bytes_out),
            ("datagrams_refused_total", "Datagrams that did not decode.", &c.datagrams_refused),
            ("datagrams_dropped_total", "Datagrams the system had no room for.", &c.datagrams_dropped),
            ("datagrams_lost_to_faults_total", "Datagrams lost to faults set on purpose.", &c.lost_to_faults),
            ("probes_total", "Pings sent.", &c.probes),
            ("frames_received_total", "Frames received over links.", &c.frames_in),
            ("frames_sent_total", "Frames handed to links.", &c.frames_out),
            ("frame_received_bytes_total", "Bytes of frames received.", &c.frame_bytes_in),
            ("frame_sent_bytes_total", "Bytes of frames handed to links.", &c.frame_bytes_out),
            ("frames_refused_total", "Frames that did not decode or were too long.", &c.frames_refused),
            ("links_overflowed_total", "Links closed because their queue was full.", &c.links_overflowed),
            ("links_crowded_total", "Times a link's queue went past its mark.", &c.links_crowded),
            ("links_refused_total", "Links refused.", &c.links_refused),
            ("packets_received_total", "Packets of the store received.", &c.store.packets_in),
            ("packets_sent_total", "Packets of the store handed to connections.", &c.store.packets_out),
            ("packet_received_bytes_total", "Bytes of the store's packets received.", &c.store.bytes_in),
            ("packet_sent_bytes_total", "Bytes of the store's packets handed to connections.", &c.store.bytes_out),
            (
                "packets_refused_total",
                "The store's packets that did not decode or were too long.",
                &c.store.packets_refused,
            ),
            ("peers_dialled_total", "Connections for the store that were dialled.", &c.store.dialled),
            ("peers_failed_total", "Connections for the store that did not come up.", &c.store.failed),
            ("peers_refused_total", "Connections for the store refused.", &c.store.refused),
            ("peers_overflowed_total", "Connections for the store closed on a full queue.", &c.store.overflowed),
            ("file_packets_received_total", "Packets of the folder received.", &c.files.packets_in),
            ("file_packets_sent_total", "Packets of the folder handed to connections.", &c.files.packets_out),
            ("file_packet_received_bytes_total", "Bytes of the folder's packets received.", &c.files.bytes_in),
            (
                "file_packet_sent_bytes_total",
                "Bytes of the folder's packets handed to connections.",
                &c.files.bytes_out,
            ),
            (
                "file_packets_refused_total",
                "The folder's packets that did not decode or were too long.",
                &c.files.packets_refused,
            ),
            ("file_packets_dropped_total", "News for the folder that found a full queue.", &c.files.packets_dropped),
            ("file_peers_dialled_total", "Connections for the folder that were dialled.", &c.files.dialled),
            ("file_peers_failed_total", "Connections for the folder that did not come up.", &c.files.failed),
            ("file_peers_refused_total", "Connections for the folder refused.", &c.files.refused),
            ("file_peers_overflowed_total", "Connections for the folder closed on a full queue.", &c.files.overflowed),
            ("kv_puts_total", "Puts asked for here.", &c.kv_puts),
            ("kv_gets_total", "Gets asked for here.", &c.kv_gets),
            ("kv_deletes_total", "Deletes asked for here.", &c.kv_deletes),
            ("kv_failed_total", "Puts, gets and deletes answered with 503 or 507.", &c.kv_failed),
            ("connections_refused_total", "Connections refused because there were too many.", &c.connections_refused),
            ("http_requests_total", "HTTP requests.", &c.http_requests),
            ("http_errors_total", "HTTP replies of 400 and above.", &c.http_errors),
            ("gossips_total", "Lists of names received at /gossip.", &c.gossips),
            ("messages_delivered_total", "Broadcasts delivered here.", &c.delivered),
            ("heard_dropped_total", "Addresses heard of that found the queue full.", &c.heard_dropped),
            ("beacons_received_total", "Beacons received on the local network.", &c.beacons_in),
            ("beacons_sent_total", "Beacons sent, answers included.", &c.beacons_out),
            ("beacons_refused_total", "Beacons of other networks, or that did not decode.", &c.beacons_refused),
            ("beacons_limited_total", "Beacons of sources that sent too many.", &c.beacons_limited),
            ("event_readers_dropped_total", "Readers of /events that were too slow.", &c.readers_dropped),
            ("reports_overflowed_total", "Telemetry links that started over on a full queue.", &c.reports_overflowed),
        ] {
            self.counter(name, help, count.get());
        }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_reads_as_prometheus_wants_it() {
        let mut text = Exposition::default();
        text.metric("members", "gauge", "Members by status.", &[("{status=\"alive\"}", "3".to_owned())]);
        assert_eq!(
            text.finish(),
            "# HELP p2pnet_members Members by status.\n# TYPE p2pnet_members gauge\np2pnet_members{status=\"alive\"} 3\n"
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_and_processor_time_are_known() {
        assert!(rss_bytes() > 100_000);
        assert!(cpu_ms() < 3_600_000);
    }
}
