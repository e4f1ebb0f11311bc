//! How contents are cut, and how a piece is known to be genuine.
//!
//! Source: BLAKE3 (O'Connor, Aumasson, Neves, Wilcox-O'Hearn 2020) §2.1. A file is hashed as a binary tree over pieces of
//! 1 KiB whose left subtrees are complete. Cut into chunks of a power of two KiB, every chunk is therefore a whole subtree
//! and has one *chaining value*; the values of all chunks, its *outline*, merge to the file's ordinary hash. So an outline is
//! proved by the root alone, whoever it came from, and each chunk by its value, before the rest of the file is here.
//!
//! Left out: files of more than [`CHUNKS_MAX`] chunks (32 GiB), whose outline would not fit in a packet, and proofs of a part
//! of an outline.

use blake3::{
    Hasher,
    hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use p2pnet_shared::wire::folder::{CHUNK_MAX_BYTES, Root};

/// Contents of at most so many bytes are one unit, checked by their root and sent in bundles.
pub(crate) const WHOLE_MAX_BYTES: u64 = 256 * 1024;
/// Smallest chunk, bytes.
const CHUNK_MIN_BYTES: u64 = 16 * 1024;
/// Chunks a file is cut into, about, as long as that makes chunks of an allowed size: so few that news of them is short, so
/// many that the last chunk's way through a thousand nodes costs less than a tenth of the whole (Mundinger et al. 2006).
const CHUNKS_AIM: u64 = 256;
/// Chunks of a file at most: what fits in one packet as an outline.
pub(crate) const CHUNKS_MAX: u32 = 32 * 1024;

/// A chaining value.
pub(crate) type Value = [u8; 32];

/// How a file of more than [`WHOLE_MAX_BYTES`] is cut. The same size is cut alike on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    size: u64,
    chunk_bytes: u32,
}

impl Geometry {
    /// Of a file of `size` bytes; `None` if it is one unit or has too many chunks.
    pub(crate) fn of(size: u64) -> Option<Self> {
        let piece = size.div_ceil(CHUNKS_AIM).next_power_of_two().clamp(CHUNK_MIN_BYTES, CHUNK_MAX_BYTES as u64);
        let fits = size > WHOLE_MAX_BYTES && size.div_ceil(piece) <= u64::from(CHUNKS_MAX);
        fits.then_some(Self { size, chunk_bytes: u32::try_from(piece).unwrap_or(u32::MAX) })
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of a chunk, but for the last.
    pub(crate) fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// How many chunks there are, at least 2.
    pub(crate) fn chunks(&self) -> u32 {
        u32::try_from(self.size.div_ceil(u64::from(self.chunk_bytes))).unwrap_or(u32::MAX)
    }

    /// Where a chunk begins, bytes.
    pub(crate) fn offset(&self, chunk: u32) -> u64 {
        u64::from(chunk) * u64::from(self.chunk_bytes)
    }

    /// How long a chunk is, bytes; 0 if there is no such chunk.
    pub(crate) fn length(&self, chunk: u32) -> u32 {
        let left = self.size.saturating_sub(self.offset(chunk));
        u32::try_from(left).unwrap_or(u32::MAX).min(self.chunk_bytes)
    }
}

/// The chaining value of a chunk that begins at `offset`, a multiple of its full size, and is not the whole file. Of no bytes it
/// is a value that no chunk has.
pub(crate) fn chaining_value(offset: u64, bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return [0; 32];
    }
    Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root()
}

/// Whether these are the chaining values of all chunks of the file with this root, in order. Two at least: a single chunk has
/// none but its root.
pub(crate) fn is_proved(root: &Root, values: &[Value]) -> bool {
    merged(values) == Some(*root)
}

/// The root of the file whose chunks have these values; two at least.
pub(crate) fn merged(values: &[Value]) -> Option<Root> {
    let mut layer = values.to_vec();
    while layer.len() > 2 {
        // Pairs become their parents; the odd one out moves up as it is. That is the tree whose left subtrees are complete.
        layer = layer
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => merge_subtrees_non_root(left, right, Mode::Hash),
                odd => odd[0],
            })
            .collect();
    }
    match &layer[..] {
        [left, right] => Some(Root(*merge_subtrees_root(left, right, Mode::Hash).as_bytes())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn contents(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at % 251) as u8 ^ (at / 4096) as u8).collect()
    }

    fn outline(contents: &[u8], chunk_bytes: usize) -> Vec<Value> {
        contents
            .chunks(chunk_bytes)
            .enumerate()
            .map(|(at, piece)| chaining_value((at * chunk_bytes) as u64, piece))
            .collect()
    }

    /// Sizes around every power of two, and the odd ones.
    fn sizes() -> Vec<usize> {
        let around = (10..=21).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1]);
        [0, 1, 1000, 1023, 3 * KIB, 48 * KIB + 5, 5 * KIB * KIB + 3].into_iter().chain(around).collect()
    }

    #[test]
    fn an_outline_of_any_size_merges_to_the_ordinary_hash() {
        let all = contents(5 * KIB * KIB + 3);
        for size in sizes() {
            let root = Root::of(&all[..size]);
            assert_eq!(root.0, *blake3::hash(&all[..size]).as_bytes());
            for chunk_bytes in [KIB, 16 * KIB, 64 * KIB, 256 * KIB, KIB * KIB] {
                let values = outline(&all[..size], chunk_bytes);
                assert_eq!(is_proved(&root, &values), values.len() >= 2, "{size} in chunks of {chunk_bytes}");
            }
        }
    }

    #[test]
    fn an_outline_with_one_bit_wrong_one_value_more_or_less_or_two_swapped_proves_nothing() {
        let all = contents(300 * KIB + 1);
        let (root, good) = (Root::of(&all), outline(&all, 16 * KIB));
        assert!(is_proved(&root, &good));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at][at % 32] ^= 1;
            assert!(!is_proved(&root, &bad));
        }
        let mut swapped = good.clone();
        swapped.swap(3, 4);
        let longer = good.iter().chain([&good[0]]).copied().collect::<Vec<_>>();
        for bad in [&swapped[..], &longer, &good[..good.len() - 1], &good[..1], &[]] {
            assert!(!is_proved(&root, bad));
        }
    }

    #[test]
    fn chunks_are_large_enough_few_enough_and_cover_the_file() {
        assert_eq!(Geometry::of(0), None);
        assert_eq!(Geometry::of(WHOLE_MAX_BYTES), None);
        assert_eq!(Geometry::of(u64::MAX), None);
        assert_eq!(Geometry::of((32 << 30) + 1), None);
        let cases = [
            (WHOLE_MAX_BYTES + 1, 16 * KIB, 17),
            (4 << 20, 16 * KIB, 256),
            ((4 << 20) + 1, 32 * KIB, 129),
            (32 << 20, 128 * KIB, 256),
            (100 << 20, 512 * KIB, 200),
            (256 << 20, KIB * KIB, 256),
            (4 << 30, KIB * KIB, 4096),
            (32 << 30, KIB * KIB, CHUNKS_MAX),
        ];
        for (size, chunk_bytes, chunks) in cases {
            let cut = Geometry::of(size).unwrap();
            assert_eq!((cut.chunk_bytes() as usize, cut.chunks()), (chunk_bytes, chunks), "{size}");
            assert_eq!((0..chunks).map(|chunk| u64::from(cut.length(chunk))).sum::<u64>(), size);
            assert_eq!(cut.offset(chunks - 1) + u64::from(cut.length(chunks - 1)), size);
            assert_eq!((cut.length(chunks), cut.length(u32::MAX)), (0, 0));
        }
    }
}
