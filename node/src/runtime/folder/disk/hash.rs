//! Reading files through: a whole one's hash, its chunks' chaining values, a piece of it.
//!
//! A buffer of 256 KiB goes from file to file; what is read is never more than the file had when it was opened.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
};

use blake3::hazmat::HasherExt;
use p2pnet_shared::wire::folder::Root;
use rustix::fs::Advice;

use super::beneath::trouble_of;
use crate::folder::{
    Trouble,
    chunks::{Geometry, Value, merged},
};

/// Bytes read at once.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;
/// From this size on the kernel is told that the file is read from front to back, bytes.
const LARGE_BYTES: u64 = 4 * 1024 * 1024;

/// Reads files through, one after the other.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    buffer: Vec<u8>,
    /// Whether whoever asked is gone: then it stops in the middle.
    over: &'a AtomicBool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(over: &'a AtomicBool) -> Self {
        Self { buffer: Vec::new(), over }
    }

    /// Gives its buffer back until there is work again.
    pub(super) fn rest(&mut self) {
        self.buffer = Vec::new();
    }

    /// Gives `take` every byte of the file from `offset` up to `end`, in order.
    ///
    /// # Errors
    /// [`Trouble::Changed`] if it ends before; those of `take`.
    pub(super) fn each(
        &mut self,
        file: &File,
        mut offset: u64,
        end: u64,
        mut take: impl FnMut(&[u8], u64) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        self.buffer.resize(BLOCK_BYTES, 0);
        while offset < end {
            if self.over.load(Ordering::Relaxed) {
                return Err(Trouble::Broken);
            }
            let room = usize::try_from(end - offset).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
            let read = match file.read_at(&mut self.buffer[..room], offset) {
                Ok(0) => return Err(Trouble::Changed),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(trouble_of(&error)),
            };
            take(&self.buffer[..read], offset)?;
            offset += read as u64;
        }
        Ok(())
    }

    /// The hash of a file of `size` bytes.
    pub(super) fn root(&mut self, file: &File, size: u64) -> Result<Root, Trouble> {
        advise(file, size);
        let mut hasher = blake3::Hasher::new();
        self.each(file, 0, size, |bytes, _| {
            hasher.update(bytes);
            Ok(())
        })?;
        Ok(Root(*hasher.finalize().as_bytes()))
    }

    /// The hash of a file of `size` bytes, and the chaining values of its chunks if it is cut into some: whoever wants the file will
    /// ask for them.
    pub(super) fn root_and_outline(&mut self, file: &File, size: u64) -> Result<(Root, Vec<Value>), Trouble> {
        let Some(cut) = Geometry::of(size) else { return Ok((self.root(file, size)?, Vec::new())) };
        let values = self.outline(file, size, cut.chunk_bytes())?;
        let root = merged(&values).ok_or(Trouble::Changed)?;
        Ok((root, values))
    }

    /// The chaining values of its chunks, in order; of an empty file there are none.
    ///
    /// # Errors
    /// [`Trouble::Refused`] for a size that no subtree of BLAKE3 has.
    pub(super) fn outline(&mut self, file: &File, size: u64, chunk_bytes: u32) -> Result<Vec<Value>, Trouble> {
        if !chunk_bytes.is_power_of_two() || (chunk_bytes as usize) < blake3::CHUNK_LEN {
            return Err(Trouble::Refused);
        }
        advise(file, size);
        let mut values = Vec::new();
        let mut offset = 0;
        while offset < size {
            let end = offset.saturating_add(chunk_bytes.into()).min(size);
            let mut hasher = blake3::Hasher::new();
            hasher.set_input_offset(offset);
            self.each(file, offset, end, |bytes, _| {
                hasher.update(bytes);
                Ok(())
            })?;
            values.push(hasher.finalize_non_root());
            offset = end;
        }
        Ok(values)
    }
}

fn advise(file: &File, size: u64) {
    if size >= LARGE_BYTES {
        let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
    }
}
