//! A pretend disk that carries out orders as a real one should.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use p2pnet_shared::{
    FilePath,
    wire::folder::{Bytes, Root},
};

use crate::folder::{Done, Found, Order, Place, Row, Source, Stat, Trouble, chunks::chaining_value};

/// Files in a page of a walk.
const PAGE: usize = 64;

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) bytes: Bytes,
    pub(super) stat: Stat,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<FilePath, File>,
    parts: BTreeMap<Root, Vec<u8>>,
    pub(super) asides: BTreeMap<Root, Bytes>,
    pub(super) uploads: BTreeMap<u64, Bytes>,
    pub(super) rows: BTreeMap<String, Vec<u8>>,
    inodes: u64,
    /// Milliseconds since 1970.
    pub(super) clock: u64,
    /// What every order that writes meets.
    pub(super) refuses: Option<Trouble>,
    /// Folder and marker are there.
    pub(super) is_gone: bool,
    /// Orders given and not carried out that are about these paths.
    busy: BTreeSet<FilePath>,
    pub(super) hashes: usize,
    pub(super) looks: usize,
    pub(super) persists: usize,
}

impl Disk {
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |(key, value): (&String, &Vec<u8>)| Row { key: key.as_str().into(), value: Some(value.clone()) };
        self.rows.iter().map(row).chain(self.asides.keys().map(Row::aside)).collect()
    }

    /// Paths and contents.
    pub(super) fn tree(&self) -> BTreeMap<FilePath, Root> {
        self.files.iter().map(|(path, file)| (path.clone(), Root::of(&file.bytes))).collect()
    }

    /// A user's program writes a file; what is in the way of it goes.
    pub(super) fn write(&mut self, path: &FilePath, bytes: impl Into<Bytes>) {
        let beneath = format!("{path}/");
        let is_in_the_way = |text: &str| {
            text.starts_with(&beneath) || path.as_str().strip_prefix(text).is_some_and(|rest| rest.starts_with('/'))
        };
        self.files.retain(|other, _| !is_in_the_way(other.as_str()));
        let mtime_ns = i64::try_from(self.clock * 1_000_000).unwrap();
        self.put(path, bytes.into(), mtime_ns, false);
    }

    /// Other contents of the same length, and nothing to be seen of it.
    pub(super) fn rot(&mut self, path: &FilePath, bytes: &'static [u8]) {
        let file = self.files.get_mut(path).unwrap();
        assert_eq!(file.bytes.len(), bytes.len());
        file.bytes = Bytes::from_static(bytes);
    }

    fn put(&mut self, path: &FilePath, bytes: Bytes, mtime_ns: i64, executable: bool) -> Stat {
        self.inodes += 1;
        let (inode, size) = (self.inodes, bytes.len() as u64);
        let ctime_ns = i64::try_from(self.clock * 1_000_000 + inode).unwrap();
        let stat = Stat { inode, size, mtime_ns, ctime_ns, executable };
        self.files.insert(path.clone(), File { bytes, stat });
        stat
    }

    /// An order is given: no other about its path may be open.
    pub(super) fn given(&mut self, what: &Order) {
        if let Some(path) = what.path().cloned() {
            assert!(self.busy.insert(path.clone()), "two orders about {path}: {what:?}");
        }
    }

    /// It is answered.
    pub(super) fn over(&mut self, path: Option<&FilePath>) {
        path.map(|path| self.busy.remove(path));
    }

    /// What was under way is not any more.
    pub(super) fn crash(&mut self) {
        self.busy.clear();
    }

    /// Carries out an order; a walk has several answers.
    pub(super) fn carry_out(&mut self, what: Order) -> Vec<Done> {
        if let Order::Walk { beneath } = &what {
            return self.walk(beneath.as_ref());
        }
        vec![match what {
            Order::Walk { .. } => unreachable!(),
            Order::Look { path } => {
                self.looks += 1;
                Done::Looked(self.there().map(|()| self.look(&path)))
            }
            Order::Hash { path, stat } => {
                self.hashes += 1;
                Done::Hashed(self.there().and_then(|()| self.hash(&path, &stat)))
            }
            Order::Read { source, offset, length } => Done::Read(self.bytes(&source).and_then(|bytes| {
                let begin = usize::try_from(offset).unwrap();
                let end = begin + length as usize;
                if end <= bytes.len() { Ok(bytes.slice(begin..end)) } else { Err(Trouble::Changed) }
            })),
            Order::Outline { source, chunk_bytes } => {
                Done::Outlined(self.bytes(&source).map(|bytes| outline(&bytes, chunk_bytes)))
            }
            Order::Write { root, size, offset, bytes } => Done::Written(self.may_write().map(|()| {
                let part = self.parts.entry(root).or_default();
                part.resize(usize::try_from(size).unwrap(), 0);
                let begin = usize::try_from(offset).unwrap();
                part[begin..begin + bytes.len()].copy_from_slice(&bytes);
            })),
            Order::Resume { root, chunk_bytes } => {
                let part = self.parts.get(&root).map(Vec::as_slice).unwrap_or_default();
                Done::Outlined(Ok(outline(part, chunk_bytes)))
            }
            Order::Place(place) => Done::Placed(self.place(place)),
            Order::Remove { path, over } => Done::Removed(self.expect(&path, Some(&over)).map(|()| {
                self.files.remove(&path);
            })),
            Order::Touch { path, over, mtime_ns, executable } => {
                Done::Placed(self.expect(&path, Some(&over)).map(|()| {
                    let bytes = self.files[&path].bytes.clone();
                    self.put(&path, bytes, mtime_ns, executable)
                }))
            }
            Order::Discard { root } => {
                self.parts.remove(&root);
                Done::Discarded
            }
            Order::SetAside { path, stat, root } => Done::SetAside(self.set_aside(&path, stat, root)),
            Order::Forget { root } => {
                self.asides.remove(&root);
                Done::Discarded
            }
            Order::Persist { rows } => Done::Persisted(self.may_write().map(|()| {
                self.persists += 1;
                for Row { key, value } in rows.iter() {
                    match value {
                        Some(value) => drop(self.rows.insert(key.to_string(), value.clone())),
                        None => drop(self.rows.remove(&**key)),
                    }
                }
            })),
        }]
    }

    fn there(&self) -> Result<(), Trouble> {
        if self.is_gone { Err(Trouble::NoFolder) } else { Ok(()) }
    }

    fn may_write(&self) -> Result<(), Trouble> {
        self.refuses.map_or_else(|| self.there(), Err)
    }

    fn walk(&self, beneath: Option<&FilePath>) -> Vec<Done> {
        if let Err(why) = self.there() {
            return vec![Done::NotWalked(why)];
        }
        let is_beneath = |path: &&FilePath| beneath.is_none_or(|folder| path.is_beneath(folder));
        let files: Vec<(FilePath, Stat)> =
            self.files.keys().filter(is_beneath).map(|path| (path.clone(), self.files[path].stat)).collect();
        let mut pages: Vec<Vec<(FilePath, Stat)>> = files.chunks(PAGE).map(<[_]>::to_vec).collect();
        if pages.is_empty() {
            pages.push(Vec::new());
        }
        let last = pages.len() - 1;
        let page = |(number, files)| Done::Walked { files, skipped: 0, is_last: number == last };
        pages.into_iter().enumerate().map(page).collect()
    }

    fn look(&self, path: &FilePath) -> Found {
        match self.files.get(path) {
            Some(file) => Found::File(file.stat),
            None if self.has_beneath(path) => Found::Folder,
            None => Found::Nothing,
        }
    }

    fn has_beneath(&self, path: &FilePath) -> bool {
        let beneath = format!("{path}/");
        let next = self.files.range::<str, _>((Bound::Included(beneath.as_str()), Bound::Unbounded)).next();
        next.is_some_and(|(other, _)| other.as_str().starts_with(&beneath))
    }

    fn hash(&self, path: &FilePath, stat: &Stat) -> Result<(Root, Stat), Trouble> {
        let file = self.files.get(path).filter(|file| file.stat == *stat).ok_or(Trouble::Changed)?;
        Ok((Root::of(&file.bytes), file.stat))
    }

    fn bytes(&self, source: &Source) -> Result<Bytes, Trouble> {
        let bytes = match source {
            Source::File { path, stat } => {
                self.files.get(path).filter(|file| file.stat == *stat).map(|file| file.bytes.clone())
            }
            Source::Part(root) => self.parts.get(root).cloned().map(Bytes::from),
            Source::Aside(root) => self.asides.get(root).cloned(),
            Source::Upload(number) => self.uploads.get(number).cloned(),
            Source::Memory(bytes) => Some(bytes.clone()),
        };
        bytes.ok_or(Trouble::Changed)
    }

    /// Whether what is at a path looks like this.
    fn expect(&self, path: &FilePath, over: Option<&Stat>) -> Result<(), Trouble> {
        self.may_write()?;
        if self.files.get(path).map(|file| &file.stat) == over { Ok(()) } else { Err(Trouble::Changed) }
    }

    fn set_aside(&mut self, path: &FilePath, stat: Stat, root: Root) -> Result<(), Trouble> {
        self.may_write()?;
        let bytes = self.bytes(&Source::File { path: path.clone(), stat })?;
        if Root::of(&bytes) != root {
            return Err(Trouble::Changed);
        }
        self.asides.insert(root, bytes);
        Ok(())
    }

    fn place(&mut self, place: Place) -> Result<Stat, Trouble> {
        self.expect(&place.path, place.over.as_ref())?;
        let text = place.path.as_str();
        let mut above = text.match_indices('/').map(|(slash, _)| &text[..slash]);
        if self.look(&place.path) == Found::Folder || above.any(|above| self.files.contains_key(above)) {
            return Err(Trouble::Refused);
        }
        let bytes = self.bytes(&place.source)?;
        if Root::of(&bytes) != place.root {
            return Err(Trouble::Changed);
        }
        match place.source {
            Source::Part(root) => drop(self.parts.remove(&root)),
            Source::Upload(number) => drop(self.uploads.remove(&number)),
            Source::File { .. } | Source::Aside(_) | Source::Memory(_) => {}
        }
        Ok(self.put(&place.path, bytes, place.mtime_ns, place.executable))
    }
}

fn outline(bytes: &[u8], chunk_bytes: u32) -> Vec<[u8; 32]> {
    let chunk = chunk_bytes as usize;
    bytes.chunks(chunk).enumerate().map(|(number, bytes)| chaining_value((number * chunk) as u64, bytes)).collect()
}
