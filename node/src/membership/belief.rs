//! What a claim does to what we hold (SWIM §4.2), and what we answer when it is about ourselves.
//!
//! ```text
//!               Suspect@i               window over
//!   ┌────────┐ ─────────▶ ┌─────────┐ ─────────────▶ ┌──────┐
//!   │ Alive  │            │ Suspect │                │ Dead │     Left@i from any of them: gone by its own word
//!   └────────┘ ◀───────── └─────────┘                └──────┘
//!       ▲       Alive@i+1                                │  Alive@i+1, or any newer life
//!       └────────────────────────────────────────────────┘
//! ```
//! Every change is announced exactly once, so a reader that adds on `Joined` and `CameBack` and removes on `Died` and
//! `Left` always holds exactly the set of [`State::digest`]. A newer life of a member that we held alive ends the former
//! one, `Died`, before it begins, `CameBack`. What changes among the dead and gone is silent.

use p2pnet_shared::{
    Epoch,
    telemetry::{MemberEvent, MemberEventKind},
    wire::membership::{Claim, Message, Status},
};

use super::{
    Effect, Member, NodeName, State, Timer,
    member::supersedes,
    suspicion::{ACCUSERS_MAX, Suspicion},
};
use crate::time::Millis;

/// The latest life we believe in, the year 2248: an epoch beyond it is garbage that nobody could ever supersede.
const EPOCH_MAX: Epoch = Epoch(1 << 43);

impl State {
    /// Somebody claims something. Returns what its sender should be told in return, if it is behind.
    pub(super) fn on_claim(&mut self, now: Millis, claim: Claim, effects: &mut Vec<Effect>) -> Option<Claim> {
        let nowhere = claim.addr.port() == 0 || claim.addr.ip().is_unspecified() || claim.addr.ip().is_multicast();
        if claim.epoch > EPOCH_MAX || nowhere {
            return None;
        }
        if claim.member == self.me.name {
            return self.on_claim_about_me(now, &claim, effects);
        }
        let Some(held) = self.table.get(&claim.member) else {
            self.on_stranger(now, claim, effects);
            return None;
        };
        let suspicion = self.table.suspicion(&claim.member);
        let claim = sudden_death(now, claim, held, suspicion, self.config.link_lost_window_min);
        if supersedes(&claim, held) {
            self.believe(now, claim, effects);
            return None;
        }
        let same = (claim.epoch, claim.incarnation) == (held.epoch, held.incarnation);
        if same && claim.status == Status::Suspect && held.status == Status::Suspect {
            self.on_another_accuser(now, claim, effects);
            return None;
        }
        let behind = claim.status == Status::Alive && (held.epoch > claim.epoch || !held.status.is_live());
        behind.then(|| as_suspicion(held.claim()))
    }

    /// A name we have no row for. The dead and gone among strangers are not worth one: whoever still believes in them
    /// will be told by those who knew them.
    fn on_stranger(&mut self, now: Millis, claim: Claim, effects: &mut Vec<Effect>) {
        if !claim.status.is_live() || self.table.len() >= self.config.members_max {
            return;
        }
        let member = Member {
            name: claim.member.clone(),
            addr: claim.addr,
            epoch: claim.epoch,
            incarnation: claim.incarnation,
            status: Status::Alive,
            since: now,
            accusers: Vec::new(),
        };
        announce(MemberEventKind::Joined, &member, None, effects);
        self.table.insert(member, &mut self.rng);
        match claim.status {
            Status::Alive => self.tell(now, claim, effects),
            _ => self.believe(now, claim, effects),
        }
    }

    /// The claim supersedes what we hold: hold it, announce what changed, pass it on.
    pub(super) fn believe(&mut self, now: Millis, claim: Claim, effects: &mut Vec<Effect>) {
        self.hold(now, claim.clone(), effects);
        self.tell(now, claim, effects);
    }

    /// The same without passing it on.
    pub(super) fn hold(&mut self, now: Millis, claim: Claim, effects: &mut Vec<Effect>) {
        let (live, slept) = (self.table.live(), self.stalls.total());
        let Some(held) = self.table.get(&claim.member).cloned() else { return };
        let former_life = claim.epoch > held.epoch;
        if former_life && held.status.is_live() {
            // Out of the table as well as out of the reader's set, so that what follows is a return.
            let ended = Member { status: Status::Dead, ..held.clone() };
            announce(MemberEventKind::Died, &ended, None, effects);
            self.table.update(&held.name, &mut self.rng, |row| row.member.status = Status::Dead);
        }
        let suspicion = (claim.status == Status::Suspect)
            .then(|| Box::new(Suspicion::new(now, &self.config, live, claim.link_lost, slept)));
        let deadline = suspicion.as_ref().map(|suspicion| suspicion.deadline);
        let same_accusation = (claim.epoch, claim.incarnation) == (held.epoch, held.incarnation);
        let was_live = self.table.update(&claim.member, &mut self.rng, |row| {
            let member = &mut row.member;
            if former_life || member.status != claim.status {
                member.since = now;
            }
            (member.addr, member.epoch, member.incarnation) = (claim.addr, claim.epoch, claim.incarnation);
            member.status = claim.status;
            if !same_accusation || claim.status == Status::Left {
                member.accusers.clear();
            }
            if let Some(accuser) = &claim.accuser
                && member.accusers.is_empty()
            {
                member.accusers.push(accuser.clone());
            }
            row.suspicion = suspicion;
        });
        self.announce_change(now, was_live, held.status, &claim, effects);
        if let Some(due) = deadline {
            self.set_suspicion_timer(now, &claim.member, due, effects);
        }
    }

    /// Says what a belief changed, as [`MemberEventKind`]s that alternate in and out of the believed-alive set.
    fn announce_change(&mut self, now: Millis, was_live: bool, held: Status, claim: &Claim, effects: &mut Vec<Effect>) {
        let Some(member) = self.table.get(&claim.member) else { return };
        if !was_live && claim.status.is_live() {
            let back = Member { status: Status::Alive, ..member.clone() };
            announce(MemberEventKind::CameBack, &back, None, effects);
        }
        match claim.status {
            Status::Alive if was_live && held == Status::Suspect => {
                announce(MemberEventKind::Refuted, member, None, effects);
            }
            Status::Suspect => announce(MemberEventKind::Suspected, member, claim.accuser.clone(), effects),
            Status::Dead if was_live => {
                announce(MemberEventKind::Died, member, member.accusers.first().cloned(), effects);
                self.on_death(now);
            }
            Status::Left if was_live => announce(MemberEventKind::Left, member, None, effects),
            _ => {}
        }
    }

    /// A suspect is accused by one more. The first few independent accusers shorten the suspicion and are passed on.
    fn on_another_accuser(&mut self, now: Millis, claim: Claim, effects: &mut Vec<Effect>) {
        let live = self.table.live();
        let Some(accuser) = claim.accuser.clone() else { return };
        if accuser != self.me.name && !self.table.is_live(&accuser) {
            return;
        }
        let Some((member, suspicion)) = self.table.suspect_mut(&claim.member) else { return };
        let shortens = claim.link_lost && !suspicion.knows_link_lost();
        if !member.accusers.contains(&accuser) && member.accusers.len() < ACCUSERS_MAX {
            member.accusers.push(accuser);
        } else if !shortens {
            return;
        }
        let accusers = member.accusers.len();
        let earlier = suspicion.accused(now, &self.config, live, accusers, claim.link_lost);
        let due = suspicion.deadline;
        if earlier {
            self.set_suspicion_timer(now, &claim.member, due, effects);
        }
        self.tell(now, claim, effects);
    }

    fn set_suspicion_timer(&self, now: Millis, member: &NodeName, due: Millis, effects: &mut Vec<Effect>) {
        let timer = Timer::Suspicion { member: member.clone(), due };
        effects.push(Effect::SetTimer { after: due - now, timer });
    }

    /// We know best. An accusation is refuted by raising our incarnation above it, at once; what is said of a former life
    /// of ours is answered; and a *newer* life with our name is not us: somebody started another node under it, and by
    /// the rules everybody now listens to that one. We go on, do not fight over the name, and [`State::superseded`] tells
    /// the runtime, which can tell its user.
    ///
    /// At `u32::MAX` an accusation can no longer be out-bid; only a restart helps. No honest run gets there: only the
    /// member itself raises its incarnation, by one each time. Against the dishonest there is the cluster secret.
    fn on_claim_about_me(&mut self, now: Millis, claim: &Claim, effects: &mut Vec<Effect>) -> Option<Claim> {
        if claim.epoch > self.me.epoch {
            self.superseded = self.superseded.max(Some(claim.epoch));
            return None;
        }
        let accused = claim.status != Status::Alive;
        if claim.epoch == self.me.epoch && claim.status == Status::Dead && claim.incarnation >= self.incarnation {
            // They have waited for our word and not heard it, so what we miss of theirs proves little.
            self.frozen_until = self.frozen_until.max(now + self.config.freeze);
        }
        if claim.epoch == self.me.epoch && (claim.incarnation, accused) > (self.incarnation, false) {
            self.incarnation = claim.incarnation.saturating_add(1);
            self.worsen_health(1);
            self.news.push(self.my_claim());
            if self.last_gossip.is_none_or(|last| now - last >= self.config.gossip_batch) {
                self.gossip(now, effects);
            } else {
                self.tell(now, self.my_claim(), effects);
            }
            return Some(self.my_claim());
        }
        (accused || claim.epoch < self.me.epoch).then(|| self.my_claim())
    }

    /// We accuse a member of not answering *us*; it is told so at once, that it may refute (Lifeguard §IV-C). Returns
    /// whether we did: nobody makes more than so many accusations a second.
    pub(super) fn accuse(&mut self, now: Millis, name: &NodeName, link_lost: bool, effects: &mut Vec<Effect>) -> bool {
        let Some(member) = self.table.get(name).filter(|member| member.status.is_live()) else { return false };
        let (addr, accuser) = (member.addr, Some(self.me.name.clone()));
        let claim = Claim { status: Status::Suspect, accuser, link_lost, ..member.claim() };
        if self.is_deaf(now) {
            // Nobody need hear what may well be our own fault.
            if supersedes(&claim, member) {
                self.hold(now, claim, effects);
            }
            return true;
        }
        if now - self.accusations_since >= Millis(1_000) {
            (self.accusations_since, self.accusations) = (now, 0);
        }
        if self.accusations >= self.config.accusations_per_second {
            return false;
        }
        self.accusations += 1;
        self.on_claim(now, claim, effects);
        self.send(addr, Some(name), Message::Gossip, Vec::new(), effects);
        true
    }

    /// What we say of ourselves.
    pub(super) fn my_claim(&self) -> Claim {
        Claim {
            member: self.me.name.clone(),
            addr: self.me.addr,
            epoch: self.me.epoch,
            incarnation: self.incarnation,
            status: if self.left { Status::Left } else { Status::Alive },
            accuser: None,
            link_lost: false,
        }
    }
}

/// A death of whose suspicion we have not known for `patience` is a suspicion: somebody may have been cut off and is
/// wrong about everybody (SWIM believes it). The member had its whole window elsewhere, so it gets the short one here, to
/// speak to us too.
fn sudden_death(now: Millis, claim: Claim, held: &Member, suspicion: Option<&Suspicion>, patience: Millis) -> Claim {
    let same = (claim.epoch, claim.incarnation) == (held.epoch, held.incarnation);
    let known = same && suspicion.is_some_and(|suspicion| now - suspicion.started >= patience);
    if claim.status == Status::Dead && held.status.is_live() && !known {
        return Claim { status: Status::Suspect, link_lost: true, ..claim };
    }
    claim
}

/// A death passed on as hearsay is only a suspicion (memberlist does the same in its push-pull): after a healed partition
/// each side holds the whole other side dead, and all of them must have the chance to refute.
pub(super) fn as_suspicion(claim: Claim) -> Claim {
    match claim.status {
        Status::Dead => Claim { status: Status::Suspect, ..claim },
        _ => claim,
    }
}

fn announce(kind: MemberEventKind, member: &Member, accuser: Option<NodeName>, effects: &mut Vec<Effect>) {
    effects.push(Effect::Announce(MemberEvent { kind, row: member.row(), accuser }));
}
