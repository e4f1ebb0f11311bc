//! How other tasks ask the node something: a closure that runs inside the loop, and its answer.

use tokio::sync::{mpsc, oneshot};

use super::{Event, peer::Node};

/// A way to ask. Cheap to clone.
#[derive(Clone)]
pub(super) struct Asker {
    events: mpsc::Sender<Event>,
}

impl Asker {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { events }
    }

    /// Runs `question` in the loop; `None` when the node is ending.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Node) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, wait) = oneshot::channel();
        let ask = Box::new(move |node: &mut Node| {
            let _ = answer.send(question(node));
        });
        self.events.send(Event::Ask(ask)).await.ok()?;
        wait.await.ok()
    }

    /// Tells the loop, without an answer.
    pub(super) async fn tell(&self, event: Event) {
        let _ = self.events.send(event).await;
    }

    /// Where link tasks send what happens to them.
    pub(super) fn events(&self) -> mpsc::Sender<Event> {
        self.events.clone()
    }
}
