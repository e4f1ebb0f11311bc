//! What HTTP handlers and the background tasks ask of the loop, and the door they ask through.
//!
//! A command carries the way back for its answer. Handlers never touch a protocol's state: they wait in line like
//! everything else, and the loop answers each at once. The line holds [`LINE`] commands; when it is full askers wait
//! [`PATIENCE`] for a place and are then told that the node is busy.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use p2pnet_shared::{
    MessageId, NodeName,
    api::{FaultsReply, HealthReply, MembersReply, ReceivedMessage, StatusReply},
    telemetry::Report,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::faults::{FaultOrder, FaultRefused};
use crate::{broadcast::PublishError, discovery::PeerAddress};

/// Commands waiting for the loop.
pub(super) const LINE: usize = 256;
/// How long an asker waits for a place in the line and for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way back.
pub(super) type Reply<T> = oneshot::Sender<T>;

/// A live member, as somewhere to send a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) name: NodeName,
    pub(super) addr: SocketAddr,
}

/// One question or order.
#[derive(Debug)]
pub(super) enum Command {
    Status(Reply<StatusReply>),
    Health(Reply<HealthReply>),
    /// The URLs of the live members.
    Peers(Reply<Vec<String>>),
    Members(Reply<MembersReply>),
    Metrics(Reply<String>),
    /// One member by name, if it is alive.
    Find(NodeName, Reply<Option<Neighbour>>),
    /// The live members.
    Live(Reply<Vec<Neighbour>>),
    /// Which of these are news: no live member listens there.
    Unknown(Vec<PeerAddress>, Reply<Vec<PeerAddress>>),
    Publish {
        text: String,
        ttl: Option<u8>,
        reply: Reply<Result<MessageId, PublishError>>,
    },
    /// What was received after a message; `None` if that message is not known.
    Messages {
        since: Option<MessageId>,
        reply: Reply<Option<Vec<Arc<ReceivedMessage>>>>,
    },
    /// A reader of events; `None` when there are too many.
    Subscribe(Reply<Option<mpsc::Receiver<Bytes>>>),
    /// The gateway's link is up: reports from Hello and Snapshot on.
    Report(Reply<mpsc::Receiver<Report>>),
    /// Faults on purpose.
    Fault(FaultOrder, Reply<Result<FaultsReply, FaultRefused>>),
    /// Somebody may listen there.
    Contact(SocketAddr),
    /// How many places each member of our network has on the ring.
    Vnodes(Reply<u16>),
    /// Whoever we asked to let us join said no, and why; `None` once somebody said yes.
    Refused(Option<String>),
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("this node is busy; try again in a moment")]
    Busy,
    #[error("this node is leaving; ask another")]
    Leaving,
}

/// Where commands go in. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Door(mpsc::Sender<Command>);

impl Door {
    pub(super) fn new() -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(LINE);
        (Self(sender), receiver)
    }

    /// Puts a question and waits for its answer.
    pub(super) async fn ask<T>(&self, question: impl FnOnce(Reply<T>) -> Command) -> Result<T, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        self.tell(question(reply)).await?;
        match timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|_| NoAnswer::Leaving),
            Err(_) => Err(NoAnswer::Busy),
        }
    }

    /// Gives an order that has no answer.
    pub(super) async fn tell(&self, command: Command) -> Result<(), NoAnswer> {
        match timeout(PATIENCE, self.0.send(command)).await {
            Ok(sent) => sent.map_err(|_| NoAnswer::Leaving),
            Err(_) => Err(NoAnswer::Busy),
        }
    }
}
