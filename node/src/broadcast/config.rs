//! What can be set: every knob with its unit, its default and the reason for it.

use p2pnet_shared::wire::broadcast::TEXT_MAX_BYTES;

use crate::time::Millis;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Push {
    /// Over the eager links of a tree, and announced over all others (Plumtree). Hardly anything comes twice.
    #[default]
    Tree,
    /// Over every link (flooding). Needs no tree and waits for no announcement, and brings everything some four times.
    Flood,
}

impl std::str::FromStr for Push {
    type Err = UnknownPush;

    fn from_str(text: &str) -> Result<Self, UnknownPush> {
        match text {
            "tree" => Ok(Push::Tree),
            "flood" => Ok(Push::Flood),
            _ => Err(UnknownPush(text.chars().take(40).collect())),
        }
    }
}

/// Neither `tree` nor `flood`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither `tree` nor `flood`")]
pub struct UnknownPush(String);

/// Every knob.
#[derive(Debug, Clone)]
pub struct Config {
    /// Neighbours a node looks for. Default 5 (HyParView §5.1): at 100 nodes a random graph of degree 5 has a last hop
    /// of about 5, and 95 % of the survivors still hang together the moment half of the nodes die. At least 1.
    pub active_target: usize,
    /// Neighbours a node takes when asked. Default 8: newcomers find room, and nobody pays for more than 8 links. Not below
    /// `active_target`.
    pub active_cap: usize,
    /// Members a node keeps in reserve. Default 30, six times `active_target` (HyParView §5.1): the chance that all of them
    /// are among the 90 % that died is 4 %, and then the membership is asked for others.
    pub passive_size: usize,
    /// The same from `large_from` members on. Default 40 (HyParView §3: the reserve grows with the logarithm).
    pub passive_size_large: usize,
    /// Members from which a network is large. Default 500.
    pub large_from: usize,
    /// Milliseconds between shuffles of the reserve, halved to one and a half, with up to 100 members; three times as many
    /// with 1,000 and more. Default 10,000.
    pub shuffle_period: Millis,
    /// How messages travel. Default [`Push::Tree`].
    pub push: Push,
    /// A text of at most so many bytes goes from its origin to all neighbours and not only to the eager ones. Default
    /// 1,024: it enters the tree at up to 8 places and is everywhere a fifth sooner, for 0.04 copies per node; a longer one
    /// is not sent where its id would do.
    pub spread_max_bytes: usize,
    /// Milliseconds for which announcements are collected. Default 8: some ten messages of a burst share a frame, and a
    /// node that the push missed waits hardly longer.
    pub announce_after: Millis,
    /// Milliseconds to wait for a message that was announced before it is asked for. Default 80: the push over the tree
    /// takes up to ten hops of a few milliseconds each.
    pub graft_after: Millis,
    /// Milliseconds before it is asked for again, of somebody else; doubles each time. Default 40.
    pub graft_again: Millis,
    /// Milliseconds for which a place in the tree is new, so that what is announced is asked for at once. Default 500.
    pub settle_time: Millis,
    /// Milliseconds after which a dial that was not answered is given up. Default 10,000: above the runtime's own
    /// deadline for connecting, so this is only a safeguard.
    pub dial_timeout: Millis,
    /// Milliseconds within which a peer has to answer or to close. Default 3,000: far above a round trip also on a machine that is
    /// starting 100 containers.
    pub answer_timeout: Millis,
    /// Milliseconds before a peer that failed or refused is tried again, the first time; doubles with each failure.
    /// Default 500: two nodes alone find each other again at once.
    pub retry_min: Millis,
    /// Milliseconds before it is tried again at most. Default 15,000.
    pub retry_max: Millis,
    /// Milliseconds between occasions to change a link, halved to one and a half. Default 10,000: costs a node one dial in
    /// half a minute, and two halves of a network of 100 that was cut have a link between them within about a second.
    pub mix_period: Millis,
    /// Milliseconds between comparisons of marks with a random neighbour, less or more a fifth. Default 5,000.
    pub repair_period: Millis,
    /// Milliseconds between seeing a gap and asking for it, and between asks. Default 300: several times what copies of two
    /// messages take to overtake each other, so that most gaps have closed by themselves.
    pub repair_soon: Millis,
    /// Bytes of messages with which one neighbour is repaired per `repair_soon`. Default 256 KiB, which is 850 kB/s: a
    /// newcomer has a full store within two seconds, and pushes do not wait long behind it.
    pub repair_bytes: usize,
    /// Hops a message is pushed unless its sender says otherwise, 1 to 32. Default 16, twice the last hop expected at 100
    /// nodes.
    pub ttl: u8,
    /// Longest text accepted from a user, bytes. Default, and at most, 8 KiB.
    pub text_max_bytes: usize,
    /// Recent messages kept. Default 1,000.
    pub messages_max: usize,
    /// Bytes of recent messages kept. Default 1 MiB: a thousand nodes on one machine share its memory.
    pub messages_max_bytes: usize,
    /// Bytes kept while messages are younger than `remember`, at most. Default 12 MiB: ten messages of 8 KiB from each of
    /// a hundred nodes at once. Given back as they age. When full, a node accepts no more.
    pub burst_max_bytes: usize,
    /// Milliseconds for which a message that was pushed is certain to be kept: a node whose store is full of younger ones
    /// accepts no more. Default 6,000, one round of repair. With 1,000 messages kept, the network as a whole takes bursts of
    /// 1,000 messages and 160 a second in the long run.
    pub remember: Millis,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            active_target: 5,
            active_cap: 8,
            passive_size: 30,
            passive_size_large: 40,
            large_from: 500,
            shuffle_period: Millis(10_000),
            push: Push::Tree,
            spread_max_bytes: 1_024,
            announce_after: Millis(8),
            graft_after: Millis(80),
            graft_again: Millis(40),
            settle_time: Millis(500),
            dial_timeout: Millis(10_000),
            answer_timeout: Millis(3_000),
            retry_min: Millis(500),
            retry_max: Millis(15_000),
            mix_period: Millis(10_000),
            repair_period: Millis(5_000),
            repair_soon: Millis(300),
            repair_bytes: 256 * 1024,
            ttl: 16,
            text_max_bytes: TEXT_MAX_BYTES,
            messages_max: 1_000,
            messages_max_bytes: 1024 * 1024,
            burst_max_bytes: 12 * 1024 * 1024,
            remember: Millis(6_000),
        }
    }
}
