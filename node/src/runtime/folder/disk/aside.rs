//! Copies that are set aside: the last ones of contents whose files have to give up their places before they can have others, as two files
//! that swap their names.
//!
//! ```text
//! SetAside: the file ──cloned, checked──▶ new/<n> ──synced──▶ aside/<root> ──Place, any number of them──▶ names        Forget
//! ```
//! The folder `aside` is all that is known of them: what is there is told at the start, as rows that no index holds.
//!
//! Always holds: what is in `aside` is whole, has the contents it is named by, and is synced.

use p2pnet_shared::{FilePath, wire::folder::Root};
use rustix::io::Errno;

use super::{
    beneath::{not_as_expected, trouble},
    hash::Reader,
    home::{Home, Own},
    place::copy,
};
use crate::folder::{Row, Stat, Trouble};

impl Home {
    /// Sets a copy of the file at `path` aside, in place of a former one.
    ///
    /// # Errors
    /// [`Trouble::Changed`] if the file does not look like `stat` or hash to `root`.
    pub(super) fn set_aside(
        &self,
        path: &FilePath,
        stat: &Stat,
        root: &Root,
        reader: &mut Reader<'_>,
    ) -> Result<(), Trouble> {
        let (from, found) = self.beneath.file(path.as_str()).map_err(not_as_expected)?;
        if found != *stat {
            return Err(Trouble::Changed);
        }
        self.has_room(stat.size)?;
        let (own, name, file) = self.fresh(|file| copy(&from, file, (root, stat.size), reader))?;
        let kept = || -> Result<(), Errno> {
            rustix::fs::fsync(&file)?;
            rustix::fs::renameat(self.at(own), &name, self.at(Own::Aside), root.to_string())?;
            rustix::fs::fsync(self.at(Own::Aside))
        };
        kept().map_err(|error| {
            self.remove(own, &name);
            trouble(error)
        })
    }

    /// What former lives set aside, as rows of an index.
    pub(super) fn asides(&self) -> Result<Vec<Row>, Errno> {
        let mut rows = Vec::new();
        self.each(Own::Aside, |name, _| rows.extend(name.parse().ok().map(|root: Root| Row::aside(&root))))?;
        Ok(rows)
    }
}
