//! What waits for a line: frames in order, and between them bytes that were not copied into their frames.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};
use p2pnet_shared::wire::{Codec, Packet};

/// An empty buffer larger than this is given back, bytes.
const KEPT_MAX: usize = 16 * 1024;

/// Frames to be written. As a [`Buf`] it is what is left of them, in order.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Outbox {
    /// All frames, but for their tails.
    frames: Vec<u8>,
    /// How many of those bytes are written.
    written: usize,
    /// Where each tail belongs in the frames, and it; none is empty.
    tails: VecDeque<(usize, Bytes)>,
    /// Bytes of the tails.
    tail_bytes: usize,
}

impl Outbox {
    /// One more frame, of about `weight` bytes if it is a large one.
    pub(super) fn push<T: Packet>(&mut self, codec: &Codec, packet: &T, weight: usize) {
        if codec.is_sealed() || packet.split().is_none() {
            self.frames.reserve(weight);
        }
        if let Some(tail) = codec.encode_head_onto(packet, &mut self.frames).filter(|tail| !tail.is_empty()) {
            self.tail_bytes += tail.len();
            self.tails.push_back((self.frames.len(), tail));
        }
    }

    /// One that is ready.
    pub(super) fn push_frame(&mut self, frame: &[u8]) {
        self.frames.extend_from_slice(frame);
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_remaining()
    }

    /// Empty, for what comes next.
    pub(super) fn cleared(mut self) -> Self {
        self.frames.clear();
        let frames = if self.frames.capacity() > KEPT_MAX { Vec::new() } else { self.frames };
        Self { frames, ..Self::default() }
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.frames.len() - self.written + self.tail_bytes
    }

    fn chunk(&self) -> &[u8] {
        match self.tails.front() {
            Some((at, tail)) if *at == self.written => tail,
            Some((at, _)) => &self.frames[self.written..*at],
            None => &self.frames[self.written..],
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut from, mut count) = (self.written, 0);
        let mut add = |bytes: &'a [u8]| {
            if let Some(slice) = slices.get_mut(count).filter(|_| !bytes.is_empty()) {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
        };
        for (at, tail) in &self.tails {
            add(&self.frames[from..*at]);
            add(tail);
            from = *at;
        }
        add(&self.frames[from..]);
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining(), "no more is written than there is");
        while count > 0 {
            match self.tails.front_mut() {
                Some((at, tail)) if *at == self.written => {
                    let now = count.min(tail.len());
                    tail.advance(now);
                    let is_over = tail.is_empty();
                    self.tail_bytes -= now;
                    count -= now;
                    if is_over {
                        self.tails.pop_front();
                    }
                }
                front => {
                    let end = front.map_or(self.frames.len(), |(at, _)| *at);
                    let now = count.min(end - self.written);
                    self.written += now;
                    count -= now;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::wire::folder::{Message, Root, Transfer};

    use super::*;

    fn messages() -> Vec<Message> {
        let root = Root([3; 32]);
        let chunk = |chunk: u32, length: usize| {
            Message::Transfer(Transfer::Chunk { root, chunk, bytes: vec![chunk.to_le_bytes()[0]; length].into() })
        };
        let confirmed = |call| Message::Confirmed { call };
        vec![confirmed(1), chunk(2, 70_000), chunk(3, 40_000), confirmed(4), chunk(5, 100), chunk(6, 50_000)]
    }

    #[test]
    fn what_is_written_is_the_frames_one_after_the_other_however_it_goes() {
        let codec = Codec::new(&"lab".parse().unwrap(), None);
        let expected: Vec<u8> = messages().iter().flat_map(|message| codec.encode_frame(message)).collect();
        for step in [1_000, 4_096, 69_999, 1 << 20] {
            let mut outbox = Outbox::default();
            messages().iter().for_each(|message| outbox.push(&codec, message, 0));
            assert_eq!((outbox.remaining(), outbox.is_empty()), (expected.len(), false));
            let mut written = Vec::new();
            while outbox.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 4];
                let count = outbox.chunks_vectored(&mut slices);
                let all = slices[..count].iter().map(|slice| &slice[..]).collect::<Vec<_>>().concat();
                assert!(all.starts_with(outbox.chunk()) && !all.is_empty());
                let now = step.min(all.len());
                written.extend_from_slice(&all[..now]);
                outbox.advance(now);
            }
            assert!(written == expected, "in steps of {step}");
            assert!(outbox.is_empty() && outbox.cleared().frames.capacity() <= KEPT_MAX);
        }
    }
}
