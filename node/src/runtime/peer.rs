//! The node: its protocols, and everything their effects touch. Lives in the loop; nobody else holds it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use p2pnet_shared::{
    MessageId, NodeName, UnixMillis, ViewDigest,
    telemetry::{Delivery, MemberEvent, MemberEventKind, MemberRow, Report},
    wire::{Codec, Hello, broadcast::Frame, membership::Datagram},
};
use tokio::{net::UdpSocket, sync::mpsc};
use uuid::Uuid;

use super::{
    Clock, Event,
    http::events::Subscribers,
    link::{self, LinkEvent},
    links::{Added, Links, SendError},
    load::{Counters, own_load},
    seed,
    timers::{Timers, Wake},
    wall_clock,
};
use crate::{
    broadcast::{self, PublishError},
    config::Settings,
    membership::{self, Identity},
    time::Millis,
};

/// Between two reports of the view. Default 100 ms: a hundred changes while everybody joins are ten reports.
const REPORT_VIEW_EVERY: Millis = Millis(100);
/// Between two reports of cost and health. Default 5 s.
const REPORT_LOAD_EVERY: Millis = Millis(5_000);

/// See the module.
pub(super) struct Node {
    pub(super) id: Uuid,
    pub(super) membership: membership::State,
    pub(super) broadcast: broadcast::State,
    pub(super) clock: Clock,
    pub(super) counters: Counters,
    pub(super) subscribers: Subscribers,
    pub(super) expects_others: bool,
    pub(super) encrypted: bool,
    links: Links,
    timers: Timers,
    udp: Arc<UdpSocket>,
    codec: Codec,
    events: mpsc::Sender<Event>,
    /// The gateway's queue. Full means that the gateway reads too slowly: it is dropped, and everything told anew.
    telemetry: Option<mpsc::Sender<Report>>,
    /// Stamps of the messages the broadcast still holds, in the order of their arrival.
    arrivals: std::collections::VecDeque<(MessageId, UnixMillis)>,
    view_reported: (ViewDigest, Millis),
    view_changed_at: UnixMillis,
    view_report_armed: bool,
    stopping: bool,
}

impl Node {
    pub(super) fn new(
        identity: Identity,
        id: Uuid,
        settings: &Settings,
        codec: Codec,
        udp: Arc<UdpSocket>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let broadcast =
            broadcast::State::new(identity.name.clone(), identity.epoch, settings.broadcast.clone(), seed());
        Self {
            id,
            membership: membership::State::new(identity, settings.membership.clone(), seed()),
            broadcast,
            clock: Clock::new(),
            counters: Counters::default(),
            subscribers: Subscribers::default(),
            expects_others: settings.bootstrap.is_some() || !settings.peers.is_empty(),
            encrypted: codec.is_sealed(),
            links: Links::default(),
            timers: Timers::default(),
            udp,
            codec,
            events,
            telemetry: None,
            arrivals: std::collections::VecDeque::new(),
            view_reported: (ViewDigest::default(), Millis(0)),
            view_changed_at: wall_clock(),
            view_report_armed: false,
            stopping: false,
        }
    }

    pub(super) fn name(&self) -> &NodeName {
        &self.membership.me().name
    }

    pub(super) fn hello(&self) -> Hello {
        Hello { name: self.name().clone(), epoch: self.membership.me().epoch }
    }

    pub(super) fn start(&mut self) {
        let now = self.clock.now();
        let mut effects = Vec::new();
        self.membership.start(now, &mut effects);
        self.carry_out_membership(effects);
        let mut effects = Vec::new();
        self.broadcast.start(now, &mut effects);
        self.carry_out_broadcast(effects);
        self.timers.set(now + REPORT_LOAD_EVERY, Wake::ReportLoad);
    }

    pub(super) fn is_done(&self) -> bool {
        self.stopping
    }

    /// Gives goodbyes a moment to leave the machine, and the gateway's queue to drain.
    pub(super) async fn linger(mut self) {
        let telemetry = self.telemetry.take();
        let drained = async {
            if let Some(queue) = telemetry {
                while queue.capacity() < queue.max_capacity() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), drained).await;
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        self.timers.next_due()
    }

    pub(super) fn fire_timers(&mut self) {
        let now = self.clock.now();
        while let Some((wake, late)) = self.timers.pop(now) {
            self.counters.timer_late_ms_max = self.counters.timer_late_ms_max.max(late.0);
            match wake {
                Wake::Membership(timer) => self.feed_membership(membership::Input::TimerFired(timer)),
                Wake::Broadcast(timer) => self.feed_broadcast(broadcast::Input::TimerFired(timer)),
                Wake::ReportView => {
                    self.view_report_armed = false;
                    self.report_view();
                }
                Wake::ReportLoad => self.report_load(),
            }
        }
    }

    pub(super) fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.counters.datagrams_received += 1;
        self.counters.datagram_bytes_received += bytes.len() as u64;
        match self.codec.decode::<Datagram>(bytes) {
            Ok(datagram) => self.feed_membership(membership::Input::Received { from, datagram }),
            Err(_) => self.counters.undecodable += 1,
        }
    }

    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Link(event) => self.on_link(event),
            Event::Ask(question) => question(self),
            Event::TelemetryUp(queue) => self.on_telemetry_up(queue),
            Event::Contact(addr) => self.feed_membership(membership::Input::Contact { addr }),
            Event::Stop => self.leave(),
        }
    }

    /// Accepts a message from a user of this node.
    pub(super) fn publish(&mut self, text: String, ttl: Option<u8>) -> Result<MessageId, PublishError> {
        let mut effects = Vec::new();
        let id = self.broadcast.publish(self.clock.now(), text, ttl, &mut effects);
        self.carry_out_broadcast(effects);
        id
    }

    /// When a message arrived here.
    pub(super) fn arrived_at(&self, id: &MessageId) -> UnixMillis {
        self.arrivals.iter().rev().find(|(arrived, _)| arrived == id).map_or(UnixMillis(0), |(_, at)| *at)
    }

    pub(super) fn live_members(&self) -> impl Iterator<Item = &membership::Member> {
        self.membership.members().filter(|member| member.status.is_live())
    }

    /// A number for a link somebody else opened.
    pub(super) fn next_link_serial(&mut self) -> u64 {
        self.links.next_serial()
    }

    pub(super) fn link_count(&self) -> usize {
        self.links.len()
    }

    fn leave(&mut self) {
        tracing::info!(node = %self.name(), "leaving");
        self.report(Report::Leaving);
        let neighbours: Vec<NodeName> = self.broadcast.neighbours().cloned().collect();
        for peer in neighbours {
            let farewell = self.codec.encode_frame(&Frame::Disconnect);
            let _ = self.links.send(&peer, farewell, true);
            self.links.close(&peer);
        }
        self.feed_membership(membership::Input::Leave);
        self.stopping = true;
    }

    fn feed_membership(&mut self, input: membership::Input) {
        let mut effects = Vec::new();
        self.membership.handle(self.clock.now(), input, &mut effects);
        self.carry_out_membership(effects);
    }

    fn feed_broadcast(&mut self, input: broadcast::Input) {
        let mut effects = Vec::new();
        self.broadcast.handle(self.clock.now(), input, &mut effects);
        self.carry_out_broadcast(effects);
    }

    fn carry_out_membership(&mut self, effects: Vec<membership::Effect>) {
        for effect in effects {
            match effect {
                membership::Effect::Send { to, datagram } => self.send_datagram(to, &datagram),
                membership::Effect::SetTimer { after, timer } => {
                    self.timers.set(self.clock.now() + after, Wake::Membership(timer));
                }
                membership::Effect::Announce(event) => self.on_member_event(event),
            }
        }
    }

    fn carry_out_broadcast(&mut self, effects: Vec<broadcast::Effect>) {
        for effect in effects {
            match effect {
                broadcast::Effect::Send { to, frame } => self.send_frame(&to, &frame),
                broadcast::Effect::Connect { peer, addr } => {
                    let serial = self.links.next_serial();
                    let (me, codec, events) = (self.hello(), self.codec.clone(), self.events.clone());
                    tokio::spawn(link::dial(serial, peer, addr, me, codec, events));
                }
                broadcast::Effect::Disconnect { peer } => {
                    if self.links.close(&peer) {
                        self.feed_broadcast(broadcast::Input::LinkDown { peer });
                    }
                }
                broadcast::Effect::SetTimer { after, timer } => {
                    self.timers.set(self.clock.now() + after, Wake::Broadcast(timer));
                }
                broadcast::Effect::Deliver(message) => self.on_delivery(message),
            }
        }
    }

    /// A datagram that the socket does not take at once is dropped, as the network would: SWIM lives with loss.
    fn send_datagram(&mut self, to: SocketAddr, datagram: &Datagram) {
        let bytes = self.codec.encode(datagram);
        match self.udp.try_send_to(&bytes, to) {
            Ok(_) => {
                self.counters.datagrams_sent += 1;
                self.counters.datagram_bytes_sent += bytes.len() as u64;
            }
            Err(_) => self.counters.dropped += 1,
        }
    }

    fn send_frame(&mut self, to: &NodeName, frame: &Frame) {
        let farewell = says_farewell(frame);
        let bytes = self.codec.encode_frame(frame);
        self.counters.frames_sent += 1;
        match self.links.send(to, bytes, farewell) {
            Ok(()) | Err(SendError::NoLink) => {}
            Err(SendError::Full) => {
                self.counters.dropped += 1;
                self.links.close(to);
                self.feed_broadcast(broadcast::Input::LinkDown { peer: to.clone() });
            }
        }
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { serial, hello, dialled, frames } => {
                let me = self.name().clone();
                if self.links.add(&me, serial, &hello, dialled, frames) == Added::First {
                    self.feed_broadcast(broadcast::Input::LinkUp { peer: hello.name });
                }
            }
            LinkEvent::Frame { serial, from, frame } => {
                if !self.links.is_current(&from, serial) {
                    return;
                }
                self.counters.frames_received += 1;
                if says_farewell(&frame) {
                    self.links.note_farewell(&from);
                }
                self.feed_broadcast(broadcast::Input::Received { from, frame });
            }
            LinkEvent::Down { serial, peer } => {
                if let Some(ended) = self.links.end(&peer, serial) {
                    self.feed_broadcast(broadcast::Input::LinkDown { peer: peer.clone() });
                    if ended.lost {
                        self.feed_membership(membership::Input::LinkLost { peer, epoch: ended.epoch });
                    }
                }
            }
            LinkEvent::DialFailed { peer } => self.feed_broadcast(broadcast::Input::LinkDown { peer }),
        }
    }

    fn on_member_event(&mut self, event: MemberEvent) {
        let (peer, accuser) = (&event.row.member, event.accuser.as_ref().map_or("", NodeName::as_str));
        tracing::info!(node = %self.name(), member = %peer, accuser, "{:?}", event.kind);
        let at = wall_clock();
        if !matches!(event.kind, MemberEventKind::Suspected | MemberEventKind::Refuted) {
            self.view_changed_at = at;
        }
        self.report(Report::Member { event: event.clone(), at });
        self.subscribers.member(&event, at);
        self.schedule_view_report();
        let input = match self.membership.member(peer).filter(|_| event.row.status.is_live()) {
            Some(member) => broadcast::Input::MemberUp { peer: peer.clone(), addr: member.addr, epoch: member.epoch },
            None => broadcast::Input::MemberDown { peer: peer.clone() },
        };
        self.feed_broadcast(input);
    }

    fn on_delivery(&mut self, message: broadcast::Message) {
        let at = wall_clock();
        tracing::info!(node = %self.name(), id = %message.id, hops = message.path.len() - 1, "broadcast received");
        self.counters.delivered += 1;
        let kept = self.broadcast.messages().count();
        while self.arrivals.len() > kept {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((message.id.clone(), at));
        let delivery = delivery(&message, at);
        self.subscribers.hop(&delivery, at);
        self.report(Report::Delivered(delivery));
    }

    fn on_telemetry_up(&mut self, queue: mpsc::Sender<Report>) {
        self.telemetry = Some(queue);
        let me = self.membership.me();
        let hello = Report::Hello { id: self.id, epoch: me.epoch, addr: me.addr };
        let members = self.membership.members().map(row).collect();
        let deliveries = self.broadcast.messages().map(|message| delivery(message, self.arrived_at(&message.id)));
        let snapshot = Report::Snapshot { members, deliveries: deliveries.collect() };
        self.report(hello);
        self.report(snapshot);
        self.report_view();
        self.report(Report::Load(own_load(self)));
    }

    fn report(&mut self, report: Report) {
        if self.telemetry.as_ref().is_some_and(|queue| queue.try_send(report).is_err()) {
            self.telemetry = None;
        }
    }

    fn schedule_view_report(&mut self) {
        if !self.view_report_armed {
            self.view_report_armed = true;
            let due = (self.view_reported.1 + REPORT_VIEW_EVERY).max(self.clock.now());
            self.timers.set(due, Wake::ReportView);
        }
    }

    fn report_view(&mut self) {
        let digest = self.membership.digest();
        self.view_reported = (digest, self.clock.now());
        self.report(Report::View { digest, at: self.view_changed_at });
    }

    fn report_load(&mut self) {
        let load = own_load(self);
        self.counters.timer_late_ms_max = 0;
        self.report(Report::Load(load));
        self.timers.set(self.clock.now() + REPORT_LOAD_EVERY, Wake::ReportLoad);
    }
}

/// Whether a frame says that its sender will close the link.
fn says_farewell(frame: &Frame) -> bool {
    matches!(frame, Frame::Disconnect | Frame::Refuse)
}

fn row(member: &membership::Member) -> MemberRow {
    MemberRow {
        member: member.name.clone(),
        epoch: member.epoch,
        incarnation: member.incarnation,
        status: member.status,
    }
}

fn delivery(message: &broadcast::Message, at: UnixMillis) -> Delivery {
    let text = (message.path.len() <= 2).then(|| message.text.clone());
    Delivery { id: message.id.clone(), path: message.path.clone(), at, text }
}
