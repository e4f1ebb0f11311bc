//! The redb file of one node: made, opened, read whole once, and from then on only written.
//!
//! Two tables: `entries` has one row (row.rs) for each key; `store` says which version the file is of, to which log it is
//! bound (log.rs), and up to which of its groups it has them all. A file of version 1 has no log.
//!
//! Always holds: what is opened is the state after some commit, whole, and in one life never one before the last that was
//! acknowledged; or it is an error that says why.

use std::{
    fmt,
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use p2pnet_shared::wire::dht::Entry;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition, backends::FileBackend};

use super::{
    log,
    row::{self, Rows},
    trial::{Disk, Header, Trial, Wrong},
};

/// The file's name in the data folder.
pub(super) const FILE: &str = "keys.redb";
/// The file while it is made.
const BESIDE: &str = "keys.redb.new";
/// Of our tables and rows. Raised when an older node could not read them.
const VERSION: u64 = 2;
/// Of files without a log.
const VERSION_WITHOUT_LOG: u64 = 1;
/// Bytes of pages that redb keeps in memory. The entries are in memory as they are: what is read is the path to a page
/// that is about to change.
const CACHE_BYTES: usize = 512 * 1024;

const ENTRIES: TableDefinition<&str, &[u8]> = TableDefinition::new("entries");
const STORE: TableDefinition<&str, u64> = TableDefinition::new("store");

/// Bytes of a log, at most, before what it holds goes into the redb file. A commit takes what it takes for as many changes as
/// fit, and a start reads as much.
const LOG_BYTES: usize = 2 * 1024 * 1024;

/// What a file says of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    /// Which log.
    pub(super) salt: u64,
    /// The last of its groups that the file has, with all before it.
    pub(super) applied: u64,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// No room. It may be tried again.
    #[error("no room: {0}")]
    Full(String),
    /// The disk, or what is in the file.
    #[error("{0}")]
    Broken(String),
}

/// Where the files are, or in tests how they are reached.
pub(super) struct Home {
    folder: PathBuf,
    /// [`LOG_BYTES`], or in tests less.
    pub(super) log_bytes: usize,
    /// Lets a test stand between us and the disk.
    #[cfg(test)]
    pub(super) wrap: Option<Box<dyn Fn(Disk) -> Disk + Send>>,
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Home").field(&self.folder).finish()
    }
}

impl Home {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            log_bytes: LOG_BYTES,
            #[cfg(test)]
            wrap: None,
        }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.folder.join(log::FILE)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes hold of a file: nobody else can at the same time.
    pub(super) fn disk(&self, file: File) -> io::Result<Disk> {
        let disk: Disk = Box::new(FileBackend::new(file).map_err(io::Error::other)?);
        #[cfg(test)]
        if let Some(wrap) = &self.wrap {
            return Ok(wrap(disk));
        }
        Ok(disk)
    }
}

/// The file, open.
pub(super) struct Store {
    /// `None` only while it is dropped.
    database: Option<Database>,
    trial: Trial,
    /// The header after the last commit.
    good: Header,
    bound: Option<Bound>,
}

impl Store {
    /// The file that is there, and through `take` each of its entries; `None` if there is none. `good` is the header after
    /// the last commit of this life.
    pub(super) fn open(
        home: &Home,
        good: Option<Header>,
        mut take: impl FnMut(Entry),
    ) -> Result<Option<Self>, Trouble> {
        let file = match File::options().read(true).write(true).open(home.file()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(from_disk(&error)),
        };
        let trial =
            Trial::existing(home.disk(file).map_err(|error| from_disk(&error))?, good).map_err(
                |wrong| match wrong {
                    Wrong::Shape(why) => Trouble::Broken(why),
                    Wrong::Disk(error) => from_disk(&error),
                },
            )?;
        let store = guarded(&trial, || {
            let mut store = Self::over(&trial)?;
            store.bound = store.read_bound()?;
            store.read(&mut take)?;
            Ok(store)
        })?;
        trial.settle().map_err(|error| from_disk(&error))?;
        Ok(Some(store))
    }

    /// A new file. It gets its name once it is whole, so that a file with that name always is.
    pub(super) fn create(home: &Home, bound: Bound) -> Result<Self, Trouble> {
        let beside = home.folder.join(BESIDE);
        let made = (|| {
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&beside);
            let disk = file.and_then(|file| home.disk(file)).map_err(|error| from_disk(&error))?;
            let trial = Trial::new_file(disk);
            let store = guarded(&trial, || {
                let mut store = Self::over(&trial)?;
                store.write(&Rows::new(), bound)?;
                Ok(store)
            })?;
            fs::rename(&beside, home.file()).map_err(|error| from_disk(&error))?;
            File::open(&home.folder).and_then(|folder| folder.sync_all()).map_err(|error| from_disk(&error))?;
            Ok(store)
        })();
        if made.is_err() {
            let _ = fs::remove_file(&beside);
        }
        made
    }

    fn over(trial: &Trial) -> Result<Self, Stopped> {
        let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(trial.clone())?;
        let good = trial.header().ok_or("it was opened without a header")?;
        Ok(Self { database: Some(database), trial: trial.clone(), good, bound: None })
    }

    fn database(&self) -> Result<&Database, Stopped> {
        self.database.as_ref().ok_or_else(|| "it is closed".into())
    }

    /// What it says of its log; `None` if it is of a version that has none.
    fn read_bound(&self) -> Result<Option<Bound>, Stopped> {
        let read = self.database()?.begin_read()?;
        let foreign = "it is not a store of keys, but another program's redb file";
        let table = read.open_table(STORE).map_err(|_| foreign)?;
        let number = |name| Ok::<_, Stopped>(table.get(name)?.map(|number| number.value()));
        match number("version")? {
            Some(VERSION) => {
                let (salt, applied) = (number("log")?.ok_or(foreign)?, number("applied")?.ok_or(foreign)?);
                Ok(Some(Bound { salt, applied }))
            }
            Some(VERSION_WITHOUT_LOG) => Ok(None),
            Some(other) => {
                Err(format!("it is of version {other}, this p2pnet knows {VERSION}; use a newer one").into())
            }
            None => Err(foreign.into()),
        }
    }

    fn read(&self, take: &mut impl FnMut(Entry)) -> Result<(), Stopped> {
        let read = self.database()?.begin_read()?;
        let table = read.open_table(ENTRIES)?;
        for row in table.iter()? {
            let (key, row) = row?;
            take(row::decode(key.value(), row.value())?);
        }
        Ok(())
    }

    /// Puts these rows on disk, and which groups of the log that makes, all or nothing: when this returns they are there,
    /// also after a power failure.
    ///
    /// # Errors
    /// None of them will ever be read again in this life. The store is good for nothing but [`Store::good`] then.
    pub(super) fn commit(&mut self, rows: &Rows<'_>, bound: Bound) -> Result<(), Trouble> {
        let trial = self.trial.clone();
        guarded(&trial, || self.write(rows, bound))
    }

    fn write(&mut self, rows: &Rows<'_>, bound: Bound) -> Result<(), Stopped> {
        let write = self.database()?.begin_write()?;
        {
            let mut table = write.open_table(ENTRIES)?;
            for (key, row) in rows {
                match row {
                    Some(row) => drop(table.insert(key, row)?),
                    None => drop(table.remove(key)?),
                }
            }
            let mut table = write.open_table(STORE)?;
            for (name, number) in [("version", VERSION), ("log", bound.salt), ("applied", bound.applied)] {
                table.insert(name, number)?;
            }
        }
        write.commit()?;
        self.good = self.trial.header().ok_or("it was committed without a header")?;
        self.bound = Some(bound);
        Ok(())
    }

    /// What it says of its log.
    pub(super) fn bound(&self) -> Option<Bound> {
        self.bound
    }

    /// The header after the last commit.
    pub(super) fn good(&self) -> Header {
        self.good
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.trial).finish()
    }
}

impl Drop for Store {
    /// Everything that counts is on disk; the next start looks at every page anyway. What redb would write to save itself
    /// that is not needed.
    fn drop(&mut self) {
        self.trial.end();
        let database = self.database.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

/// Why redb stopped; the disk's own words, if it was the disk, are with the [`Trial`].
struct Stopped(String);

macro_rules! stopped_by {
    ($($error:ty),*) => {
        $(impl From<$error> for Stopped {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        })*
    };
}

stopped_by!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    String,
    &str
);

/// Does something with redb. It may panic over a file whose checksums are right and whose content is not.
fn guarded<T>(trial: &Trial, work: impl FnOnce() -> Result<T, Stopped>) -> Result<T, Trouble> {
    let done = catch_unwind(AssertUnwindSafe(work));
    let why = match done {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(Stopped(why))) => why,
        Err(_) => "redb gave up over what it holds".to_owned(),
    };
    Err(trial.take_trouble().map_or(Trouble::Broken(why), |error| from_disk(&error)))
}

pub(super) fn from_disk(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Trouble::Full(error.to_string())
        }
        _ => Trouble::Broken(error.to_string()),
    }
}
