//! What the folder is told, and what it asks for: the words between it and its runtime.
//!
//! The disk is asked with an [`Order`] and answers with a [`Done`] of the same number, exactly one for each order but
//! [`Order::Walk`], which is answered in pages. Orders about one path are carried out in the order they were given.

use std::sync::Arc;

use p2pnet_shared::{
    Epoch, FilePath, NodeName,
    telemetry::FolderEvent,
    wire::folder::{Bytes, FolderDigest, Message, Root},
};
use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// A question of one of our own users, until it is answered.
pub type RequestId = u64;

/// Whose answer a [`Done`] is.
pub type OrderId = u64;

/// How a file looked when it was last looked at. Two equal stats of a path mean unchanged contents, as far as a file system
/// tells; rewriting within one tick of its clock with the same size is found by a deep look only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stat {
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last written, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last changed in any way, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A file.
    File(Stat),
    /// Nothing.
    Nothing,
    /// A folder.
    Folder,
    /// Something that is not shared: a link, a socket, a device, or a file that cannot be read.
    Other,
}

/// Where bytes are on this node's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the file at this path, as long as it looks like this.
    File {
        /// Where.
        path: FilePath,
        /// How it must look.
        stat: Stat,
    },
    /// In the unfinished file of these contents. [`Trouble::Changed`] if there is none.
    Part(Root),
    /// In the copy that was set aside of these contents, see [`Order::SetAside`]. [`Trouble::Changed`] if there is none.
    Aside(Root),
    /// Received from a user over HTTP, complete and hashed, in a file of the folder's own; synced when it is placed.
    Upload(u64),
    /// Here. Shared, not copied.
    Memory(Bytes),
}

/// A file that is to be put under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub path: FilePath,
    /// What is expected there now: a file that looks like this, or nothing (`None`).
    pub over: Option<Stat>,
    /// From where. A part and an upload are used up by this; a file and what was set aside are cloned and stay.
    pub source: Source,
    /// What it must hash to. From a [`Source::File`], [`Source::Aside`] and [`Source::Memory`] it is checked once more, and from a
    /// [`Source::Part`] unless all of it was written, verified, in this life: a file that does not is [`Trouble::Changed`], anything
    /// else [`Trouble::Broken`], and a part stays as it is.
    pub root: Root,
    /// Its size in bytes.
    pub size: u64,
    /// Its time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// A row of the index on disk. The bytes are the folder's own encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key: a path, or a word with a leading NUL for what is not about a path.
    pub key: Arc<str>,
    /// What it holds; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// How the key of a row begins that says that contents are set aside; their root follows.
const ASIDE: &str = "\0aside ";

impl Row {
    /// Says at the start of a life that a former one set these contents aside. The disk reads it off what it finds, and no such row is
    /// ever persisted: so the copy and the word of it are one thing.
    #[must_use]
    pub fn aside(root: &Root) -> Self {
        Self { key: format!("{ASIDE}{root}").into(), value: Some(Vec::new()) }
    }

    /// What it says is set aside, if it says that.
    pub(super) fn is_aside(&self) -> Option<Root> {
        self.key.strip_prefix(ASIDE)?.parse().ok()
    }
}

/// What the disk is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Look at everything in the folder, or beneath a subfolder of it. Answered by [`Done::Walked`], in pages.
    Walk {
        /// `None`: everything.
        beneath: Option<FilePath>,
    },
    /// Look at one path. Answered by [`Done::Looked`].
    Look {
        /// Which.
        path: FilePath,
    },
    /// Hash the file there. Answered by [`Done::Hashed`].
    Hash {
        /// Which.
        path: FilePath,
        /// How it looked; if it looks otherwise before or after, it is not settled.
        stat: Stat,
    },
    /// Read some bytes, to be sent. Answered by [`Done::Read`].
    Read {
        /// From where.
        source: Source,
        /// From which byte.
        offset: u64,
        /// How many, [`p2pnet_shared::wire::folder::CHUNK_MAX_BYTES`] at most.
        length: u32,
    },
    /// Compute the chaining values of a file's chunks. Answered by [`Done::Outlined`].
    Outline {
        /// Of which.
        source: Source,
        /// The size of a chunk, bytes.
        chunk_bytes: u32,
    },
    /// Write some verified bytes into the unfinished file of `root`, which is made if there is none. Answered by [`Done::Written`].
    Write {
        /// Of which contents.
        root: Root,
        /// How large the whole is, bytes.
        size: u64,
        /// At which byte.
        offset: u64,
        /// Which.
        bytes: Bytes,
    },
    /// What is there of the unfinished file of `root`: hash its chunks. Answered by [`Done::Outlined`], a chunk that was never written
    /// hashing to something else than it should.
    Resume {
        /// Of which contents.
        root: Root,
        /// The size of a chunk, bytes.
        chunk_bytes: u32,
    },
    /// Put a file under its name, with the folders above it, and sync it, its name and the folders; many that wait are synced
    /// together. What is there is not replaced unless it looks as expected. Answered by [`Done::Placed`].
    Place(Place),
    /// Remove a file that looks like this, and folders that are empty after it. One that is gone already is fine. Answered by [`Done::Removed`].
    Remove {
        /// Where.
        path: FilePath,
        /// How it must look.
        over: Stat,
    },
    /// Give a file that looks like this another time or mode; its contents stay. Answered by [`Done::Placed`].
    Touch {
        /// Where.
        path: FilePath,
        /// How it must look.
        over: Stat,
        /// Its new time.
        mtime_ns: i64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// Forget an unfinished file. Answered by [`Done::Discarded`].
    Discard {
        /// Of which contents.
        root: Root,
    },
    /// Keep a copy of a file in the folder's own part of the disk, whole, checked and synced: it is the last with its contents, and has to
    /// give its place up before they can have theirs. A former copy of the same contents is replaced. It stays through crashes, and
    /// [`Row::aside`] tells of it then. Answered by [`Done::SetAside`].
    SetAside {
        /// Where the file is.
        path: FilePath,
        /// How it must look.
        stat: Stat,
        /// What it must hash to.
        root: Root,
    },
    /// What was set aside is needed no more. Answered by [`Done::Discarded`].
    Forget {
        /// Of which contents.
        root: Root,
    },
    /// Write rows of the index, all or none, after everything that was placed before is synced. Answered by [`Done::Persisted`].
    Persist {
        /// Which: shared with who gave the order, who keeps them until they are written.
        rows: Arc<[Row]>,
    },
}

impl Order {
    /// The path that it keeps to itself: orders about one path are carried out one after another.
    #[must_use]
    pub fn path(&self) -> Option<&FilePath> {
        match self {
            Self::Look { path }
            | Self::Hash { path, .. }
            | Self::Remove { path, .. }
            | Self::Touch { path, .. }
            | Self::SetAside { path, .. } => Some(path),
            Self::Place(place) => Some(&place.path),
            Self::Walk { .. }
            | Self::Outline { .. }
            | Self::Read { .. }
            | Self::Resume { .. }
            | Self::Write { .. }
            | Self::Discard { .. }
            | Self::Forget { .. }
            | Self::Persist { .. } => None,
        }
    }
}

/// Why the disk did not do it. Nothing was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// What is at the path is not what was expected: it is to be looked at again.
    Changed,
    /// No room, or too little of it left.
    Full,
    /// It cannot be read or written.
    Broken,
    /// A name that this file system does not take, or something that is no folder in the way.
    Refused,
    /// The folder itself is gone, or its marker: nothing is to be concluded from what is not there.
    NoFolder,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// Files that are there, in any order; pages of 512 at most.
    Walked {
        /// Which, and how they look.
        files: Vec<(FilePath, Stat)>,
        /// Names that cannot be shared (not UTF-8, too long), links and other things left out, counted in this page.
        skipped: u32,
        /// Whether this is the last page. Only if all went well: otherwise `Err` ends it, and nothing is to be concluded from
        /// what was not seen.
        is_last: bool,
    },
    /// The walk ended early.
    NotWalked(Trouble),
    /// What is at a path.
    Looked(Result<Found, Trouble>),
    /// A file's hash and how it looked before and after, or why not: [`Trouble::Changed`] if it was written meanwhile.
    Hashed(Result<(Root, Stat), Trouble>),
    /// Bytes that were read.
    Read(Result<Bytes, Trouble>),
    /// Chaining values of chunks, in order.
    Outlined(Result<Vec<[u8; 32]>, Trouble>),
    /// Bytes were written (not synced).
    Written(Result<(), Trouble>),
    /// The file is under its name and synced, and looks like this.
    Placed(Result<Stat, Trouble>),
    /// The file is gone, synced.
    Removed(Result<(), Trouble>),
    /// The unfinished file is gone, or what was set aside.
    Discarded,
    /// There is a copy, synced.
    SetAside(Result<(), Trouble>),
    /// The rows are on disk, synced.
    Persisted(Result<(), Trouble>),
}

/// What a user asks of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A file was received whole, see [`Source::Upload`]: it is to be here and elsewhere.
    Upload {
        /// Under which path.
        path: FilePath,
        /// Which received file.
        upload: u64,
        /// Its hash.
        root: Root,
        /// Its size, bytes.
        size: u64,
    },
    /// Where the bytes of a path are, for a download; if they are not here they are fetched first.
    Open {
        /// Which path.
        path: FilePath,
    },
    /// Delete it everywhere.
    Delete {
        /// Which path.
        path: FilePath,
    },
    /// All files, and how many nodes have each.
    List,
    /// Look at the whole folder now.
    Rescan,
}

/// A file as `GET /files` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Where.
    pub path: FilePath,
    /// Of its contents.
    pub root: Root,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Nodes that have it on disk, of those that answered.
    pub holders: u32,
    /// If it is a conflict copy: of which path.
    pub copy_of: Option<FilePath>,
}

/// What the user is told. Exactly one for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The file is on this node's disk and on those of others, `holders` in all. At least `copies`, unless time ran out.
    Uploaded {
        /// Nodes that have it on disk.
        holders: u32,
    },
    /// The bytes are there.
    Open {
        /// Where.
        path: FilePath,
        /// How it looks on disk.
        stat: Stat,
        /// Of its contents.
        root: Root,
    },
    /// It is deleted here, and others are told.
    Deleted,
    /// All files, sorted by path, those that are still on their way included.
    Listed {
        /// Which.
        files: Vec<Listed>,
        /// Of paths and contents ("want"): equal on two nodes that show the same.
        digest: FolderDigest,
    },
    /// The folder has been looked at, and what changed is hashed.
    Rescanned,
    /// There is no such file.
    Missing,
    /// It could not be done, and nothing was changed.
    Failed(Trouble),
    /// It was not here, and nobody gave it in time.
    Late,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A member is believed alive, or in a new life.
    MemberUp {
        /// Who.
        name: NodeName,
        /// Which life.
        epoch: Epoch,
    },
    /// It died or left.
    MemberDown {
        /// Who.
        name: NodeName,
    },
    /// A packet came in.
    Received {
        /// From whom.
        from: NodeName,
        /// What.
        message: Message,
    },
    /// A connection to this member could not be made or broke: what was sent over it may be lost.
    Unreachable {
        /// Whose.
        peer: NodeName,
    },
    /// One of our own users asks.
    Asked {
        /// Which question.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// The watch saw something happen to a path.
    Touched {
        /// Which.
        path: FilePath,
    },
    /// The watch lost count: anything may have changed.
    Overflowed,
    /// Whether changes are watched, or only found by looking at everything now and then (the host said no).
    Watching(bool),
    /// What became of an order.
    Done {
        /// Which.
        order: OrderId,
        /// What.
        done: Done,
    },
    /// A timer that was asked for went off.
    TimerFired(Timer),
}

/// Something to be told later. A stale one does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timer {
    /// The earliest of everything that is due: the folder looks at what it is. One is set at a time; an earlier one replaces it.
    Look {
        /// When it is due.
        due: Millis,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a packet. It may be lost, and [`Input::Unreachable`] then says so, sooner or later.
    Send {
        /// To whom.
        to: NodeName,
        /// What.
        message: Message,
    },
    /// Ask the disk.
    Disk {
        /// Which order.
        order: OrderId,
        /// What.
        what: Order,
    },
    /// Answer a user.
    Answer {
        /// Which question.
        id: RequestId,
        /// What.
        answer: Answer,
    },
    /// Fire a timer.
    SetTimer {
        /// After how long.
        after: Millis,
        /// Which.
        timer: Timer,
    },
    /// Something to be shown.
    Announce(FolderEvent),
}
