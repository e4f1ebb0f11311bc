//! Values of every type of the store that comes over a wire.

use p2pnet_shared::{
    Key,
    ring::{Place, RingDigest, Span},
    telemetry::{DiskState, HeldKey, KeyCounts, KeyEvent, Moving, Report},
    wire::dht::{
        Actor, ArcDigest, Dot, Entry, HeldDigest, Holding, Message, Operation, Packet, Refusal, Repair, Value, Version,
    },
};
use proptest::{collection::vec, option, prelude::*};

use super::values::{at, name, number};

/// Few, so that they meet; now and then any.
pub fn key() -> BoxedStrategy<Key> {
    let text = prop_oneof![
        8 => (0_u32..8).prop_map(|number| format!("key{number}")),
        1 => "\\PC{1,200}",
        1 => (1_usize..1_024).prop_map(|length| "k".repeat(length)),
    ];
    text.prop_map(|text| text.parse().expect("one byte or more, and not too many")).boxed()
}

/// Where few keys stand, and the ends of the space.
pub fn place() -> BoxedStrategy<Place> {
    prop_oneof![4 => key().prop_map(|key| Place::of(key.as_str())), 1 => number().prop_map(Place)].boxed()
}

pub fn span() -> BoxedStrategy<Span> {
    (place(), place()).prop_map(|(after, to)| Span { after, to }).boxed()
}

/// Not only JSON: whoever shows it checks that.
pub fn value() -> BoxedStrategy<Value> {
    let text =
        prop_oneof![8 => "\"[a-z]{0,12}\"", 1 => "\\PC{0,40}", 1 => (0_usize..20_000).prop_map(|n| "x".repeat(n))];
    text.prop_map(|text| Value::try_from(text).expect("not too long")).boxed()
}

pub fn actor() -> BoxedStrategy<Actor> {
    (name(), number()).prop_map(|(node, era)| Actor { node, era }).boxed()
}

pub fn version() -> BoxedStrategy<Version> {
    let context = vec((actor(), number()), 0..4);
    (actor(), number(), context, any::<bool>(), at(), option::of(value()))
        .prop_map(|(actor, count, mut context, sound, at, value)| {
            if sound {
                context.sort();
                context.dedup_by(|a, b| a.0 == b.0);
                context.retain(|(known, _)| *known != actor);
            }
            Version { dot: Dot { actor, count }, context, at, value }
        })
        .boxed()
}

pub fn entry() -> BoxedStrategy<Entry> {
    (key(), vec(version(), 0..4), any::<bool>())
        .prop_map(|(key, mut versions, sound)| {
            if sound {
                versions.sort_by(|a, b| a.dot.cmp(&b.dot));
                versions.dedup_by(|a, b| a.dot == b.dot);
            }
            Entry { key, versions }
        })
        .boxed()
}

pub fn refusal() -> BoxedStrategy<Option<Refusal>> {
    option::of(prop_oneof![Just(Refusal::Full), Just(Refusal::Broken), Just(Refusal::Late)]).boxed()
}

pub fn digest() -> BoxedStrategy<HeldDigest> {
    prop_oneof![
        Just(HeldDigest::default()),
        (any::<u32>(), any::<u64>()).prop_map(|(keys, sum)| HeldDigest { keys, sum }),
    ]
    .boxed()
}

pub fn holding() -> BoxedStrategy<Holding> {
    (place(), number()).prop_map(|(place, versions)| Holding { place, versions }).boxed()
}

pub fn repair() -> BoxedStrategy<Repair> {
    let ring = || number().prop_map(RingDigest);
    let arc = (span(), digest(), any::<bool>()).prop_map(|(span, digest, settled)| ArcDigest { span, digest, settled });
    prop_oneof![
        1 => (ring(), digest()).prop_map(|(ring, digest)| Repair::Compare { ring, digest }),
        2 => (ring(), any::<bool>(), vec(arc, 0..8)).prop_map(|(ring, asked, arcs)| Repair::Arcs { ring, asked, arcs }),
        2 => (number(), vec(span(), 0..4), vec(holding(), 0..12))
            .prop_map(|(offer, spans, held)| Repair::Offer { offer, spans, held }),
        2 => (number(), vec(place(), 0..8), vec(place(), 0..8), any::<u32>())
            .prop_map(|(offer, want, kept, lacking)| Repair::Wanted { offer, want, kept, lacking }),
        3 => (number(), vec(entry(), 0..4)).prop_map(|(batch, entries)| Repair::Give { batch, entries }),
        1 => (number(), refusal()).prop_map(|(batch, refused)| Repair::Given { batch, refused }),
    ]
    .boxed()
}

pub fn operation() -> BoxedStrategy<Operation> {
    prop_oneof![
        (key(), value()).prop_map(|(key, value)| Operation::Put { key, value }),
        key().prop_map(|key| Operation::Delete { key }),
    ]
    .boxed()
}

pub fn message() -> BoxedStrategy<Message> {
    prop_oneof![
        3 => (number(), any::<u8>(), number(), operation())
            .prop_map(|(call, hops, valid_until, operation)| Message::Forward { call, hops, valid_until, operation }),
        1 => (number(), any::<u8>()).prop_map(|(call, acks)| Message::Coordinating { call, acks }),
        1 => (number(), any::<u8>(), refusal(), any::<bool>())
            .prop_map(|(call, acks, refused, found)| Message::Forwarded { call, acks, refused, found }),
        1 => number().prop_map(|call| Message::Clock { call }),
        1 => number().prop_map(|call| Message::Clocked { call }),
        2 => (number(), key()).prop_map(|(call, key)| Message::Read { call, key }),
        2 => (number(), option::of(entry()), any::<bool>(), number())
            .prop_map(|(call, entry, sure, ring)| Message::Held { call, entry, sure, ring: RingDigest(ring) }),
        1 => number().prop_map(|call| Message::Unread { call }),
        4 => (number(), entry(), any::<bool>()).prop_map(|(call, entry, whole)| Message::Merge { call, entry, whole }),
        2 => (number(), refusal(), any::<bool>(), option::of(entry()))
            .prop_map(|(call, refused, sure, more)| Message::Merged { call, refused, sure, more }),
        8 => repair().prop_map(Message::Repair),
    ]
    .boxed()
}

pub fn packet() -> BoxedStrategy<Packet> {
    (number(), message()).prop_map(|(clock, message)| Packet { clock, message }).boxed()
}

pub fn held_key() -> BoxedStrategy<HeldKey> {
    (place(), option::of(number())).prop_map(|(place, versions)| HeldKey { place, versions }).boxed()
}

pub fn counts() -> BoxedStrategy<KeyCounts> {
    let moving = vec((name(), number(), number()).prop_map(|(to, keys, bytes)| Moving { to, keys, bytes }), 0..4);
    let disk = prop_oneof![Just(DiskState::Fine), Just(DiskState::Full), Just(DiskState::Broken)];
    (vec(number(), 8), moving, disk)
        .prop_map(|(counts, moving, disk)| KeyCounts {
            keys: counts[0],
            owned: counts[1],
            misplaced: counts[2],
            tombstones: counts[3],
            conflicts: counts[4],
            bytes: counts[5],
            moving,
            repaired: counts[6],
            repair_bytes: counts[7],
            disk,
        })
        .boxed()
}

pub fn key_event() -> BoxedStrategy<KeyEvent> {
    prop_oneof![
        held_key().prop_map(KeyEvent::Held),
        (name(), number(), number()).prop_map(|(to, keys, bytes)| KeyEvent::Moved { to, keys, bytes }),
        (place(), any::<u8>()).prop_map(|(place, acks)| KeyEvent::Acknowledged { place, acks }),
    ]
    .boxed()
}

/// What a node reports of the ring and its keys.
pub fn report() -> BoxedStrategy<Report> {
    prop_oneof![
        (number(), at()).prop_map(|(digest, at)| Report::Ring { digest: RingDigest(digest), at }),
        counts().prop_map(Report::Keys),
        (any::<bool>(), any::<u8>(), vec(held_key(), 0..8)).prop_map(|(anew, sampled, keys)| Report::Held {
            anew,
            sampled,
            keys
        }),
    ]
    .boxed()
}
