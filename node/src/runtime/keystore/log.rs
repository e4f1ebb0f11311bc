//! The log beside the redb file: `keys.log`, groups of changes one after another, each acknowledged once it is synced.
//!
//! ```text
//! ┌───────────────────┬─────────┬─────────┬───────┬───────────────────────────────┐
//! │ header, one page: │ group   │ group   │ group │ what was written before the   │
//! │ magic, version,   │ 41      │ 42      │ 43    │ log began anew: 29, 30, …,    │
//! │ salt, checksum    │         │         │       │ or zeros                      │
//! └───────────────────┴─────────┴─────────┴───────┴───────────────────────────────┘
//! group: ┌────────┬──────────┬──────────┬─────────────┬──────────────────────────────────────────────┬─────────┐
//!        │ salt   │ number   │ length   │ BLAKE3 of   │ changes: length of key 2 B, of row 4 B (none: │ zeros   │
//!        │ 8 B    │ 8 B      │ 8 B      │ it all, 8 B │ all ones), key, row                          │ to 32 B │
//!        └────────┴──────────┴──────────┴─────────────┴──────────────────────────────────────────────┴─────────┘
//! ```
//! Groups are numbered through, for ever. Once the redb file says up to which number it has them all, the log begins anew at
//! its front and overwrites what is there: its length stays, and a sync writes these bytes and nothing else. The file grows by
//! whole steps of zeros, so its length is a multiple of them. The salt is random, and known to nobody but the two files: it
//! tells that they belong together, and that no value can look like a group.
//!
//! A group is written when the one before is on disk. So after a crash the last may be torn, which nobody was told of: it is
//! cut off. If one with a higher number follows what cannot be read, or the file does not end where files of ours end,
//! something that was acknowledged is damaged, and that is an error. **What cannot be told:** damage to the last group alone,
//! or to all from some on, looks like a write that was torn. Hence a log does not stay long when nothing happens (writer.rs).
//!
//! Always holds: a group is read whole and as it was written, after all before it, or not at all.

use std::{
    fs::{self, File},
    io,
    ops::Range,
};

use super::{
    row::{self, Rows},
    store::{Bound, Home, Trouble, from_disk},
    trial::Disk,
};
use crate::dht::Change;

/// The file's name in the data folder.
pub(super) const FILE: &str = "keys.log";
/// The file while it is made.
const BESIDE: &str = "keys.log.new";
const MAGIC: &[u8; 8] = b"p2pkeys\n";
/// Of the file's layout. Raised when an older node could not read it.
const VERSION: u32 = 1;
/// Bytes before the first group.
const FRONT: usize = 4096;
const HEADER_BYTES: usize = 32;
/// The file grows by so much at a time, bytes.
const STEP: usize = 64 * 1024;
/// No log is longer, bytes: what is beyond was not written by us.
const LENGTH_MAX: u64 = 256 * 1024 * 1024;
/// Groups begin at multiples of this, so that no head lies on two sectors.
const ALIGN: usize = 32;
const HEAD_BYTES: usize = 32;
const SUM_AT: usize = 24;
/// In place of a row's length: there is none.
const NO_ROW: u32 = u32::MAX;
/// Memory that a group keeps for the next one, bytes.
const KEPT_BYTES: usize = 64 * 1024;

/// Changes that go to disk together.
#[derive(Debug)]
pub(super) struct Group(Vec<u8>);

impl Group {
    pub(super) fn new() -> Self {
        Self(vec![0; HEAD_BYTES])
    }

    pub(super) fn clear(&mut self) {
        self.0.truncate(HEAD_BYTES);
        self.0.shrink_to(KEPT_BYTES);
    }

    pub(super) fn push(&mut self, change: &Change) {
        let (key, entry) = match change {
            Change::Put(entry) => (&entry.key, Some(entry)),
            Change::Drop(key) => (key, None),
        };
        let key = key.as_str().as_bytes();
        let key_length = u16::try_from(key.len()).expect("a key is at most 1 KiB long");
        self.0.extend(key_length.to_le_bytes());
        let place = self.0.len();
        self.0.extend(NO_ROW.to_le_bytes());
        self.0.extend(key);
        if let Some(entry) = entry {
            let start = self.0.len();
            self.0 = row::encode(entry, std::mem::take(&mut self.0));
            let length = u32::try_from(self.0.len() - start).expect("an entry fits in a packet");
            self.0[place..place + 4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// Its last word on each key.
    pub(super) fn read<'a>(&'a self, rows: &mut Rows<'a>) -> Result<(), String> {
        read_changes(&self.0[HEAD_BYTES..], rows)
    }

    /// Bytes that it takes in the log.
    fn length(&self) -> u64 {
        self.0.len().next_multiple_of(ALIGN) as u64
    }

    /// As it is to be in the log.
    fn seal(&mut self, salt: u64, number: u64) -> &[u8] {
        let length = self.0.len() - HEAD_BYTES;
        self.0[..8].copy_from_slice(&salt.to_le_bytes());
        self.0[8..16].copy_from_slice(&number.to_le_bytes());
        self.0[16..24].copy_from_slice(&(length as u64).to_le_bytes());
        let sum = sum(&self.0[..SUM_AT], &self.0[HEAD_BYTES..]);
        self.0[SUM_AT..HEAD_BYTES].copy_from_slice(&sum);
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0);
        &self.0
    }
}

fn sum(head: &[u8], body: &[u8]) -> [u8; 8] {
    let mut hash = blake3::Hasher::new();
    hash.update(head).update(body);
    let mut sum = [0; 8];
    sum.copy_from_slice(&hash.finalize().as_bytes()[..8]);
    sum
}

fn read_changes<'a>(mut bytes: &'a [u8], rows: &mut Rows<'a>) -> Result<(), String> {
    let torn = || "a group is written in another way".to_owned();
    while !bytes.is_empty() {
        let (key_length, rest) = bytes.split_first_chunk().ok_or_else(torn)?;
        let (row_length, rest) = rest.split_first_chunk().ok_or_else(torn)?;
        let (key, rest) = rest.split_at_checked(u16::from_le_bytes(*key_length).into()).ok_or_else(torn)?;
        let key = std::str::from_utf8(key).map_err(|_| torn())?;
        let (row, rest) = match u32::from_le_bytes(*row_length) {
            NO_ROW => (None, rest),
            length => {
                let (row, rest) = rest.split_at_checked(length as usize).ok_or_else(torn)?;
                (Some(row), rest)
            }
        };
        rows.insert(key, row);
        bytes = rest;
    }
    Ok(())
}

/// What was read of a log.
#[derive(Debug)]
pub(super) struct Content {
    /// The file from its first byte on.
    bytes: Vec<u8>,
    salt: u64,
    /// Where the changes of each group are, from the front on as far as one follows the other.
    groups: Vec<Range<usize>>,
    /// The first group's number.
    first: u64,
    /// Where they end.
    end: usize,
}

impl Content {
    fn new(bytes: Vec<u8>, salt: u64) -> Self {
        let mut content = Self { bytes, salt, groups: Vec::new(), first: 0, end: FRONT };
        while let Some((number, body)) = content.group_at(content.end) {
            if content.groups.is_empty() {
                content.first = number;
            } else if number != content.last() + 1 {
                break;
            }
            content.end = body.end.next_multiple_of(ALIGN);
            content.groups.push(body);
        }
        content
    }

    /// The last group's number, if there is one.
    fn last(&self) -> u64 {
        (self.first + self.groups.len() as u64).saturating_sub(1)
    }

    fn group_at(&self, at: usize) -> Option<(u64, Range<usize>)> {
        let head = self.bytes.get(at..at + HEAD_BYTES)?;
        let field = |at: usize| head[at..].first_chunk().map(|field| u64::from_le_bytes(*field));
        if field(0)? != self.salt {
            return None;
        }
        let (number, start) = (field(8)?, at + HEAD_BYTES);
        let body = start..start.checked_add(usize::try_from(field(16)?).ok()?)?;
        let is_right = head[SUM_AT..] == sum(&head[..SUM_AT], self.bytes.get(body.clone())?);
        is_right.then_some((number, body))
    }

    /// Whether a group with a higher number lies behind what could be read.
    fn goes_on_after(&self, number: u64) -> bool {
        let mut places = (self.end..self.bytes.len()).step_by(ALIGN);
        places.any(|at| self.group_at(at).is_some_and(|(later, _)| later > number))
    }

    /// The last word on each key.
    pub(super) fn read<'a>(&'a self, rows: &mut Rows<'a>) -> Result<(), String> {
        self.groups.iter().try_for_each(|body| read_changes(&self.bytes[body.clone()], rows))
    }
}

/// The file, open.
#[derive(Debug)]
pub(super) struct Log {
    disk: Disk,
    salt: u64,
    /// The last group that the redb file has: those in the log come after it.
    applied: u64,
    /// The last group there is.
    last: u64,
    /// Where the next one goes.
    at: usize,
    /// The file's length: up to there bytes have been written.
    len: usize,
    /// It begins anew before it is longer.
    limit: usize,
    /// A group was not written, or not quite, where the next one goes.
    spoiled: bool,
}

impl Log {
    /// A new file. It gets its name once it is whole.
    pub(super) fn create(home: &Home) -> Result<Self, Trouble> {
        let beside = home.folder().join(BESIDE);
        // Nothing to do with a protocol: two files are to know each other.
        let salt = rand::random();
        let made = (|| {
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&beside)?;
            let disk = home.disk(file)?;
            let mut log =
                Self { disk, salt, applied: 0, last: 0, at: FRONT, len: 0, limit: home.log_bytes, spoiled: false };
            log.grow(FRONT)?;
            log.disk.write(0, &header(salt))?;
            log.disk.sync_data()?;
            fs::rename(&beside, home.log_file())?;
            File::open(home.folder()).and_then(|folder| folder.sync_all())?;
            Ok(log)
        })();
        made.map_err(|error: io::Error| {
            let _ = fs::remove_file(&beside);
            from_disk(&error)
        })
    }

    /// The file that is there, and what is in it; `None` if there is none.
    pub(super) fn open(home: &Home) -> Result<Option<(Self, Content)>, Trouble> {
        let file = match File::options().read(true).write(true).open(home.log_file()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(from_disk(&error)),
        };
        let disk = home.disk(file).map_err(|error| from_disk(&error))?;
        let len = disk.len().map_err(|error| from_disk(&error))?;
        if len == 0 || len > LENGTH_MAX || len % STEP as u64 != 0 {
            return Err(damaged(&format!("it is {len} bytes long")));
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most LENGTH_MAX")]
        let mut bytes = vec![0; len as usize];
        disk.read(0, &mut bytes).map_err(|error| from_disk(&error))?;
        let salt = salt_of(&bytes[..HEADER_BYTES]).map_err(|why| damaged(&why))?;
        let content = Content::new(bytes, salt);
        let (len, limit) = (content.bytes.len(), home.log_bytes);
        let log = Self { disk, salt, applied: 0, last: 0, at: FRONT, len, limit, spoiled: false };
        Ok(Some((log, content)))
    }

    /// Takes what was read as what follows the redb file, which is bound to a log as it says. `None` if nothing does.
    pub(super) fn follow(&mut self, content: Content, redb: &Redb) -> Result<Option<Content>, Trouble> {
        let is_empty = content.groups.is_empty();
        let applied = match redb {
            Redb::Bound(bound) if bound.salt != self.salt => return Err(foreign()),
            Redb::Bound(bound) => bound.applied,
            // What a start leaves that came no further: nothing was ever acknowledged from it.
            Redb::Unbound if is_empty && !content.goes_on_after(0) => 0,
            Redb::Unbound => return Err(foreign()),
            // Somebody moved it away. What is in the log holds without it.
            Redb::None => content.first.saturating_sub(1),
        };
        if !is_empty && content.first > applied + 1 {
            return Err(Trouble::Broken(format!("its log {FILE} goes on after what it has: it is older than the log")));
        }
        if content.goes_on_after(applied.max(content.last())) {
            return Err(damaged("a group cannot be read, and others follow it"));
        }
        (self.applied, self.last) = (applied, applied);
        if content.last() <= applied {
            return Ok(None);
        }
        (self.last, self.at) = (content.last(), content.end);
        // What was read may not be on disk yet, and others are about to hear of it.
        self.disk.sync_data().map_err(|error| from_disk(&error))?;
        Ok(Some(content))
    }

    /// What a redb file is to say that has all before this log.
    pub(super) fn bound(&self) -> Bound {
        Bound { salt: self.salt, applied: self.applied }
    }

    /// The same of one that has all that is in this log, too.
    pub(super) fn bound_after(&self) -> Bound {
        // A group that failed may be in the file all the same: its number is spent.
        Bound { salt: self.salt, applied: self.last + u64::from(self.spoiled) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == FRONT
    }

    /// Whether it is worth trying to append this.
    pub(super) fn takes(&self, group: &Group) -> bool {
        !self.spoiled && self.at as u64 + group.length() <= self.limit as u64
    }

    /// Puts a group on disk that the log [`takes`](Self::takes): when this returns it is there.
    ///
    /// # Errors
    /// It will not be read in this life.
    pub(super) fn append(&mut self, group: &mut Group) -> Result<(), Trouble> {
        let bytes = group.seal(self.salt, self.last + 1);
        let end = self.at + bytes.len();
        let done = (|| {
            if end > self.len {
                self.grow(end)?;
            }
            self.disk.write(self.at as u64, bytes)?;
            self.disk.sync_data()
        })();
        if let Err(error) = done {
            self.spoiled = true;
            // So that the next life does not see it either, if the disk lets us.
            let _ = self.disk.write(self.at as u64, &[0; HEAD_BYTES]);
            return Err(from_disk(&error));
        }
        self.last += 1;
        self.at = end;
        Ok(())
    }

    /// Makes room up to `end`, and a step more.
    fn grow(&mut self, end: usize) -> io::Result<()> {
        let len = (end + 1).next_multiple_of(STEP);
        self.disk.set_len(len as u64)?;
        // Written, so that there is room indeed, and a sync later on has nothing to note but the bytes.
        let zeros = vec![0; STEP];
        for at in (self.len..len).step_by(STEP) {
            self.disk.write(at as u64, &zeros)?;
        }
        self.len = len;
        Ok(())
    }

    /// All that it holds, read back.
    pub(super) fn content(&self) -> Result<Content, Trouble> {
        let mut bytes = vec![0; self.at];
        self.disk.read(0, &mut bytes).map_err(|error| from_disk(&error))?;
        let content = Content::new(bytes, self.salt);
        let is_all = content.end == self.at && (self.is_empty() || content.last() == self.last);
        if is_all { Ok(content) } else { Err(damaged("what was written is not there any more")) }
    }

    /// The redb file has said [`Log::bound_after`], on disk: the next group goes to the front.
    pub(super) fn begin_anew(&mut self) {
        self.applied = self.bound_after().applied;
        self.last = self.applied;
        self.at = FRONT;
        self.spoiled = false;
    }
}

/// What there is of a redb file.
#[derive(Debug)]
pub(super) enum Redb {
    /// None.
    None,
    /// One that knows of no log.
    Unbound,
    /// One that has a log.
    Bound(Bound),
}

fn damaged(why: &str) -> Trouble {
    Trouble::Broken(format!("its log {FILE} is damaged: {why}"))
}

fn foreign() -> Trouble {
    Trouble::Broken(format!("its log {FILE} belongs to another file"))
}

fn header(salt: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&salt.to_le_bytes());
    let sum = sum(&header[..SUM_AT], &[]);
    header[SUM_AT..].copy_from_slice(&sum);
    header
}

fn salt_of(header: &[u8]) -> Result<u64, String> {
    if !header.starts_with(MAGIC) {
        return Err("it is none of ours".to_owned());
    }
    if header[SUM_AT..] != sum(&header[..SUM_AT], &[]) {
        return Err("its header does not match its checksum".to_owned());
    }
    match header[8..].first_chunk().map(|version| u32::from_le_bytes(*version)) {
        Some(VERSION) => Ok(header[16..].first_chunk().map_or(0, |salt| u64::from_le_bytes(*salt))),
        Some(other) => Err(format!("it is of version {other}, this p2pnet knows {VERSION}; use a newer one")),
        None => Err("it is too short".to_owned()),
    }
}
