//! How long an answer may take, learned from those that came (research: `clamp(3 · p99 RTT, 200 ms, T/2)`), and who
//! answers fast.
//!
//! ```text
//! on_ack ──▶ heard(name, rtt) ──▶ ┌─ last 64 round trips ─┐──▶ patience(): how long to wait for a direct answer
//!                                 └─ last 16 who answered ┘──▶ quick(): whom to ask for help
//! ```
//! Memberlist waits a fixed time for everybody, which is too short on a slow network and too long on a fast one. The
//! estimate is of our own answered probes to whomever: on one machine, or one LAN, what differs is our own lateness.
//!
//! What always holds: the memory is bounded; the timeout lies between its limits whatever the samples say.

use std::collections::VecDeque;

use p2pnet_shared::NodeName;

use super::Config;
use crate::time::Millis;

/// Round trips remembered: about a minute of probes. The largest of 64 but one stands for the 99th percentile, so that a
/// single outlier does not set the pace.
const SAMPLES: usize = 64;
/// Before so many answers the configured timeout is used as it is.
const SAMPLES_MIN: usize = 8;
/// Answerers remembered, to be asked for help.
const QUICK: usize = 16;

/// What answered probes have taught us.
#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    /// Oldest first; capped at 65 s each.
    samples: VecDeque<u16>,
    /// Who answered, how quickly and when; oldest first, each name once.
    answered: VecDeque<(NodeName, u16, Millis)>,
}

impl RoundTrips {
    /// `name` answered our own ping directly, `took` after it was sent.
    pub(super) fn heard(&mut self, now: Millis, name: &NodeName, took: Millis) {
        let took = u16::try_from(took.0).unwrap_or(u16::MAX);
        if self.samples.len() >= SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(took);
        self.answered.retain(|(held, ..)| held != name);
        if self.answered.len() >= QUICK {
            self.answered.pop_front();
        }
        self.answered.push_back((name.clone(), took, now));
    }

    /// How long a direct answer may take, at health 0.
    pub(super) fn patience(&self, config: &Config) -> Millis {
        if self.samples.len() < SAMPLES_MIN {
            return config.probe_timeout;
        }
        let mut sorted: Vec<u16> = self.samples.iter().copied().collect();
        sorted.sort_unstable();
        let high = sorted[sorted.len() - 1 - usize::from(sorted.len() >= SAMPLES)];
        let longest = Millis(config.probe_interval.0 / 2).max(config.probe_timeout_min);
        Millis(3 * u64::from(high)).clamp(config.probe_timeout_min, longest)
    }

    /// Those who answered since `since`, the quicker half of them, quickest first.
    pub(super) fn quick(&self, since: Millis) -> Vec<NodeName> {
        let mut recent: Vec<_> = self.answered.iter().filter(|(.., at)| *at >= since).collect();
        recent.sort_by_key(|(_, took, at)| (*took, std::cmp::Reverse(*at)));
        recent.truncate(recent.len().div_ceil(2));
        recent.into_iter().map(|(name, ..)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(samples: &[u64]) -> Millis {
        let mut trips = RoundTrips::default();
        for (number, took) in (1..).zip(samples) {
            trips.heard(Millis(0), &NodeName::numbered(number), Millis(*took));
        }
        trips.patience(&Config::default())
    }

    #[test]
    fn the_timeout_follows_the_slowest_answers_within_its_limits() {
        assert_eq!(after(&[2; 7]), Millis(300), "too few answers to learn from");
        assert_eq!(after(&[2; 64]), Millis(200), "a fast LAN");
        assert_eq!(after(&[120; 64]), Millis(360), "three times the round trip");
        assert_eq!(after(&[400; 64]), Millis(500), "never more than half a period");
        let mut one_outlier = [100; 64];
        one_outlier[20] = 5_000;
        assert_eq!(after(&one_outlier), Millis(300), "one slow answer is an accident");
        one_outlier[40] = 5_000;
        assert_eq!(after(&one_outlier), Millis(500), "two are not");
        assert_eq!(after(&[[400; 64], [100; 64]].concat()), Millis(300), "what is long past is forgotten");
    }

    #[test]
    fn the_quick_and_recent_are_named_each_once() {
        let mut trips = RoundTrips::default();
        for (number, took, at) in [(1, 1, 0), (2, 9, 50), (3, 3, 60), (4, 5, 70), (3, 4, 80), (5, 7, 90)] {
            trips.heard(Millis(at), &NodeName::numbered(number), Millis(took));
        }
        assert_eq!(trips.quick(Millis(50)), [NodeName::numbered(3), NodeName::numbered(4)]);
    }

    proptest! {
        #[test]
        fn the_timeout_keeps_its_limits_and_memory_is_bounded(
            answers in prop::collection::vec((1_u32..100, any::<u64>()), 0..300),
        ) {
            let config = Config::default();
            let mut trips = RoundTrips::default();
            for (number, took) in answers {
                trips.heard(Millis(0), &NodeName::numbered(number), Millis(took));
                prop_assert!(trips.samples.len() <= SAMPLES && trips.answered.len() <= QUICK);
                let patience = trips.patience(&config);
                prop_assert!(patience >= config.probe_timeout_min);
                prop_assert!(patience.0 <= config.probe_interval.0 / 2);
            }
        }
    }
}
