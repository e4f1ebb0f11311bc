//! Buffers for chunks of files, which go round: what is read from a disk or a connection is held until it is sent or written, and then
//! the next is read into the same memory.
//!
//! A new buffer of a megabyte is 256 pages that the kernel finds, clears and maps at the first touch, and takes back at the end: for a
//! file on its way that was half of all processor time. What is not used goes back to the system once nothing was taken or
//! given for a second or two, so a node at rest holds none.
//!
//! Always holds: a buffer that is kept is nobody's; at most [`KEPT_BYTES`] are kept, and what one asks for and does not fill with bytes
//! that came costs no memory.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// Bytes that are kept for those who come next, at most: what may be asked for at a time, and as much being read for others.
const KEPT_BYTES: usize = 8 * 1024 * 1024;
/// Room for what is around a chunk in a packet, bytes, so that what a packet came in is large enough for the next chunk, and the
/// other way round.
const AROUND_BYTES: usize = 4 * 1024;
/// Buffers are of a multiple of this, bytes.
const STEP_BYTES: usize = 16 * 1024;

/// The buffers of one node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// What was in them still is, so that they need not be cleared.
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    /// Whether one came or went since this was last looked at.
    is_used: bool,
}

/// Bytes in a buffer that is given back when the last who has them lets go.
#[derive(Debug)]
struct Lent {
    buffer: Vec<u8>,
    range: Range<usize>,
    pool: Pool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buffer));
    }
}

impl Pool {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kept buffer with at least `length` bytes of whatever, and not many more; an empty one if there is none.
    pub(super) fn take(&self, length: usize) -> Vec<u8> {
        let mut kept = self.kept();
        kept.is_used = true;
        let fits = |buffer: &Vec<u8>| (length..=2 * size_for(length)).contains(&buffer.len());
        let Some(at) = kept.buffers.iter().rposition(fits) else { return Vec::new() };
        let buffer = kept.buffers.swap_remove(at);
        kept.bytes -= buffer.len();
        buffer
    }

    /// The same; if there is none, a new one.
    pub(super) fn take_or_make(&self, length: usize) -> Vec<u8> {
        let buffer = self.take(length);
        if buffer.is_empty() { vec![0; size_for(length)] } else { buffer }
    }

    /// Hands out part of a buffer.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub(super) fn lend(&self, buffer: Vec<u8>, range: Range<usize>) -> Bytes {
        assert!(range.end <= buffer.len(), "what is handed out is there");
        Bytes::from_owner(Lent { buffer, range, pool: self.clone() })
    }

    /// Takes one back.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        let mut kept = self.kept();
        kept.is_used = true;
        if !buffer.is_empty() && kept.bytes + buffer.len() <= KEPT_BYTES {
            kept.bytes += buffer.len();
            kept.buffers.push(buffer);
        }
    }

    /// Whether none is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.kept().buffers.is_empty()
    }

    /// To be called about once a second: if nobody has used any since the last time, they go back to the system.
    pub(super) fn rest(&self) {
        let mut kept = self.kept();
        if !std::mem::take(&mut kept.is_used) {
            *kept = Kept::default();
        }
    }
}

/// How large a buffer for `length` bytes is made.
pub(super) fn size_for(length: usize) -> usize {
    (length + AROUND_BYTES).next_multiple_of(STEP_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn what_was_lent_goes_round_when_the_last_lets_go() {
        let pool = Pool::default();
        let mut buffer = pool.take_or_make(MIB);
        buffer[..3].copy_from_slice(b"abc");
        let at = buffer.as_ptr();
        let bytes = pool.lend(buffer, 1..3);
        let part = bytes.slice(1..);
        assert_eq!((&bytes[..], &part[..]), (&b"bc"[..], &b"c"[..]));
        drop(bytes);
        assert!(pool.take(MIB).is_empty(), "somebody has a part of it");
        drop(part);
        // The packet around a chunk has room in what held a chunk.
        let again = pool.take(MIB + 100);
        assert_eq!(again.as_ptr(), at);
    }

    #[test]
    fn no_more_are_kept_than_may_be_and_none_while_nobody_uses_them() {
        let pool = Pool::default();
        (0..20).for_each(|_| pool.give(vec![0; size_for(MIB)]));
        let kept = |pool: &Pool| {
            let kept = pool.kept();
            (kept.buffers.len(), kept.bytes)
        };
        assert!(kept(&pool).0 >= 7 && kept(&pool).1 <= KEPT_BYTES);
        pool.rest();
        assert!(!pool.take(MIB).is_empty());
        pool.rest();
        pool.rest();
        assert_eq!(kept(&pool), (0, 0));
        assert!(pool.take(MIB).is_empty());
    }

    #[test]
    fn a_small_request_does_not_get_a_large_buffer() {
        let pool = Pool::default();
        pool.give(vec![0; size_for(MIB)]);
        assert!(pool.take(64 * 1024).is_empty());
        assert!(pool.take(2 * MIB).is_empty());
        assert!(!pool.take(900 * 1024).is_empty());
    }
}
