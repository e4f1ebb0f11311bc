//! How contents travel. Everything here is named by the contents' [`Root`], never by a path: a renamed file is the same bytes.
//!
//! A file is a row of *chunks* of one size, a power of two of KiB, so that each is a subtree of the file's BLAKE3 tree; the chunk's
//! *chaining value* (32 bytes) proves it, and all of them together (the *outline*) are proved by the root. A file of one
//! chunk needs no outline, and many of those travel in one bundle.
//!
//! ```text
//! asker                       holder
//! Seek ─▶        ◀─ Holds, again whenever it has more, until Enough
//!                ◀─ Suggest   these you should take from me, nobody else has got them yet
//! AskOutline ─▶  ◀─ Outline
//! AskChunk ─▶    ◀─ Chunk, NoChunk; Cancel ─▶ when it came from elsewhere
//! Fetch ─▶       ◀─ Bundle, and Gained for what was not here yet
//! ```

use serde::{Deserialize, Serialize};

use super::{Message, Root};
use crate::wire::Packet;

/// Largest chunk, bytes.
pub const CHUNK_MAX_BYTES: usize = 1024 * 1024;
/// Contents in one bundle, bytes, unless a single one is larger.
pub const BUNDLE_MAX_BYTES: usize = 1024 * 1024;
/// Roots in one [`Transfer::Fetch`] at most.
pub const BUNDLE_ROOTS_MAX: usize = 256;

/// Chunks in one [`Transfer::Suggest`] at most.
pub const SUGGESTED_MAX: usize = 64;

/// From so many bytes on a chunk is not copied into its packet.
const TAIL_MIN_BYTES: usize = 32 * 1024;

/// Bytes of contents. Cheap to clone.
pub type Bytes = bytes::Bytes;

/// Which chunks of a file somebody has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChunkSet {
    /// None, and it is not getting them.
    None,
    /// All of them, on disk under a path.
    All,
    /// Those whose bit is set, the first chunk at the lowest bit of the first byte. It is getting the others.
    Some(Vec<u8>),
}

/// What is said about bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transfer {
    /// What have you got of these contents? Keep me informed, until [`Transfer::Enough`].
    Seek {
        /// Which contents.
        root: Root,
    },
    /// This.
    Holds {
        /// Of which contents.
        root: Root,
        /// Which chunks.
        chunks: ChunkSet,
    },
    /// I need no more news of these contents.
    Enough {
        /// Which.
        root: Root,
    },
    /// The chaining values of these contents' chunks, please.
    AskOutline {
        /// Which contents.
        root: Root,
    },
    /// Here.
    Outline {
        /// Which contents.
        root: Root,
        /// One for each chunk, in order.
        values: Vec<[u8; 32]>,
    },
    /// This chunk, please.
    AskChunk {
        /// Of which contents.
        root: Root,
        /// The how-manieth, from 0.
        chunk: u32,
    },
    /// Here.
    Chunk {
        /// Of which contents.
        root: Root,
        /// The how-manieth.
        chunk: u32,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Not now (too much to do), or not any more: ask somebody else.
    NoChunk {
        /// Of which contents.
        root: Root,
        /// The how-manieth.
        chunk: u32,
        /// It may be asked for again after this many milliseconds; `None`: it is not here.
        again_ms: Option<u32>,
    },
    /// This chunk has come from somebody else: it need not be sent any more.
    Cancel {
        /// Of which contents.
        root: Root,
        /// The how-manieth.
        chunk: u32,
    },
    /// Rather take these from me than others: I have offered them to nobody else yet (*BEP 6* "Suggest Piece"; in BitTorrent's words
    /// super-seeding, so that a single source sends everything once before it sends anything twice).
    Suggest {
        /// Of which contents.
        root: Root,
        /// Which chunks, [`SUGGESTED_MAX`] at most.
        chunks: Vec<u32>,
    },
    /// These whole contents, each of one chunk, please: [`BUNDLE_ROOTS_MAX`] at most.
    Fetch {
        /// Whose question.
        call: u64,
        /// Which.
        roots: Vec<Root>,
    },
    /// Here, as many as fit, in the order they were asked for. Three empty lists: too much to do, ask again in a while.
    Bundle {
        /// The question.
        call: u64,
        /// Contents by root.
        files: Vec<(Root, Bytes)>,
        /// Which are not here, and not on their way. What is in none of the lists did not fit: ask again.
        lacking: Vec<Root>,
        /// Which are not here yet; [`Transfer::Gained`] tells when they are.
        later: Vec<Root>,
    },
    /// These whole contents, which you asked for, are here now; [`BUNDLE_ROOTS_MAX`] at most.
    Gained {
        /// Which.
        roots: Vec<Root>,
    },
}

/// A packet with a chunk, as it is on the wire.
#[derive(Deserialize)]
struct ChunkPacket<'a> {
    /// The how-manieth of [`Message`]'s variants [`Message::Transfer`] is.
    message: u32,
    /// The how-manieth of [`Transfer`]'s variants [`Transfer::Chunk`] is.
    transfer: u32,
    root: Root,
    chunk: u32,
    bytes: &'a [u8],
}

const MESSAGE_TRANSFER: u32 = 9;
const TRANSFER_CHUNK: u32 = 6;

impl Packet for Message {
    fn split(&self) -> Option<(Self, Bytes)> {
        let Self::Transfer(Transfer::Chunk { root, chunk, bytes }) = self else { return None };
        let head = Transfer::Chunk { root: *root, chunk: *chunk, bytes: Bytes::new() };
        (bytes.len() >= TAIL_MIN_BYTES).then(|| (Self::Transfer(head), bytes.clone()))
    }

    fn view(body: &Bytes) -> Option<Self> {
        match postcard::take_from_bytes(body) {
            Ok((ChunkPacket { message: MESSAGE_TRANSFER, transfer: TRANSFER_CHUNK, root, chunk, bytes }, [])) => {
                Some(Self::Transfer(Transfer::Chunk { root, chunk, bytes: body.slice_ref(bytes) }))
            }
            _ => None,
        }
    }
}
