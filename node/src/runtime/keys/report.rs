//! What the gateway, readers of `/events` and `/metrics` are told of the store, by the loop.

use p2pnet_shared::telemetry::{DiskState, HeldKey, KeyCounts, KeyEvent, Report};

use super::News;
use crate::{
    dht::State,
    runtime::{Node, hub::Hub, metrics::Exposition, telemetry::NEWS_PERIOD, timers::Wake},
};

/// Keys told one by one at most; of more a sample is told. Two megabytes in a gateway's memory.
const HELD_MAX: usize = 64 * 1024;
/// Keys in one report, 20 bytes each.
const HELD_CHUNK: usize = 4 * 1024;

impl Node {
    /// Tells what is new since the last time.
    pub(in crate::runtime) fn report_keys(&mut self) {
        let wall = self.clock.wall();
        let is_watched = self.reporter.is_up();
        let is_read = self.readers.is_any();
        let (reports, events, unsaid, is_more) = self.keys.with_news(|news, state| {
            (news.is_watched, news.is_read) = (is_watched, is_read);
            let mut reports = Vec::new();
            if news.ring_changed(state) {
                news.ring_at = wall;
                reports.push(ring(news, state));
            }
            if is_watched {
                held(news, state, &mut reports);
                // Counting looks at every key: twice a second at most, which is every other time.
                news.counts_due = !news.counts_due;
                if news.counts_due {
                    reports.extend(counts(news, state));
                }
            }
            let events = std::mem::take(&mut news.events);
            news.known();
            (reports, events, std::mem::take(&mut news.unsaid), news.is_to_be_told())
        });
        if is_more {
            self.timers.set(self.clock.now() + NEWS_PERIOD, Wake::Keys);
        }
        for event in &events {
            let kind = match event {
                KeyEvent::Held(_) => "key_held",
                KeyEvent::Moved { .. } => "key_moved",
                KeyEvent::Acknowledged { .. } => "key_acknowledged",
            };
            self.readers.tell(kind, event);
        }
        if unsaid > 0 {
            self.readers.tell("keys_unsaid", &serde_json::json!({ "events": unsaid }));
        }
        reports.into_iter().for_each(|report| self.report(report));
    }

    /// What a new link to the gateway begins with.
    pub(in crate::runtime) fn first_of_keys(&self) -> Vec<Report> {
        self.keys.with_news(|news, state| {
            news.is_watched = true;
            news.counts_told = state.counts();
            let mut reports = vec![ring(news, state), Report::Keys(news.counts_told.clone())];
            all_held(news, state, &mut reports);
            reports
        })
    }

    pub(in crate::runtime) fn key_metrics(&self, text: &mut Exposition) {
        let KeyCounts { keys, owned, misplaced, tombstones, conflicts, bytes, moving, repaired, repair_bytes, disk } =
            self.keys.counts();
        let (left, bytes_left) = moving.iter().fold((0, 0), |sum, to| (sum.0 + to.keys, sum.1 + to.bytes));
        for (name, help, value) in [
            ("keys", "Keys with a value held here.", keys),
            ("keys_owned", "Keys held here whose owner this node is.", owned),
            ("keys_misplaced", "Copies held here for others.", misplaced),
            ("keys_deleted", "Deleted keys that are still remembered.", tombstones),
            ("keys_in_conflict", "Keys with more than one sibling.", conflicts),
            ("key_bytes", "Bytes of keys and values held.", bytes),
            ("keys_moving", "Copies that repair and hand-over still have to send.", left),
            ("keys_moving_bytes", "Their bytes.", bytes_left),
        ] {
            text.gauge(name, help, value);
        }
        let is = |state| u8::from(disk == state).to_string();
        text.metric(
            "disk",
            "gauge",
            "How the keys' disk is: 1 at its state.",
            &[
                ("{state=\"fine\"}", is(DiskState::Fine)),
                ("{state=\"full\"}", is(DiskState::Full)),
                ("{state=\"broken\"}", is(DiskState::Broken)),
            ],
        );
        text.counter("keys_repaired_total", "Differences between replicas found and mended.", repaired);
        text.counter("repair_sent_bytes_total", "Bytes sent by repair and hand-over.", repair_bytes);
        let members = self.keys.with(|state| state.ring().members().len());
        text.gauge("ring_members", "Members on the ring, this node included.", members);
        text.gauge("peer_connections", "Connections for the store that are up.", self.keys.connections());
    }
}

fn ring(news: &News, state: &State) -> Report {
    Report::Ring { digest: state.ring().digest(), at: news.ring_at }
}

fn counts(news: &mut News, state: &State) -> Option<Report> {
    if !std::mem::take(&mut news.counts) {
        return None;
    }
    let counts = state.counts();
    if counts == news.counts_told {
        return None;
    }
    news.counts_told.clone_from(&counts);
    Some(Report::Keys(counts))
}

/// How many zero bits the place of a key has at its low end if it is told, for as many keys.
fn sampled_for(keys: usize) -> u8 {
    (0..64).find(|bits| keys >> bits <= HELD_MAX).unwrap_or(64)
}

fn is_told(key: &HeldKey, sampled: u8) -> bool {
    u32::from(sampled) <= key.place.0.trailing_zeros()
}

/// Changes, or everything anew when there is too much by now, or room again for four times as much.
fn held(news: &mut News, state: &State, reports: &mut Vec<Report>) {
    let fits = sampled_for(usize::try_from(news.counts_told.keys).unwrap_or(usize::MAX));
    if fits > news.sampled || fits + 1 < news.sampled {
        return all_held(news, state, reports);
    }
    let changed = news.held.drain().map(|(place, versions)| HeldKey { place, versions });
    let changed: Vec<HeldKey> = changed.filter(|key| is_told(key, news.sampled)).collect();
    for keys in changed.chunks(HELD_CHUNK) {
        reports.push(Report::Held { anew: false, sampled: news.sampled, keys: keys.to_vec() });
    }
}

fn all_held(news: &mut News, state: &State, reports: &mut Vec<Report>) {
    news.held.clear();
    news.sampled = sampled_for(usize::try_from(news.counts_told.keys).unwrap_or(usize::MAX));
    let sampled = news.sampled;
    let mut keys: Vec<HeldKey> = state.held().filter(|key| is_told(key, sampled)).collect();
    let mut anew = true;
    loop {
        let rest = keys.split_off(keys.len().min(HELD_CHUNK));
        reports.push(Report::Held { anew, sampled, keys });
        if rest.is_empty() {
            return;
        }
        (keys, anew) = (rest, false);
    }
}

#[cfg(test)]
mod tests {
    use p2pnet_shared::ring::Place;

    use super::*;

    #[test]
    fn more_keys_than_can_be_told_are_sampled_by_their_places() {
        assert_eq!((sampled_for(0), sampled_for(HELD_MAX), sampled_for(HELD_MAX + 1)), (0, 0, 1));
        assert_eq!(sampled_for(HELD_MAX * 9), 4);
        let key = |place| HeldKey { place: Place(place), versions: Some(1) };
        assert!(is_told(&key(0b111), 0) && !is_told(&key(0b110), 2) && is_told(&key(0b100), 2) && is_told(&key(0), 64));
    }
}
