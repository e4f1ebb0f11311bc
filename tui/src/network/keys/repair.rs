//! What is told of copies: keys that are short of them and have them again, keys out of reach, hand-overs, disks.
//!
//! The *repair window* is the time from the last end of a node to every key having its copies again. It is begun by a node
//! that went while keys are short, or by keys that are short for longer than a write takes. A store under load always has
//! a few keys that are just being written; those neither begin a window nor keep one open.
//!
//! One line for each thing that happened, however many nodes and keys it was about: what is out of reach is told every two
//! seconds at most, and copies that move are told when all of them have come to rest.

use std::collections::BTreeMap;

use p2pnet_shared::{
    NodeName, UnixMillis,
    telemetry::{DiskState, Moving},
};

use super::super::{Change, ChangeKind, Network, story::seconds};
use crate::cluster::UnitState;

/// Between two lines about the same thing, milliseconds.
const TELL_EVERY_MS: u64 = 2_000;
/// Hand-overs are told once nothing has moved for this long, milliseconds: pauses between two batches are shorter.
const REST_MS: u64 = 1_000;
/// Ways followed of one node at most; those beyond are left out of the line.
const WAYS_MAX: usize = 64;

/// What of repair is under way and what was told of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Repair {
    /// Since when keys are short of copies.
    running: Option<UnixMillis>,
    /// How long they last were, milliseconds.
    last_ms: Option<u64>,
    /// When a node last went.
    went_at: Option<UnixMillis>,
    /// All there was to know has been known once.
    listens: bool,
    /// How many keys were out of reach when it was last told, and when that was.
    told_lost: (u64, UnixMillis),
    /// What moves or moved, since nothing did: from whom, to whom.
    ways: BTreeMap<NodeName, BTreeMap<NodeName, Way>>,
    moving_since: UnixMillis,
    moved_at: UnixMillis,
}

/// Copies from one node to another.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    /// The most that were left.
    most: (u64, u64),
    left: u64,
}

impl Repair {
    pub(super) fn last_ms(&self) -> Option<u64> {
        self.last_ms
    }

    pub(super) fn running_ms(&self, now: UnixMillis) -> Option<u64> {
        self.running.map(|since| now.since(since))
    }

    /// A node that was up is not any more.
    pub(super) fn node_went(&mut self, at: UnixMillis) {
        self.went_at = self.went_at.max(Some(at));
        self.running = self.running.map(|since| since.max(at));
    }

    /// What a node still has to send.
    pub(super) fn follow_moves(&mut self, now: UnixMillis, from: &NodeName, moving: &[Moving]) {
        if moving.is_empty() && self.ways.is_empty() {
            return;
        }
        if self.ways.is_empty() {
            self.moving_since = now;
        }
        let own = self.ways.entry(from.clone()).or_default();
        own.values_mut().for_each(|way| way.left = 0);
        for Moving { to, keys, bytes } in moving.iter().filter(|moving| moving.keys > 0) {
            if own.len() >= WAYS_MAX && !own.contains_key(to) {
                continue;
            }
            let way = own.entry(to.clone()).or_default();
            way.most = way.most.max((*keys, *bytes));
            way.left = *keys;
        }
        self.moved_at = now;
    }

    /// Nothing moves any more: what did, in one line.
    fn at_rest(&mut self, now: UnixMillis) -> Option<Change> {
        let is_over = !self.ways.is_empty() && self.ways.values().flat_map(BTreeMap::values).all(|way| way.left == 0);
        if !is_over || now.since(self.moved_at) < REST_MS {
            return None;
        }
        let ways = std::mem::take(&mut self.ways);
        let ways: Vec<(&NodeName, &NodeName, &Way)> =
            ways.iter().flat_map(|(from, own)| own.iter().map(move |(to, way)| (from, to, way))).collect();
        let sum = |number: fn(&Way) -> u64| ways.iter().map(|(.., way)| number(way)).fold(0_u64, u64::saturating_add);
        let (keys, size) = (keys_text(sum(|way| way.most.0)), bytes_text(sum(|way| way.most.1)));
        let took = seconds(self.moved_at.since(self.moving_since));
        let many = |more: &str| {
            let text = format!("{keys} ({size}) handed over in {took}: {more}");
            Change::all(self.moved_at, ChangeKind::KeysMoved, text)
        };
        match ways.as_slice() {
            [] => None,
            [(from, to, _)] => {
                let text = format!("handed {keys} ({size}) over to {to} in {took}");
                Some(Change::of(self.moved_at, ChangeKind::KeysMoved, from, text))
            }
            [(a, b, _), (c, d, _)] => Some(many(&format!("{a} to {b}, {c} to {d}"))),
            [(a, b, _), (c, d, _), rest @ ..] => {
                Some(many(&format!("{a} to {b}, {c} to {d} and {} more ways", rest.len())))
            }
        }
    }
}

/// What to tell of a disk, if it changed.
pub(super) fn disk_change(now: UnixMillis, node: &NodeName, before: DiskState, disk: DiskState) -> Option<Change> {
    let text = match disk {
        _ if disk == before => return None,
        DiskState::Fine => "its disk takes writes again",
        DiskState::Full => "its disk is full: nothing new is stored there",
        DiskState::Broken => "its disk cannot be read or written: it neither stores nor answers",
    };
    Some(Change::of(now, ChangeKind::Disk, node, text))
}

impl Network {
    /// Tells what happened to copies, once everything there is to know is known.
    pub(super) fn tell_keys(&mut self, now: UnixMillis, changes: &mut Vec<Change>) {
        if !self.feed.complete || !self.engine.complete {
            return;
        }
        let is_up = self.up.first().is_some();
        let (short, wanted) = (self.short(false), self.copies_wanted());
        let level = self.keys.account.level().min(32);
        let seen = self.keys.account.histogram();
        // Who looks only now was not there when the last node went: the engine knows when that was, unless it was a pause.
        let has_paused = self.nodes().any(|node| node.state == UnitState::Paused);
        if !std::mem::replace(&mut self.keys.repair.listens, true) && !has_paused {
            let down = self.nodes().filter(|node| matches!(node.state, UnitState::Dead | UnitState::Left));
            let last = down.filter_map(|node| node.since).max();
            self.keys.repair.went_at = self.keys.repair.went_at.max(last);
        }
        let repair = &mut self.keys.repair;
        changes.extend(repair.at_rest(now));
        match repair.running {
            // A network that ended has nobody to repair anything.
            _ if !is_up => repair.running = None,
            None if short > 0 => {
                let went = repair.went_at.take().filter(|at| *at <= now);
                repair.running = Some(went.unwrap_or(now));
                let lines = (0..usize::from(wanted)).rev().filter(|copies| seen.live[*copies] > 0);
                let each: Vec<String> = lines
                    .map(|copies| format!("{} {}", seen.live[copies] << level, ["without", "with 1", "with 2"][copies]))
                    .collect();
                let keys = keys_text(short << level);
                let text = format!("{keys} short of copies: {}", each.join(", "));
                changes.push(Change::all(now, ChangeKind::KeysShort, text));
            }
            Some(since) if short == 0 => {
                let took = now.since(since);
                (repair.running, repair.last_ms, repair.went_at) = (None, Some(took), None);
                let text = format!("every key has its copies again, after {}", seconds(took));
                changes.push(Change::all(now, ChangeKind::KeysWhole, text));
            }
            None => repair.went_at = None,
            Some(_) => {}
        }
        let lost = self.out_of_reach() << level;
        self.tell_lost(now, if is_up { lost } else { 0 }, changes);
    }

    fn tell_lost(&mut self, now: UnixMillis, lost: u64, changes: &mut Vec<Change>) {
        let (told, at) = self.keys.repair.told_lost;
        if lost == told || now.since(at) < TELL_EVERY_MS {
            return;
        }
        self.keys.repair.told_lost = (lost, now);
        let change = match lost {
            _ if self.up.first().is_none() => return,
            0 => Change::all(now, ChangeKind::KeysBack, "every key is within reach again"),
            _ if lost < told => {
                let text = format!("{} within reach again, {lost} still out of it", keys_text(told - lost));
                Change::all(now, ChangeKind::KeysBack, text)
            }
            _ => {
                let text = format!("{} out of reach: every node that holds them is down", keys_text(lost));
                Change::all(now, ChangeKind::KeysLost, text)
            }
        };
        changes.push(change);
    }
}

fn keys_text(keys: u64) -> String {
    if keys == 1 { "1 key".into() } else { format!("{keys} keys") }
}

/// `512 bytes`, `1.2 KB`, `34.0 MB`.
fn bytes_text(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
