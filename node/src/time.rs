//! Time as the protocols see it.

use std::ops::{Add, Sub};

/// Milliseconds on a monotonic clock, since this node started; also a length of time. A protocol is told what time it
/// is and never looks, so a test can write `Millis(1_500)` and mean it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Add for Millis {
    type Output = Millis;
    fn add(self, other: Millis) -> Millis {
        Millis(self.0.saturating_add(other.0))
    }
}

impl Sub for Millis {
    type Output = Millis;
    /// The length of time from `earlier` to `self`, 0 if `earlier` is later.
    fn sub(self, earlier: Millis) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}
