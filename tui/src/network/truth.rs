//! Taking in the engine's word.
//!
//! A first list is how things stand, not news; everything after it is told. A list later on is compared with what is
//! known, so an event that was lost on the way is made up for within seconds.

use std::collections::HashSet;

use p2pnet_shared::{NodeName, UnixMillis};

use super::{Change, ChangeKind, Fate, Network, Node, slot::Slot};
use crate::cluster::{Role, Truth, Unit, UnitState};

impl Network {
    pub(super) fn on_truth(&mut self, now: UnixMillis, truth: Truth, changes: &mut Vec<Change>) {
        match truth {
            Truth::Listed(units) => {
                let there: HashSet<NodeName> = units.iter().map(|unit| unit.name.clone()).collect();
                let units_gone = self.nodes().filter(|node| !there.contains(&node.name));
                for name in units_gone.map(|node| node.name.clone()).collect::<Vec<_>>() {
                    self.remove_unit(now, &name, changes);
                }
                let is_news = self.engine.complete || self.engine.resuming;
                for unit in units {
                    self.set_unit(now, unit, is_news, changes);
                }
                self.engine.completed();
            }
            Truth::Changed(unit) => self.set_unit(now, unit, true, changes),
            Truth::Removed(name) => self.remove_unit(now, &name, changes),
            Truth::EngineLost(reason) => {
                changes.push(Change::watch(now, format!("the engine does not answer: {reason}")));
                self.engine.break_off(now, reason);
            }
            Truth::EngineBack => {
                changes.push(Change::watch(now, "the engine answers again"));
                self.engine.lost = None;
            }
        }
    }

    fn set_unit(&mut self, now: UnixMillis, unit: Unit, is_news: bool, changes: &mut Vec<Change>) {
        if unit.role == Role::Gateway {
            return;
        }
        let Some(slot) = self.intern(now, &unit.name) else { return };
        let before = self.slots[slot].row.as_ref().map(|row| (row.state, row.since));
        let Unit { name, role, state, address, since } = unit;
        if before.is_none() {
            self.slots[slot].row = Some(fresh_row(name.clone(), role, state));
            let slots = &self.slots;
            let place = self.order.partition_point(|other| slots[*other].name.display_order() < name.display_order());
            self.order.insert(place, slot);
        }
        let same_state = before.is_some_and(|(before, _)| before == state);
        let started_anew = same_state
            && state == UnitState::Up
            && matches!((before, since), (Some((_, Some(old))), Some(new)) if new > old);
        // Where the engine cannot tell since when, or tells the time of an earlier change (a container that is resumed
        // keeps its start), the moment of our learning is the best there is.
        let held = self.slots[slot].fate_since;
        let stamp = match since {
            Some(since) if !is_news || since > held || before.is_none() => Some(since),
            _ if same_state && !started_anew => before.and_then(|(_, since)| since),
            _ if is_news => Some(now),
            _ => None,
        };
        if let Some(row) = &mut self.slots[slot].row {
            (row.role, row.state, row.address, row.since) = (role, state, address, stamp);
        }
        if same_state && !started_anew {
            // Nothing happened; perhaps its address is new.
            return;
        }
        self.change_fate(now, slot, Fate::of(state), stamp);
        // A unit that was down when we first looked changed the truth when it went down.
        let was_down_already = before.is_none() && matches!(state, UnitState::Dead | UnitState::Left);
        if shows(before.map(|(state, _)| state)) != shows(Some(state)) || started_anew || was_down_already {
            self.truth_changed_at = self.truth_changed_at.max(stamp);
        }
        if is_news && let Some((kind, text)) = told(before.map(|(state, _)| state), state) {
            self.slots[slot].story.engine_says(stamp.unwrap_or(now), kind, text);
            changes.push(Change::of(stamp.unwrap_or(now), kind, &name, text));
        }
        self.tell_last_survivor(now, slot, changes);
    }

    fn remove_unit(&mut self, now: UnixMillis, name: &NodeName, changes: &mut Vec<Change>) {
        let Some(slot) = self.index.get(name).copied() else { return };
        let Some(row) = self.slots[slot].row.take() else { return };
        self.agreeing -= u32::from(row.agrees);
        self.order.retain(|other| *other != slot);
        if shows(Some(row.state)).is_some() {
            self.truth_changed_at = self.truth_changed_at.max(Some(now));
        }
        self.change_fate(now, slot, Fate::Gone, None);
        self.forget_keys(slot);
        self.forget_files(slot);
        changes.push(Change::of(now, ChangeKind::Removed, name, "removed"));
        self.tell_last_survivor(now, slot, changes);
    }

    fn change_fate(&mut self, now: UnixMillis, slot: usize, fate: Fate, stamp: Option<UnixMillis>) {
        let Slot { fate: before, fate_since, fate_seen, observer, .. } = &mut self.slots[slot];
        let (before, ended, seen) = (*before, *fate_since, *fate_seen);
        if before == Fate::Gone && fate != Fate::Gone {
            // What a former life said is not what this one thinks; its link may not have been missed yet.
            let is_former = observer.as_ref().is_some_and(|o| o.hello_at < seen && o.epoch.booted_at() < ended);
            if is_former {
                self.uncount(slot);
                self.slots[slot].observer = None;
                self.stand(slot);
            }
        }
        if before != fate {
            self.slots[slot].fate_since = stamp.unwrap_or(now);
            self.slots[slot].fate_seen = now;
            self.set_fate(slot, fate);
            self.on_fate(slot, before, stamp.unwrap_or(now));
            if self.slots[slot].row.is_none() {
                self.books.set_eligible(slot, None);
            }
            self.refresh_all();
        }
        self.refresh(slot);
    }
}

/// Which of the states that others can tell apart: running, frozen, or neither.
fn shows(state: Option<UnitState>) -> Option<UnitState> {
    state.filter(|state| matches!(state, UnitState::Up | UnitState::Paused))
}

fn told(before: Option<UnitState>, state: UnitState) -> Option<(ChangeKind, &'static str)> {
    match (before, state) {
        (_, UnitState::Created) => None,
        (Some(UnitState::Paused), UnitState::Up) => Some((ChangeKind::Up, "resumed")),
        (Some(UnitState::Dead | UnitState::Left | UnitState::Up), UnitState::Up) => {
            Some((ChangeKind::Up, "started again"))
        }
        (_, UnitState::Up) => Some((ChangeKind::Up, "started")),
        (_, UnitState::Paused) => Some((ChangeKind::Paused, "paused")),
        (_, UnitState::Dead) => Some((ChangeKind::Dead, "ended by a signal or an error")),
        (_, UnitState::Left) => Some((ChangeKind::Left, "ended by itself")),
    }
}

fn fresh_row(name: NodeName, role: Role, state: UnitState) -> Node {
    Node {
        name,
        role,
        state,
        since: None,
        address: None,
        reporting: false,
        id: None,
        epoch: None,
        view: p2pnet_shared::ViewDigest::default(),
        view_changed_at: None,
        agrees: false,
        ghosts: 0,
        missing: 0,
        suspects: 0,
        messages: 0,
        load: None,
        cpu_percent: None,
    }
}
