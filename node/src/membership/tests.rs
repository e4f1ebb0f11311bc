//! The protocol told in stories: one node, played by [`Story`], and what it says to whom. The whole network is played in
//! `tests/sim`.

mod arbitrary;
mod base;
mod meeting;
mod probing;
mod rumours;

use p2pnet_shared::telemetry::MemberEventKind;

use super::*;
use p2pnet_shared::wire::membership::Status;

/// We are `node1`, in our life number 1000; the others are in their life number 100.
struct Story {
    state: State,
    now: u64,
    timers: Vec<(u64, Timer)>,
    sent: Vec<(SocketAddr, Datagram)>,
    /// Each event's kind and whom it is about.
    events: Vec<(MemberEventKind, u32)>,
    /// The same in full, from the beginning.
    announced: Vec<MemberEvent>,
}

fn name(number: u32) -> NodeName {
    NodeName::numbered(number)
}

fn addr(number: u32) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(number).unwrap()], 5000))
}

fn claim(number: u32, incarnation: u32, status: Status) -> Claim {
    Claim {
        member: name(number),
        addr: addr(number),
        epoch: Epoch(if number == 1 { 1000 } else { 100 }),
        incarnation,
        status,
        accuser: None,
        link_lost: false,
    }
}

fn accusation(number: u32, accuser: u32, link_lost: bool) -> Claim {
    Claim { accuser: Some(name(accuser)), link_lost, ..claim(number, 0, Status::Suspect) }
}

impl Story {
    /// We have just started.
    fn begins(config: Config) -> Self {
        let me = Identity { name: name(1), addr: addr(1), epoch: Epoch(1000) };
        let mut story = Self {
            state: State::new(me, config, 42),
            now: 0,
            timers: Vec::new(),
            sent: Vec::new(),
            events: Vec::new(),
            announced: Vec::new(),
        };
        let mut effects = Vec::new();
        story.state.start(Millis(0), &mut effects);
        story.take(effects);
        story
    }

    /// We are past the warm-up and know `node2` to `node{last}`.
    fn among(last: u32) -> Self {
        let mut story = Self::begins(Config::default());
        story.now = 10_000;
        story.timers.clear();
        story.state.answers = 3;
        story.hears(2, (2..=last).map(|number| claim(number, 0, Status::Alive)).collect());
        story.forget_the_past();
        story
    }

    fn forget_the_past(&mut self) {
        self.sent.clear();
        self.events.clear();
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, datagram } => self.sent.push((to, datagram)),
                Effect::SetTimer { after, timer } => self.timers.push((self.now + after.0, timer)),
                Effect::Announce(event) => {
                    self.events.push((event.kind, event.row.member.number().unwrap_or(0)));
                    self.announced.push(event);
                }
            }
        }
    }

    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.state.handle(Millis(self.now), input, &mut effects);
        self.take(effects);
    }

    fn receives(&mut self, from: u32, message: Message, claims: Vec<Claim>) {
        let datagram = Datagram { from: name(from), message, claims };
        self.input(Input::Received { from: addr(from), datagram });
    }

    fn hears(&mut self, from: u32, claims: Vec<Claim>) {
        self.receives(from, Message::Gossip, claims);
    }

    /// Time passes, and timers go off when they are due.
    fn until(&mut self, end: u64) {
        while let Some(next) = self.timers.iter().enumerate().min_by_key(|(_, (due, _))| *due).map(|(place, _)| place)
            && self.timers[next].0 <= end
        {
            let (due, timer) = self.timers.remove(next);
            self.now = self.now.max(due);
            self.input(Input::TimerFired(timer));
        }
        self.now = end;
    }

    fn after(&mut self, ms: u64) {
        self.until(self.now + ms);
    }

    /// We sleep through everything that was due, and then it all goes off.
    fn sleeps(&mut self, ms: u64) {
        self.now += ms;
        self.until(self.now);
    }

    /// A member is suspected and then declared dead by `node3`.
    fn hears_of_the_death_of(&mut self, number: u32, incarnation: u32) {
        self.hears(3, vec![claim(number, incarnation, Status::Suspect)]);
        self.after(1_500);
        self.hears(3, vec![claim(number, incarnation, Status::Dead)]);
    }

    fn loses_its_link_to(&mut self, number: u32) {
        self.input(Input::LinkLost { peer: name(number), epoch: Epoch(100) });
    }

    fn status(&self, number: u32) -> Option<Status> {
        self.state.member(&name(number)).map(|member| member.status)
    }

    fn messages_to(&self, number: u32) -> Vec<&Message> {
        self.sent.iter().filter(|(to, _)| *to == addr(number)).map(|(_, datagram)| &datagram.message).collect()
    }

    fn claims_about(&self, number: u32) -> Vec<&Claim> {
        self.sent.iter().flat_map(|(_, datagram)| &datagram.claims).filter(|c| c.member == name(number)).collect()
    }
}
