//! What comes in over a line: the beginning of a frame, or a large one on its way to the buffer where it stays.
//!
//! ```text
//! shared buffer ──small frames, the beginning of a large one──▶ Inbox ──much is missing──▶ Large ──whole──▶ Bytes of the pool
//! connection ────the rest of a large one─────────────────────────────────────────────────────▲
//! ```
//! Always holds: what is taken for a frame is no more than 256 KiB ahead of the bytes that came, unless it was there already.

use bytes::Bytes;
use p2pnet_shared::wire::ENVELOPE_MAX_BYTES;

use super::READ_BYTES;
use crate::runtime::{
    link::LinkError,
    pool::{Pool, size_for},
};

/// What is kept of a buffer that is empty again, bytes.
const KEPT_MAX: usize = 4 * 1024;
/// How far the buffer of a large frame is ahead of its bytes.
const AHEAD: usize = 4 * READ_BYTES;
/// What stands before a frame.
const LENGTH_BYTES: usize = 4;

/// Bytes that came in, as frames.
#[derive(Debug)]
pub(super) struct Inbox {
    /// The longest frame that is taken.
    frame_max: usize,
    bytes: Vec<u8>,
    /// How many of them have been taken.
    taken: usize,
    large: Option<Large>,
}

/// A frame that fills a buffer of its own.
#[derive(Debug)]
struct Large {
    buffer: Vec<u8>,
    filled: usize,
    /// Bytes of the frame and its length.
    whole: usize,
}

impl Inbox {
    pub(super) fn new(packet_max: usize) -> Self {
        Self { frame_max: packet_max + ENVELOPE_MAX_BYTES, bytes: Vec::new(), taken: 0, large: None }
    }

    /// Small frames and beginnings of large ones.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// How many bytes are missing of the frame that has begun; 0 if none has, or if it is not known yet. To be asked of a tidy one.
    fn missing(&self) -> usize {
        let Some((length, rest)) = self.bytes.split_first_chunk::<LENGTH_BYTES>() else { return 0 };
        (u32::from_be_bytes(*length) as usize).min(self.frame_max).saturating_sub(rest.len())
    }

    /// Whether what comes next belongs to a large frame, and goes to [`Inbox::rest`]. To be asked of a tidy one.
    pub(super) fn is_large(&mut self, pool: &Pool) -> bool {
        let missing = self.missing();
        if self.large.is_none() && missing >= READ_BYTES {
            let whole = self.bytes.len() + missing;
            let mut buffer = pool.take(whole);
            let filled = self.bytes.len();
            buffer.resize(buffer.len().max(filled), 0);
            buffer[..filled].copy_from_slice(&self.bytes);
            self.bytes = Vec::new();
            self.large = Some(Large { buffer, filled, whole });
        }
        self.large.is_some()
    }

    /// Where the rest of the large frame goes, or some of it; nothing if there is none.
    pub(super) fn rest(&mut self) -> &mut [u8] {
        let Some(Large { buffer, filled, whole }) = &mut self.large else { return &mut [] };
        if buffer.len() == *filled {
            // It grows as bytes arrive; when it is whole it is as large as any other for such frames.
            let ahead = *filled + AHEAD;
            let size = if ahead < *whole { ahead } else { size_for(*whole - LENGTH_BYTES) };
            buffer.reserve_exact(size - *filled);
            buffer.resize(size, 0);
        }
        let end = buffer.len().min(*whole);
        &mut buffer[*filled..end]
    }

    /// So many bytes were read there.
    pub(super) fn filled(&mut self, count: usize) {
        if let Some(large) = &mut self.large {
            large.filled += count;
        }
    }

    /// The large frame, if it is whole, without its length.
    pub(super) fn large_frame(&mut self, pool: &Pool) -> Option<Bytes> {
        let Large { buffer, whole, .. } = self.large.take_if(|large| large.filled == large.whole)?;
        Some(pool.lend(buffer, LENGTH_BYTES..whole))
    }

    /// The next whole frame, without its length; empty for a goodbye.
    pub(super) fn frame(&mut self) -> Result<Option<&[u8]>, LinkError> {
        let rest = &self.bytes[self.taken..];
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.frame_max {
            return Err(LinkError::TooLong(length));
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        self.taken += LENGTH_BYTES + length;
        Ok(Some(frame))
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn is_partial(&self) -> bool {
        self.taken < self.bytes.len() || self.large.is_some()
    }

    /// Lets go of what has been taken.
    pub(super) fn tidy(&mut self) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(KEPT_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
    }

    #[test]
    fn frames_come_whole_however_the_bytes_arrive() {
        let stream = [framed(b"one"), framed(&[7; 300]), framed(b""), framed(b"two")].concat();
        for piece in [1, 2, 3, 5, 64, stream.len()] {
            let (mut inbox, mut frames) = (Inbox::new(1_000), Vec::new());
            for bytes in stream.chunks(piece) {
                inbox.extend(bytes);
                while let Some(frame) = inbox.frame().unwrap() {
                    frames.push(frame.to_vec());
                }
                inbox.tidy();
            }
            assert_eq!(frames, [b"one".to_vec(), vec![7; 300], vec![], b"two".to_vec()], "in pieces of {piece}");
            assert!(!inbox.is_partial());
        }
    }

    #[test]
    fn large_frames_come_whole_among_small_ones_and_fill_buffers_that_went_round() {
        let pool = Pool::default();
        let large = |seed: usize| (0..700_000 + seed).map(|at| (at * seed % 251) as u8).collect::<Vec<u8>>();
        let bodies = [large(1), b"small".to_vec(), large(2), large(3), vec![9; READ_BYTES], large(4), b"end".to_vec()];
        let stream: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
        for piece in [1_000, 50_000, READ_BYTES] {
            let (mut inbox, mut frames, mut rest) = (Inbox::new(1 << 20), Vec::new(), &stream[..]);
            while !rest.is_empty() {
                let count = if inbox.is_large(&pool) {
                    let room = inbox.rest();
                    let count = room.len().min(piece).min(rest.len());
                    room[..count].copy_from_slice(&rest[..count]);
                    inbox.filled(count);
                    count
                } else {
                    let count = piece.min(rest.len());
                    inbox.extend(&rest[..count]);
                    count
                };
                rest = &rest[count..];
                frames.extend(inbox.large_frame(&pool).map(|frame| frame.to_vec()));
                while let Some(frame) = inbox.frame().unwrap() {
                    frames.push(frame.to_vec());
                }
                inbox.tidy();
            }
            assert!(frames == bodies, "in pieces of {piece}");
            assert!(!inbox.is_partial());
        }
        assert!(!pool.take(700_000).is_empty(), "what they filled goes round");
    }

    #[test]
    fn a_length_alone_buys_no_memory_and_one_too_long_is_refused_at_once() {
        let (mut inbox, pool) = (Inbox::new(1_000_000), Pool::default());
        let longest = u32::try_from(inbox.frame_max).unwrap();
        inbox.extend(&longest.to_be_bytes());
        assert!(inbox.frame().unwrap().is_none() && inbox.is_partial());
        assert!(inbox.bytes.capacity() < 1_024);
        assert_eq!(inbox.missing(), longest as usize);
        assert!(inbox.is_large(&pool) && inbox.is_partial());
        assert!(inbox.rest().len() <= AHEAD && inbox.large.is_some_and(|large| large.buffer.capacity() <= AHEAD + 4));
        let mut inbox = Inbox::new(1_000_000);
        inbox.extend(&(longest + 1).to_be_bytes());
        assert!(matches!(inbox.frame(), Err(LinkError::TooLong(_))));
    }
}
