//! How long a suspect has to speak up (SWIM §4.2; Lifeguard §IV-B).
//!
//! ```text
//! window
//!  max = 6·min ┤■ a lone accuser may be the one that is ill
//!              │  ■ two agree
//!          min ┤    ■■■■■ three agree         min = 3·max(1, log10 N) probe intervals
//!          2 s ┤ ■■ the accuser also lost its TCP link; 1.5 s once three did
//! ```
//! Every node that hears of a suspicion runs its own window, so the verdict does not wait for one node's word.

use p2pnet_shared::wire::membership::{Claim, Message, Status};

use super::{Config, Effect, NodeName, State, Timer};
use crate::time::Millis;

/// Accusers remembered, and passed on, per suspicion; more would say nothing new.
pub(super) const ACCUSERS_MAX: usize = 4;

/// A suspicion while it runs.
#[derive(Debug)]
pub(super) struct Suspicion {
    pub(super) started: Millis,
    /// When the suspect is dead; a timer for any other instant is stale.
    pub(super) deadline: Millis,
    /// When somebody first said that it lost its link too, and how many did.
    link_lost: Option<(Millis, usize)>,
    /// How long we had been asleep in all when it began.
    slept: Millis,
    /// We are not well, or were asleep: when it ran out the suspect was given another chance. Once only.
    postponed: bool,
}

impl Suspicion {
    /// Begins at `now` with one accusation.
    /// `slept` is how long we have been asleep in all so far.
    pub(super) fn new(now: Millis, config: &Config, live: usize, link_lost: bool, slept: Millis) -> Self {
        let deadline = Millis(u64::MAX);
        let mut suspicion = Self { started: now, deadline, link_lost: None, slept, postponed: false };
        suspicion.accused(now, config, live, 1, link_lost);
        suspicion
    }

    /// One more accusation, the `accusers`-th. Returns whether the suspicion now runs out earlier.
    pub(super) fn accused(
        &mut self,
        now: Millis,
        config: &Config,
        live: usize,
        accusers: usize,
        link_lost: bool,
    ) -> bool {
        if link_lost {
            let (first, count) = self.link_lost.unwrap_or((now, 0));
            self.link_lost = Some((first, count + 1));
        }
        let mut deadline = self.started + window(config, live, accusers);
        if let Some((first, count)) = self.link_lost {
            let agreed = count >= config.link_lost_agree;
            let window = if agreed { config.link_lost_window_min } else { config.link_lost_window };
            deadline = deadline.min(first + window);
        }
        let earlier = deadline < self.deadline;
        self.deadline = self.deadline.min(deadline).max(now);
        earlier
    }

    /// Whether an accuser's link was lost too.
    pub(super) fn knows_link_lost(&self) -> bool {
        self.link_lost.is_some()
    }

    /// Gives the suspect until `deadline`.
    fn postpone(&mut self, deadline: Millis) {
        self.deadline = deadline;
    }
}

/// From the longest to the shortest, logarithmically with each independent accuser (Lifeguard §IV-B).
pub(super) fn window(config: &Config, live: usize, accusers: usize) -> Millis {
    let (shortest, longest) = config.suspicion_bounds(live + 1);
    // With fewer possible accusers than confirmations, nobody could ever confirm: use the shortest at once.
    if live < config.suspicion_confirmations + 1 {
        return shortest;
    }
    let agreed = ((accusers as f64).ln() / ((config.suspicion_confirmations + 1) as f64).ln()).clamp(0.0, 1.0);
    Millis(longest.0 - ((longest.0 - shortest.0) as f64 * agreed) as u64)
}

impl State {
    /// A suspicion has run out, unless it was refuted or moved in the meantime.
    ///
    /// Where our own state casts doubt on that (we slept through some of it, or are not in good health) the suspect is told
    /// once more, by ourselves, and has the time of two probes to answer. Others who are well do not wait for us.
    pub(super) fn on_suspicion_timeout(
        &mut self,
        now: Millis,
        name: &NodeName,
        due: Millis,
        effects: &mut Vec<Effect>,
    ) {
        let moment = self.config.stall;
        // Whoever is awake need not wait longer than answers take; whoever was asleep may well fall asleep again.
        let (awake, asleep) = (self.round_trips.patience(&self.config), self.patience());
        let slept = now - due > moment;
        let grace = Millis(2 * if slept { asleep } else { awake }.0);
        let unwell = self.health > 1 || slept; // 1: the silence of the suspect itself
        let frozen_until = self.frozen_until;
        let Some((member, suspicion)) = self.table.suspect_mut(name).filter(|(_, held)| held.deadline == due) else {
            return;
        };
        let doubtful = unwell || self.stalls.spoilt(now, suspicion.started, suspicion.slept, moment);
        let wait = if frozen_until > now {
            Some(frozen_until)
        } else if doubtful && !suspicion.postponed {
            suspicion.postponed = true;
            Some(now + grace)
        } else {
            None
        };
        if let Some(deadline) = wait {
            suspicion.postpone(deadline);
            let addr = member.addr;
            let timer = Timer::Suspicion { member: name.clone(), due: deadline };
            effects.push(Effect::SetTimer { after: deadline - now, timer });
            self.send(addr, Some(name), Message::Gossip, Vec::new(), effects);
            return;
        }
        let verdict = Claim { status: Status::Dead, ..member.claim() };
        if self.is_deaf(now) {
            self.hold(now, verdict, effects);
        } else {
            self.believe(now, verdict, effects);
        }
    }

    /// Counts a death; after too many the odd one out is probably us (hashicorp/consul#5928).
    pub(super) fn on_death(&mut self, now: Millis) {
        if now - self.deaths_since > self.config.freeze_window {
            (self.deaths_since, self.deaths) = (now, 0);
        }
        self.deaths += 1;
        // Once per trouble: if the others are still gone after a freeze, they are gone.
        let just_thawed = self.frozen_until > Millis(0) && now < self.frozen_until + Millis(3 * self.config.freeze.0);
        if self.deaths > self.table.live() + 1 && !just_thawed {
            self.frozen_until = now + self.config.freeze;
            (self.deaths_since, self.deaths) = (now, 0);
        }
    }
}
