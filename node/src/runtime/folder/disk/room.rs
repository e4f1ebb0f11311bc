//! How much room is left to others: a node stops taking files before the disk is full, and goes on serving those it has.

use std::os::fd::BorrowedFd;

use super::beneath::trouble;
use crate::folder::Trouble;

/// Bytes that are always left, at least.
const LEAST_BYTES: u64 = 64 * 1024 * 1024;

/// What is left to others.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes, at least; tests have other disks.
    pub(super) least_bytes: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { least_bytes: LEAST_BYTES }
    }
}

impl Room {
    /// Whether `bytes` more may be written to the file system of `folder`.
    ///
    /// # Errors
    /// [`Trouble::Full`] if not.
    pub(super) fn check(&self, folder: BorrowedFd<'_>, bytes: u64) -> Result<(), Trouble> {
        let disk = rustix::fs::fstatvfs(folder).map_err(trouble)?;
        let (total, free) = (disk.f_blocks.saturating_mul(disk.f_frsize), disk.f_bavail.saturating_mul(disk.f_frsize));
        if self.holds(total, free, bytes) { Ok(()) } else { Err(Trouble::Full) }
    }

    /// A hundredth of the disk stays free, and never less than the least. A disk without a size has no end.
    fn holds(&self, total: u64, free: u64, bytes: u64) -> bool {
        total == 0 || free >= bytes.saturating_add(self.least_bytes.max(total / 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundredth_and_sixty_four_mebibytes_are_left() {
        const GIB: u64 = 1 << 30;
        let room = Room::default();
        assert!(room.holds(GIB, LEAST_BYTES + 5, 5));
        assert!(!room.holds(GIB, LEAST_BYTES + 5, 6), "64 MiB of a small disk");
        assert!(room.holds(1_000 * GIB, 10 * GIB + 5, 5));
        assert!(!room.holds(1_000 * GIB, 10 * GIB + 5, 6), "a hundredth of a large one");
        assert!(!room.holds(GIB, GIB, u64::MAX), "no overflow");
        assert!(room.holds(0, 0, GIB), "tmpfs without a limit");
    }
}
