//! One thing that changed, in a form that can be printed, logged and sent as JSON.

use p2pnet_shared::{NodeName, UnixMillis};
use serde::Serialize;

use super::Known;

/// What sort of thing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A node runs.
    Up,
    /// A node ended by a signal or an error.
    Dead,
    /// A node said goodbye and ended.
    Left,
    /// A node is frozen.
    Paused,
    /// A node's container is gone.
    Removed,
    /// Somebody accused a member (told once per accuser and accused).
    Suspected,
    /// The accused spoke up.
    Refuted,
    /// The first observer declared a member dead.
    DeclaredDead,
    /// The first observer saw a goodbye.
    DeclaredLeft,
    /// A member that was believed dead is back, by the first observer.
    CameBack,
    /// Every node that is up agrees again.
    Converged,
    /// Agreement was lost.
    Diverged,
    /// A broadcast was accepted.
    Accepted,
    /// A broadcast has reached every node that was to have it.
    Delivered,
    /// A fault was set on purpose.
    Fault,
    /// A fault is healed: nobody obeys it any more.
    Healed,
    /// Keys are short of copies.
    KeysShort,
    /// Every key has its copies again.
    KeysWhole,
    /// Copies were handed over from node to node.
    KeysMoved,
    /// Keys of which no copy is live.
    KeysLost,
    /// Keys that were out of reach have a live copy again.
    KeysBack,
    /// A disk is full or broken, or takes writes again.
    Disk,
    /// An upload was acknowledged to a user.
    Uploaded,
    /// A user wrote or deleted a file.
    FileChanged,
    /// Versions written at once are kept beside each other, or no more.
    Conflict,
    /// Every folder is the union of all.
    FilesUnion,
    /// Acknowledged uploads that nobody has who is up.
    FilesLost,
    /// Uploads that were lost are within reach again.
    FilesBack,
    /// A folder is full, broken or gone, or as it should be again.
    Folder,
    /// The engine or the gateway does not answer, or answers again.
    Watch,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// When it happened, by the stamp of whoever saw it.
    pub at: UnixMillis,
    /// What sort of thing.
    pub kind: ChangeKind,
    /// The node it is about, if it is about one.
    pub node: Option<NodeName>,
    /// One line for people, without time and node.
    pub text: String,
    /// How far the news of it has come, where that is what changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
}

impl Change {
    pub(super) fn of(at: UnixMillis, kind: ChangeKind, node: &NodeName, text: impl Into<String>) -> Self {
        Self { at, kind, node: Some(node.clone()), text: text.into(), known: None }
    }

    pub(super) fn all(at: UnixMillis, kind: ChangeKind, text: impl Into<String>) -> Self {
        Self { at, kind, node: None, text: text.into(), known: None }
    }

    /// The last of those who were to know does.
    pub(super) fn known(at: UnixMillis, kind: ChangeKind, node: &NodeName, text: String, known: Option<Known>) -> Self {
        Self { at, kind, node: Some(node.clone()), text, known }
    }

    pub(super) fn watch(at: UnixMillis, text: impl Into<String>) -> Self {
        Self::all(at, ChangeKind::Watch, text)
    }
}
