//! How fast we send: a token bucket over all contents, and shares of it for three classes.

use crate::time::Millis;

/// The bucket holds what may be sent in this time, milliseconds: a pause is not followed by a flood.
const BURST_MS: u64 = 100;
/// A rate above this is none, bytes a second: the sums below stay within an i64.
const RATE_MAX: u64 = 1 << 40;

/// Lets so many bytes a second through. What is larger than the bucket is let through when the bucket is not empty, and paid for after.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes a second; `None`: any.
    rate: Option<u64>,
    /// Thousandths of a byte that may be sent now; below 0, bytes sent that are still to be paid for.
    tokens: i64,
    filled: Millis,
}

impl Bucket {
    pub(super) fn new(rate: Option<u64>) -> Self {
        let rate = rate.map(|rate| rate.clamp(1, RATE_MAX));
        Self { rate, tokens: rate.map_or(0, |rate| signed(rate * BURST_MS)), filled: Millis(0) }
    }

    /// Whether something may be sent now.
    pub(super) fn is_open(&mut self, now: Millis) -> bool {
        let Some(rate) = self.rate else { return true };
        // Nobody's clock runs for a hundred years; a pause longer than the bucket only fills it.
        let since = (now - self.filled).0.min(1 << 20);
        self.filled = now;
        self.tokens = self.tokens.saturating_add(signed(rate.saturating_mul(since))).min(signed(rate * BURST_MS));
        self.tokens > 0
    }

    /// So many bytes are sent.
    pub(super) fn pay(&mut self, bytes: u64) {
        if self.rate.is_some() {
            self.tokens = self.tokens.saturating_sub(signed(bytes.saturating_mul(1_000)));
        }
    }

    /// They were not sent after all.
    pub(super) fn refund(&mut self, bytes: u64) {
        if let Some(rate) = self.rate {
            self.tokens = self.tokens.saturating_add(signed(bytes.saturating_mul(1_000))).min(signed(rate * BURST_MS));
        }
    }

    /// When it will be open, if it is not.
    pub(super) fn opens(&self) -> Millis {
        let rate = signed(self.rate.unwrap_or(1));
        self.filled + Millis(u64::try_from((-self.tokens).max(0) / rate).unwrap_or(0) + 1)
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> Option<u64> {
        self.rate
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What is sent: outlines, small contents, chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Outlines.
    Meta,
    /// Bundles.
    Small,
    /// Chunks.
    Large,
}

/// All of them, in order.
pub(super) const CLASSES: [Class; 3] = [Class::Meta, Class::Small, Class::Large];
/// Their shares while all of them have something to send.
const WEIGHTS: [u64; 3] = [1, 4, 4];

/// Shares by weight: the class that has sent the least for its weight goes first (start-time fair queueing, Goyal et al. 1996; it does
/// what deficit round robin does without a quantum to choose). A class that had nothing to send saves nothing up.
#[derive(Debug, Default)]
pub(super) struct Shares {
    sent: [u64; 3],
    now: u64,
}

impl Shares {
    /// Which of those that have something to send is next.
    pub(super) fn next(&self, has_work: impl Fn(Class) -> bool) -> Option<Class> {
        let ready = CLASSES.into_iter().filter(|class| has_work(*class));
        ready.min_by_key(|class| self.sent[*class as usize].max(self.now))
    }

    /// It sends so many bytes.
    pub(super) fn sent(&mut self, class: Class, bytes: u64) {
        let at = class as usize;
        self.now = self.sent[at].max(self.now);
        // Even nothing costs something, so that nobody is first for ever.
        self.sent[at] = self.now + bytes.max(64) * 4 / WEIGHTS[at];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_bytes_pass_as_the_rate_says_whatever_their_size() {
        for piece in [1_000, 65_536, 1 << 20] {
            let mut bucket = Bucket::new(Some(6_000_000));
            let (mut sent, mut now) = (0, Millis(5_000));
            while now < Millis(15_000) {
                if bucket.is_open(now) {
                    bucket.pay(piece);
                    sent += piece;
                } else {
                    assert!(bucket.opens() > now);
                    now = bucket.opens();
                }
            }
            let allowed = 60_000_000 + 600_000;
            assert!((60_000_000 - piece..=allowed + piece).contains(&sent), "{sent} in pieces of {piece}");
        }
    }

    #[test]
    fn what_was_not_sent_is_given_back_and_no_cap_is_no_cap() {
        let mut bucket = Bucket::new(Some(1_000));
        assert!(bucket.is_open(Millis(0)));
        bucket.pay(500);
        assert!(!bucket.is_open(Millis(0)));
        bucket.refund(500);
        assert!(bucket.is_open(Millis(0)));
        let mut free = Bucket::new(None);
        free.pay(u64::MAX);
        assert!(free.is_open(Millis(0)));
        let mut absurd = Bucket::new(Some(u64::MAX));
        absurd.pay(u64::MAX);
        assert!(!absurd.is_open(Millis(1)) && absurd.opens() > Millis(1));
    }

    #[test]
    fn shares_follow_the_weights_and_idleness_saves_nothing_up() {
        let mut shares = Shares::default();
        let mut sent = [0; 3];
        (0..1_000).for_each(|_| shares.sent(Class::Large, 1_000));
        for _ in 0..9_000 {
            let class = shares.next(|_| true).unwrap();
            shares.sent(class, 1_000);
            sent[class as usize] += 1;
        }
        assert!(sent.iter().zip([1_000, 4_000, 4_000]).all(|(sent, due)| i32::abs(sent - due) < 10), "{sent:?}");
        assert_eq!(shares.next(|_| false), None);
        assert_eq!(shares.next(|class| class == Class::Meta), Some(Class::Meta));
    }
}
