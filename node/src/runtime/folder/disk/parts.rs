//! Unfinished files: as long as the whole from the first byte on, sparse, named by the contents they are to have.
//!
//! Only verified bytes are written into them. What was written in this life is remembered, so that a file that was written whole need
//! not be read once more before it is placed; what a former life wrote proves itself by its hash.

use std::{fs::File, os::unix::fs::FileExt, sync::PoisonError};

use p2pnet_shared::wire::folder::Root;
use rustix::fs::Advice;

use super::{
    beneath::{trouble, trouble_of},
    home::{Home, Own},
};
use crate::folder::Trouble;

/// From this many bytes on the kernel is asked to begin writing at once, so that syncing takes no longer than it must.
const EAGER_BYTES: u64 = 256 * 1024;
/// Unfinished files whose written ranges are remembered.
const REMEMBERED_MAX: usize = 256;
/// Ranges of one that are remembered.
const RANGES_MAX: usize = 4_096;

/// Ranges of bytes, sorted, none touching another.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub(super) fn add(&mut self, mut start: u64, mut end: u64) {
        let first = self.0.partition_point(|range| range.1 < start);
        let last = self.0.partition_point(|range| range.0 <= end);
        if let Some(touched) = self.0.get(first..last).filter(|touched| !touched.is_empty()) {
            start = start.min(touched[0].0);
            end = end.max(touched[touched.len() - 1].1);
        }
        self.0.splice(first..last, [(start, end)]);
    }

    pub(super) fn covers(&self, size: u64) -> bool {
        self.0.iter().any(|range| range.0 == 0 && range.1 >= size)
    }
}

impl Home {
    /// Writes verified bytes into the unfinished file of `root`, which is made if there is none.
    pub(super) fn write_part(&self, root: &Root, size: u64, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= size).ok_or(Trouble::Refused)?;
        self.has_room(bytes.len() as u64)?;
        let name = root.to_string();
        let file = match self.own_file(Own::Parts, &name).map_err(trouble)? {
            Some(file) if file.metadata().map_err(|error| trouble_of(&error))?.len() == size => file,
            Some(file) => self.begin(root, file, size)?,
            None => {
                let file = self.create(Own::Parts, &name).map_err(trouble)?;
                self.begin(root, file, size)?
            }
        };
        file.write_all_at(bytes, offset).map_err(|error| trouble_of(&error))?;
        if bytes.len() as u64 >= EAGER_BYTES {
            // Linux begins to write what is dirty, and lets go of what is not: here nothing.
            let _ = rustix::fs::fadvise(&file, offset, std::num::NonZeroU64::new(bytes.len() as u64), Advice::DontNeed);
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() < REMEMBERED_MAX || written.contains_key(root) {
            let ranges = written.entry(*root).or_default();
            if ranges.0.len() < RANGES_MAX {
                ranges.add(offset, end);
            }
        }
        Ok(())
    }

    /// Gives the file its size, and all of it is to be written.
    fn begin(&self, root: &Root, file: File, size: u64) -> Result<File, Trouble> {
        self.forget(root);
        let sized = self.has_room(size).and_then(|()| {
            i64::try_from(size).map_err(|_| Trouble::Full)?;
            file.set_len(size).map_err(|error| trouble_of(&error))
        });
        match sized {
            Ok(()) => Ok(file),
            Err(why) => {
                self.remove(Own::Parts, &root.to_string());
                Err(why)
            }
        }
    }

    /// The unfinished file of `root`.
    ///
    /// # Errors
    /// [`Trouble::Changed`] if there is none.
    pub(super) fn part(&self, root: &Root) -> Result<File, Trouble> {
        self.own_file(Own::Parts, &root.to_string()).map_err(trouble)?.ok_or(Trouble::Changed)
    }

    /// Whether all of it was written in this life.
    pub(super) fn is_whole(&self, root: &Root, size: u64) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(root).is_some_and(|ranges| ranges.covers(size))
    }

    /// Forgets what was written of it.
    pub(super) fn forget(&self, root: &Root) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(root);
    }

    /// Removes it.
    pub(super) fn discard(&self, root: &Root) {
        self.forget(root);
        self.remove(Own::Parts, &root.to_string());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_the_bytes_that_were_added(added in prop::collection::vec((0_u64..40, 1_u64..8), 0..20)) {
            let mut ranges = Ranges::default();
            let mut bytes = [false; 64];
            for (start, length) in added {
                ranges.add(start, start + length);
                bytes[usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap()].fill(true);
            }
            let mut expected = Vec::new();
            for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte) {
                match expected.last_mut() {
                    Some((_, end)) if *end == at as u64 => *end += 1,
                    _ => expected.push((at as u64, at as u64 + 1)),
                }
            }
            let whole = bytes.iter().take_while(|byte| **byte).count() as u64;
            prop_assert_eq!(&ranges.0, &expected);
            prop_assert!(!ranges.covers(whole + 1) && (whole == 0 || ranges.covers(whole)));
        }
    }
}
