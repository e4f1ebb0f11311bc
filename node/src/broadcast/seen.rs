//! Which messages were seen, for ever: one sliding window per life of an origin.
//!
//! ```text
//! numbers   1 2 3 4 5 6 7 8 9 10 11 12
//! seen      ■ ■ ■ ■ · ■ ■ · · ■  ·  ·      through = 4, beyond = [(6, 7), (10, 10)]
//! ```
//! A number enters a window once and never leaves it, so a message is delivered at most once however late, often or
//! disordered it comes; no clock is involved. In calm a window is a single number.
//!
//! Always holds: memory is bounded whatever comes in ([`ORIGINS_MAX`] × [`LIVES_MAX`] × [`RUNS_MAX`] runs, some 9 MB if
//! everything in the network conspires, about 100 bytes an origin otherwise), and no bound is kept by forgetting what
//! was seen: what has no room is refused, and an origin's old life that gave way to a newer one is never let in again.

use std::collections::BTreeMap;

use p2pnet_shared::{
    Epoch, NodeName,
    wire::broadcast::{Life, Mark},
};

/// Most origins with windows. Names outlive restarts, so this is four networks of a thousand nodes. When it is reached,
/// messages of further origins are refused; origins the membership never named may use one half only.
pub(super) const ORIGINS_MAX: usize = 4_096;
/// Most lives with a window per origin, the newest. Four restarts within the network's memory of messages are many.
pub(super) const LIVES_MAX: usize = 4;
/// Most runs beyond a window's first gap. A message that would start one more is refused, and comes again by repair.
pub(super) const RUNS_MAX: usize = 32;
/// Furthest a number may be beyond the first gap; more is taken for nonsense and refused.
pub(super) const DISTANCE_MAX: u64 = 1 << 20;

/// What became of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// It is new, and noted.
    New,
    /// It was seen before.
    Known,
    /// There is no room for it (now); nothing has changed.
    Refused,
}

/// One life's messages.
#[derive(Debug, Default)]
pub(super) struct Window {
    through: u64,
    /// Runs seen beyond, ascending, with at least one unseen number before each.
    beyond: Vec<(u64, u64)>,
}

impl Window {
    fn has(&self, seq: u64) -> bool {
        seq <= self.through || self.beyond.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }

    fn note(&mut self, seq: u64) -> Noted {
        if seq == 0 || seq == u64::MAX {
            return Noted::Refused; // numbers start at 1, and every number has a successor
        }
        if self.has(seq) {
            return Noted::Known;
        }
        if seq - self.through > DISTANCE_MAX {
            return Noted::Refused;
        }
        let at = self.beyond.partition_point(|(_, last)| *last < seq);
        let grows_left = at > 0 && self.beyond[at - 1].1 + 1 == seq;
        let grows_right = at < self.beyond.len() && self.beyond[at].0 == seq + 1;
        match (grows_left, grows_right) {
            (true, true) => {
                self.beyond[at - 1].1 = self.beyond[at].1;
                self.beyond.remove(at);
            }
            (true, false) => self.beyond[at - 1].1 = seq,
            (false, true) => self.beyond[at].0 = seq,
            (false, false) if seq == self.through + 1 || self.beyond.len() < RUNS_MAX => {
                self.beyond.insert(at, (seq, seq));
            }
            (false, false) => return Noted::Refused,
        }
        self.close_gap();
        Noted::New
    }

    /// Gives up on everything up to `seq`.
    fn skip_through(&mut self, seq: u64) {
        self.through = self.through.max(seq.min(u64::MAX - 1));
        self.beyond.retain_mut(|(first, last)| {
            *first = (*first).max(self.through + 1);
            *first <= *last
        });
        self.close_gap();
    }

    fn close_gap(&mut self) {
        if let Some((_, last)) = self.beyond.first().copied().filter(|(first, _)| *first == self.through + 1) {
            self.through = last;
            self.beyond.remove(0);
        }
    }

    /// Whether `mark` has a number that we lack.
    fn lacks_some_of(&self, mark: &Mark) -> bool {
        let covered = |first: u64, last: u64| {
            last <= self.through
                || self.beyond.iter().any(|(ours, end)| first.max(self.through + 1) >= *ours && last <= *end)
        };
        mark.through > self.through || mark.beyond.iter().any(|(first, last)| first <= last && !covered(*first, *last))
    }
}

#[derive(Debug)]
struct Lives {
    /// Lives before this one have given way and stay refused.
    oldest: Epoch,
    windows: BTreeMap<Epoch, Window>,
}

/// The windows of all origins.
#[derive(Debug, Default)]
pub(super) struct Seen {
    origins: BTreeMap<NodeName, Lives>,
}

impl Seen {
    /// Whether a number is new, and would be let in unless there are too many gaps.
    pub(super) fn would_take(&self, life: &Life, seq: u64, named: Option<Epoch>) -> bool {
        match self.window(life) {
            Some(window) => seq != u64::MAX && !window.has(seq) && seq - window.through <= DISTANCE_MAX,
            None => (1..=DISTANCE_MAX).contains(&seq) && self.has_room(life, named),
        }
    }

    /// Notes one number. `named` is the life that the membership knows of this origin, if it knows any.
    pub(super) fn note(&mut self, life: &Life, seq: u64, named: Option<Epoch>) -> Noted {
        if let Some(window) = self.window_mut(life) {
            return window.note(seq);
        }
        let mut window = Window::default();
        let noted = window.note(seq);
        if noted == Noted::New && !self.open(life, named, window) {
            return Noted::Refused;
        }
        noted
    }

    /// Gives up on a life's numbers up to `through`: nobody can be asked for them any more.
    pub(super) fn skip_through(&mut self, life: &Life, through: u64, named: Option<Epoch>) {
        match self.window_mut(life) {
            Some(window) => window.skip_through(through),
            None => {
                let mut window = Window::default();
                window.skip_through(through);
                self.open(life, named, window);
            }
        }
    }

    /// Whether something later of the same origin was seen before this number.
    pub(super) fn is_late(&self, life: &Life, seq: u64) -> bool {
        self.origins.get(&life.origin).is_some_and(|lives| {
            let newest = lives.windows.last_key_value().map(|(epoch, _)| *epoch);
            let beyond = |window: &Window| window.beyond.last().is_some_and(|(_, last)| *last > seq);
            newest.is_some_and(|newest| newest > life.epoch) || lives.windows.get(&life.epoch).is_some_and(beyond)
        })
    }

    /// Whether this life has a gap.
    pub(super) fn has_gap(&self, life: &Life) -> bool {
        self.window(life).is_some_and(|window| !window.beyond.is_empty())
    }

    /// Whether any life has a gap.
    pub(super) fn has_gaps(&self) -> bool {
        self.origins.values().flat_map(|lives| lives.windows.values()).any(|window| !window.beyond.is_empty())
    }

    /// Whether `mark` has something that we lack and would take.
    pub(super) fn lacks_some_of(&self, mark: &Mark, named: Option<Epoch>) -> bool {
        match self.window(&mark.life) {
            Some(window) => window.lacks_some_of(mark),
            None => mark.highest() > 0 && self.has_room(&mark.life, named),
        }
    }

    /// The lives after `after` up to `until`, ascending, with how far each was seen.
    pub(super) fn lives<'a>(
        &'a self,
        after: Option<&'a Life>,
        until: Option<&'a Life>,
    ) -> impl Iterator<Item = (Life, u64)> + 'a {
        self.windows_between(after, until).map(|(life, window)| (life, window.through))
    }

    /// Marks of the lives after `after` up to `until`, as many as fit `budget_bytes`; and the life up to which they are
    /// complete, which is `until` unless the budget ran out.
    pub(super) fn marks(
        &self,
        after: Option<&Life>,
        until: Option<&Life>,
        budget_bytes: usize,
    ) -> (Vec<Mark>, Option<Life>) {
        let mut marks: Vec<Mark> = Vec::new();
        let mut bytes = 0;
        for (life, window) in self.windows_between(after, until) {
            bytes += mark_bytes_max(&life, window);
            if bytes > budget_bytes {
                let last = marks.last().map(|mark| mark.life.clone());
                return (marks, last);
            }
            marks.push(Mark { life, through: window.through, beyond: window.beyond.clone() });
        }
        (marks, until.cloned())
    }

    fn windows_between<'a>(
        &'a self,
        after: Option<&'a Life>,
        until: Option<&'a Life>,
    ) -> impl Iterator<Item = (Life, &'a Window)> + 'a {
        self.origins
            .iter()
            .skip_while(move |(origin, _)| after.is_some_and(|after| **origin < after.origin))
            .flat_map(|(origin, lives)| {
                lives.windows.iter().map(|(epoch, window)| (Life { origin: origin.clone(), epoch: *epoch }, window))
            })
            .skip_while(move |(life, _)| after.is_some_and(|after| life <= after))
            .take_while(move |(life, _)| until.is_none_or(|until| life <= until))
    }

    fn window(&self, life: &Life) -> Option<&Window> {
        self.origins.get(&life.origin)?.windows.get(&life.epoch)
    }

    fn window_mut(&mut self, life: &Life) -> Option<&mut Window> {
        self.origins.get_mut(&life.origin)?.windows.get_mut(&life.epoch)
    }

    /// Whether a window could be opened. Among too many lives the oldest gives way, but never the one that the membership
    /// holds to be the present one.
    fn has_room(&self, life: &Life, named: Option<Epoch>) -> bool {
        let Some(lives) = self.origins.get(&life.origin) else {
            let limit = if named.is_some() { ORIGINS_MAX } else { ORIGINS_MAX / 2 };
            return self.origins.len() < limit;
        };
        let first = lives.windows.first_key_value().map(|(epoch, _)| *epoch);
        life.epoch >= lives.oldest
            && (lives.windows.len() < LIVES_MAX
                || first.is_some_and(|first| life.epoch > first && named != Some(first)))
    }

    fn open(&mut self, life: &Life, named: Option<Epoch>, window: Window) -> bool {
        if !self.has_room(life, named) {
            return false;
        }
        let lives = self
            .origins
            .entry(life.origin.clone())
            .or_insert_with(|| Lives { oldest: Epoch(0), windows: BTreeMap::new() });
        if lives.windows.len() == LIVES_MAX
            && let Some((gone, _)) = lives.windows.pop_first()
        {
            lives.oldest = Epoch(gone.0.saturating_add(1));
        }
        lives.windows.insert(life.epoch, window);
        true
    }
}

/// What a mark takes on the wire at most: its name with a length, and varints of up to ten bytes.
fn mark_bytes_max(life: &Life, window: &Window) -> usize {
    life.origin.as_str().len() + 1 + 10 + 10 + 1 + 20 * window.beyond.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn life(origin: u32, epoch: u64) -> Life {
        Life { origin: NodeName::numbered(origin), epoch: Epoch(epoch) }
    }

    fn mark(seen: &Seen, life: &Life) -> Mark {
        seen.marks(None, None, usize::MAX).0.into_iter().find(|mark| mark.life == *life).unwrap()
    }

    #[test]
    fn a_number_is_new_once() {
        let mut seen = Seen::default();
        for seq in [1, 2, 5, 7, 6] {
            assert_eq!(seen.note(&life(1, 1), seq, None), Noted::New, "{seq}");
            assert_eq!(seen.note(&life(1, 1), seq, None), Noted::Known, "{seq}");
        }
        assert_eq!((mark(&seen, &life(1, 1)).through, mark(&seen, &life(1, 1)).beyond), (2, vec![(5, 7)]));
        assert!(seen.has_gaps());
        seen.note(&life(1, 1), 3, None);
        seen.note(&life(1, 1), 4, None);
        assert_eq!((mark(&seen, &life(1, 1)).through, seen.has_gaps()), (7, false));
    }

    #[test]
    fn nonsense_numbers_are_refused_and_cost_nothing() {
        let mut seen = Seen::default();
        for seq in [0, u64::MAX, u64::MAX - 1, DISTANCE_MAX + 1] {
            assert_eq!(seen.note(&life(1, 1), seq, None), Noted::Refused, "{seq}");
        }
        assert!(seen.origins.is_empty(), "not even a window was opened");
    }

    #[test]
    fn too_many_gaps_wait_for_repair() {
        let mut seen = Seen::default();
        for run in 0..RUNS_MAX as u64 {
            assert_eq!(seen.note(&life(1, 1), 3 + 2 * run, None), Noted::New);
        }
        assert_eq!(seen.note(&life(1, 1), 1_001, None), Noted::Refused);
        assert_eq!(seen.note(&life(1, 1), 1, None), Noted::New, "what closes the first gap always has room");
        assert_eq!(seen.note(&life(1, 1), 2, None), Noted::New);
        assert_eq!(seen.note(&life(1, 1), 1_001, None), Noted::New);
    }

    #[test]
    fn skipping_joins_what_was_seen_beyond() {
        let mut seen = Seen::default();
        for seq in [1, 4, 5, 9] {
            seen.note(&life(1, 1), seq, None);
        }
        seen.skip_through(&life(1, 1), 3, None);
        assert_eq!(mark(&seen, &life(1, 1)).through, 5);
        seen.skip_through(&life(1, 1), u64::MAX, None);
        assert!(!seen.has_gaps());
        assert_eq!(seen.note(&life(1, 1), 6, None), Noted::Known);
    }

    #[test]
    fn the_oldest_life_gives_way_and_never_comes_back() {
        let mut seen = Seen::default();
        for epoch in 1..=LIVES_MAX as u64 + 1 {
            assert_eq!(seen.note(&life(1, epoch), 1, None), Noted::New);
        }
        assert_eq!(seen.note(&life(1, 1), 1, None), Noted::Refused, "seen before, so it must not be new again");
        assert_eq!(seen.note(&life(1, 2), 1, None), Noted::Known);
    }

    #[test]
    fn invented_lives_do_not_push_out_the_one_the_membership_knows() {
        let mut seen = Seen::default();
        let named = Some(Epoch(1));
        for epoch in 1..=100 {
            seen.note(&life(1, epoch), 1, named);
        }
        assert_eq!(seen.note(&life(1, 1), 2, named), Noted::New);
    }

    #[test]
    fn invented_origins_leave_room_for_those_the_membership_names() {
        let mut seen = Seen::default();
        let refused = (0..5_000).filter(|n| seen.note(&life(*n, 1), 1, None) == Noted::Refused).count();
        assert_eq!(refused, 5_000 - ORIGINS_MAX / 2);
        assert_eq!(seen.note(&life(9_999, 1), 1, Some(Epoch(1))), Noted::New);
    }

    #[test]
    fn marks_that_do_not_fit_say_where_they_end() {
        let mut seen = Seen::default();
        for origin in 10..30 {
            seen.note(&life(origin, 1), 1, None);
        }
        let (first, until) = seen.marks(None, None, 300);
        assert_eq!(until.as_ref(), first.last().map(|mark| &mark.life));
        let (rest, end) = seen.marks(until.as_ref(), None, usize::MAX);
        assert_eq!((first.len() + rest.len(), end), (20, None));
    }

    proptest! {
        #[test]
        fn a_window_is_a_set(numbers in prop::collection::vec(1_u64..80, 0..200)) {
            let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
            for seq in numbers {
                let noted = seen.note(&life(1, 1), seq, None);
                match noted {
                    Noted::New => prop_assert!(model.insert(seq)),
                    Noted::Known => prop_assert!(model.contains(&seq)),
                    Noted::Refused => prop_assert!(!model.contains(&seq)),
                }
                let mark = mark(&seen, &life(1, 1));
                prop_assert!((1..90).all(|n| mark.has(n) == model.contains(&n)));
                prop_assert!(mark.beyond.len() <= RUNS_MAX);
                prop_assert!(!seen.lacks_some_of(&mark, None), "nobody lacks what he has");
            }
        }

        #[test]
        fn lacking_is_having_less(a in prop::collection::btree_set(1_u64..30, 1..30), b in prop::collection::btree_set(1_u64..30, 1..30)) {
            let (mut ours, mut theirs) = (Seen::default(), Seen::default());
            a.iter().for_each(|seq| { ours.note(&life(1, 1), *seq, None); });
            b.iter().for_each(|seq| { theirs.note(&life(1, 1), *seq, None); });
            prop_assert_eq!(ours.lacks_some_of(&mark(&theirs, &life(1, 1)), None), !b.is_subset(&a));
        }
    }
}
