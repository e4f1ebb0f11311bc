//! What this node reports about itself, over one TCP link to the gateway.
//!
//! ```text
//! the loop ──Reporter::push──▶ queue ──▶ task: preface, Hello, then each Report in order ──▶ gateway
//!                                          └─ broken or too slow: dial again, start over with Hello and Snapshot
//! ```
//! The task dials, then asks the loop for a queue; the loop puts `Hello` and `Snapshot` in it and every change after
//! that, so what the gateway folds is exactly this node's view. When the queue is full the loop lets go of it: the task
//! writes what is in it, closes, and starts over, because a snapshot is never wrong and a gap always is.
//!
//! Frames are sealed with the cluster's secret, if there is one, like everything else between our own processes.

use std::{collections::VecDeque, time::Duration};

use p2pnet_shared::{
    UnixMillis,
    telemetry::{Delivery, Report},
    wire::{Codec, Hello, LINK_PREFACE, REPORT_MAX_BYTES},
};
use rand::rngs::StdRng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    command::{Command, Door, NoAnswer},
    join,
    messages::MessageLog,
};
use crate::{
    discovery::{Backoff, PeerAddress},
    time::Millis,
};

/// Views are reported at most this often.
pub(super) const VIEW_PERIOD: Millis = Millis(100);
/// Overlay links are reported at most this often.
pub(super) const LINKS_PERIOD: Millis = Millis(300);
/// What is new of keys is reported this long after it happened.
pub(super) const NEWS_PERIOD: Millis = Millis(250);
/// Load is reported this often, give or take a fifth.
pub(super) const LOAD_PERIOD: Millis = Millis(5_000);
/// A text travels where the path is at most this long: the origin and the first to have it.
const TEXT_PATH_MAX: usize = 2;
/// To connect, and to write one batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// Reports written at once.
const BATCH: usize = 64;

/// The loop's end.
#[derive(Debug)]
pub(super) struct Reporter {
    queue: Option<mpsc::Sender<Report>>,
    /// When the set of those believed alive last changed.
    view_changed_at: UnixMillis,
    /// That has not been reported yet.
    view_unreported: bool,
    /// Which state of the overlay's links was seen last, when it was new, and whether a report of it is under way.
    links_seen: (u64, UnixMillis),
    links_unreported: bool,
}

impl Reporter {
    /// Of a node whose view began, with itself alone, at `started`.
    pub(super) fn new(started: UnixMillis) -> Self {
        Self {
            queue: None,
            view_changed_at: started,
            view_unreported: false,
            links_seen: (0, started),
            links_unreported: false,
        }
    }

    /// When the set of those believed alive last changed.
    pub(super) fn view_changed_at(&self) -> UnixMillis {
        self.view_changed_at
    }

    /// Starts over with a link that has just come up.
    pub(super) fn begin(&mut self, capacity: usize, first: impl IntoIterator<Item = Report>) -> mpsc::Receiver<Report> {
        let (queue, reports) = mpsc::channel(capacity.max(8));
        self.queue = Some(queue);
        for report in first {
            self.push(report);
        }
        reports
    }

    /// Whether anybody listens.
    pub(super) fn is_up(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.is_closed())
    }

    /// Queues a report. False if the queue was full and the link therefore starts over.
    pub(super) fn push(&mut self, report: Report) -> bool {
        let Some(queue) = &self.queue else { return true };
        match queue.try_send(report) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.queue = None;
                true
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.queue = None;
                false
            }
        }
    }

    /// The view has changed; true if a timer is to be set for reporting it.
    pub(super) fn view_changed(&mut self, at: UnixMillis) -> bool {
        self.view_changed_at = at;
        !std::mem::replace(&mut self.view_unreported, true)
    }

    /// When the view last changed, once per change.
    pub(super) fn take_view_change(&mut self) -> Option<UnixMillis> {
        std::mem::take(&mut self.view_unreported).then_some(self.view_changed_at)
    }

    /// The overlay's links were seen in their state number `version`; true if a timer is to be set for reporting them.
    pub(super) fn links_seen(&mut self, version: u64, now: impl FnOnce() -> UnixMillis) -> bool {
        if self.links_seen.0 == version {
            return false;
        }
        self.links_seen = (version, now());
        !std::mem::replace(&mut self.links_unreported, true)
    }

    /// When the links last changed, once per report.
    pub(super) fn take_links_change(&mut self) -> Option<UnixMillis> {
        std::mem::take(&mut self.links_unreported).then_some(self.links_seen.1)
    }

    /// No more reports: what is queued is still written.
    pub(super) fn end(&mut self) {
        self.queue = None;
    }
}

/// A delivery as it is reported.
pub(super) fn delivery(message: &p2pnet_shared::api::ReceivedMessage) -> Delivery {
    let text = (message.path.len() <= TEXT_PATH_MAX).then(|| message.msg.clone());
    Delivery {
        id: message.id.clone(),
        path: message.path.clone(),
        at: message.received_at,
        text,
        via: message.via,
        late: message.late,
    }
}

/// The recent deliveries, as many of the newest as leave room for the members in one frame, oldest first.
pub(super) fn recent(log: &MessageLog) -> Vec<Delivery> {
    let mut room = REPORT_MAX_BYTES / 2;
    let mut recent = VecDeque::new();
    for message in log.iter().rev() {
        let delivery = delivery(message);
        let names: usize = delivery.path.iter().map(|name| name.as_str().len() + 1).sum();
        let bytes = 100 + names + delivery.text.as_ref().map_or(0, String::len);
        let Some(left) = room.checked_sub(bytes) else { break };
        room = left;
        recent.push_front(delivery);
    }
    recent.into()
}

/// The link's task.
pub(super) struct Link {
    pub(super) gateway: PeerAddress,
    pub(super) me: Hello,
    pub(super) codec: Codec,
    pub(super) door: Door,
    pub(super) rng: StdRng,
}

impl Link {
    /// Runs until the node leaves: dials, reports, and dials again.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
        let mut complained = false;
        loop {
            match self.dial().await {
                Ok(stream) => {
                    backoff.reset();
                    complained = false;
                    match self.door.ask(Command::Report).await {
                        Ok(reports) => self.report(stream, reports).await,
                        Err(NoAnswer::Busy) => {}
                        Err(NoAnswer::Leaving) => return,
                    }
                }
                Err(error) => {
                    if !complained {
                        tracing::warn!(node = %self.me.name, gateway = %self.gateway, "no gateway yet, trying on: {error}");
                        complained = true;
                    }
                }
            }
            sleep(backoff.wait(&mut self.rng)).await;
        }
    }

    async fn dial(&self) -> Result<TcpStream, String> {
        let addrs = join::resolve(&self.gateway, PATIENCE).await?;
        let connect = async {
            let mut stream = TcpStream::connect(addrs.as_slice()).await?;
            stream.set_nodelay(true)?;
            let mut first = LINK_PREFACE.to_vec();
            first.extend(self.codec.encode_frame(&self.me));
            stream.write_all(&first).await?;
            Ok::<_, std::io::Error>(stream)
        };
        match timeout(PATIENCE, connect).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Writes reports until the queue ends, the gateway closes, or a write takes too long.
    async fn report(&self, mut stream: TcpStream, mut reports: mpsc::Receiver<Report>) {
        let (mut batch, mut bytes, mut ignored) = (Vec::with_capacity(BATCH), Vec::new(), [0; 64]);
        loop {
            let count = tokio::select! {
                count = reports.recv_many(&mut batch, BATCH) => count,
                // The gateway says nothing; what arrives is its end.
                read = stream.read(&mut ignored) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(_) => continue,
                },
            };
            if count == 0 {
                let _ = timeout(PATIENCE, stream.shutdown()).await;
                return;
            }
            for report in batch.drain(..) {
                bytes.extend(self.codec.encode_frame(&report));
            }
            match timeout(PATIENCE, stream.write_all(&bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return tracing::debug!(node = %self.me.name, %error, "the gateway's link broke"),
                Err(_) => return tracing::debug!(node = %self.me.name, "the gateway is too slow"),
            }
            bytes.clear();
            bytes.shrink_to(16 * 1024);
        }
    }
}
