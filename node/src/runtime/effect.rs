//! Carrying out what the protocols ask, and telling those who watch.

use std::sync::Arc;

use p2pnet_shared::{
    api::ReceivedMessage,
    telemetry::{Load, MemberEvent, MemberEventKind, MemberRow, OverlayLink, Report},
    wire::membership::{Message as SwimMessage, Status},
};
use rand::{RngExt, seq::IteratorRandom};

use super::{
    Input, Node,
    hub::Hub,
    link::{self, Sent},
    metrics::{cpu_ms, rss_bytes},
    telemetry::{LINKS_PERIOD, LOAD_PERIOD, VIEW_PERIOD, delivery, recent},
    timers::Wake,
};
use crate::{
    broadcast,
    membership::{self, Member},
    time::Millis,
};

/// Live members are named again to the broadcast at most this often.
const TOLD_AGAIN_PERIOD: Millis = Millis(1_000);
/// The broadcast is asked whether it wants that at most this often: the answer is almost always no.
const ASK_PERIOD: Millis = Millis(200);

impl Node {
    pub(super) fn carry_out_membership(&mut self, effects: Vec<membership::Effect>) {
        for effect in effects {
            match effect {
                membership::Effect::Send { to, datagram } => {
                    if matches!(datagram.message, SwimMessage::Ping { .. }) {
                        self.counters.probes.add(1);
                    }
                    self.send_datagram(to, &datagram);
                }
                membership::Effect::SetTimer { after, timer } => {
                    self.timers.set(self.clock.now() + after, Wake::Membership(timer));
                }
                membership::Effect::Announce(event) => self.on_member_event(event),
            }
        }
    }

    pub(super) fn carry_out_broadcast(&mut self, effects: Vec<broadcast::Effect>) {
        for effect in effects {
            match effect {
                broadcast::Effect::Send { to, frame } => {
                    match self.links.send(&to, &frame) {
                        Sent::Fine => {}
                        // Told before anything else: the next message is to find the link marked.
                        Sent::Crowded => {
                            self.pending.push_front(Input::Broadcast(broadcast::Input::LinkCrowded { peer: to }));
                        }
                        Sent::Overflowed => {
                            tracing::warn!(node = %self.me.name, peer = %to, "a link's queue was full; the link is closed");
                            self.pending.push_back(Input::Broadcast(broadcast::Input::LinkDown { peer: to }));
                        }
                    }
                }
                broadcast::Effect::Connect { peer, addr } => self.links.dial(peer, addr),
                broadcast::Effect::Disconnect { peer } => {
                    let mut news = Vec::new();
                    self.links.close(&peer, &mut news);
                    self.queue_link_news(news);
                }
                broadcast::Effect::SetTimer { after, timer } => {
                    self.timers.set(self.clock.now() + after, Wake::Broadcast(timer));
                }
                broadcast::Effect::Deliver(message) => self.on_delivered(message),
            }
        }
    }

    pub(super) fn on_link(&mut self, event: link::Event) {
        let mut news = Vec::new();
        self.links.on(event, &mut news);
        self.queue_link_news(news);
        self.settle();
    }

    fn queue_link_news(&mut self, news: Vec<link::News>) {
        self.pending.extend(news.into_iter().map(|news| match news {
            link::News::Up(peer) => Input::Broadcast(broadcast::Input::LinkUp { peer }),
            link::News::Down(peer) => Input::Broadcast(broadcast::Input::LinkDown { peer }),
            link::News::Clear(peer) => Input::Broadcast(broadcast::Input::LinkClear { peer }),
            link::News::Lost(peer, epoch) => Input::Membership(membership::Input::LinkLost { peer, epoch }),
            link::News::Frame(from, frame) => Input::Broadcast(broadcast::Input::Received { from, frame }),
        }));
    }

    fn on_member_event(&mut self, event: MemberEvent) {
        self.log_member_event(&event);
        let name = event.row.member.clone();
        if event.row.status.is_live() {
            // The table is asked rather than the event: it knows the address.
            if let Some(member) = self.membership.member(&name).filter(|member| member.status.is_live()) {
                let now = (member.addr, member.epoch);
                if self.told.insert(name.clone(), now) != Some(now) {
                    let (addr, epoch) = now;
                    self.keys.member_up(&name, addr, epoch);
                    if let Some(folder) = &self.folder {
                        folder.member_up(&name, addr, epoch);
                    }
                    self.pending.push_back(Input::Broadcast(broadcast::Input::MemberUp { peer: name, addr, epoch }));
                }
            }
        } else if self.told.remove(&name).is_some() {
            self.keys.member_down(&name);
            if let Some(folder) = &self.folder {
                folder.member_down(&name);
            }
            self.pending.push_back(Input::Broadcast(broadcast::Input::MemberDown { peer: name }));
        }
        let (name, is_suspect) = (&event.row.member, event.row.status == Status::Suspect);
        let was = if is_suspect { !self.suspected.insert(name.clone()) } else { self.suspected.remove(name) };
        if was != is_suspect && self.told.contains_key(name) {
            self.keys.member_suspected(name, is_suspect);
        }
        self.live.send_if_modified(|live| std::mem::replace(live, self.told.len()) != self.told.len());

        let at = self.clock.wall();
        let kind = match event.kind {
            MemberEventKind::Joined => "joined",
            MemberEventKind::Suspected => "suspected",
            MemberEventKind::Refuted => "refuted",
            MemberEventKind::Died => "died",
            MemberEventKind::Left => "left",
            MemberEventKind::CameBack => "came_back",
        };
        self.readers.tell(kind, &event);
        // Who is suspected is still believed alive.
        let view_changed = !matches!(event.kind, MemberEventKind::Suspected | MemberEventKind::Refuted);
        self.report(Report::Member { event, at });
        if view_changed && self.reporter.view_changed(at) {
            self.timers.set(self.clock.now() + VIEW_PERIOD, Wake::View);
        }
    }

    fn log_member_event(&mut self, event: &MemberEvent) {
        let (node, member) = (&self.me.name, &event.row.member);
        let accuser = event.accuser.as_ref().map_or("nobody", |accuser| accuser.as_str());
        match event.kind {
            MemberEventKind::Joined if !self.ever_joined => {
                self.ever_joined = true;
                tracing::info!(%node, "joined the network {} through {member}", self.settings.network);
            }
            MemberEventKind::Joined => tracing::info!(%node, "{member} joined"),
            MemberEventKind::Suspected => tracing::info!(%node, "{member} is suspected, accused by {accuser}"),
            MemberEventKind::Refuted => tracing::info!(%node, "{member} is alive after all, accused by {accuser}"),
            MemberEventKind::Died if event.new_life => tracing::info!(%node, "{member} died, as its restart shows"),
            MemberEventKind::Died => {
                tracing::info!(%node, accusers = event.accusers, "{member} died, accused by {accuser}");
            }
            MemberEventKind::Left => tracing::info!(%node, "{member} left"),
            MemberEventKind::CameBack if event.new_life => tracing::info!(%node, "{member} came back, restarted"),
            MemberEventKind::CameBack => tracing::info!(%node, "{member} came back, it had been alive all the while"),
        }
    }

    fn on_delivered(&mut self, message: broadcast::Message) {
        let broadcast::Message { id, path, text, via, late } = message;
        let from = id.origin.clone();
        let message =
            Arc::new(ReceivedMessage { id, msg: text, from, path, received_at: self.clock.wall(), via, late });
        self.counters.delivered.add(1);
        tracing::debug!(node = %self.me.name, id = %message.id, hops = message.path.len(), "a message arrived");
        let delivery = delivery(&message);
        self.readers.tell("hop", &delivery);
        self.report(Report::Delivered(delivery));
        self.log.push(message);
    }

    pub(super) fn report(&mut self, report: Report) {
        if !self.reporter.push(report) {
            self.counters.reports_overflowed.add(1);
        }
    }

    /// Everything the gateway needs to know of us, on a new link.
    pub(super) fn begin_report(&mut self) -> tokio::sync::mpsc::Receiver<Report> {
        let row = |member: &Member| MemberRow {
            member: member.name.clone(),
            epoch: member.epoch,
            incarnation: member.incarnation,
            status: member.status,
        };
        let members = self.membership.members().map(row).collect();
        let first = [
            Report::Hello { id: self.id, epoch: self.me.epoch, addr: self.me.addr },
            Report::Snapshot { members, deliveries: recent(&self.log), links: self.overlay_links() },
            Report::View { digest: self.membership.digest(), at: self.reporter.view_changed_at() },
            Report::Load(self.load()),
            self.faults.report(),
        ];
        let first = first.into_iter().chain(self.first_of_keys()).chain(self.first_of_folder());
        let reports = self.reporter.begin(self.settings.limits.report_queue, first);
        self.set_load_timer();
        reports
    }

    pub(super) fn report_view(&mut self) {
        if let Some(at) = self.reporter.take_view_change() {
            self.report(Report::View { digest: self.membership.digest(), at });
        }
    }

    /// Sees to it that the overlay's links are reported once they have changed.
    pub(super) fn notice_links(&mut self) {
        let clock = self.clock;
        if self.reporter.links_seen(self.broadcast.links_version(), || clock.wall()) {
            self.timers.set(clock.now() + LINKS_PERIOD, Wake::Links);
        }
    }

    /// Names some live members again when the overlay's reserve is short, at most once a second.
    pub(super) fn tell_members_again(&mut self) {
        let now = self.clock.now();
        if now < self.told_again {
            return;
        }
        let wanted = self.broadcast.wants_members(now);
        self.told_again = now + if wanted == 0 { ASK_PERIOD } else { TOLD_AGAIN_PERIOD };
        if wanted > 0 {
            let some = self.told.iter().map(|(name, at)| (name.clone(), *at)).sample(&mut self.rng, wanted);
            self.pending.extend(
                some.into_iter()
                    .map(|(peer, (addr, epoch))| Input::Broadcast(broadcast::Input::MemberUp { peer, addr, epoch })),
            );
        }
    }

    pub(super) fn report_links(&mut self) {
        if let Some(at) = self.reporter.take_links_change() {
            self.report(Report::Links { links: self.overlay_links(), at });
        }
    }

    fn overlay_links(&self) -> Vec<OverlayLink> {
        self.broadcast.links().map(|(peer, eager)| OverlayLink { peer, eager }).collect()
    }

    pub(super) fn report_load(&mut self) {
        self.load_timer_set = false;
        if self.reporter.is_up() {
            let load = self.load();
            self.report(Report::Load(load));
            self.set_load_timer();
        }
    }

    fn set_load_timer(&mut self) {
        if !std::mem::replace(&mut self.load_timer_set, true) {
            let jitter = self.rng.random_range(0..=LOAD_PERIOD.0 * 2 / 5);
            self.timers.set(self.clock.now() + Millis(LOAD_PERIOD.0 * 4 / 5 + jitter), Wake::Load);
        }
    }

    fn load(&mut self) -> Load {
        let counts = self.broadcast.counts();
        Load {
            rss_bytes: rss_bytes(),
            cpu_ms: cpu_ms(),
            timer_late_ms_max: {
                let folder = self.folder.as_ref().map_or(Millis(0), |folder| folder.take_late_max());
                self.timers.take_late_max().max(self.keys.take_late_max()).max(folder).0
            },
            health: self.membership.health(),
            links: u32::try_from(self.broadcast.neighbours().count()).unwrap_or(u32::MAX),
            datagram_bytes_sent: self.counters.datagram_bytes_out.get(),
            passive: u32::try_from(self.broadcast.passive().count()).unwrap_or(u32::MAX),
            payload_frames: counts.payload,
            redundant_frames: counts.redundant,
            announced: counts.announced,
            grafts: counts.grafts,
            prunes: counts.prunes,
            dropped: self.counters.dropped(),
            lost_to_faults: self.counters.lost_to_faults.get(),
        }
    }
}
