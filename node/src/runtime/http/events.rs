//! `GET /events`: what happens at this node, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use p2pnet_shared::{
    UnixMillis,
    telemetry::{Delivery, MemberEvent, MemberEventKind},
};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Refusal, Reply, Surface};

/// Events that wait for one reader. A reader that lets it fill up is dropped; it may come again.
const QUEUE_EVENTS: usize = 256;
/// Readers at once; one more is refused.
const READERS_MAX: usize = 32;

/// Who listens.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Subscribers(Vec<mpsc::Sender<Event>>);

impl Subscribers {
    /// A member event: `joined`, `suspected`, `refuted`, `died`, `left`, `came back`.
    pub(in crate::runtime) fn member(&mut self, event: &MemberEvent, at: UnixMillis) {
        let name = match event.kind {
            MemberEventKind::Joined => "joined",
            MemberEventKind::Suspected => "suspected",
            MemberEventKind::Refuted => "refuted",
            MemberEventKind::Died => "died",
            MemberEventKind::Left => "left",
            MemberEventKind::CameBack => "came back",
        };
        self.tell(name, || {
            json!({"member": event.row.member, "incarnation": event.row.incarnation, "epoch": event.row.epoch,
                   "accuser": event.accuser, "at": at})
        });
    }

    /// A broadcast arrived.
    pub(in crate::runtime) fn hop(&mut self, delivery: &Delivery, at: UnixMillis) {
        self.tell("message hop", || json!({"id": delivery.id, "path": delivery.path, "at": at}));
    }

    fn tell(&mut self, name: &str, data: impl Fn() -> serde_json::Value) {
        if self.0.is_empty() {
            return;
        }
        let event = Event::default().event(name).data(data().to_string());
        self.0.retain(|reader| reader.try_send(event.clone()).is_ok());
    }

    fn add(&mut self) -> Option<mpsc::Receiver<Event>> {
        self.0.retain(|reader| !reader.is_closed());
        if self.0.len() >= READERS_MAX {
            return None;
        }
        let (sender, receiver) = mpsc::channel(QUEUE_EVENTS);
        self.0.push(sender);
        Some(receiver)
    }
}

pub(super) async fn stream(
    State(surface): State<Surface>,
) -> Reply<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let full = || {
        let error = format!("{READERS_MAX} readers follow events already; close one");
        Refusal::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, error)
    };
    let queue = surface.asker.ask(|node| node.subscribers.add()).await.ok_or_else(Refusal::ending)?.ok_or_else(full)?;
    let events = stream::unfold(queue, |mut queue| async move { Some((Ok(queue.recv().await?), queue)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
