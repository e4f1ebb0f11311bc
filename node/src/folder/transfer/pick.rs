//! Which chunk next: the one that the fewest have, and of those any.
//!
//! Source: BitTorrent's local rarest first (Cohen 2003; Legout et al. 2006 found it close to ideal). Chunks are kept in one
//! set per number of holders, so a pick is a few operations on words of 64 chunks each.

use rand::{RngExt, rngs::Xoshiro256PlusPlus};

use super::bits::{Bits, nth_one};

/// Levels of rarity told apart: a chunk that so many have is as good as one that everybody has.
const LEVELS: usize = 16;

/// How many of those who are getting a file have each of its chunks. Whoever has all of it makes no difference and is not counted.
#[derive(Debug)]
pub(super) struct Rarity {
    counts: Vec<u8>,
    levels: Vec<Bits>,
}

impl Rarity {
    /// Nobody has any of `chunks`.
    pub(super) fn new(chunks: u32) -> Self {
        Self { counts: vec![0; chunks as usize], levels: vec![Bits::all(chunks)] }
    }

    /// One more has it, or one less.
    pub(super) fn change(&mut self, chunk: u32, has: bool) {
        let Some(count) = self.counts.get_mut(chunk as usize) else { return };
        let before = usize::from(*count).min(LEVELS - 1);
        *count = if has { count.saturating_add(1) } else { count.saturating_sub(1) };
        let after = usize::from(*count).min(LEVELS - 1);
        if before != after {
            while self.levels.len() <= after {
                self.levels.push(Bits::none(u32::try_from(self.counts.len()).unwrap_or(0)));
            }
            self.levels[before].remove(chunk);
            self.levels[after].insert(chunk);
        }
    }

    /// One of the rarest among those `needed` and in `held` (`None`: all), by chance.
    pub(super) fn pick(&self, needed: &Bits, held: Option<&Bits>, rng: &mut Xoshiro256PlusPlus) -> Option<u32> {
        self.levels.iter().find_map(|level| {
            let words = || {
                let held = (0..level.words().len()).map(|at| held.map_or(u64::MAX, |held| held.words()[at]));
                level.words().iter().zip(needed.words()).zip(held).map(|((level, needed), held)| level & needed & held)
            };
            let count: u32 = words().map(u64::count_ones).sum();
            nth_one(words(), rng.random_range(0..count.max(1)))
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_rarest_is_picked_and_among_equals_each_alike() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut rarity = Rarity::new(130);
        for _ in 0..40 {
            (0..130).filter(|chunk| chunk % 13 != 5).for_each(|chunk| rarity.change(chunk, true));
        }
        let (mut needed, held) = (Bits::all(130), Bits::all(130));
        let mut seen = [0; 130];
        for _ in 0..1_000 {
            seen[rarity.pick(&needed, Some(&held), &mut rng).unwrap() as usize] += 1;
        }
        for (chunk, seen) in seen.iter().enumerate() {
            assert_eq!(*seen > 50, chunk % 13 == 5, "{chunk} was picked {seen} times");
        }
        (0..130).filter(|chunk| chunk % 13 == 5).for_each(|chunk| assert!(needed.remove(chunk)));
        assert!(rarity.pick(&needed, None, &mut rng).is_some_and(|chunk| chunk % 13 != 5));
        assert_eq!(rarity.pick(&needed, Some(&Bits::none(130)), &mut rng), None);
        assert_eq!(rarity.pick(&Bits::none(130), None, &mut rng), None);
    }

    #[test]
    fn a_count_goes_down_to_what_it_was() {
        let mut rarity = Rarity::new(2);
        (0..30).for_each(|_| rarity.change(0, true));
        (0..30).for_each(|_| rarity.change(0, false));
        rarity.change(1, true);
        rarity.change(9, true);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        assert_eq!(rarity.pick(&Bits::all(2), None, &mut rng), Some(0));
    }
}
