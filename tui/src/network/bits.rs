//! A set of small numbers, one bit each: a thousand views of a thousand names are 125 KB.

/// A set of slot numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(crate) fn contains(&self, slot: usize) -> bool {
        self.words.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    /// Puts `slot` in or takes it out; says whether that changed anything.
    pub(crate) fn set(&mut self, slot: usize, member: bool) -> bool {
        if self.contains(slot) == member {
            return false;
        }
        if self.words.len() <= slot / 64 {
            self.words.resize(slot / 64 + 1, 0);
        }
        self.words[slot / 64] ^= 1 << (slot % 64);
        true
    }

    pub(crate) fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// How many are in both.
    pub(crate) fn common(&self, other: &Self) -> u32 {
        self.words.iter().zip(&other.words).map(|(a, b)| (a & b).count_ones()).sum()
    }

    /// Those in `self` but not in `other`, how many.
    pub(crate) fn beyond(&self, other: &Self) -> u32 {
        self.count() - self.common(other)
    }

    pub(crate) fn first(&self) -> Option<usize> {
        self.iter().next()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_iterates_over_word_borders() {
        let mut set = Bits::default();
        for slot in [0, 63, 64, 200] {
            assert!(set.set(slot, true) && !set.set(slot, true));
        }
        let mut other = Bits::default();
        other.set(64, true);
        assert_eq!((set.count(), set.common(&other), set.beyond(&other), other.beyond(&set)), (4, 1, 3, 0));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 200]);
        assert!(set.set(63, false) && !set.contains(63) && !set.contains(9_999));
    }
}
