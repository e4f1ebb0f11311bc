//! `GET /events`: what happens here, as server-sent events, one after another for as long as the reader keeps up.
//!
//! The loop hands each event to every reader's queue without waiting. A reader whose queue is full is disconnected: it
//! can connect again, and a gap it does not know of would be worse.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;
use tokio::{sync::mpsc, time::timeout};

use super::{ApiError, Surface};
use crate::runtime::{command::Command, metrics::Counters};

/// A comment goes out when nothing happened for this long, so that both ends notice a connection that is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(State(surface): State<Surface>) -> Result<Response, ApiError> {
    let too_many = || {
        let error = "too many readers of /events; close one and try again";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error)
    };
    let events = surface.ask(Command::Subscribe).await?.ok_or_else(too_many)?;
    let stream = futures_util::stream::unfold(events, |mut events| async move {
        let next = match timeout(KEEP_ALIVE, events.recv()).await {
            Ok(event) => event?,
            Err(_) => Bytes::from_static(b": nothing happened\n\n"),
        };
        Some((Ok::<_, Infallible>(next), events))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// The loop's end: every reader's queue.
#[derive(Debug)]
pub(in crate::runtime) struct Readers {
    queues: Vec<mpsc::Sender<Bytes>>,
    readers_max: usize,
    queue_max: usize,
    counters: Arc<Counters>,
}

impl Readers {
    pub(in crate::runtime) fn new(readers_max: usize, queue_max: usize, counters: Arc<Counters>) -> Self {
        Self { queues: Vec::new(), readers_max, queue_max: queue_max.max(2), counters }
    }

    /// A new reader's queue, unless there are too many readers. It opens with a comment, so the reader knows that it is
    /// being told from here on.
    pub(in crate::runtime) fn subscribe(&mut self) -> Option<mpsc::Receiver<Bytes>> {
        self.queues.retain(|queue| !queue.is_closed());
        if self.queues.len() >= self.readers_max {
            return None;
        }
        let (queue, events) = mpsc::channel(self.queue_max);
        queue.try_send(Bytes::from_static(b": events from here on\n\n")).ok()?;
        self.queues.push(queue);
        Some(events)
    }

    /// Whether anybody reads.
    pub(in crate::runtime) fn is_any(&mut self) -> bool {
        self.queues.retain(|queue| !queue.is_closed());
        !self.queues.is_empty()
    }

    /// Tells every reader; costs nothing when there is none.
    pub(in crate::runtime) fn tell(&mut self, kind: &str, event: &impl Serialize) {
        if self.queues.is_empty() {
            return;
        }
        let Ok(json) = serde_json::to_string(event) else { return };
        let event = Bytes::from(format!("event: {kind}\ndata: {json}\n\n"));
        let counters = &self.counters;
        self.queues.retain(|queue| match queue.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                counters.readers_dropped.add(1);
                false
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_does_not_read_is_dropped_and_the_others_go_on() {
        let counters = Arc::new(Counters::default());
        let mut readers = Readers::new(2, 3, counters.clone());
        let mut slow = readers.subscribe().unwrap();
        let mut quick = readers.subscribe().unwrap();
        assert!(readers.subscribe().is_none());
        for number in 0..6 {
            while quick.try_recv().is_ok() {}
            readers.tell("joined", &number);
        }
        assert_eq!(quick.try_recv().unwrap(), "event: joined\ndata: 5\n\n");
        assert_eq!(counters.readers_dropped.get(), 1);
        let mut received = 0;
        while slow.try_recv().is_ok() {
            received += 1;
        }
        assert_eq!(received, 3);
        assert_eq!(slow.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        assert!(readers.subscribe().is_some());
    }
}
