//! What `update` asks for, each in a task of its own that comes back as a message.

use std::time::Duration;

use p2pnet_shared::{NetworkName, NodeName};
use tokio::sync::{
    mpsc::{Receiver, Sender},
    watch,
};

use super::asking::Asking;
use crate::{
    cluster::{Cluster, Progress, RuntimeChoice},
    failure::Failure,
    message::Message,
    verb::Verb,
};

/// Between two requests for the member table that is on screen.
const MEMBERS_EVERY: Duration = Duration::from_secs(1);
/// How long a member table may take.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(3);

fn no_network() -> Failure {
    Failure::new("there is no network yet").hint("the top lines show how far its start is")
}

/// Carries out a verb.
pub(super) fn run(cluster: Option<Cluster>, ticket: u64, verb: Verb, outbox: Sender<Message>) {
    tokio::spawn(async move {
        let result = match cluster {
            Some(cluster) => crate::verbs::run(&cluster, verb).await.map(|outcome| outcome.lines),
            None => Err(no_network()),
        };
        // Nobody listens once the dashboard is closed.
        let _ = outbox.send(Message::VerbDone { ticket, result }).await;
    });
}

/// Takes the network down, also one that is so new that it was not attached to yet.
pub(super) fn stop(
    cluster: Option<Cluster>,
    sought: (NetworkName, RuntimeChoice),
    keep_data: bool,
    outbox: Sender<Message>,
) {
    tokio::spawn(async move {
        let found = match cluster {
            Some(cluster) => Ok(Some(cluster)),
            None => Cluster::find(&sought.0, sought.1).await,
        };
        let result = match found {
            Ok(Some(cluster)) => {
                let (reporter, reports) = tokio::sync::mpsc::channel(64);
                tokio::spawn(pass_on(reports, outbox.clone()));
                cluster.stop(keep_data, reporter).await
            }
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        let _ = outbox.send(Message::NetworkStopped(result)).await;
    });
}

/// Progress becomes messages until its source is done.
pub(super) async fn pass_on(mut reports: Receiver<Progress>, outbox: Sender<Message>) {
    while let Some(progress) = reports.recv().await {
        if outbox.send(Message::Progressed(progress)).await.is_err() {
            return;
        }
    }
}

/// Asks for the member table that is on screen, about once a second, and for nothing while none is.
pub(super) struct MemberWatch {
    wanted: watch::Sender<Option<NodeName>>,
    cluster: watch::Sender<Option<Cluster>>,
}

impl MemberWatch {
    /// Starts the task that asks; it ends with this value.
    pub(super) fn start(outbox: Sender<Message>) -> Self {
        let (wanted, wants) = watch::channel(None);
        let (cluster, clusters) = watch::channel(None);
        tokio::spawn(poll(wants, clusters, outbox));
        Self { wanted, cluster }
    }

    /// Which network to ask.
    pub(super) fn attach(&self, cluster: &Cluster) {
        self.cluster.send_replace(Some(cluster.clone()));
    }

    /// Which node's table is on screen.
    pub(super) fn watch(&self, node: Option<NodeName>) {
        self.wanted.send_replace(node);
    }
}

async fn poll(
    mut wanted: watch::Receiver<Option<NodeName>>,
    clusters: watch::Receiver<Option<Cluster>>,
    outbox: Sender<Message>,
) {
    let Some(mut asking) = Asking::new(MEMBERS_TIMEOUT) else { return };
    loop {
        let node = wanted.borrow_and_update().clone();
        let cluster = clusters.borrow().clone();
        if let (Some(node), Some(cluster)) = (node, cluster) {
            let result = asking.get(&cluster, &node, "members").await;
            if outbox.send(Message::MembersCame { node, result }).await.is_err() {
                return;
            }
        }
        let waited = tokio::time::timeout(MEMBERS_EVERY, wanted.changed()).await;
        if waited.is_ok_and(|changed| changed.is_err()) {
            return;
        }
    }
}
