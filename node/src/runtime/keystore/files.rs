//! The two files of one node as one store: a redb file, and in front of it a log (log.rs).
//!
//! ```text
//! a group ──▶ keys.log ── full, or nothing happens for a while: the last word per key ──▶ keys.redb ── the log begins anew
//!              one sync                                                                   one commit
//! start:      keys.redb ──▶ entries ◀── and in their place what keys.log has of them
//! ```
//! A change in a B-tree costs three pages or more, in a log only itself; and of the thousands that one commit takes over many
//! share a page, or a key. A group that is larger than a whole log goes to the redb file at once, with all before it.
//!
//! | a crash between | is found as | and then |
//! |---|---|---|
//! | log made, redb file made or bound | a log without groups, bound to nothing | it is taken |
//! | a group written, and synced | the group or a torn one at the end: nobody was told | it counts, or is cut off |
//! | commit, log begun anew | a redb file that has all of the log's numbers | the log is empty |
//!
//! Always holds: what was acknowledged is in the redb file or in the log after it. After a commit that failed nothing goes on
//! until the redb file is as it was before.

use p2pnet_shared::wire::dht::Entry;

use super::{
    log::{self, Group, Log, Redb},
    row::{self, Rows},
    store::{Bound, Home, Store, Trouble},
    trial::Header,
};

/// Both, open.
#[derive(Debug)]
pub(super) struct Files {
    home: Home,
    /// `None` if there is none, or a commit failed.
    store: Option<Store>,
    /// Its header after the last commit of this life: a file that failed is opened again as of then.
    good: Option<Header>,
    log: Option<Log>,
}

impl Files {
    /// What is there, and everything that it holds.
    pub(super) fn open(home: Home) -> Result<(Self, Vec<Entry>), Trouble> {
        let mut held = Vec::new();
        let store = Store::open(&home, None, |entry| held.push(entry))?;
        let redb = match store.as_ref().map(Store::bound) {
            None => Redb::None,
            Some(None) => Redb::Unbound,
            Some(Some(bound)) => Redb::Bound(bound),
        };
        let log = match (Log::open(&home)?, &redb) {
            (None, Redb::Bound(_)) => return Err(Trouble::Broken(format!("its log {} is gone", log::FILE))),
            (None, _) => None,
            (Some((mut log, content)), redb) => {
                if let Some(content) = log.follow(content, redb)? {
                    let mut rows = Rows::new();
                    content.read(&mut rows).and_then(|()| put_over(&rows, &mut held)).map_err(Trouble::Broken)?;
                }
                Some(log)
            }
        };
        let good = store.as_ref().map(Store::good);
        Ok((Self { home, store, good, log }, held))
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// Whether there is anything on disk.
    pub(super) fn are_there(&self) -> bool {
        self.good.is_some() || self.log.is_some()
    }

    /// Whether all is in the redb file.
    pub(super) fn are_settled(&self) -> bool {
        self.log.as_ref().is_none_or(Log::is_empty)
    }

    /// Puts a group on disk, whole or not at all: when this returns it is there, also after a power failure.
    ///
    /// # Errors
    /// Nothing of it will be read again in this life. After [`Trouble::Full`] the next one may be tried.
    pub(super) fn write(&mut self, group: &mut Group) -> Result<(), Trouble> {
        self.begin()?;
        match &mut self.log {
            Some(log) if log.takes(group) => log.append(group),
            _ => self.commit(group),
        }
    }

    /// Puts what the log holds into the redb file.
    ///
    /// # Errors
    /// It stays where it is. After [`Trouble::Full`] it may be tried again.
    pub(super) fn settle(&mut self) -> Result<(), Trouble> {
        if self.are_settled() {
            return Ok(());
        }
        self.begin()?;
        self.commit(&Group::new())
    }

    /// Makes what is not there, and opens again what failed.
    fn begin(&mut self) -> Result<(), Trouble> {
        let bound = match &self.log {
            Some(log) => log.bound(),
            None => self.log.insert(Log::create(&self.home)?).bound(),
        };
        let store = match (&mut self.store, self.good) {
            (Some(store), _) => store,
            (gone @ None, None) => gone.insert(Store::create(&self.home, bound)?),
            (gone @ None, good @ Some(_)) => match Store::open(&self.home, good, drop)? {
                Some(store) => gone.insert(store),
                None => return Err(Trouble::Broken("the file is gone".to_owned())),
            },
        };
        self.good = Some(store.good());
        if store.bound().is_none() {
            // An older p2pnet made it. From now on it would not find everything there.
            self.commit_rows(&Rows::new(), bound)?;
        }
        Ok(())
    }

    /// Puts all of the log and then this group into the redb file.
    fn commit(&mut self, group: &Group) -> Result<(), Trouble> {
        let Some(log) = &self.log else { return Ok(()) };
        let (content, bound) = (log.content()?, log.bound_after());
        let mut rows = Rows::new();
        content.read(&mut rows).and_then(|()| group.read(&mut rows)).map_err(Trouble::Broken)?;
        self.commit_rows(&rows, bound)?;
        if let Some(log) = &mut self.log {
            log.begin_anew();
        }
        Ok(())
    }

    /// A store that failed is dropped: nothing of what it did is to be seen again.
    fn commit_rows(&mut self, rows: &Rows<'_>, bound: Bound) -> Result<(), Trouble> {
        let Some(mut store) = self.store.take() else { return Ok(()) };
        store.commit(rows, bound)?;
        self.good = Some(store.good());
        self.store = Some(store);
        Ok(())
    }
}

/// Puts rows in the place of what is held under their keys.
fn put_over(rows: &Rows<'_>, held: &mut Vec<Entry>) -> Result<(), String> {
    held.retain(|entry| !rows.contains_key(entry.key.as_str()));
    for (key, row) in rows {
        if let Some(row) = row {
            held.push(row::decode(key, row)?);
        }
    }
    Ok(())
}
