//! What replaces what: the algebra of entries, without any state.
//!
//! Source: *Dotted Version Vectors* (Preguiça et al. 2010). Every write has a *dot*, unique for ever, and a *context*: the
//! dots its writer had seen. A version is obsolete once another one's context covers its dot, so two copies of an entry are
//! merged by putting their versions together and leaving out what is covered:
//!
//! ```text
//!   replica 1: {a1}            ──put, seen a1──▶  {b1 ⊃ a1}  ─┐
//!   replica 2: {a1}  (cut off) ──put, seen a1──▶  {c1 ⊃ a1}  ─┴─▶  {b1, c1}: siblings  ──put, seen both──▶ {b2 ⊃ a1 b1 c1}
//! ```
//! A context is a version vector: up to which count of each actor. That is enough because an actor never forgets a write of
//! its own (a node that drops copies, or starts anew, becomes a new actor) and so covers its own earlier ones.
//!
//! What always holds, where contexts are those of honest writers: merging is commutative, associative and idempotent; a
//! version goes only when one that covers it is there. From outside anything may come: [`is_sound`] refuses what no honest
//! node writes, and where contexts contradict each other the result is still the same for everybody and never empty.

use std::cmp::Ordering;

use p2pnet_shared::{
    NodeName, UnixMillis,
    wire::dht::{Actor, Dot, Entry, PACKET_MAX_BYTES, Value, Version},
};

use crate::time::Millis;

/// Actors a context holds at most; beyond it those of the oldest eras are left out. That may bring back as a false sibling
/// what one of them wrote, should a copy have survived that long somewhere; it never loses anything.
pub(super) const CONTEXT_MAX: usize = 32;
/// Bytes an entry takes at most in a packet, with room for the packet around it.
pub(super) const ENTRY_MAX_BYTES: usize = PACKET_MAX_BYTES - 4 * 1024;
/// Actors a context may hold at all: an honest one has [`CONTEXT_MAX`], and a few more with many siblings.
const CONTEXT_LIMIT: usize = 4 * CONTEXT_MAX;

/// Whether a version's context covers a dot: its writer had seen that write, or a later one of the same actor.
pub(super) fn covers(version: &Version, dot: &Dot) -> bool {
    let found = version.context.binary_search_by(|(actor, _)| actor.cmp(&dot.actor));
    found.is_ok_and(|index| version.context[index].1 >= dot.count)
}

/// Adds versions to an entry; says whether that changed it.
pub(super) fn merge(entry: &mut Entry, others: &[Version]) -> bool {
    let position = |version: &Version| entry.versions.binary_search_by(|held| held.dot.cmp(&version.dot));
    if others.iter().all(|version| position(version).is_ok_and(|index| entry.versions[index] == *version)) {
        return false;
    }
    let mut union = entry.versions.clone();
    for version in others {
        match union.binary_search_by(|held| held.dot.cmp(&version.dot)) {
            Err(index) => union.insert(index, version.clone()),
            // No honest node writes two things under one dot. Should it happen, all choose the same one.
            Ok(index) if order(version, &union[index]).is_gt() => union[index] = version.clone(),
            Ok(_) => {}
        }
    }
    let is_covered =
        |version: &Version| union.iter().any(|other| other.dot != version.dot && covers(other, &version.dot));
    let mut left: Vec<Version> = union.iter().filter(|version| !is_covered(version)).cloned().collect();
    if left.is_empty() {
        // Contexts that cover each other in a circle: nobody honest wrote that.
        left.extend(union.last().cloned());
    }
    let changed = left != entry.versions;
    entry.versions = left;
    changed
}

/// Orders two versions of one dot by the rest of them.
fn order(left: &Version, right: &Version) -> Ordering {
    (left.at, &left.value, &left.context).cmp(&(right.at, &right.value, &right.context))
}

/// Whether an entry has, or has something newer than, every version of the other.
pub(super) fn includes(entry: &Entry, other: &Entry) -> bool {
    other.versions.iter().all(|version| has(entry, &version.dot))
}

/// Whether an entry has, or has something newer than, one write.
pub(super) fn has(entry: &Entry, dot: &Dot) -> bool {
    entry.versions.iter().any(|held| held.dot == *dot || covers(held, dot))
}

/// Everything an entry has seen, as the context of a write that replaces it; at most [`CONTEXT_MAX`] actors, or as many as
/// it has siblings.
pub(super) fn context(entry: &Entry) -> Vec<(Actor, u64)> {
    let mut seen: Vec<(Actor, u64)> = Vec::new();
    let mut see = |actor: &Actor, count: u64| match seen.binary_search_by(|(known, _)| known.cmp(actor)) {
        Ok(index) => seen[index].1 = seen[index].1.max(count),
        Err(index) => seen.insert(index, (actor.clone(), count)),
    };
    for version in &entry.versions {
        see(&version.dot.actor, version.dot.count);
        version.context.iter().for_each(|(actor, count)| see(actor, *count));
    }
    prune(&mut seen, entry);
    seen
}

/// Leaves out the actors of the oldest eras, but none whose version is being replaced.
fn prune(seen: &mut Vec<(Actor, u64)>, entry: &Entry) {
    let is_replaced = |actor: &Actor| entry.versions.iter().any(|version| version.dot.actor == *actor);
    while seen.len() > CONTEXT_MAX {
        let old = seen.iter().enumerate().filter(|(_, (actor, _))| !is_replaced(actor));
        let Some((oldest, _)) = old.min_by_key(|(_, (actor, _))| (actor.era, &actor.node)) else { return };
        seen.remove(oldest);
    }
}

/// Whether only this node ever wrote it, as far as that is remembered.
pub(super) fn is_by(entry: &Entry, node: &NodeName) -> bool {
    let is_by = |version: &Version| {
        version.dot.actor.node == *node && version.context.iter().all(|(actor, _)| actor.node == *node)
    };
    entry.versions.iter().all(is_by)
}

/// Whether the key has a value: a version that is no tombstone.
pub(super) fn is_live(entry: &Entry) -> bool {
    entry.versions.iter().any(|version| version.value.is_some())
}

/// Until when an entry of nothing but tombstones is kept; `None` if it has a value.
pub(super) fn expires(entry: &Entry, tombstone_life: Millis) -> Option<UnixMillis> {
    if is_live(entry) {
        return None;
    }
    let last = entry.versions.iter().map(|version| version.at.0).max()?;
    Some(UnixMillis(last.saturating_add(tombstone_life.0)))
}

/// What a user is shown: the value every node would show, and all there are, that one first, if there are several. `None`
/// if the key has no value.
///
/// The latest by the writers' clocks, then by the largest dot; that only chooses what is shown first, nothing is lost by it.
pub(super) fn shown(entry: &Entry) -> Option<(Value, Vec<Value>)> {
    let mut live: Vec<(&Version, &Value)> =
        entry.versions.iter().filter_map(|version| Some((version, version.value.as_ref()?))).collect();
    live.sort_by(|(left, _), (right, _)| (right.at, &right.dot).cmp(&(left.at, &left.dot)));
    let mut values: Vec<Value> = Vec::with_capacity(live.len());
    for (_, value) in live {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    let first = values.first()?.clone();
    Some((first, if values.len() > 1 { values } else { Vec::new() }))
}

/// Which versions an entry has, in eight bytes, the same on every node. Never 0, which stands for no entry.
pub(super) fn hash(entry: &Entry) -> u64 {
    let mut hash = 0;
    for version in &entry.versions {
        let Dot { actor, count } = &version.dot;
        hash = mix(hash ^ name_hash(actor.node.as_str()));
        hash = mix(hash ^ actor.era);
        hash = mix(hash ^ *count);
    }
    hash.max(1)
}

/// FNV-1a.
fn name_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finaliser of `SplitMix64`: every bit of the input reaches every bit of the output.
pub(super) fn mix(mut hash: u64) -> u64 {
    hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Bytes of an entry's key and values.
pub(super) fn bytes(entry: &Entry) -> usize {
    let values = entry.versions.iter().filter_map(|version| version.value.as_ref());
    entry.key.as_str().len() + values.map(|value| value.as_json().len()).sum::<usize>()
}

/// Bytes an entry takes in a packet or in memory, about: its key and values, and some for each version and actor.
pub(super) fn weight(entry: &Entry) -> usize {
    let version = |version: &Version| 120 + 80 * version.context.len();
    bytes(entry) + 80 + entry.versions.iter().map(version).sum::<usize>()
}

/// Whether an honest node may have written this: versions sorted by dot, each once; contexts sorted by actor, none that
/// covers its own dot; no more than fits into a packet.
pub(super) fn is_sound(entry: &Entry) -> bool {
    let sorted = entry.versions.windows(2).all(|pair| pair[0].dot < pair[1].dot);
    sorted && !entry.versions.is_empty() && weight(entry) <= ENTRY_MAX_BYTES && entry.versions.iter().all(is_honest)
}

fn is_honest(version: &Version) -> bool {
    version.context.len() <= CONTEXT_LIMIT
        && version.context.windows(2).all(|pair| pair[0].0 < pair[1].0)
        && !covers(version, &version.dot)
}
