//! Values of every type that comes over a wire, the sound and the absurd.

use std::net::SocketAddr;

use p2pnet_shared::{
    Epoch, MessageId, NodeName, UnixMillis, ViewDigest,
    fault::{ActiveFault, Cut, DELAY_MAX_MS, Delay, DelayMs, Fault, Loss, NodeSet},
    telemetry::{Delivery, FeedLine, Load, MemberEvent, MemberEventKind, MemberRow, OverlayLink, Report},
    wire::{
        Hello,
        broadcast::{Broadcast, Contact, Frame, Life, Mark, MarksPurpose, Via},
        lan::Beacon,
        membership::{Claim, Datagram, Message, Status},
    },
};
use proptest::{collection::vec, option, prelude::*};
use uuid::Uuid;

/// Mostly one of a few, so that values meet; now and then any name there can be.
pub fn name() -> BoxedStrategy<NodeName> {
    prop_oneof![
        12 => (1_u32..12).prop_map(NodeName::numbered),
        1 => Just(NodeName::bootstrap()),
        1 => "[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}".prop_map(|text| text.parse().expect("of the alphabet")),
    ]
    .boxed()
}

pub fn addr() -> BoxedStrategy<SocketAddr> {
    prop_oneof![
        6 => (0_u8..12).prop_map(|n| SocketAddr::from(([127, 0, 0, 1 + n], 5_000))),
        1 => any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        1 => any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
    ]
    .boxed()
}

/// Small ones that meet, and the ends of every type.
pub fn number() -> BoxedStrategy<u64> {
    prop_oneof![
        8 => 0_u64..20,
        1 => Just(u64::from(u32::MAX)),
        1 => Just(u64::MAX - 1),
        1 => Just(u64::MAX),
        1 => any::<u64>(),
    ]
    .boxed()
}

pub fn epoch() -> BoxedStrategy<Epoch> {
    number().prop_map(Epoch).boxed()
}

pub fn at() -> BoxedStrategy<UnixMillis> {
    number().prop_map(UnixMillis).boxed()
}

pub fn incarnation() -> BoxedStrategy<u32> {
    number().prop_map(|number| u32::try_from(number).unwrap_or(u32::MAX)).boxed()
}

pub fn status() -> BoxedStrategy<Status> {
    prop_oneof![Just(Status::Alive), Just(Status::Suspect), Just(Status::Dead), Just(Status::Left)].boxed()
}

pub fn hello() -> BoxedStrategy<Hello> {
    (name(), epoch()).prop_map(|(name, epoch)| Hello { name, epoch }).boxed()
}

pub fn beacon() -> BoxedStrategy<Beacon> {
    (name(), epoch(), any::<(u16, bool)>())
        .prop_map(|(name, epoch, (port, answer))| Beacon { name, epoch, port, answer })
        .boxed()
}

pub fn claim() -> BoxedStrategy<Claim> {
    (name(), addr(), epoch(), incarnation(), status(), option::of(name()), any::<bool>())
        .prop_map(|(member, addr, epoch, incarnation, status, accuser, link_lost)| Claim {
            member,
            addr,
            epoch,
            incarnation,
            status,
            accuser,
            link_lost,
        })
        .boxed()
}

pub fn message() -> BoxedStrategy<Message> {
    prop_oneof![
        (any::<u32>(), option::of(name())).prop_map(|(seq, target)| Message::Ping { seq, target }),
        any::<u32>().prop_map(|seq| Message::Ack { seq }),
        (any::<u32>(), name(), addr()).prop_map(|(seq, target, addr)| Message::PingRequest { seq, target, addr }),
        any::<u32>().prop_map(|seq| Message::Nack { seq }),
        Just(Message::Gossip),
        any::<u64>().prop_map(|state_hash| Message::Sync { state_hash }),
        any::<bool>().prop_map(|reply| Message::State { reply }),
    ]
    .boxed()
}

pub fn datagram() -> BoxedStrategy<Datagram> {
    (name(), message(), vec(claim(), 0..8))
        .prop_map(|(from, message, claims)| Datagram { from, message, claims })
        .boxed()
}

pub fn life() -> BoxedStrategy<Life> {
    (name(), epoch()).prop_map(|(origin, epoch)| Life { origin, epoch }).boxed()
}

pub fn message_id() -> BoxedStrategy<MessageId> {
    (life(), number()).prop_map(|(life, seq)| MessageId { origin: life.origin, epoch: life.epoch, seq }).boxed()
}

pub fn text() -> BoxedStrategy<String> {
    prop_oneof![8 => "\\PC{0,20}", 2 => any::<String>(), 1 => (0_usize..20_000).prop_map(|length| "x".repeat(length))]
        .boxed()
}

pub fn via() -> BoxedStrategy<Via> {
    prop_oneof![Just(Via::Own), Just(Via::Push), Just(Via::Graft), Just(Via::Repair)].boxed()
}

pub fn broadcast() -> BoxedStrategy<Broadcast> {
    (message_id(), any::<bool>(), 0_u8..40, vec(name(), 0..40), text(), via())
        .prop_map(|(id, sound, ttl, mut path, text, via)| {
            if sound {
                path.insert(0, id.origin.clone());
            }
            Broadcast { id, ttl, path, text, via }
        })
        .boxed()
}

pub fn mark() -> BoxedStrategy<Mark> {
    (life(), number(), vec((number(), number()), 0..6))
        .prop_map(|(life, through, beyond)| Mark { life, through, beyond })
        .boxed()
}

pub fn contact() -> BoxedStrategy<Contact> {
    (name(), addr(), epoch()).prop_map(|(name, addr, epoch)| Contact { name, addr, epoch }).boxed()
}

pub fn frame() -> BoxedStrategy<Frame> {
    let purpose = prop_oneof![Just(MarksPurpose::Compare), Just(MarksPurpose::Ask), Just(MarksPurpose::Offer)];
    let ends = (option::of(life()), option::of(life()));
    prop_oneof![
        2 => any::<bool>().prop_map(|urgent| Frame::Neighbor { urgent }),
        1 => Just(Frame::Accept),
        1 => Just(Frame::Refuse),
        1 => Just(Frame::Disconnect),
        1 => Just(Frame::Spare),
        6 => broadcast().prop_map(Frame::Broadcast),
        4 => (purpose, ends, vec(mark(), 0..8))
            .prop_map(|(purpose, (after, until), marks)| Frame::Marks { purpose, after, until, marks }),
        2 => vec((life(), number()), 0..8).prop_map(Frame::Forgotten),
        2 => (any::<u8>(), vec(name(), 0..10), vec(contact(), 0..12))
            .prop_map(|(ttl, path, contacts)| Frame::Shuffle { ttl, path, contacts }),
        2 => (vec(name(), 0..10), vec(contact(), 0..12)).prop_map(|(path, contacts)| Frame::Shuffled { path, contacts }),
        2 => (name(), any::<u8>(), any::<bool>()).prop_map(|(root, hops, child)| Frame::Tree { root, hops, child }),
        2 => vec(message_id(), 0..12).prop_map(Frame::IHave),
        2 => vec(message_id(), 0..12).prop_map(Frame::Graft),
    ]
    .boxed()
}

pub fn row() -> BoxedStrategy<MemberRow> {
    (name(), epoch(), incarnation(), status())
        .prop_map(|(member, epoch, incarnation, status)| MemberRow { member, epoch, incarnation, status })
        .boxed()
}

pub fn event() -> BoxedStrategy<MemberEvent> {
    let kind = prop_oneof![
        Just(MemberEventKind::Joined),
        Just(MemberEventKind::Suspected),
        Just(MemberEventKind::Refuted),
        Just(MemberEventKind::Died),
        Just(MemberEventKind::Left),
        Just(MemberEventKind::CameBack),
    ];
    (kind, row(), option::of(name()), any::<u8>(), any::<bool>())
        .prop_map(|(kind, row, accuser, accusers, new_life)| MemberEvent { kind, row, accuser, accusers, new_life })
        .boxed()
}

pub fn delivery() -> BoxedStrategy<Delivery> {
    (message_id(), vec(name(), 0..40), at(), option::of(text()), via(), any::<bool>())
        .prop_map(|(id, path, at, text, via, late)| Delivery { id, path, at, text, via, late })
        .boxed()
}

pub fn links() -> BoxedStrategy<Vec<OverlayLink>> {
    vec((name(), any::<bool>()).prop_map(|(peer, eager)| OverlayLink { peer, eager }), 0..10).boxed()
}

pub fn load() -> BoxedStrategy<Load> {
    let counters = vec(number(), 11);
    (counters, any::<u8>(), any::<u32>(), any::<u32>())
        .prop_map(|(counters, health, links, passive)| Load {
            rss_bytes: counters[0],
            cpu_ms: counters[1],
            timer_late_ms_max: counters[2],
            datagram_bytes_sent: counters[3],
            payload_frames: counters[4],
            redundant_frames: counters[5],
            announced: counters[6],
            grafts: counters[7],
            dropped: counters[8],
            health,
            links,
            passive,
            prunes: counters[9],
            lost_to_faults: counters[10],
        })
        .boxed()
}

/// Sets of nodes as people write them, most of them possible.
pub fn node_set() -> BoxedStrategy<NodeSet> {
    let text = prop_oneof![
        4 => "[1-9][0-9]?-[1-9][0-9]{2}( bootstrap)?",
        2 => vec(1_u32..5_000, 1..12).prop_map(|all| all.iter().map(|n| format!("{n} ")).collect::<String>()),
        1 => "[a-z]{1,6}( [0-9]{1,9})?",
    ];
    text.prop_map(|text| text.trim().parse().unwrap_or_default()).boxed()
}

pub fn fault() -> BoxedStrategy<Fault> {
    let cut = (node_set(), option::of(node_set()), any::<bool>())
        .prop_filter_map("two sides", |(from, to, one_way)| Some(Fault::Cut(Cut::new(from, to, one_way).ok()?)));
    let loss = (1_u32..=100, option::of(node_set()))
        .prop_map(|(percent, nodes)| Fault::Loss(Loss { percent: percent.try_into().expect("a share"), nodes }));
    let ms = || (0..=DELAY_MAX_MS).prop_map(|ms| DelayMs::try_from(ms).expect("short enough"));
    let delay = (ms(), ms(), option::of(node_set()))
        .prop_map(|(ms, jitter_ms, nodes)| Fault::Delay(Delay { ms, jitter_ms, nodes }));
    prop_oneof![2 => cut, 1 => loss, 1 => delay].boxed()
}

fn active_fault() -> BoxedStrategy<ActiveFault> {
    (fault(), at(), node_set()).prop_map(|(fault, since, spared)| ActiveFault { fault, since, spared }).boxed()
}

pub fn report() -> BoxedStrategy<Report> {
    prop_oneof![
        2 => (any::<u128>(), epoch(), addr())
            .prop_map(|(id, epoch, addr)| Report::Hello { id: Uuid::from_u128(id), epoch, addr }),
        2 => (vec(row(), 0..12), vec(delivery(), 0..6), links())
            .prop_map(|(members, deliveries, links)| Report::Snapshot { members, deliveries, links }),
        4 => (event(), at()).prop_map(|(event, at)| Report::Member { event, at }),
        2 => (any::<u32>(), any::<u64>(), at())
            .prop_map(|(members, hash, at)| Report::View { digest: ViewDigest { members, hash }, at }),
        4 => delivery().prop_map(Report::Delivered),
        2 => (links(), at()).prop_map(|(links, at)| Report::Links { links, at }),
        2 => (vec(active_fault(), 0..6), option::of(at()))
            .prop_map(|(faults, healed_at)| Report::Faults { faults, healed_at }),
        1 => load().prop_map(Report::Load),
        1 => Just(Report::Leaving),
        4 => super::keys::report(),
    ]
    .boxed()
}

pub fn feed_line() -> BoxedStrategy<FeedLine> {
    prop_oneof![
        12 => (name(), report()).prop_map(|(node, report)| FeedLine::Report { node, report }),
        1 => (name(), at()).prop_map(|(node, at)| FeedLine::Lost { node, at }),
        1 => (option::of(at()), option::of(at()))
            .prop_map(|(written_at, whole_at)| FeedLine::KeyTimes { written_at, whole_at }),
        1 => Just(FeedLine::CaughtUp),
        1 => Just(FeedLine::Overrun),
        1 => Just(FeedLine::Idle),
    ]
    .boxed()
}
