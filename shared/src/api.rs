//! Bodies of a node's HTTP surface (contract §2). Field names are fixed; replies may gain fields, never lose them.
//!
//! Requests are read leniently where the course projects differ among themselves (`sender` or `sender_id`, `msg` or
//! `message`) and strictly otherwise: a field of the wrong type is a 400 that names it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    fault::{ActiveFault, Fault, NodeSet},
    id::{Epoch, MessageId, NodeName, UnixMillis},
    path::FilePath,
    wire::{
        broadcast::Via,
        folder::{FolderDigest, Root},
        membership::Status,
    },
};

/// Largest body of any request but an upload, bytes.
pub const BODY_MAX_BYTES: usize = 64 * 1024;

/// Every error, with its 4xx or 5xx status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// What failed, and what to do.
    pub error: String,
}

/// `GET /`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootReply {
    /// `Node <UUID> is running!`
    pub message: String,
}

/// `GET /status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// The node's UUID, kept over restarts.
    pub id: Uuid,
    /// Its name.
    pub name: NodeName,
    /// The port it listens on.
    pub port: u16,
    /// Live members other than itself.
    pub peers: usize,
    /// `Node is running`.
    pub message: String,
    /// `http://node7:5000`.
    pub address: String,
    /// This life.
    pub epoch: Epoch,
    /// Its incarnation in this life.
    pub incarnation: u32,
    /// Lifeguard's local health, 0 (well) to 7.
    pub health: u8,
    /// Overlay neighbours, sorted by name.
    pub neighbours: Vec<NodeName>,
    /// Messages delivered here in this life.
    pub messages: u64,
    /// Milliseconds since the node started.
    pub uptime_ms: u64,
    /// Whether datagrams and frames are sealed with a cluster secret.
    pub encrypted: bool,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Keys with a value held here.
    #[serde(default)]
    pub keys: u64,
    /// Files on its disk that belong to the shared folder; `None` if it has no folder.
    #[serde(default)]
    pub files: Option<u64>,
}

/// `GET /health`: 200 when healthy, else 503 with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReply {
    /// `healthy`, `starting` or `failing`.
    pub status: String,
    /// What is missing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// `GET /ping`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingReply {
    /// `alive`.
    pub status: String,
    /// `pong`.
    pub response: String,
    /// `http://node7:5000`.
    pub node: String,
    /// The node's UUID.
    pub node_id: Uuid,
}

/// `POST /register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterRequest {
    /// `http://node9:5000`.
    pub address: String,
    /// The registrant's UUID, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How many places each member has on the registrant's ring (ours): with another number it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vnodes: Option<u16>,
}

/// Reply to `POST /register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterReply {
    /// `success`.
    pub status: String,
    /// In words.
    pub message: String,
    /// Live members other than the one answering.
    pub peers: usize,
}

/// `GET /peers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersReply {
    /// `http://node1:5000` of each live member other than the one answering, sorted by name.
    pub peers: Vec<String>,
}

/// `POST /message`: to this node alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRequest {
    /// Who says so.
    #[serde(alias = "sender_id")]
    pub sender: String,
    /// What.
    #[serde(alias = "message")]
    pub msg: String,
}

/// Reply to `POST /message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageReply {
    /// `received`.
    pub status: String,
    /// The sender, as given.
    pub from: String,
    /// The message, as given.
    pub msg: String,
    /// Who received it.
    pub current_node: NodeName,
    /// A polite answer.
    pub reply: String,
}

/// `POST /send` (ours): this node sends a direct message to another member, which it posts to that node's `/message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRequest {
    /// To whom.
    pub to: NodeName,
    /// What.
    pub msg: String,
}

/// `POST /broadcast`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastRequest {
    /// What.
    pub msg: String,
    /// How many hops it is pushed, 1 to 32; repair brings it to whoever is further away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
}

/// Reply to `POST /broadcast`, with status 202.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BroadcastReply {
    /// `accepted`.
    pub status: String,
    /// The message's id.
    pub id: MessageId,
}

/// `GET /messages`, oldest first; `?since=ID` leaves out everything up to and with that message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagesReply {
    /// What has arrived here.
    pub messages: Vec<ReceivedMessage>,
}

/// One received broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedMessage {
    /// Which.
    pub id: MessageId,
    /// What was said.
    pub msg: String,
    /// The origin.
    pub from: NodeName,
    /// From the origin to this node, both named.
    pub path: Vec<NodeName>,
    /// Milliseconds since 1970.
    pub received_at: UnixMillis,
    /// How it came: `own`, `push`, `graft`, `repair`.
    #[serde(default)]
    pub via: Via,
    /// A later message of the same origin was delivered here before it.
    #[serde(default)]
    pub late: bool,
}

/// `POST /gossip`: names of peers, passed on at random.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipRequest {
    /// `http://node3:5000` …
    pub peers: Vec<String>,
    /// Further hops; at 0 it is not passed on.
    pub ttl: u8,
}

/// Reply to `POST /gossip`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipReply {
    /// `gossip received`.
    pub status: String,
    /// Live members other than the one answering, as in `/peers`.
    pub known_peers: Vec<String>,
    /// Of the names given, those that were news and will be contacted.
    pub added: Vec<String>,
    /// As given.
    pub ttl: u8,
}

/// `GET /members` (ours): the member table, for people who want to look inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersReply {
    /// Whose table.
    pub observer: NodeName,
    /// Everybody but the observer, the dead included, sorted by name.
    pub members: Vec<MemberDetail>,
}

/// One member as the observer holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDetail {
    /// Who.
    pub name: NodeName,
    /// `http://node9:5000`.
    pub address: String,
    /// What the observer believes.
    pub status: Status,
    /// Which life of the member.
    pub epoch: Epoch,
    /// Its incarnation in that life.
    pub incarnation: u32,
    /// How long the observer has believed so, milliseconds.
    pub for_ms: u64,
    /// Who accuses or accused it.
    pub accusers: Vec<NodeName>,
    /// Whether it is an overlay neighbour of the observer.
    pub neighbour: bool,
}

/// `GET /fault`, and the reply to `POST /fault` and `DELETE /fault`: the faults this node obeys now (ours).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultsReply {
    /// Which node.
    pub node: NodeName,
    /// Oldest first.
    pub faults: Vec<FaultRow>,
}

/// One fault a node obeys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRow {
    /// As one types it at the prompt: `cut 1-50 | 51-100`.
    pub text: String,
    /// The same as a value, as `POST /fault` takes it.
    pub fault: Fault,
    /// Since when, milliseconds since 1970.
    pub since: UnixMillis,
    /// Peers that were healed meanwhile.
    pub spared: NodeSet,
}

impl From<ActiveFault> for FaultRow {
    fn from(active: ActiveFault) -> Self {
        let ActiveFault { fault, since, spared } = active;
        Self { text: fault.to_string(), fault, since, spared }
    }
}

/// `POST /kv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutRequest {
    /// 1 to 1,024 bytes of UTF-8.
    pub key: String,
    /// Any JSON; 64 KiB at most.
    pub value: serde_json::Value,
}

/// Reply to `POST /kv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutReply {
    /// `stored`.
    pub status: String,
    /// As given.
    pub key: String,
    /// As given.
    pub value: serde_json::Value,
    /// Who owns the key, as the node asked sees the ring.
    pub owner: NodeName,
    /// Who holds it, the owner first.
    pub replicas: Vec<NodeName>,
    /// Copies on disk when the reply was sent.
    pub acks: u8,
}

/// Reply to `GET /kv/<key>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetReply {
    /// Which key.
    pub key: String,
    /// Its value; of siblings the one that every node would show.
    pub value: serde_json::Value,
    /// Who owns it.
    pub owner: NodeName,
    /// All values that concurrent writes left, `value` first; left out when there is just one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<serde_json::Value>,
}

/// Reply to `DELETE /kv/<key>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteReply {
    /// `deleted`.
    pub status: String,
    /// Which key.
    pub key: String,
    /// Copies of the deletion on disk when the reply was sent (ours).
    #[serde(default)]
    pub acks: u8,
}

/// Reply to `GET /owner/<key>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerReply {
    /// Which key.
    pub key: String,
    /// Its SHA-1, 40 hexadecimal digits.
    pub hash: String,
    /// The first member clockwise.
    pub owner: NodeName,
    /// The first `n`, the owner first.
    pub replicas: Vec<NodeName>,
}

/// Reply to `GET /ring`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingReply {
    /// Whose ring.
    pub observer: NodeName,
    /// The ring in sixteen hexadecimal digits.
    pub digest: String,
    /// Tokens of each member.
    pub vnodes: u16,
    /// Copies of a key.
    pub n: u8,
    /// The members, sorted by name.
    pub nodes: Vec<RingMember>,
}

/// One member of the ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingMember {
    /// Who.
    pub name: NodeName,
    /// Its share of the hash space, 0 to 1.
    pub share: f64,
    /// SHA-1 of `NAME#0`, `NAME#1` …, each 40 hexadecimal digits, sorted.
    pub tokens: Vec<String>,
}

/// Reply to `POST /upload`: 201 when as many nodes as wanted have the file on disk, 202 before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadReply {
    /// `uploaded`.
    pub status: String,
    /// Its path in the folder.
    pub filename: FilePath,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of its contents, 64 hexadecimal digits.
    pub hash: Root,
    /// Nodes that had it on disk when the reply was sent.
    pub holders: u32,
}

/// Reply to `DELETE /files/<path>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDeletedReply {
    /// `deleted`.
    pub status: String,
    /// Which path.
    pub filename: FilePath,
}

/// Reply to `GET /files`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesReply {
    /// Sorted by path, those included that this node knows of and has not got yet.
    pub files: Vec<FileRow>,
    /// The conflict copies among them.
    pub conflicts: Vec<ConflictRow>,
    /// Of all paths and contents, 32 hexadecimal digits; equal on two nodes that show the same.
    pub digest: FolderDigest,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    /// Its path in the folder.
    pub path: FilePath,
    /// Bytes.
    pub size: u64,
    /// BLAKE3 of its contents, 64 hexadecimal digits.
    pub hash: Root,
    /// When its contents were last written, milliseconds since 1970.
    pub modified: UnixMillis,
    /// Nodes that have it on disk, of those that answered in time.
    pub holders: u32,
}

/// A version that was written at the same time as the one that keeps the plain name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictRow {
    /// The plain name.
    pub path: FilePath,
    /// Where this version is shown.
    pub copy: FilePath,
    /// Of its contents.
    pub hash: Root,
}

/// Reply to `POST /rescan` (ours): the node has looked at its whole folder and hashed what changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescanReply {
    /// `scanned`.
    pub status: String,
}
