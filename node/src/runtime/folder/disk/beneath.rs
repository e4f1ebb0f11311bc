//! Opening things in the folder and nothing outside of it.
//!
//! Every path is resolved from a descriptor of the folder itself by `openat2(2)`, which refuses to follow a link, to climb out or to
//! cross into another mount, in one step of the kernel's, so that nobody can swap a folder for a link between a look and an
//! open. Where the kernel or a seccomp filter refuses `openat2`, the components are opened one by one with `O_NOFOLLOW`.
//!
//! Paths are relative, `/` between components, `""` the folder itself; a [`p2pnet_shared::FilePath`] is one.
//!
//! Always holds: what is opened was beneath the folder, on its own file system, and reached over real folders only, at the moment it
//! was opened. A mounted file system inside the folder is not part of it: nothing could be renamed into it.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::folder::{Found, Stat, Trouble};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Not even a pipe or a terminal that was put there a moment ago holds us up.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const WITHIN: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
/// Empty folders within each other that may be in a file's way.
const NESTED_MAX: u32 = 64;

/// The folder, held open.
#[derive(Debug)]
pub(in super::super) struct Beneath {
    path: PathBuf,
    root: OwnedFd,
    /// Device and inode.
    id: (u64, u64),
    has_openat2: bool,
}

impl Beneath {
    /// Holds the folder at `path`, which may itself be reached over links.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let root = rustix::fs::openat(CWD, path, FOLDER, Mode::empty())?;
        let id = id(&rustix::fs::fstat(&root)?);
        let has_openat2 = rustix::fs::openat2(&root, ".", FOLDER, Mode::empty(), WITHIN).is_ok();
        Ok(Self { path: std::path::absolute(path)?, root, id, has_openat2 })
    }

    /// As on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn without_openat2(mut self) -> Self {
        self.has_openat2 = false;
        self
    }

    /// Its descriptor.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Whether its path still leads to it: it was not removed, renamed, unmounted or mounted over.
    pub(super) fn is_in_place(&self) -> bool {
        rustix::fs::stat(&self.path).is_ok_and(|stat| id(&stat) == self.id)
    }

    /// The folder at `path`.
    pub(in super::super) fn folder(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open_at(path, FOLDER)
    }

    /// The file at `path`, to be read.
    ///
    /// # Errors
    /// [`Errno::NOENT`], [`Errno::NOTDIR`], [`Errno::LOOP`] and [`Errno::XDEV`] if there is none.
    pub(in crate::runtime) fn file(&self, path: &str) -> Result<(File, Stat), Errno> {
        let file = self.open_at(path, FILE | OFlags::NOFOLLOW)?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::NOENT);
        }
        Ok((File::from(file), seen(&stat)))
    }

    fn open_at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        if path.is_empty() {
            return rustix::fs::openat(&self.root, ".", flags, Mode::empty());
        }
        if self.has_openat2 {
            return rustix::fs::openat2(&self.root, path, flags, Mode::empty(), WITHIN);
        }
        let (above, name) = split(path);
        let mut at = None;
        for component in above.split('/').filter(|component| !component.is_empty()) {
            at = Some(self.step(at.as_ref().map_or(self.root(), AsFd::as_fd), component, FOLDER)?);
        }
        self.step(at.as_ref().map_or(self.root(), AsFd::as_fd), name, flags)
    }

    /// Opens one component, no link and no other mount.
    fn step(&self, at: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let opened = rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
        if flags.contains(OFlags::DIRECTORY) && rustix::fs::fstat(&opened)?.st_dev != self.id.0 {
            return Err(Errno::XDEV);
        }
        Ok(opened)
    }

    /// The folder at `path`, made with those above it if it is not there. The folders that got a new name in them are added to
    /// `touched`.
    pub(super) fn make_folder(&self, path: &str, mut touched: impl FnMut(&str)) -> Result<OwnedFd, Errno> {
        match self.folder(path) {
            Err(Errno::NOENT) => {}
            done => return done,
        }
        let mut at = self.folder("")?;
        let mut end = 0;
        for component in path.split('/') {
            let above = &path[..end];
            end += component.len() + usize::from(end > 0);
            at = match self.step(at.as_fd(), component, FOLDER) {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&at, component, Mode::from_raw_mode(0o777)) {
                        Ok(()) => touched(above),
                        Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                    self.step(at.as_fd(), component, FOLDER)?
                }
                done => done?,
            };
        }
        Ok(at)
    }

    /// What is at `path`.
    pub(super) fn look(&self, path: &str) -> Result<Found, Trouble> {
        let (above, name) = split(path);
        match self.folder(above).and_then(|folder| look_in(folder.as_fd(), name)) {
            Ok(found) => Ok(found),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Found::Nothing),
            Err(Errno::LOOP | Errno::XDEV) => Ok(Found::Other),
            Err(error) => Err(trouble(error)),
        }
    }

    /// Whether `path` still leads to this open folder.
    pub(super) fn leads_to(&self, path: &str, folder: &OwnedFd) -> bool {
        let is_same = |found: OwnedFd| -> Result<bool, Errno> {
            Ok(id(&rustix::fs::fstat(&found)?) == id(&rustix::fs::fstat(folder)?))
        };
        self.folder(path).and_then(is_same).unwrap_or(false)
    }
}

/// What has this name in a folder.
///
/// # Errors
/// [`Errno::NOENT`] if nothing has.
pub(super) fn look_in(folder: BorrowedFd<'_>, name: &str) -> Result<Found, Errno> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if is_readable(folder, name, stat.st_mode) => Found::File(seen(&stat)),
        FileType::Directory => Found::Folder,
        _ => Found::Other,
    })
}

/// Whether we may read a file with this mode.
fn is_readable(folder: BorrowedFd<'_>, name: &str, mode: u32) -> bool {
    mode & 0o444 == 0o444 || rustix::fs::accessat(folder, name, rustix::fs::Access::READ_OK, AtFlags::empty()).is_ok()
}

/// Removes a folder that holds nothing but empty folders.
///
/// # Errors
/// [`Errno::NOTEMPTY`] if there is anything else in it.
pub(super) fn remove_empty(at: BorrowedFd<'_>, name: &str, depth: u32) -> Result<(), Errno> {
    match rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) if depth < NESTED_MAX => {}
        done => return done,
    }
    let folder = rustix::fs::openat(at, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok("." | "..") => {}
            Ok(name) if entry.file_type() == FileType::Directory => remove_empty(folder.as_fd(), name, depth + 1)?,
            _ => return Err(Errno::NOTEMPTY),
        }
    }
    rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)
}

/// A path's folder (`""` at the top) and its last component.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

pub(super) fn id(stat: &rustix::fs::Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// How it looks.
pub(super) fn seen(stat: &rustix::fs::Stat) -> Stat {
    let nanos = |secs: i64, nanos: u64| secs.saturating_mul(1_000_000_000).saturating_add_unsigned(nanos);
    Stat {
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mtime_ns: nanos(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: nanos(stat.st_ctime, stat.st_ctime_nsec),
        executable: stat.st_mode & 0o100 != 0,
    }
}

/// What an error of the kernel's means for an order.
pub(super) fn trouble(error: Errno) -> Trouble {
    match error {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Trouble::Full,
        Errno::NOENT | Errno::STALE => Trouble::Changed,
        Errno::NOTDIR
        | Errno::ISDIR
        | Errno::LOOP
        | Errno::XDEV
        | Errno::NAMETOOLONG
        | Errno::ILSEQ
        | Errno::NOTEMPTY => Trouble::Refused,
        _ => Trouble::Broken,
    }
}

/// What it means when a file was opened that was there a moment ago.
pub(super) fn not_as_expected(error: Errno) -> Trouble {
    match error {
        Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Trouble::Changed,
        error => trouble(error),
    }
}

/// As [`trouble`], for an error that came through the standard library.
pub(super) fn trouble_of(error: &io::Error) -> Trouble {
    Errno::from_io_error(error).map_or(Trouble::Broken, trouble)
}
