//! Taking in the nodes' word.
//!
//! During a history nothing is told: it is how things stand. From then on each event is told once, by the first who
//! reports it, and once more when the last survivor knows of an end; so the death of ten nodes of a hundred makes some
//! forty lines, not two thousand.

use std::collections::HashMap;

use p2pnet_shared::{
    MessageId, NodeName, UnixMillis, ViewDigest,
    telemetry::{Delivery, FeedLine, MemberEvent, MemberEventKind, MemberRow, Report},
};

use super::{
    Change, ChangeKind, Fate, Network,
    books::Source,
    slot::{Claimed, Observer},
    story::seconds,
};

impl Network {
    pub(super) fn on_feed(&mut self, now: UnixMillis, line: FeedLine, changes: &mut Vec<Change>) {
        match line {
            FeedLine::Report { node, report } => self.on_report(now, &node, report, changes),
            FeedLine::Lost { node, .. } => {
                let Some(slot) = self.index.get(&node).copied() else { return };
                if let Some(observer) = &mut self.slots[slot].observer {
                    observer.linked = false;
                }
                self.refresh(slot);
            }
            FeedLine::CaughtUp => {
                for slot in 0..self.slots.len() {
                    let generation = self.generation;
                    if self.slots[slot].observer.as_ref().is_some_and(|o| o.generation < generation) {
                        self.uncount(slot);
                        self.slots[slot].observer = None;
                        self.stand(slot);
                        self.keys.doubt_rings();
                        self.files.doubt();
                        self.refresh(slot);
                    }
                }
                // Completed while nobody listened: no news any more.
                self.books.completed();
                self.end_files_history();
                self.feed.completed();
            }
            FeedLine::KeyTimes { written_at, whole_at } => self.on_key_times(now, written_at, whole_at),
            FeedLine::Overrun => self.begin_history(),
            FeedLine::Idle => {}
        }
    }

    /// A history follows. What is known stays on screen until it is replaced, but nothing is claimed meanwhile.
    pub(super) fn begin_history(&mut self) {
        self.generation += 1;
        self.begin_files_history();
        self.feed.expect();
    }

    fn on_report(&mut self, now: UnixMillis, node: &NodeName, report: Report, changes: &mut Vec<Change>) {
        let Some(slot) = self.intern(now, node) else { return };
        if let Report::Hello { id, epoch, .. } = report {
            self.uncount(slot);
            self.slots[slot].observer = Some(Observer::new(now, self.generation, id, epoch));
            self.stand(slot);
            self.keys.doubt_rings();
            self.files.doubt();
            self.refresh(slot);
            return;
        }
        let Some(observer) = &mut self.slots[slot].observer else { return };
        match report {
            Report::Hello { .. } | Report::Leaving => {}
            Report::Folder(counts) => self.on_folder(now, slot, counts, changes),
            Report::Files { anew, files } => self.on_files(now, slot, anew, &files),
            Report::Progress(files) => self.on_progress(slot, files),
            Report::FolderEvent { event, at } => self.on_folder_event(now, slot, event, at, changes),
            Report::Ring { digest, at } => self.on_ring(slot, digest, at),
            Report::Keys(counts) => self.on_keys(now, slot, counts, changes),
            Report::Held { anew, sampled, keys } => self.on_held(now, slot, anew, sampled, &keys),
            Report::Faults { faults, healed_at } => {
                // From here on more of them may be heard again. Setting a fault changes nothing yet: who lives is as before.
                self.truth_changed_at = self.truth_changed_at.max(healed_at.map(|at| at.min(now)));
                self.on_faults(now, slot, faults, changes);
            }
            Report::Snapshot { members, deliveries, links } => {
                observer.keep_links(links);
                self.on_snapshot(now, slot, &members, deliveries, changes);
            }
            Report::Member { event, at } => self.on_member(now, slot, &event, at, changes),
            Report::View { digest, at } => self.on_view(slot, digest, at),
            Report::Delivered(delivery) => self.on_delivery(now, slot, delivery, Source::Live, changes),
            Report::Links { links, .. } => observer.keep_links(links),
            Report::Load(load) => {
                observer.take_load(now, load);
                self.refresh(slot);
            }
        }
    }

    fn on_snapshot(
        &mut self,
        now: UnixMillis,
        slot: usize,
        members: &[MemberRow],
        deliveries: Vec<Delivery>,
        changes: &mut Vec<Change>,
    ) {
        self.uncount(slot);
        let Some(mut observer) = self.slots[slot].observer.take() else { return };
        observer.alive = Default::default();
        observer.suspects = Default::default();
        observer.digest = ViewDigest::default();
        let name = self.slots[slot].name.clone();
        observer.believe(slot, &name, true);
        let mut fits = true;
        for row in members {
            match self.intern(now, &row.member) {
                Some(member) => _ = observer.enter(member, row),
                None => fits = false,
            }
        }
        (observer.has_view, observer.in_step, observer.messages) = (true, fits, 0);
        self.slots[slot].observer = Some(observer);
        self.refresh(slot);
        let mut copies: HashMap<MessageId, u32> = HashMap::new();
        deliveries.iter().for_each(|delivery| *copies.entry(delivery.id.clone()).or_insert(0) += 1);
        for delivery in deliveries {
            if let Some(times) = copies.remove(&delivery.id) {
                self.on_delivery(now, slot, delivery, Source::Replay(times), changes);
            }
        }
        // Whom it holds dead it may have held alive when we last heard of it: no event will say so.
        if self.feed.complete {
            for member in 0..self.slots.len() {
                self.tell_last_survivor(now, member, changes);
            }
        }
    }

    fn on_view(&mut self, slot: usize, digest: ViewDigest, at: UnixMillis) {
        let Some(observer) = self.slots[slot].observer.as_mut().filter(|observer| observer.has_view) else { return };
        observer.in_step = observer.digest == digest;
        observer.view_changed_at = Some(at);
        self.refresh(slot);
    }

    fn on_member(
        &mut self,
        now: UnixMillis,
        slot: usize,
        event: &MemberEvent,
        at: UnixMillis,
        changes: &mut Vec<Change>,
    ) {
        let Some(member) = self.intern(now, &event.row.member) else {
            if let Some(observer) = &mut self.slots[slot].observer {
                observer.in_step = false;
            }
            return self.refresh(slot);
        };
        let counted = self.slots[slot].counted;
        let Some(observer) = self.slots[slot].observer.as_mut().filter(|observer| observer.has_view) else { return };
        let (was, suspected) = (observer.alive.contains(member), observer.suspects.contains(member));
        if observer.enter(member, &event.row) {
            observer.view_changed_at = Some(at);
        }
        let (is, suspects) = (observer.alive.contains(member), observer.suspects.contains(member));
        if counted {
            let of = &mut self.slots[member];
            of.believers = of.believers + u32::from(is) - u32::from(was);
            of.suspecters = of.suspecters + u32::from(suspects) - u32::from(suspected);
        }
        self.refresh(slot);
        if self.feed.complete {
            self.note_in_story(slot, member, event, at);
            self.tell_member(slot, member, event, at, changes);
            self.tell_last_survivor(at, member, changes);
        }
    }

    fn on_delivery(
        &mut self,
        now: UnixMillis,
        slot: usize,
        delivery: Delivery,
        source: Source,
        changes: &mut Vec<Change>,
    ) {
        let Some(observer) = &mut self.slots[slot].observer else { return };
        observer.messages = observer.messages.saturating_add(1);
        let (life, id) = (observer.epoch, delivery.id.clone());
        let is_origins_own = delivery.path.len() == 1;
        let node = self.slots[slot].name.clone();
        // A message is on its way from the moment it was accepted: that is a change of the truth like a kill.
        let news = self.books.deliver(slot, &node, life, delivery, source);
        self.refresh(slot);
        let Some(trace) = self.books.trace(&id) else { return };
        let accepted_at = trace.accepted_at.min(now);
        // Only the origin knows when that was: in a history the first to tell of it may have had it long after.
        if is_origins_own {
            self.truth_changed_at = self.truth_changed_at.max(Some(accepted_at));
        }
        if news.first && self.feed.complete {
            let text = trace.text.as_ref().map_or_else(|| format!("accepted message {id}"), |text| quote(text));
            changes.push(Change::of(accepted_at, ChangeKind::Accepted, &id.origin, text));
        }
    }

    /// Tells of messages that have just reached everybody.
    pub(super) fn tell_completed(&mut self, now: UnixMillis, changes: &mut Vec<Change>) {
        if !self.feed.complete || !self.engine.complete {
            return;
        }
        for id in self.books.completed() {
            let Some(trace) = self.books.trace(&id) else { continue };
            let what = trace.text.as_ref().map_or_else(|| format!("message {id}"), |text| quote(text));
            let text = format!(
                "{what} reached {} nodes in {} ms, {} hops at most",
                trace.delivered,
                trace.last_ms(),
                trace.hops_max()
            );
            let at = trace.arrivals.iter().map(|arrival| arrival.at).max().unwrap_or(now).min(now);
            changes.push(Change::of(at, ChangeKind::Delivered, &id.origin, text));
        }
    }

    fn tell_member(
        &mut self,
        slot: usize,
        member: usize,
        event: &MemberEvent,
        at: UnixMillis,
        changes: &mut Vec<Change>,
    ) {
        let by = self.slots[slot].name.clone();
        let accuser = event.accuser.clone().unwrap_or_else(|| by.clone());
        let accuser_slot = self.intern(at, &accuser);
        let name = self.slots[member].name.clone();
        let told = &mut self.slots[member].told;
        let claim = (event.row.epoch, event.row.incarnation);
        let (kind, text) = match event.kind {
            MemberEventKind::Joined => return,
            MemberEventKind::Suspected => {
                let first = is_new(&mut told.suspected, claim);
                if first {
                    told.accusers = Default::default();
                }
                if told.suspected == Some(claim)
                    && let Some(accuser) = accuser_slot
                {
                    told.accusers.set(accuser, true);
                }
                if !first {
                    return;
                }
                (ChangeKind::Suspected, format!("accused by {accuser}"))
            }
            MemberEventKind::Refuted if is_new(&mut told.refuted, claim) => {
                (ChangeKind::Refuted, format!("refuted the accusation, {by} is the first to know"))
            }
            MemberEventKind::Died if is_new(&mut told.died, claim) => {
                told.last_pending = true;
                let accusers = told.accusers.count().max(1);
                let accusers =
                    if accusers == 1 { format!("{accuser} accuses it") } else { format!("{accusers} nodes accuse it") };
                (ChangeKind::DeclaredDead, format!("declared dead, first by {by}; {accusers}"))
            }
            MemberEventKind::Left if is_new(&mut told.left, claim) => {
                told.last_pending = true;
                (ChangeKind::DeclaredLeft, format!("said goodbye, {by} is the first to know"))
            }
            MemberEventKind::CameBack if is_new(&mut told.came_back, claim) => {
                told.last_pending = false;
                if !self.returning.contains(&member) {
                    self.returning.push(member);
                }
                (ChangeKind::CameBack, format!("is back, {by} is the first to know"))
            }
            MemberEventKind::Refuted | MemberEventKind::Died | MemberEventKind::Left | MemberEventKind::CameBack => {
                return;
            }
        };
        changes.push(Change::of(at, kind, &name, text));
    }

    /// Tells, once, that nobody believes any more in a node that ended.
    pub(super) fn tell_last_survivor(&mut self, at: UnixMillis, member: usize, changes: &mut Vec<Change>) {
        let counted = self.counted;
        let slot = &mut self.slots[member];
        if slot.fate != Fate::Gone || slot.believers > 0 || !slot.told.last_pending || counted == 0 {
            return;
        }
        slot.told.last_pending = false;
        let (name, after) = (slot.name.clone(), seconds(at.since(slot.fate_since)));
        let known = self.known(member, ChangeKind::DeclaredDead).or(self.known(member, ChangeKind::DeclaredLeft));
        let first = known
            .and_then(|known| known.first_ms)
            .map_or_else(String::new, |ms| format!("first {}, last ", seconds(ms)));
        let text = format!("all {counted} survivors know, {first}{after} after its end");
        changes.push(Change::known(at, ChangeKind::DeclaredDead, &name, text, known));
    }

    /// Tells, once, that everybody who is up believes again in a node that came back.
    pub(super) fn tell_returned(&mut self, now: UnixMillis, changes: &mut Vec<Change>) {
        if self.returning.is_empty() || !self.feed.complete {
            return;
        }
        let mut returning = std::mem::take(&mut self.returning);
        returning.retain(|member| {
            let slot = &self.slots[*member];
            let agreed = slot.counted && slot.believers == self.counted;
            if agreed {
                let known = self.known(*member, ChangeKind::CameBack);
                let after = known.and_then(|known| known.last_ms);
                let from = slot.story.return_from();
                let after = after.map_or_else(String::new, |ms| format!(", {} after {from}", seconds(ms)));
                let text = format!("all {} agree that it is back{after}", self.counted);
                changes.push(Change::known(now, ChangeKind::CameBack, &slot.name, text, known));
            }
            !agreed && slot.fate != Fate::Gone
        });
        self.returning = returning;
    }
}

/// Whether `claim` is news beside what was told, and if so remembers it.
fn is_new(told: &mut Claimed, claim: (p2pnet_shared::Epoch, u32)) -> bool {
    let new = told.is_none_or(|told| claim > told);
    if new {
        *told = Some(claim);
    }
    new
}

/// What was said, short enough for a line and without anything that would move the cursor.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    let clean: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let more = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("\"{clean}{more}\"")
}
