//! A pretend disk: files, parts, uploads and the index' rows, and what an order does to them.
//!
//! An order is carried out at one moment, some time after it was given; before that moment a crash leaves nothing of it, after it
//! everything that is synced: what was placed and its rows stay, of an unfinished file any part may be lost or be garbage.
//! Stats are as a file system makes them: an inode for each new file, and times that move with every change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use blake3::hazmat::HasherExt;
use p2pnet_node::folder::{Done, Found, Order, Place, Row, Source, Stat, Trouble};
use p2pnet_shared::{
    FilePath,
    wire::folder::{Bytes, Root},
};
use rand::{RngExt, rngs::SmallRng};

/// Files on one page of a walk.
const PAGE: usize = 64;

/// How a disk is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Health {
    #[default]
    Good,
    /// Nothing more can be written.
    Full,
    /// Reads and writes fail.
    Broken,
    /// The folder's marker is gone, as when a volume is not mounted: it looks empty.
    Unmounted,
}

/// A file.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) contents: Arc<Vec<u8>>,
    pub(super) stat: Stat,
}

impl File {
    pub(super) fn root(&self) -> Root {
        Root::of(&self.contents)
    }
}

/// An unfinished file: what was written of it.
#[derive(Debug, Clone, Default)]
struct Part {
    bytes: Vec<u8>,
}

/// One node's disk. Outlives its node.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<FilePath, File>,
    pub(super) health: Health,
    pub(super) rows: BTreeMap<Arc<str>, Vec<u8>>,
    /// Whether the folder was shared before.
    pub(super) is_marked: bool,
    parts: BTreeMap<Root, Part>,
    /// Copies that were set aside.
    pub(super) asides: BTreeMap<Root, Arc<Vec<u8>>>,
    uploads: BTreeMap<u64, Arc<Vec<u8>>>,
    inodes: u64,
    /// Contents put under a name by the engine, and those it removed or replaced; for the judge.
    pub(super) placed: u64,
    pub(super) removed: u64,
}

impl Disk {
    /// Somebody's program puts a file there, over whatever there is.
    pub(super) fn put(&mut self, path: &FilePath, contents: Vec<u8>, mtime_ns: i64, wall_ns: i64) {
        self.clear_way(path);
        self.inodes += 1;
        let stat =
            Stat { inode: self.inodes, size: contents.len() as u64, mtime_ns, ctime_ns: wall_ns, executable: false };
        self.files.insert(path.clone(), File { contents: Arc::new(contents), stat });
    }

    /// Files that are in the way of a path go: those beneath it, and those it would be beneath.
    fn clear_way(&mut self, path: &FilePath) {
        let beneath = format!("{path}/");
        self.files.retain(|other, _| {
            !other.as_str().starts_with(&beneath) && !path.as_str().starts_with(&format!("{other}/"))
        });
    }

    /// A user's upload was received whole.
    pub(super) fn receive(&mut self, upload: u64, contents: Vec<u8>) {
        self.uploads.insert(upload, Arc::new(contents));
    }

    /// The process is gone: of what was not synced anything may be left.
    pub(super) fn crash(&mut self, rng: &mut SmallRng) {
        self.uploads.clear();
        self.parts.retain(|_, _| rng.random_bool(0.8));
        for part in self.parts.values_mut() {
            if rng.random_bool(0.5) && !part.bytes.is_empty() {
                let from = rng.random_range(0..part.bytes.len());
                let until = (from + 40_000).min(part.bytes.len());
                part.bytes[from..until].fill(0);
            }
        }
    }

    /// What its index holds, for a new life.
    pub(super) fn index(&self) -> Vec<Row> {
        let rows = self.rows.iter().map(|(key, value)| Row { key: key.clone(), value: Some(value.clone()) });
        rows.chain(self.asides.keys().map(Row::aside)).collect()
    }

    /// Carries out an order. A walk is answered in pages, everything else once.
    pub(super) fn carry_out(&mut self, order: Order, wall_ns: i64) -> Vec<Done> {
        match order {
            Order::Walk { beneath } => return self.walk(beneath.as_ref()),
            Order::Persist { rows } => {
                for Row { key, value } in rows.iter() {
                    match value {
                        Some(value) => self.rows.insert(key.clone(), value.clone()),
                        None => self.rows.remove(key),
                    };
                }
                return vec![Done::Persisted(self.writable().map(drop))];
            }
            _ => {}
        }
        vec![match order {
            Order::Walk { .. } | Order::Persist { .. } => unreachable!("answered above"),
            Order::Look { path } => Done::Looked(self.readable().map(|()| self.found(&path))),
            Order::Hash { path, stat } => Done::Hashed(self.expect(&path, stat).map(|file| (file.root(), file.stat))),
            Order::Read { source, offset, length } => Done::Read(self.bytes(&source).and_then(|bytes| {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let piece = bytes.get(from..from.saturating_add(length as usize)).ok_or(Trouble::Changed)?;
                Ok(Bytes::copy_from_slice(piece))
            })),
            Order::Outline { source, chunk_bytes } => {
                Done::Outlined(self.bytes(&source).map(|bytes| outline(&bytes, chunk_bytes)))
            }
            Order::Resume { root, chunk_bytes } => {
                let part = self.parts.get(&root).map(|part| outline(&part.bytes, chunk_bytes));
                Done::Outlined(self.readable().map(|()| part.unwrap_or_default()))
            }
            Order::Write { root, size, offset, bytes } => Done::Written(self.writable().map(|disk| {
                let part = disk.parts.entry(root).or_default();
                part.bytes.resize(usize::try_from(size).expect("a file of a simulation"), 0);
                let from = usize::try_from(offset).expect("within it");
                part.bytes[from..from + bytes.len()].copy_from_slice(&bytes);
            })),
            Order::Place(place) => Done::Placed(self.place(place, wall_ns)),
            Order::Remove { path, over } => Done::Removed(self.writable().and_then(|disk| {
                disk.expect(&path, over)?;
                disk.files.remove(&path);
                disk.removed += 1;
                Ok(())
            })),
            Order::Touch { path, over, mtime_ns, executable } => Done::Placed(self.writable().and_then(|disk| {
                disk.expect(&path, over)?;
                let file = disk.files.get_mut(&path).ok_or(Trouble::Changed)?;
                file.stat = Stat { mtime_ns, executable, ctime_ns: wall_ns, ..file.stat };
                Ok(file.stat)
            })),
            Order::Discard { root } => {
                self.parts.remove(&root);
                Done::Discarded
            }
            Order::SetAside { path, stat, root } => Done::SetAside(self.writable().and_then(|disk| {
                let contents = disk.expect(&path, stat)?.contents.clone();
                if Root::of(&contents) != root {
                    return Err(Trouble::Changed);
                }
                disk.asides.insert(root, contents);
                Ok(())
            })),
            Order::Forget { root } => {
                self.asides.remove(&root);
                Done::Discarded
            }
        }]
    }

    fn readable(&self) -> Result<(), Trouble> {
        match self.health {
            Health::Broken => Err(Trouble::Broken),
            Health::Unmounted => Err(Trouble::NoFolder),
            Health::Good | Health::Full => Ok(()),
        }
    }

    fn writable(&mut self) -> Result<&mut Self, Trouble> {
        self.readable()?;
        if self.health == Health::Full { Err(Trouble::Full) } else { Ok(self) }
    }

    fn found(&self, path: &FilePath) -> Found {
        let beneath = format!("{path}/");
        match self.files.get(path) {
            Some(file) => Found::File(file.stat),
            None if self.files.keys().any(|other| other.as_str().starts_with(&beneath)) => Found::Folder,
            None => Found::Nothing,
        }
    }

    fn expect(&self, path: &FilePath, stat: Stat) -> Result<&File, Trouble> {
        self.readable()?;
        self.files.get(path).filter(|file| file.stat == stat).ok_or(Trouble::Changed)
    }

    fn bytes(&self, source: &Source) -> Result<Arc<Vec<u8>>, Trouble> {
        self.readable()?;
        match source {
            Source::File { path, stat } => Ok(self.expect(path, *stat)?.contents.clone()),
            Source::Part(root) => {
                let part = self.parts.get(root).ok_or(Trouble::Changed)?;
                Ok(Arc::new(part.bytes.clone()))
            }
            Source::Aside(root) => self.asides.get(root).cloned().ok_or(Trouble::Changed),
            Source::Upload(upload) => self.uploads.get(upload).cloned().ok_or(Trouble::Changed),
            Source::Memory(bytes) => Ok(Arc::new(bytes.to_vec())),
        }
    }

    fn place(&mut self, place: Place, wall_ns: i64) -> Result<Stat, Trouble> {
        self.writable()?;
        let contents = self.bytes(&place.source)?;
        let is_it = Root::of(&contents) == place.root;
        // What came over the wire was to be checked before it got here.
        assert!(is_it || !matches!(place.source, Source::Memory(_)), "{} was to be placed unverified", place.path);
        if !is_it {
            return Err(Trouble::Changed);
        }
        match (self.found(&place.path), place.over) {
            (Found::Nothing, None) => {}
            (Found::File(stat), Some(over)) if stat == over => {}
            (Found::Folder | Found::Other, _) => return Err(Trouble::Refused),
            _ => return Err(Trouble::Changed),
        }
        let in_the_way = |other: &FilePath| place.path.as_str().starts_with(&format!("{other}/"));
        if self.files.keys().any(in_the_way) {
            return Err(Trouble::Refused);
        }
        match place.source {
            Source::Part(root) => drop(self.parts.remove(&root)),
            Source::Upload(upload) => drop(self.uploads.remove(&upload)),
            Source::File { .. } | Source::Aside(_) | Source::Memory(_) => {}
        }
        self.inodes += 1;
        let stat = Stat {
            inode: self.inodes,
            size: contents.len() as u64,
            mtime_ns: place.mtime_ns,
            ctime_ns: wall_ns,
            executable: place.executable,
        };
        self.files.insert(place.path, File { contents, stat });
        self.placed += 1;
        Ok(stat)
    }

    fn walk(&self, beneath: Option<&FilePath>) -> Vec<Done> {
        if let Err(trouble) = self.readable() {
            return vec![Done::NotWalked(trouble)];
        }
        let beneath = beneath.map(|folder| format!("{folder}/")).unwrap_or_default();
        let within = self.files.iter().filter(|(path, _)| path.as_str().starts_with(&beneath));
        let all: Vec<_> = within.map(|(path, file)| (path.clone(), file.stat)).collect();
        let mut pages: Vec<Done> =
            all.chunks(PAGE).map(|page| Done::Walked { files: page.to_vec(), skipped: 0, is_last: false }).collect();
        match pages.last_mut() {
            Some(Done::Walked { is_last, .. }) => *is_last = true,
            _ => pages.push(Done::Walked { files: Vec::new(), skipped: 0, is_last: true }),
        }
        pages
    }

    /// Every root under any name.
    pub(super) fn roots(&self) -> BTreeSet<Root> {
        self.files.values().map(File::root).collect()
    }
}

fn outline(bytes: &[u8], chunk_bytes: u32) -> Vec<[u8; 32]> {
    let size = chunk_bytes as usize;
    let value = |(at, piece): (usize, &[u8])| {
        blake3::Hasher::new().set_input_offset((at * size) as u64).update(piece).finalize_non_root()
    };
    bytes.chunks(size).enumerate().map(value).collect()
}
