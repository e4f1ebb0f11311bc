//! Every knob of the membership, with its reason.

use p2pnet_shared::wire::{DATAGRAM_MAX_BYTES, ENVELOPE_MAX_BYTES};

use crate::time::Millis;

/// Every knob. The defaults are for 2 to a few thousand nodes on one machine or one LAN.
#[derive(Debug, Clone)]
pub struct Config {
    /// Between probes. Default 1 s: a dead member is first probed after e/(e-1) periods on average, about 1.6 s (SWIM
    /// §3). Multiplied by health + 1. Keep it above three times `probe_timeout`.
    pub probe_interval: Millis,
    /// How long a direct answer may take until the first answers have come. Default 300 ms, far above a LAN's round trip
    /// and about the worst wait of a busy machine's run queue. From then on three times the 99th percentile of our own
    /// recent round trips, from `probe_timeout_min` to half of `probe_interval`. Multiplied by health + 1.
    pub probe_timeout: Millis,
    /// The shortest patience with a direct answer. Default 200 ms: a run queue's wait, however fast the wire is.
    pub probe_timeout_min: Millis,
    /// How long a quick answer recommends a member as a helper. Default 30 s.
    pub quick_kept: Millis,
    /// Members asked to probe on our behalf when the direct answer does not come. Default 3, as memberlist has it.
    pub indirect_probes: usize,
    /// A timer that fires later than this says that *we* were asleep: whatever it was to judge is inconclusive.
    /// Default 50 ms. On one machine a stall hits direct and indirect probes alike, so SWIM's helpers alone do not save us.
    pub stall: Millis,
    /// Accusations one node makes within a second at most; a link lost beyond that is asked after again. Default 10, more
    /// than an overlay has links: one sick node must not accuse hundreds (hashicorp/consul#5567).
    pub accusations_per_second: u32,
    /// After so long without a datagram from anybody we rather doubt our own ears: what we make of the others' silence we
    /// keep to ourselves. Default 3 s, three probes of ours without an answer and three of others that did not come.
    pub deaf_after: Millis,
    /// From so many other living members on, whom we probe and talk to is decided by the circle of names (contacts.rs).
    /// Default 150: each pair that speaks for the first time is a broadcast that a bridge copies to every port, and a start
    /// of 500 containers spent 84 % of two cores in the kernel on them while everybody spoke to everybody up to 500.
    pub ring_from: usize,
    /// Members a node watches on the circle, and by how many it is watched. Default 10: a death is found within a second
    /// on average, and three accusers within three.
    pub successors: usize,
    /// Members elsewhere on the circle to whom news is told. Default 6: with the successors 16, and each of them is told
    /// once, also where the size alone would have a claim told less often.
    pub far_contacts: usize,
    /// Shortest suspicion, in probe intervals per decade of members: `factor · max(1, log10 N)`. Default 3: 6 s at 100.
    pub suspicion_factor: u64,
    /// Longest suspicion as a multiple of the shortest: what a lone accuser gets (Lifeguard §IV-B). Default 6.
    pub suspicion_max_factor: u64,
    /// Independent accusers beyond the first that bring a suspicion down to its shortest. Default 2.
    pub suspicion_confirmations: usize,
    /// Suspicion of a member whose accuser also lost its TCP link. Default 2 s: time for two rounds of news to reach
    /// the accused and its word to come back.
    pub link_lost_window: Millis,
    /// The same once `link_lost_agree` accusers independently lost theirs. Default 1.5 s.
    pub link_lost_window_min: Millis,
    /// Accusers that shorten the link-lost window. Default 3.
    pub link_lost_agree: usize,
    /// Between rounds of gossip while there is news; no round happens without. Default 200 ms.
    pub gossip_interval: Millis,
    /// From news to its first round, so that news arriving together travels together. Default 10 ms.
    pub gossip_batch: Millis,
    /// Members told per round. Default 3: 100 nodes know within 6 rounds.
    pub gossip_fanout: usize,
    /// A claim is sent `factor · ⌈log10(N+1)⌉` times by each node that hears it. Default 4. On the circle at least as often
    /// as a node has contacts.
    pub retransmit_factor: u32,
    /// Members told at once by somebody who leaves. Default 10: one of them gets it also at heavy loss.
    pub leave_fanout: usize,
    /// Between comparisons of the full state's hash with a random member, among 100 members; twice that among 1,000,
    /// three times among 10,000, because a full state grows and so does the number of those who compare. Default 15 s;
    /// starts at 1 s and doubles, so that whoever joined in a crowd has everybody soon. Gossip alone misses somebody now and then.
    pub sync_interval: Millis,
    /// Full states sent within one second at most, whoever asks. Default 100: a full state is the one answer that is
    /// larger than its question.
    pub full_states_per_second: u32,
    /// After so long without news, what gossip could bring is there: half a second later states are compared once. Default
    /// 1 s, more than news takes to 1,000 nodes. Among them gossip misses somebody in one start of two, and the regular
    /// comparison, every 30 s then, found it only after up to 14 s.
    pub settle: Millis,
    /// Between contacts with one of the dead or the seeds, for ever, among 100 members; scaled as `sync_interval`. Default
    /// 10 s: what heals a partition.
    pub reach_out_interval: Millis,
    /// First wait for a contact's answer; doubles up to `reach_out_interval`. Default 500 ms.
    pub contact_retry: Millis,
    /// No accusations in a node's first moments, nor before `warm_up_answers` probes were answered: when a hundred
    /// nodes start on one machine, everybody is late. Default 10 s.
    pub warm_up: Millis,
    /// See `warm_up`. Default 3. After three warm-ups it is no longer waited for: there may be nobody left to answer.
    pub warm_up_answers: u32,
    /// A node that sees more than half of its members die within `freeze_window` is the likelier odd one out: it accuses
    /// nobody for `freeze`. Default 10 s.
    pub freeze_window: Millis,
    /// See `freeze_window`. Default 10 s.
    pub freeze: Millis,
    /// How long the dead and the gone keep their rows, so that a late rumour of them is known for what it is.
    /// Default 1 h.
    pub gone_kept: Millis,
    /// Rows in the member table at most; further names are not learned. Default 20,000, about 3 MB.
    pub members_max: usize,
    /// Seeds kept at most; further ones are ignored. Default 256.
    pub seeds_max: usize,
    /// Probes made for others at one time at most; further requests are ignored. Default 256.
    pub relays_max: usize,
    /// Lifeguard's worst health. Default 7: intervals and timeouts stretch up to eightfold.
    pub health_max: u8,
    /// Largest datagram before its envelope, bytes. Default: what the wire allows less the sealed envelope.
    pub datagram_max_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probe_interval: Millis(1_000),
            probe_timeout: Millis(300),
            probe_timeout_min: Millis(200),
            quick_kept: Millis(30_000),
            indirect_probes: 3,
            stall: Millis(50),
            accusations_per_second: 10,
            deaf_after: Millis(3_000),
            ring_from: 150,
            successors: 10,
            far_contacts: 6,
            suspicion_factor: 3,
            suspicion_max_factor: 6,
            suspicion_confirmations: 2,
            link_lost_window: Millis(2_000),
            link_lost_window_min: Millis(1_500),
            link_lost_agree: 3,
            gossip_interval: Millis(200),
            gossip_batch: Millis(10),
            gossip_fanout: 3,
            retransmit_factor: 4,
            leave_fanout: 10,
            sync_interval: Millis(15_000),
            full_states_per_second: 100,
            settle: Millis(1_000),
            reach_out_interval: Millis(10_000),
            contact_retry: Millis(500),
            warm_up: Millis(10_000),
            warm_up_answers: 3,
            freeze_window: Millis(10_000),
            freeze: Millis(10_000),
            gone_kept: Millis(3_600_000),
            members_max: 20_000,
            seeds_max: 256,
            relays_max: 256,
            health_max: 7,
            datagram_max_bytes: DATAGRAM_MAX_BYTES - ENVELOPE_MAX_BYTES,
        }
    }
}

impl Config {
    /// How often each node passes one claim on among `members` nodes (memberlist `util.go`).
    pub(super) fn retransmits(&self, members: usize) -> u32 {
        let decades = ((members + 1) as f64).log10().ceil().max(1.0);
        self.retransmit_factor.saturating_mul(decades as u32)
    }

    /// `interval` for a cluster of 100, made longer for a larger one: by itself per decade.
    pub(super) fn scaled(interval: Millis, members: usize) -> Millis {
        let factor = 1.0 + (members as f64 / 100.0).max(1.0).log10();
        Millis((interval.0 as f64 * factor) as u64)
    }

    /// The shortest and the longest suspicion among `members` nodes (Lifeguard §IV-B).
    pub(super) fn suspicion_bounds(&self, members: usize) -> (Millis, Millis) {
        let decades = (members.max(1) as f64).log10().max(1.0);
        let shortest = (decades * (self.suspicion_factor * self.probe_interval.0) as f64) as u64;
        (Millis(shortest), Millis(shortest * self.suspicion_max_factor))
    }
}
