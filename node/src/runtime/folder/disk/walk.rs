//! Looking at everything, a page at a time.
//!
//! Kept between two pages: one open folder, and the paths of folders that were seen and not yet looked at. A folder that vanishes
//! meanwhile is as if it had not been seen; one that cannot be read ends the walk, because whoever concludes from what was not
//! seen that it is gone would be wrong.

use std::os::fd::AsFd;

use p2pnet_shared::{
    FilePath,
    path::{COMPONENT_MAX_BYTES, OWN_DIR, PATH_MAX_BYTES},
};
use rustix::{
    fs::{Dir, FileType},
    io::Errno,
};

use super::{
    beneath::{look_in, split, trouble},
    home::Home,
};
use crate::folder::{Done, Found, Stat, Trouble};

/// Files in a page at most.
pub(super) const PAGE_FILES: usize = 512;
/// Names that are left out in a page at most, so that a folder of nothing else is told of in pages, too.
const PAGE_NAMES: u32 = 4_096;

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk {
    /// Folders to be looked at.
    ahead: Vec<String>,
    /// The one that is looked at.
    here: Option<(String, Dir)>,
    files: Vec<(FilePath, Stat)>,
    skipped: u32,
}

impl Walk {
    /// Over everything, or what is beneath a path.
    pub(super) fn new(beneath: Option<&FilePath>) -> Self {
        let ahead = vec![beneath.map_or_else(String::new, |path| path.as_str().to_owned())];
        Self { ahead, here: None, files: Vec::new(), skipped: 0 }
    }

    /// The next page, and whether it is the last.
    pub(super) fn page(&mut self, home: &Home) -> (Done, bool) {
        let mut names = 0;
        let read = home.is_there().and_then(|()| {
            while self.files.len() < PAGE_FILES && names < PAGE_NAMES {
                names += 1;
                if !self.step(home)? {
                    return home.is_there().map(|()| true);
                }
            }
            Ok(false)
        });
        match read {
            Ok(is_last) => {
                let (files, skipped) = (std::mem::take(&mut self.files), std::mem::take(&mut self.skipped));
                (Done::Walked { files, skipped, is_last }, is_last)
            }
            Err(why) => (Done::NotWalked(why), true),
        }
    }

    /// Looks at one name more; `false` at the end.
    fn step(&mut self, home: &Home) -> Result<bool, Trouble> {
        let Some((path, dir)) = &mut self.here else {
            let Some(path) = self.ahead.pop() else { return Ok(false) };
            match home.beneath.folder(&path).and_then(Dir::new) {
                Ok(dir) => self.here = Some((path, dir)),
                Err(Errno::NOENT) => {}
                // It is no folder (any more).
                Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => self.no_folder(home, &path)?,
                Err(error) => return Err(trouble(error)),
            }
            return Ok(true);
        };
        let entry = match dir.read() {
            None => {
                self.here = None;
                return Ok(true);
            }
            Some(Err(Errno::NOENT)) => {
                self.here = None;
                return Ok(true);
            }
            Some(entry) => entry.map_err(trouble)?,
        };
        let name = match entry.file_name().to_str() {
            Ok("." | "..") => return Ok(true),
            Ok(OWN_DIR) if path.is_empty() => return Ok(true),
            Ok(name) if name.len() <= COMPONENT_MAX_BYTES => name,
            _ => {
                self.skipped += 1;
                return Ok(true);
            }
        };
        let full = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let found = match entry.file_type() {
            FileType::Directory => Ok(Found::Folder),
            FileType::RegularFile | FileType::Unknown => look_in(dir.fd().map_err(trouble)?.as_fd(), name),
            _ => Ok(Found::Other),
        };
        match found {
            Ok(Found::File(stat)) => match full.parse() {
                Ok(path) => self.files.push((path, stat)),
                Err(_) => self.skipped += 1,
            },
            Ok(Found::Folder) if full.len() < PATH_MAX_BYTES => self.ahead.push(full),
            Ok(Found::Nothing) | Err(Errno::NOENT) => {}
            Ok(Found::Folder | Found::Other) => self.skipped += 1,
            Err(error) => return Err(trouble(error)),
        }
        Ok(true)
    }

    /// A path that was to be a folder: a file that was asked for, or something that took its place.
    fn no_folder(&mut self, home: &Home, path: &str) -> Result<(), Trouble> {
        match home.beneath.look(path)? {
            Found::File(stat) => self.files.extend(path.parse().map(|path| (path, stat))),
            Found::Nothing => {}
            Found::Folder | Found::Other => self.skipped += 1,
        }
        debug_assert!(!split(path).1.is_empty(), "the folder itself is a folder");
        Ok(())
    }
}
