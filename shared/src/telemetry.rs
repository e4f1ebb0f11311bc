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
    path::FilePath,
    ring::{Place, RingDigest},
    view::ViewDigest,
    wire::{
        broadcast::Via,
        folder::{FolderDigest, Root},
        membership::Status,
    },
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
    /// Who accused it first, for `Suspected` and `Died`; whose accusation was refuted, for `Refuted`.
    pub accuser: Option<NodeName>,
    /// How many had independently accused it by then, for the same; more than a few are not counted.
    pub accusers: u8,
    /// For `CameBack`: it was restarted; otherwise it was alive all the while and refuted late. For `Died`: its restart
    /// is how we know.
    pub new_life: bool,
}

// In JSON the row's fields stand beside the event's own. A frame cannot have that: postcard needs to know how many
// fields there are, and serde's `flatten` does not say.
#[derive(Serialize, Deserialize)]
struct InJson {
    kind: MemberEventKind,
    #[serde(flatten)]
    row: MemberRow,
    accuser: Option<NodeName>,
    #[serde(default)]
    accusers: u8,
    #[serde(default)]
    new_life: bool,
}

#[derive(Serialize, Deserialize)]
struct InFrame {
    kind: MemberEventKind,
    row: MemberRow,
    accuser: Option<NodeName>,
    accusers: u8,
    new_life: bool,
}

impl Serialize for MemberEvent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { kind, row, accuser, accusers, new_life } = self.clone();
        if serializer.is_human_readable() {
            InJson { kind, row, accuser, accusers, new_life }.serialize(serializer)
        } else {
            InFrame { kind, row, accuser, accusers, new_life }.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for MemberEvent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let InJson { kind, row, accuser, accusers, new_life } = InJson::deserialize(deserializer)?;
            Ok(Self { kind, row, accuser, accusers, new_life })
        } else {
            let InFrame { kind, row, accuser, accusers, new_life } = InFrame::deserialize(deserializer)?;
            Ok(Self { kind, row, accuser, accusers, new_life })
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
    /// How it came.
    pub via: Via,
    /// A later message of the same origin was delivered here before it.
    pub late: bool,
}

/// A link to an overlay neighbour, as one of its two ends has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayLink {
    /// The neighbour.
    pub peer: NodeName,
    /// New messages are pushed over it; otherwise they are only announced.
    pub eager: bool,
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
    /// Members the overlay keeps in reserve: its passive view.
    pub passive: u32,
    /// Frames with a message received, since the node started.
    pub payload_frames: u64,
    /// Those among them whose message was already known.
    pub redundant_frames: u64,
    /// Messages announced to this node by their ids, since it started.
    pub announced: u64,
    /// Messages this node asked for by their ids, since it started.
    pub grafts: u64,
    /// Links this node took out of its tree or was told to, since it started.
    pub prunes: u64,
    /// Frames and datagrams dropped since the node started: full queues and bytes that did not decode.
    pub dropped: u64,
    /// Datagrams lost to faults that were set on purpose, since the node started.
    pub lost_to_faults: u64,
}

/// How a node's disk takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskState {
    /// As it should.
    #[default]
    Fine,
    /// No room, on the disk or below the node's own limit. Nothing new is stored here.
    Full,
    /// It cannot be read or written. Nothing is stored here and nothing is answered from here.
    Broken,
}

/// What one node holds of the store, in numbers. A *misplaced* copy is one whose place is with others now: a hint for a
/// replica that could not be reached, or what is being handed over; it is dropped once all of them have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCounts {
    /// Keys with a value, misplaced ones included.
    pub keys: u64,
    /// Those whose owner this node is, as it sees the ring.
    pub owned: u64,
    /// Those that are misplaced.
    pub misplaced: u64,
    /// Deleted keys that are still remembered.
    pub tombstones: u64,
    /// Keys with more than one sibling.
    pub conflicts: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// What repair and hand-over still have to send, to whom; the largest first, at most 16.
    pub moving: Vec<Moving>,
    /// Differences found by comparing with fellow replicas and mended, since the node started.
    pub repaired: u64,
    /// Bytes sent by repair and hand-over since the node started.
    pub repair_bytes: u64,
    /// Its disk.
    pub disk: DiskState,
}

/// Copies on their way from one node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// To whom.
    pub to: NodeName,
    /// How many keys are left.
    pub keys: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One key as a node holds it, in sixteen bytes: where it stands on the ring, and which versions.
/// In JSON a pair, `[place, versions]`: there are tens of thousands of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(Place, Option<u64>)", into = "(Place, Option<u64>)")]
pub struct HeldKey {
    /// The key's place.
    pub place: Place,
    /// A hash of the versions held; `None` when the key is held no more, or its last value was deleted.
    pub versions: Option<u64>,
}

impl From<(Place, Option<u64>)> for HeldKey {
    fn from((place, versions): (Place, Option<u64>)) -> Self {
        Self { place, versions }
    }
}

impl From<HeldKey> for (Place, Option<u64>) {
    fn from(key: HeldKey) -> Self {
        (key.place, key.versions)
    }
}

/// Something happened to a key or to copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyEvent {
    /// What is held under a key changed here.
    Held(HeldKey),
    /// Copies were handed over: all of them are on the receiver's disk.
    Moved {
        /// To whom.
        to: NodeName,
        /// How many keys.
        keys: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A put or delete was acknowledged to a user of this node.
    Acknowledged {
        /// Where the key stands.
        place: Place,
        /// Copies on disk at that time.
        acks: u8,
    },
}

/// What a node's folder is doing, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderState {
    /// It has none, or the folder or its marker is gone: nothing is read, written or concluded.
    NoFolder,
    /// Its disk cannot be written.
    Broken,
    /// No room: what is here stays and is served, nothing new is fetched.
    Full,
    /// It looks at everything for the first time.
    Scanning,
    /// It lacks something, and nobody it can reach has it.
    Stalled,
    /// It lacks something and is getting it.
    Syncing,
    /// It has everything it knows of.
    #[default]
    Idle,
}

/// A node's folder, in numbers. Told when they changed, twice a second at most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderCounts {
    /// What it is doing.
    pub state: FolderState,
    /// Changes are found by looking at everything now and then, since the host allows no watch.
    pub rescan_only: bool,
    /// Files that should be here, conflict copies included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that are here, as they should be.
    pub files_here: u64,
    /// Bytes that are here, those of unfinished files included.
    pub bytes_here: u64,
    /// Conflict copies among the files.
    pub conflicts: u64,
    /// Deleted files that are remembered.
    pub tombstones: u64,
    /// Chunks and bundles asked for and not here yet.
    pub in_flight: u32,
    /// Nodes they were asked of.
    pub sources: u32,
    /// Bytes of contents received since the node started.
    pub received_bytes: u64,
    /// Bytes of contents sent since the node started.
    pub sent_bytes: u64,
    /// Received bytes that were of no use: they came twice, or were wrong.
    pub wasted_bytes: u64,
    /// Received chunks that were wrong, since the node started.
    pub bad_chunks: u64,
    /// Of whom the last wrong one came.
    pub liar: Option<NodeName>,
    /// Names that cannot be shared, links and other things left out, at the last look at everything.
    pub skipped: u64,
    /// All that is known, deletions included; equal on two nodes that know the same.
    pub index: FolderDigest,
    /// Paths and contents that should be here.
    pub want: FolderDigest,
    /// Paths and contents that are here.
    pub have: FolderDigest,
    /// When `have` became equal to `want`, if it is; or since when it is not.
    pub since: UnixMillis,
}

/// A file on a node's disk, in sixteen bytes. In JSON a pair, `[path, root]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(u64, Option<u64>)", into = "(u64, Option<u64>)")]
pub struct HeldFile {
    /// [`crate::FilePath::hash64`].
    pub path: u64,
    /// [`Root::short`] of its contents; `None` if it is here no more.
    pub root: Option<u64>,
}

impl From<(u64, Option<u64>)> for HeldFile {
    fn from((path, root): (u64, Option<u64>)) -> Self {
        Self { path, root }
    }
}

impl From<HeldFile> for (u64, Option<u64>) {
    fn from(file: HeldFile) -> Self {
        (file.path, file.root)
    }
}

/// How far a file of several chunks has come on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProgress {
    /// Which contents, [`Root::short`].
    pub root: u64,
    /// Its chunks.
    pub chunks: u32,
    /// Those that are here.
    pub here: u32,
    /// Which, in as many parts as there are bits: 64 parts of the file in order, the first at the lowest bit, set when all its chunks are here.
    pub map: u64,
    /// From whom chunks came: at most 8 nodes and how many each gave.
    pub sources: Vec<(NodeName, u32)>,
}

/// Something happened to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderEvent {
    /// A file is on this node's disk under its name.
    Landed {
        /// Where.
        path: FilePath,
        /// Of which contents.
        root: Root,
        /// Bytes.
        size: u64,
    },
    /// It is gone from there.
    Gone {
        /// Where.
        path: FilePath,
    },
    /// An upload was acknowledged to a user of this node.
    Uploaded {
        /// Where.
        path: FilePath,
        /// Of which contents.
        root: Root,
        /// Nodes that had it on disk.
        holders: u32,
    },
    /// A user of this node changed the folder, with any program: a new version was made here.
    Changed {
        /// Which path.
        path: FilePath,
        /// Its contents; `None` if it was deleted.
        root: Option<Root>,
    },
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
        /// The overlay links, sorted by peer.
        links: Vec<OverlayLink>,
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
    /// The overlay links changed. Told a few times a second at most, so changes that were undone in between are not seen.
    Links {
        /// All of them, sorted by peer.
        links: Vec<OverlayLink>,
        /// When the last of the changes happened.
        at: UnixMillis,
    },
    /// Cost and health.
    Load(Load),
    /// The node is going away by its own will.
    Leaving,
    /// The faults it obeys from here on; none after a `Hello` until this says otherwise.
    Faults {
        /// Oldest first.
        faults: Vec<ActiveFault>,
        /// When it last was healed of one, in this life.
        healed_at: Option<UnixMillis>,
    },
    /// The ring as the node computes it from the members it believes alive.
    Ring {
        /// In eight bytes.
        digest: RingDigest,
        /// When it last changed.
        at: UnixMillis,
    },
    /// What it holds, in numbers. Told when it changed, twice a second at most.
    Keys(KeyCounts),
    /// Which keys it holds, or what changed of that since the last such report.
    Held {
        /// Forget what was told before: `keys` is the beginning of everything held.
        anew: bool,
        /// Only keys whose place has this many zero bits at its low end are told: 0 tells all. More than a node's
        /// telemetry can carry is sampled rather than cut off.
        sampled: u8,
        /// Which.
        keys: Vec<HeldKey>,
    },
    /// Its folder, in numbers.
    Folder(FolderCounts),
    /// Which files are on its disk, or what changed of that since the last such report.
    Files {
        /// Forget what was told before: `files` is the beginning of everything held.
        anew: bool,
        /// Which.
        files: Vec<HeldFile>,
    },
    /// Files of several chunks on their way, at most 16; told four times a second at most, and once more when one has come.
    Progress(Vec<FileProgress>),
    /// An upload was acknowledged to one of its users, or a user changed its folder.
    FolderEvent {
        /// What.
        event: FolderEvent,
        /// When.
        at: UnixMillis,
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
    /// In a history, after all reports: what they do not say, because copies carry no time. By the gateway's clock.
    KeyTimes {
        /// When a key was last written or deleted.
        written_at: Option<UnixMillis>,
        /// When every key had its copies again, after a write or a node's end had left some short.
        whole_at: Option<UnixMillis>,
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
        let accuser = Some(NodeName::numbered(3));
        let event = MemberEvent { kind: MemberEventKind::Died, row, accuser, accusers: 2, new_life: false };
        let line =
            FeedLine::Report { node: NodeName::numbered(1), report: Report::Member { event, at: UnixMillis(17) } };
        let json = serde_json::to_value(&line).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"type": "report", "node": "node1", "report": {"member": {"at": 17, "event": {
                "kind": "died", "member": "node9", "epoch": 5, "incarnation": 2, "status": "dead", "accuser": "node3",
                "accusers": 2, "new_life": false}}}})
        );
        assert_eq!(serde_json::from_value::<FeedLine>(json).unwrap(), line);
    }

    #[test]
    fn every_report_goes_through_a_frame() {
        let row = MemberRow { member: NodeName::numbered(9), epoch: Epoch(5), incarnation: 2, status: Status::Suspect };
        let accuser = Some(NodeName::numbered(3));
        let event =
            MemberEvent { kind: MemberEventKind::Suspected, row: row.clone(), accuser, accusers: 1, new_life: false };
        let id = MessageId { origin: NodeName::numbered(4), epoch: Epoch(7), seq: 1 };
        let (path, text) = (vec![NodeName::numbered(4)], Some("apple".into()));
        let delivery = Delivery { id, path, at: UnixMillis(8), text, via: Via::Graft, late: true };
        let links = vec![OverlayLink { peer: NodeName::numbered(5), eager: true }];
        let cut = crate::fault::Cut::new("1-5".parse().unwrap(), None, true).unwrap();
        let fault =
            ActiveFault { fault: crate::fault::Fault::Cut(cut), since: UnixMillis(6), spared: "9".parse().unwrap() };
        let reports = [
            Report::Hello { id: Uuid::nil(), epoch: Epoch(5), addr: "[::1]:5000".parse().unwrap() },
            Report::Snapshot { members: vec![row], deliveries: vec![delivery.clone()], links: links.clone() },
            Report::Member { event, at: UnixMillis(17) },
            Report::View { digest: ViewDigest { members: 3, hash: u64::MAX }, at: UnixMillis(18) },
            Report::Delivered(delivery),
            Report::Links { links, at: UnixMillis(19) },
            Report::Load(Load::default()),
            Report::Leaving,
            Report::Faults { faults: vec![fault], healed_at: Some(UnixMillis(7)) },
        ];
        let codec = crate::wire::Codec::new(&"lab".parse().unwrap(), None);
        for report in reports {
            assert_eq!(codec.decode::<Report>(&codec.encode(&report)).unwrap(), report);
            let json = serde_json::to_string(&report).unwrap();
            assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        }
    }
}
