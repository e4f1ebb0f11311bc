//! The index on disk: one redb file, read whole at the start and from then on only written.
//!
//! The files themselves are the truth and are looked at again anyway, so an index that cannot be read is put aside as
//! `index.redb.bad-<n>` and a new one is begun.
//!
//! Always holds: a batch of rows is there whole or not at all; what is acknowledged is synced.

use std::{
    fs::File,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
};

use redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, backends::FileBackend};
use rustix::{
    fs::{Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    beneath::{trouble, trouble_of},
    home::Home,
};
use crate::folder::{Row, Trouble};

/// The file's name among our own.
pub(super) const FILE: &str = "index.redb";
/// The file while it is made.
const BESIDE: &str = "index.redb.new";
/// Of our tables. Raised when an older node could not read them.
const VERSION: u64 = 1;
/// Bytes of pages that redb keeps in memory; the rows are in memory as they are.
const CACHE_BYTES: usize = 512 * 1024;
/// Files put aside at most; then the oldest name is used again.
const BAD_MAX: u32 = 100;

const ROWS: TableDefinition<&str, &[u8]> = TableDefinition::new("rows");
const INDEX: TableDefinition<&str, u64> = TableDefinition::new("index");

/// The file, open.
#[derive(Debug)]
pub(super) struct Rows {
    /// `None` after an error, until it is opened again.
    database: Option<Database>,
}

/// Why redb stopped, or the disk.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("{0}")]
    Redb(#[from] redb::Error),
    #[error("{0}")]
    Disk(#[from] Errno),
    #[error("{0}")]
    Wrong(String),
}

impl Stopped {
    fn trouble(&self) -> Trouble {
        match self {
            Stopped::Redb(redb::Error::Io(error)) => trouble_of(error),
            Stopped::Disk(error) => trouble(*error),
            _ => Trouble::Broken,
        }
    }
}

impl Rows {
    /// The index in the folder and its rows. One that cannot be read is put aside.
    ///
    /// # Errors
    /// No new one can be made.
    pub(super) fn open(home: &Home) -> Result<(Self, Vec<Row>), Errno> {
        match guarded(|| existing(&home.own)) {
            Ok(Some((database, rows))) => return Ok((Self { database: Some(database) }, rows)),
            Ok(None) => {}
            Err(why) => {
                let aside = put_aside(&home.own)?;
                let node = &home.me;
                tracing::error!(%node, "the folder's index cannot be used: {why}; it is now {aside}, and a new one is begun");
            }
        }
        match guarded(|| create(&home.own)) {
            Ok(database) => Ok((Self { database: Some(database) }, Vec::new())),
            Err(Stopped::Disk(error)) => Err(error),
            Err(why) if why.trouble() == Trouble::Full => Err(Errno::NOSPC),
            Err(why) => {
                tracing::error!(node = %home.me, "no index can be made for the folder: {why}");
                Err(Errno::IO)
            }
        }
    }

    /// Puts rows on disk, all or none, and syncs them.
    pub(super) fn write(&mut self, home: &Home, rows: &[Row]) -> Result<(), Trouble> {
        let database = match self.database.take() {
            Some(database) => Ok(database),
            None => guarded(|| existing(&home.own)?.map(|(database, _)| database).ok_or(Stopped::Disk(Errno::NOENT))),
        };
        let written = database.and_then(|database| guarded(move || put(&database, rows, false).map(|()| database)));
        match written {
            Ok(database) => {
                self.database = Some(database);
                Ok(())
            }
            Err(why) => {
                tracing::error!(node = %home.me, "the folder's index cannot be written: {why}");
                // Gone from under us is not the same as changed.
                Err(if why.trouble() == Trouble::Full { Trouble::Full } else { Trouble::Broken })
            }
        }
    }
}

fn existing(own: &OwnedFd) -> Result<Option<(Database, Vec<Row>)>, Stopped> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(own, FILE, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        file => File::from(file?),
    };
    let length = file.metadata().map_err(|error| Stopped::Redb(redb::Error::Io(error)))?.len();
    if length == 0 {
        return Err(Stopped::Wrong("it is empty".to_owned()));
    }
    let mut database = over(file)?;
    // Compares every page. After a crash it says that it put its own books right, which is no reason to put it aside; pages that
    // do not match their checksums are an error.
    database.check_integrity().map_err(redb::Error::from)?;
    let read = database.begin_read().map_err(redb::Error::from)?;
    let version = read.open_table(INDEX).map_err(redb::Error::from)?;
    let version = version.get("version").map_err(redb::Error::from)?.map(|version| version.value());
    if version != Some(VERSION) {
        return Err(Stopped::Wrong(format!("it is of version {version:?}, this p2pnet knows {VERSION}")));
    }
    let mut rows = Vec::new();
    let table = read.open_table(ROWS).map_err(redb::Error::from)?;
    for row in table.iter().map_err(redb::Error::from)? {
        let (key, value) = row.map_err(redb::Error::from)?;
        rows.push(Row { key: key.value().into(), value: Some(value.value().to_vec()) });
    }
    Ok(Some((database, rows)))
}

/// A new file. It gets its name once it is whole.
fn create(own: &OwnedFd) -> Result<Database, Stopped> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(own, BESIDE, flags, Mode::from_raw_mode(0o600))?);
    let database = over(file)?;
    put(&database, &[], true)?;
    rustix::fs::renameat(own, BESIDE, own, FILE)?;
    rustix::fs::fsync(own)?;
    Ok(database)
}

fn over(file: File) -> Result<Database, Stopped> {
    let backend = FileBackend::new(file).map_err(redb::Error::from)?;
    Ok(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend).map_err(redb::Error::from)?)
}

fn put(database: &Database, rows: &[Row], is_first: bool) -> Result<(), Stopped> {
    let mut write = database.begin_write().map_err(redb::Error::from)?;
    write.set_durability(Durability::Immediate).map_err(redb::Error::from)?;
    {
        let mut table = write.open_table(ROWS).map_err(redb::Error::from)?;
        for row in rows {
            match &row.value {
                Some(value) => drop(table.insert(&*row.key, value.as_slice()).map_err(redb::Error::from)?),
                None => drop(table.remove(&*row.key).map_err(redb::Error::from)?),
            }
        }
        if is_first {
            let mut index = write.open_table(INDEX).map_err(redb::Error::from)?;
            index.insert("version", VERSION).map_err(redb::Error::from)?;
        }
    }
    Ok(write.commit().map_err(redb::Error::from)?)
}

/// Renames a file that cannot be used, and says to what.
fn put_aside(own: &OwnedFd) -> Result<String, Errno> {
    for number in 1..BAD_MAX {
        let name = format!("{FILE}.bad-{number}");
        match rustix::fs::renameat_with(own, FILE, own, &name, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            done => return done.map(|()| name),
        }
    }
    let name = format!("{FILE}.bad-{BAD_MAX}");
    rustix::fs::renameat(own, FILE, own, &name).map(|()| name)
}

/// Does something with redb. It may panic over a file whose checksums are right and whose content is not.
fn guarded<T>(work: impl FnOnce() -> Result<T, Stopped>) -> Result<T, Stopped> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Stopped::Wrong("redb gave up over what it holds".to_owned())))
}
