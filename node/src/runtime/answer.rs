//! Answering commands: what HTTP and the background tasks ask of the loop. Each is answered at once, from memory.

use std::net::SocketAddr;

use p2pnet_shared::{
    MessageId, NodeName,
    api::{HealthReply, MemberDetail, MembersReply, StatusReply},
    wire::membership::Status,
};

use super::{
    Input, Node,
    command::{Command, Neighbour},
    hub::Hub,
    metrics::{Exposition, cpu_ms, rss_bytes},
};
use crate::{
    broadcast::PublishError,
    discovery::PeerAddress,
    membership::{self, Member},
    time::Millis,
};

/// A member's URL: by name, which is its host name in a container network, or where there are no such names by address.
pub(super) fn url(name: &NodeName, addr: SocketAddr) -> String {
    let ip = addr.ip();
    if ip.is_loopback() { format!("http://{addr}") } else { format!("http://{name}:{}", addr.port()) }
}

impl Node {
    /// Whoever asked may have gone away meanwhile; then the answer is dropped.
    pub(super) fn on_command(&mut self, command: Command) {
        match command {
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Health(reply) => drop(reply.send(self.health())),
            Command::Peers(reply) => drop(reply.send(self.peers())),
            Command::Members(reply) => drop(reply.send(self.members())),
            Command::Metrics(reply) => drop(reply.send(self.metrics())),
            Command::Find(name, reply) => {
                let member = self.membership.member(&name).filter(|member| member.status.is_live());
                drop(reply.send(member.map(neighbour)));
            }
            Command::Live(reply) => drop(reply.send(self.live_members().map(neighbour).collect())),
            Command::Unknown(addresses, reply) => drop(reply.send(self.unknown(addresses))),
            Command::Publish { text, ttl, reply } => drop(reply.send(self.publish(text, ttl))),
            Command::Messages { since, reply } => drop(reply.send(self.log.since(since.as_ref()))),
            Command::Subscribe(reply) => {
                drop(reply.send(self.readers.subscribe()));
                self.keys.with_news(|news, _| news.is_read = true);
                if let Some(folder) = &self.folder {
                    folder.with_news(|news, _| news.is_read = true);
                }
            }
            Command::Report(reply) => drop(reply.send(self.begin_report())),
            Command::Fault(order, reply) => drop(reply.send(self.on_fault(order))),
            Command::Vnodes(reply) => drop(reply.send(self.settings.dht.vnodes)),
            Command::Refused(why) => self.refused = why,
            Command::Contact(addr) => {
                if addr != self.me.addr {
                    self.feed(Input::Membership(membership::Input::Contact { addr }));
                }
            }
        }
    }

    fn live_members(&self) -> impl Iterator<Item = &Member> {
        self.membership.members().filter(|member| member.status.is_live())
    }

    fn publish(&mut self, text: String, ttl: Option<u8>) -> Result<MessageId, PublishError> {
        let mut effects = Vec::new();
        let id = self.broadcast.publish(self.clock.now(), text, ttl, &mut effects);
        self.carry_out_broadcast(effects);
        self.settle();
        id
    }

    fn status(&self) -> StatusReply {
        StatusReply {
            id: self.id,
            name: self.me.name.clone(),
            port: self.me.addr.port(),
            peers: self.live_members().count(),
            message: "Node is running".to_owned(),
            address: url(&self.me.name, self.me.addr),
            epoch: self.me.epoch,
            incarnation: self.membership.incarnation(),
            health: self.membership.health(),
            neighbours: self.broadcast.neighbours().cloned().collect(),
            messages: self.counters.delivered.get(),
            uptime_ms: self.clock.now().0,
            encrypted: self.codec.is_sealed(),
            rss_bytes: rss_bytes(),
            keys: self.keys.counts().keys,
            files: self.folder.as_ref().map(|folder| folder.counts().files_here),
        }
    }

    fn health(&self) -> HealthReply {
        if self.membership.superseded().is_some() {
            let reason = format!("another node is called {} and started later; stop one of the two", self.me.name);
            return HealthReply { status: "failing".to_owned(), reason: Some(reason) };
        }
        if let Some(why) = self.refused.clone().filter(|_| self.told.is_empty()) {
            return HealthReply { status: "failing".to_owned(), reason: Some(why) };
        }
        let told_of_others = self.settings.bootstrap.is_some() || !self.settings.peers.is_empty();
        if told_of_others && !self.ever_joined {
            let reason = "no member of the network has answered yet; is the bootstrap or a peer running?";
            return HealthReply { status: "starting".to_owned(), reason: Some(reason.to_owned()) };
        }
        HealthReply { status: "healthy".to_owned(), reason: None }
    }

    fn peers(&self) -> Vec<String> {
        self.live_members().map(|member| url(&member.name, member.addr)).collect()
    }

    fn members(&self) -> MembersReply {
        let now = self.clock.now();
        let detail = |member: &Member| MemberDetail {
            name: member.name.clone(),
            address: url(&member.name, member.addr),
            status: member.status,
            epoch: member.epoch,
            incarnation: member.incarnation,
            for_ms: (now - member.since).0,
            accusers: member.accusers.clone(),
            neighbour: self.broadcast.neighbours().any(|name| *name == member.name),
        };
        MembersReply { observer: self.me.name.clone(), members: self.membership.members().map(detail).collect() }
    }

    /// Of these addresses, those where neither we nor a live member listen, each once.
    fn unknown(&self, mut addresses: Vec<PeerAddress>) -> Vec<PeerAddress> {
        let own = (&self.me.name, self.me.addr);
        let known: std::collections::HashSet<(String, u16)> = self
            .live_members()
            .map(|member| (&member.name, member.addr))
            .chain([own])
            .flat_map(|(name, addr)| {
                let port = addr.port();
                [(name.as_str().to_ascii_lowercase(), port), (addr.ip().to_string(), port)]
            })
            .collect();
        addresses.sort();
        addresses.dedup();
        addresses.retain(|address| !known.contains(&(address.host().to_owned(), address.port())));
        addresses
    }

    fn metrics(&self) -> String {
        let mut text = Exposition::default();
        let of = |status| self.membership.members().filter(|member| member.status == status).count().to_string();
        text.metric(
            "members",
            "gauge",
            "Members other than this node, by what it believes.",
            &[
                ("{status=\"alive\"}", of(Status::Alive)),
                ("{status=\"suspect\"}", of(Status::Suspect)),
                ("{status=\"dead\"}", of(Status::Dead)),
                ("{status=\"left\"}", of(Status::Left)),
            ],
        );
        text.gauge("neighbours", "Overlay neighbours.", self.broadcast.neighbours().count());
        text.gauge("links", "Links that are up.", self.links.up());
        text.gauge("faults", "Faults set on purpose that this node obeys.", self.faults.count());
        text.gauge("health", "Local health, 0 (well) to 7.", self.membership.health());
        text.gauge("timer_late_ms_max", "Worst timer lateness since the last load report.", {
            let folder = self.folder.as_ref().map_or(Millis(0), |folder| folder.late_max());
            self.timers.late_max().max(self.keys.late_max()).max(folder).0
        });
        text.gauge("uptime_ms", "Milliseconds since the node started.", self.clock.now().0);
        text.gauge("rss_bytes", "Resident memory.", rss_bytes());
        text.counter("cpu_ms_total", "Processor time used, milliseconds.", cpu_ms());
        text.gauge("passive_view", "Members the overlay keeps in reserve.", self.broadcast.passive().count());
        let counts = self.broadcast.counts();
        for (name, help, count) in [
            ("payload_frames_total", "Frames with a broadcast received.", counts.payload),
            ("redundant_frames_total", "Broadcasts that were already known.", counts.redundant),
            ("announced_total", "Broadcasts announced to this node by their ids.", counts.announced),
            ("grafts_total", "Broadcasts this node asked for by their ids.", counts.grafts),
            ("prunes_total", "Links taken out of the tree.", counts.prunes),
        ] {
            text.counter(name, help, count);
        }
        self.key_metrics(&mut text);
        self.folder_metrics(&mut text);
        text.counters(&self.counters);
        text.finish()
    }
}

fn neighbour(member: &Member) -> Neighbour {
    Neighbour { name: member.name.clone(), addr: member.addr }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_goes_by_name_except_on_this_machine() {
        let name = NodeName::numbered(7);
        assert_eq!(url(&name, "172.18.0.9:5000".parse().unwrap()), "http://node7:5000");
        assert_eq!(url(&name, "127.0.0.1:5007".parse().unwrap()), "http://127.0.0.1:5007");
    }
}
