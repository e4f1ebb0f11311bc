//! What a node reports about itself, and the feed that a dashboard reads.
//!
//! ```text
//! node ──Report over a TCP link──▶ gateway ──FeedLine, one JSON object a line──▶ dashboard, verbs, tests
//! ```
//! A node opens one link to the gateway, says [`Report::Hello`], then [`Report::Snapshot`], then every change as it
//! happens, in order. The link is reliable, so a reader that folds reports in order holds exactly the node's own view;
//! each [`Report::View`] carries the digest to check that against. When the link breaks the node dials again and starts
//! over with `Hello` and `Snapshot`, which replace all that was known of it.
//!
//! The gateway hands reports on unchanged and keeps what a newcomer needs to catch up: a new reader first receives, for
//! every node, the reports that rebuild today's state, and then [`FeedLine::CaughtUp`].

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    fault::ActiveFault,
    id::{Epoch, MessageId, NodeName, UnixMillis},
    view::ViewDigest,
    wire::membership::Status,
};

/// One member as a node holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// Who.
    pub member: NodeName,
    /// Which life of it.
    pub epoch: Epoch,
    /// Its incarnation in that life.
    pub incarnation: u32,
    /// What the observer believes.
    pub status: Status,
}

/// What happened to a member in an observer's eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberEventKind {
    /// First heard of, alive.
    Joined,
    /// Accused: a probe was missed.
    Suspected,
    /// The accused spoke up and is alive.
    Refuted,
    /// The suspicion ran out.
    Died,
    /// Said goodbye.
    Left,
    /// Believed dead or gone before, now alive: a newer life, or a refutation that came late.
    CameBack,
}

/// One change of an observer's member table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEvent {
    /// What happened.
    pub kind: MemberEventKind,
    /// To whom, and how it stands now.
    pub row: MemberRow,
    /// Who accused it, for `Suspected` and `Died`.
    pub accuser: Option<NodeName>,
}

// In JSON the row's fields stand beside the event's own. A frame cannot have that: postcard needs to know how many
// fields there are, and serde's `flatten` does not say.
#[derive(Serialize, Deserialize)]
struct InJson {
    kind: MemberEventKind,
    #[serde(flatten)]
    row: MemberRow,
    accuser: Option<NodeName>,
}

#[derive(Serialize, Deserialize)]
struct InFrame {
    kind: MemberEventKind,
    row: MemberRow,
    accuser: Option<NodeName>,
}

impl Serialize for MemberEvent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { kind, row, accuser } = self.clone();
        if serializer.is_human_readable() {
            InJson { kind, row, accuser }.serialize(serializer)
        } else {
            InFrame { kind, row, accuser }.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for MemberEvent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            InJson::deserialize(deserializer).map(|InJson { kind, row, accuser }| Self { kind, row, accuser })
        } else {
            InFrame::deserialize(deserializer).map(|InFrame { kind, row, accuser }| Self { kind, row, accuser })
        }
    }
}

/// A broadcast as it reached one node (the origin too, whose path is itself alone).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Which message.
    pub id: MessageId,
    /// From the origin to this node, both named.
    pub path: Vec<NodeName>,
    /// When this node first had it.
    pub at: UnixMillis,
    /// What was said; carried where the path is at most two names long, so that not every node repeats 8 KiB.
    pub text: Option<String>,
}

/// What a node costs and how it feels. Sent every few seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Processor time used since the node started, milliseconds.
    pub cpu_ms: u64,
    /// Lateness of the node's own timers since the last report, milliseconds, the worst.
    pub timer_late_ms_max: u64,
    /// Lifeguard's local health, 0 (well) to 7.
    pub health: u8,
    /// Overlay neighbours.
    pub links: u32,
    /// Bytes of membership datagrams sent since the node started.
    pub datagram_bytes_sent: u64,
    /// Broadcast frames received that were already known, since the node started.
    pub redundant_frames: u64,
    /// Frames and datagrams dropped since the node started: full queues and bytes that did not decode.
    pub dropped: u64,
    /// Datagrams lost to faults that were set on purpose, since the node started.
    pub lost_to_faults: u64,
}

/// What a node tells the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// First on every link.
    Hello {
        /// The node's UUID, kept over restarts.
        id: Uuid,
        /// Its life.
        epoch: Epoch,
        /// Where it listens.
        addr: SocketAddr,
    },
    /// Everything that later reports change.
    Snapshot {
        /// The member table, without the node itself.
        members: Vec<MemberRow>,
        /// The recent messages.
        deliveries: Vec<Delivery>,
    },
    /// The member table changed.
    Member {
        /// How.
        event: MemberEvent,
        /// When.
        at: UnixMillis,
    },
    /// Who is believed alive after the changes so far.
    View {
        /// The node itself included.
        digest: ViewDigest,
        /// When it last changed.
        at: UnixMillis,
    },
    /// A broadcast arrived or was accepted here.
    Delivered(Delivery),
    /// Cost and health.
    Load(Load),
    /// The node is going away by its own will.
    Leaving,
    /// The faults it obeys from here on; none after a `Hello` until this says otherwise.
    Faults {
        /// Oldest first.
        faults: Vec<ActiveFault>,
    },
}

/// One line of the gateway's feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FeedLine {
    /// A node said something.
    Report {
        /// Which node.
        node: NodeName,
        /// What it said.
        report: Report,
    },
    /// The link to a node broke. It may be dead, cut off, or restarting: only the container engine knows.
    Lost {
        /// Which node.
        node: NodeName,
        /// When.
        at: UnixMillis,
    },
    /// Everything before this line was history.
    CaughtUp,
    /// The reader was too slow and lines were left out: start over from an empty state, a new history follows.
    Overrun,
    /// Nothing happened for a while; the gateway is alive.
    Idle,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_line_reads_as_one_would_write_it() {
        let row = MemberRow { member: NodeName::numbered(9), epoch: Epoch(5), incarnation: 2, status: Status::Dead };
        let event = MemberEvent { kind: MemberEventKind::Died, row, accuser: Some(NodeName::numbered(3)) };
        let line =
            FeedLine::Report { node: NodeName::numbered(1), report: Report::Member { event, at: UnixMillis(17) } };
        let json = serde_json::to_value(&line).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"type": "report", "node": "node1", "report": {"member": {"at": 17, "event": {
                "kind": "died", "member": "node9", "epoch": 5, "incarnation": 2, "status": "dead", "accuser": "node3"}}}})
        );
        assert_eq!(serde_json::from_value::<FeedLine>(json).unwrap(), line);
    }

    #[test]
    fn every_report_goes_through_a_frame() {
        let row = MemberRow { member: NodeName::numbered(9), epoch: Epoch(5), incarnation: 2, status: Status::Suspect };
        let event =
            MemberEvent { kind: MemberEventKind::Suspected, row: row.clone(), accuser: Some(NodeName::numbered(3)) };
        let id = MessageId { origin: NodeName::numbered(4), epoch: Epoch(7), seq: 1 };
        let delivery =
            Delivery { id, path: vec![NodeName::numbered(4)], at: UnixMillis(8), text: Some("apple".into()) };
        let cut = crate::fault::Cut::new("1-5".parse().unwrap(), None, true).unwrap();
        let fault =
            ActiveFault { fault: crate::fault::Fault::Cut(cut), since: UnixMillis(6), spared: "9".parse().unwrap() };
        let reports = [
            Report::Hello { id: Uuid::nil(), epoch: Epoch(5), addr: "[::1]:5000".parse().unwrap() },
            Report::Snapshot { members: vec![row], deliveries: vec![delivery.clone()] },
            Report::Member { event, at: UnixMillis(17) },
            Report::View { digest: ViewDigest { members: 3, hash: u64::MAX }, at: UnixMillis(18) },
            Report::Delivered(delivery),
            Report::Load(Load::default()),
            Report::Leaving,
            Report::Faults { faults: vec![fault] },
        ];
        let codec = crate::wire::Codec::new(&"lab".parse().unwrap(), None);
        for report in reports {
            assert_eq!(codec.decode::<Report>(&codec.encode(&report)).unwrap(), report);
            let json = serde_json::to_string(&report).unwrap();
            assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        }
    }
}
