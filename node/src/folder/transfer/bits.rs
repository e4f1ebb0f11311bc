//! A set of chunks: one bit each.

/// Which of `len` chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
    len: u32,
    ones: u32,
}

impl Bits {
    /// None of `len`.
    pub(super) fn none(len: u32) -> Self {
        Self { words: vec![0; len.div_ceil(64) as usize], len, ones: 0 }
    }

    /// All of `len`.
    pub(super) fn all(len: u32) -> Self {
        let mut bits = Self { words: vec![u64::MAX; len.div_ceil(64) as usize], len, ones: len };
        if let Some(last) = bits.words.last_mut().filter(|_| !len.is_multiple_of(64)) {
            *last = (1 << (len % 64)) - 1;
        }
        bits
    }

    /// As it came from outside: `None` unless it is exactly as long as `len` chunks need, without a bit beyond them.
    pub(super) fn parse(len: u32, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != len.div_ceil(8) as usize {
            return None;
        }
        let word = |piece: &[u8]| piece.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let words: Vec<u64> = bytes.chunks(8).map(word).collect();
        let ones = words.iter().map(|word| word.count_ones()).sum();
        let is_within = words.last().is_none_or(|last| len.is_multiple_of(64) || last >> (len % 64) == 0);
        is_within.then_some(Self { words, len, ones })
    }

    /// As it travels: the first chunk at the lowest bit of the first byte.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes());
        bytes.take(self.len.div_ceil(8) as usize).collect()
    }

    /// How many there are in the set.
    pub(super) fn ones(&self) -> u32 {
        self.ones
    }

    /// Whether all are.
    pub(super) fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Whether this one is.
    pub(super) fn has(&self, chunk: u32) -> bool {
        chunk < self.len && self.words[chunk as usize / 64] >> (chunk % 64) & 1 == 1
    }

    /// Puts one in. Whether it was not there.
    pub(super) fn insert(&mut self, chunk: u32) -> bool {
        let is_new = chunk < self.len && !self.has(chunk);
        if is_new {
            self.words[chunk as usize / 64] |= 1 << (chunk % 64);
            self.ones += 1;
        }
        is_new
    }

    /// Takes one out. Whether it was there.
    pub(super) fn remove(&mut self, chunk: u32) -> bool {
        let was = self.has(chunk);
        if was {
            self.words[chunk as usize / 64] &= !(1 << (chunk % 64));
            self.ones -= 1;
        }
        was
    }

    /// Those in the set, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        chunks_of(self.words.iter().copied())
    }

    /// Those here and not in `other`, ascending.
    pub(super) fn without(&self, other: &Self) -> impl Iterator<Item = u32> {
        chunks_of(self.words.iter().zip(&other.words).map(|(mine, other)| mine & !other))
    }

    /// The words, 64 chunks each.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }
}

/// The numbers of the bits that are set.
fn chunks_of(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u32> {
    (0u32..).step_by(64).zip(words).flat_map(|(base, mut word)| {
        std::iter::from_fn(move || {
            let bit = (word != 0).then(|| word.trailing_zeros())?;
            word &= word - 1;
            Some(base + bit)
        })
    })
}

/// The `nth` bit that is set among these words, from 0.
pub(super) fn nth_one(words: impl Iterator<Item = u64>, nth: u32) -> Option<u32> {
    chunks_of(words).nth(nth as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_travels_and_comes_back() {
        for len in [1, 7, 8, 9, 63, 64, 65, 128, 200, 4096] {
            let mut bits = Bits::none(len);
            (0..len).step_by(3).for_each(|chunk| assert!(bits.insert(chunk)));
            assert!(!bits.insert(0) && !bits.insert(len) && bits.remove(0) && !bits.remove(0) && bits.insert(0));
            assert_eq!(Bits::parse(len, &bits.to_bytes()), Some(bits.clone()));
            assert_eq!(bits.iter().collect::<Vec<_>>(), (0..len).step_by(3).collect::<Vec<_>>());
            assert_eq!(bits.ones(), len.div_ceil(3));
            let all = Bits::all(len);
            assert!(all.is_full() && all.has(len - 1) && !all.has(len));
            assert_eq!(Bits::parse(len, &all.to_bytes()), Some(all.clone()));
            assert_eq!(all.without(&bits).count() as u32, len - bits.ones());
        }
    }

    #[test]
    fn a_set_of_another_size_or_with_bits_beyond_its_end_is_refused() {
        assert_eq!(Bits::parse(9, &[0xff, 0x03]), None);
        assert_eq!(Bits::parse(9, &[0xff]), None);
        assert_eq!(Bits::parse(9, &[0xff, 1, 0]), None);
        assert!(Bits::parse(9, &[0xff, 1]).is_some_and(|bits| bits.is_full()));
        assert_eq!(Bits::parse(64, &[]), None);
    }
}
