//! Requests that only look.

use axum::{Json, extract::State, http::StatusCode};
use p2pnet_shared::api::{HealthReply, MemberDetail, MembersReply, PeersReply, PingReply, RootReply, StatusReply};

use super::{Refusal, Reply, Surface, url_of};
use crate::runtime::{load::rss_bytes, metrics, peer::Node};

impl Node {
    /// `http://node7:5000`.
    pub(in crate::runtime) fn own_url(&self) -> String {
        url_of(self.name(), self.membership.me().addr)
    }

    /// The live members' URLs, sorted by name.
    pub(in crate::runtime) fn peer_urls(&self) -> Vec<String> {
        self.live_members().map(|member| url_of(&member.name, member.addr)).collect()
    }

    fn status(&self) -> StatusReply {
        let me = self.membership.me();
        StatusReply {
            id: self.id,
            name: me.name.clone(),
            port: me.addr.port(),
            peers: self.live_members().count(),
            message: "Node is running".to_owned(),
            address: self.own_url(),
            epoch: me.epoch,
            incarnation: self.membership.incarnation(),
            health: self.membership.health(),
            neighbours: self.broadcast.neighbours().cloned().collect(),
            messages: self.counters.delivered,
            uptime_ms: self.clock.now().0,
            encrypted: self.encrypted,
            rss_bytes: rss_bytes(),
        }
    }

    fn health_reason(&self) -> Option<String> {
        let alone = self.expects_others && self.live_members().next().is_none();
        alone.then(|| "no other node has answered yet; is the bootstrap or a peer running?".to_owned())
    }

    fn member_details(&self) -> MembersReply {
        let now = self.clock.now();
        let neighbours: Vec<_> = self.broadcast.neighbours().collect();
        let members = self.membership.members().map(|member| MemberDetail {
            name: member.name.clone(),
            address: url_of(&member.name, member.addr),
            status: member.status,
            epoch: member.epoch,
            incarnation: member.incarnation,
            for_ms: (now - member.since).0,
            accusers: member.accusers.clone(),
            neighbour: neighbours.binary_search(&&member.name).is_ok(),
        });
        MembersReply { observer: self.name().clone(), members: members.collect() }
    }
}

pub(super) async fn root(State(surface): State<Surface>) -> Reply<Json<RootReply>> {
    let id = surface.asker.ask(|node| node.id).await.ok_or_else(Refusal::ending)?;
    Ok(Json(RootReply { message: format!("Node {id} is running!") }))
}

pub(super) async fn status(State(surface): State<Surface>) -> Reply<Json<StatusReply>> {
    surface.asker.ask(|node| node.status()).await.map(Json).ok_or_else(Refusal::ending)
}

pub(super) async fn health(State(surface): State<Surface>) -> (StatusCode, Json<HealthReply>) {
    let (code, status, reason) = match surface.asker.ask(|node| node.health_reason()).await {
        Some(None) => (StatusCode::OK, "healthy", None),
        Some(Some(reason)) => (StatusCode::SERVICE_UNAVAILABLE, "starting", Some(reason)),
        None => (StatusCode::SERVICE_UNAVAILABLE, "failing", Some("this node is leaving".to_owned())),
    };
    (code, Json(HealthReply { status: status.to_owned(), reason }))
}

pub(super) async fn ping(State(surface): State<Surface>) -> Reply<Json<PingReply>> {
    let (node, node_id) = surface.asker.ask(|node| (node.own_url(), node.id)).await.ok_or_else(Refusal::ending)?;
    Ok(Json(PingReply { status: "alive".to_owned(), response: "pong".to_owned(), node, node_id }))
}

pub(super) async fn peers(State(surface): State<Surface>) -> Reply<Json<PeersReply>> {
    let peers = surface.asker.ask(|node| node.peer_urls()).await.ok_or_else(Refusal::ending)?;
    Ok(Json(PeersReply { peers }))
}

pub(super) async fn members(State(surface): State<Surface>) -> Reply<Json<MembersReply>> {
    surface.asker.ask(|node| node.member_details()).await.map(Json).ok_or_else(Refusal::ending)
}

pub(super) async fn metrics(State(surface): State<Surface>) -> Reply<([(&'static str, &'static str); 1], String)> {
    let text = surface.asker.ask(|node| metrics::text(node)).await.ok_or_else(Refusal::ending)?;
    Ok(([("content-type", "text/plain; version=0.0.4")], text))
}
