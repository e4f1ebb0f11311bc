//! What nodes tell each other about files, over connections of their own between neighbours.
//!
//! ```text
//! index      Push ─▶                                       these entries are news: join them to yours (may be lost)
//!            Compare ─▶ ◀─ Buckets ─▶ ◀─ Listing ─▶ ◀─ Push  two levels of digests find what differs
//! copies     Confirm ─▶ ◀─ Confirmed                       tell me when this is on your disk
//!            Census ─▶ ◀─ Counted                          what have you got?
//! bytes      Seek, Holds, Outline, Chunk, Bundle …         wire/folder/bytes.rs
//! ```
//! The protocol itself is in `node/src/folder.rs`.
//!
//! An [`Entry`] is everything a node knows of one path: its *siblings*, each a version with its dot, and the causal context,
//! every dot that was ever seen there. Joining two entries keeps a sibling that both have, or that one has and the other
//! has not seen (an observed-remove register with dots: *Dotted Version Vectors*, Preguiça et al. 2010; *delta CRDTs*,
//! Almeida et al. 2018). A delete is a sibling that is a tombstone.

mod bytes;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

pub use self::bytes::{BUNDLE_MAX_BYTES, BUNDLE_ROOTS_MAX, Bytes, CHUNK_MAX_BYTES, ChunkSet, SUGGESTED_MAX, Transfer};
use crate::{id::NodeName, path::FilePath};

/// Largest packet, bytes: the largest chunk and what is around it.
pub const FILES_PACKET_MAX_BYTES: usize = CHUNK_MAX_BYTES + 64 * 1024;
/// Siblings of a path at most; of more the oldest are not taken in.
pub const SIBLINGS_MAX: usize = 64;
/// Buckets of an index: paths by the first byte of [`FilePath::hash64`].
pub const BUCKETS: usize = 256;
/// Entries in one [`Message::Push`] at most, and rows in one [`Message::Listing`].
pub const PUSH_ENTRIES_MAX: usize = 256;
/// Rows in one [`Message::Listing`] at most.
pub const LISTING_ROWS_MAX: usize = 16 * 1024;

/// The BLAKE3 hash of a file's contents. In JSON 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root(pub [u8; 32]);

impl Root {
    /// Of these contents.
    #[must_use]
    pub fn of(contents: &[u8]) -> Self {
        Self(*blake3::hash(contents).as_bytes())
    }

    /// Its first eight bytes: the name of a version that nobody remembers writing, and its short form in telemetry.
    #[must_use]
    pub fn short(&self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk().expect("there are 32"))
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Root {
    type Err = blake3::HexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes()))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}…", self.short())
    }
}

impl Serialize for Root {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 32]>::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Who writes: one node in one life. A life never forgets what it wrote, and the next one is another author, so a count is never used
/// twice even when an index is lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Author {
    /// The node.
    pub node: NodeName,
    /// Its life; a later one is larger.
    pub life: u64,
}

/// One version's name, unique among all versions of all paths but for those with equal contents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dot {
    /// Found in a folder that had no index yet, so nobody knows who wrote it or when: it is named by its contents
    /// ([`Root::short`]), and the same file found by a thousand nodes is one version. Also a conflict copy that became an ordinary
    /// file when its path was deleted: that is named by a hash of the version it was.
    Found(u64),
    /// The how-manieth write of its author, counted from 1 over all paths.
    Written(Author, u64),
}

/// Every version of a path that has been seen. Rows rather than trees: an index has ten thousand of these, most with one row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Of each author everything up to this count. Sorted by author, each once.
    pub written: Vec<(Author, u64)>,
    /// Contents found, and contents that were replaced (so that whoever lost its index and finds them again is known to be behind):
    /// the name a [`Dot::Found`] of them has, and when they were replaced, as an [`Sibling::hlc`]; 0 if they were not. Sorted by
    /// name, each once. Of the replaced ones the latest are kept.
    pub found: Vec<(u64, u64)>,
}

/// What a version says of the path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Content {
    /// It was deleted.
    Tombstone,
    /// It is a file.
    File(FileContent),
}

/// A file, but for its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileContent {
    /// Of its bytes.
    pub root: Root,
    /// How many there are.
    pub size: u64,
    /// When they were last written, nanoseconds since 1970, as the file system says.
    pub mtime_ns: i64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// One version of a path that no other has replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sibling {
    /// Its name.
    pub dot: Dot,
    /// Hybrid logical clock, milliseconds since 1970: never below that of what it replaced. Decides nothing but which of
    /// several siblings keeps the plain name.
    pub hlc: u64,
    /// What it says.
    pub content: Content,
}

/// What a node knows of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which path.
    pub path: FilePath,
    /// Every version seen.
    pub context: Context,
    /// Those that stand, sorted by dot, each in the context; [`SIBLINGS_MAX`] at most. None if every version was a conflict copy and
    /// was removed as such.
    pub siblings: Vec<Sibling>,
}

/// A sum of hashes, modulo 2¹²⁸: of the same set the same in any order, and changed in a moment. In JSON 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct FolderDigest(pub u128);

impl fmt::Display for FolderDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for FolderDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.to_be_bytes().serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for FolderDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 16]>::deserialize(deserializer).map(|bytes| Self(u128::from_be_bytes(bytes)));
        }
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(D::Error::custom)
    }
}

/// What a packet says. `call` is the asker's number for its question; the answer carries it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// News, or what was asked for: [`PUSH_ENTRIES_MAX`] at most.
    Push {
        /// The entries.
        entries: Vec<Entry>,
    },
    /// All I know adds up to this; what about you?
    Compare {
        /// Of all entries.
        index: FolderDigest,
    },
    /// To something else: here are the sums of my buckets, [`BUCKETS`] of them. To the same: none.
    Buckets {
        /// In order.
        sums: Vec<FolderDigest>,
    },
    /// These of our buckets differ, and this is in mine. Whoever gets it pushes what the sender lacks or has otherwise, and asks
    /// for what itself lacks; whoever pushes last compares again.
    Listing {
        /// Which buckets, ascending.
        buckets: Vec<u8>,
        /// Hash of path and hash of entry, sorted; [`LISTING_ROWS_MAX`] at most.
        rows: Vec<(u64, u64)>,
    },
    /// Push me the entries of these paths, [`LISTING_ROWS_MAX`] at most.
    Ask {
        /// Their hashes.
        paths: Vec<u64>,
    },
    /// Tell me when you have these contents under this path on your disk.
    Confirm {
        /// Whose question.
        call: u64,
        /// The entry, in case the push was lost.
        entry: Entry,
        /// Which contents.
        root: Root,
    },
    /// I have.
    Confirmed {
        /// The question.
        call: u64,
    },
    /// What have you got on your disk?
    Census {
        /// Whose question.
        call: u64,
        /// What the asker has.
        have: FolderDigest,
    },
    /// This. `None` for rows means exactly what the asker has.
    Counted {
        /// The question.
        call: u64,
        /// Hash of path and [`Root::short`], sorted; in several packets if there are more than [`LISTING_ROWS_MAX`].
        rows: Option<Vec<(u64, u64)>>,
        /// Whether more follows.
        more: bool,
    },
    /// Bytes and who has them.
    Transfer(Transfer),
}
