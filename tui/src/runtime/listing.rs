//! Asks a node for the names of the files while they are on screen: once, and again when what the node shows has changed.
//!
//! A listing is megabytes for ten thousand files and makes the node ask others who has what, so two are [`EVERY`] apart at
//! least, however fast files change.

use std::time::Duration;

use p2pnet_shared::{NodeName, wire::folder::FolderDigest};
use tokio::sync::{mpsc::Sender, watch};

use super::asking::Asking;
use crate::{cluster::Cluster, message::Message};

/// Shortest time between two listings.
const EVERY: Duration = Duration::from_secs(2);
/// How long a listing may take.
const TIMEOUT: Duration = Duration::from_secs(10);

type Wanted = Option<(NodeName, FolderDigest)>;

/// The task that asks.
pub(super) struct FileWatch {
    wanted: watch::Sender<Wanted>,
    cluster: watch::Sender<Option<Cluster>>,
}

impl FileWatch {
    /// Starts it; it ends with this value.
    pub(super) fn start(outbox: Sender<Message>) -> Self {
        let (wanted, wants) = watch::channel(None);
        let (cluster, clusters) = watch::channel(None);
        tokio::spawn(ask(wants, clusters, outbox));
        Self { wanted, cluster }
    }

    /// Which network to ask.
    pub(super) fn attach(&self, cluster: &Cluster) {
        self.cluster.send_replace(Some(cluster.clone()));
    }

    /// Whose files are on screen, and as of which digest.
    pub(super) fn watch(&self, wanted: Wanted) {
        self.wanted.send_replace(wanted);
    }
}

async fn ask(mut wanted: watch::Receiver<Wanted>, clusters: watch::Receiver<Option<Cluster>>, outbox: Sender<Message>) {
    let Some(mut asking) = Asking::new(TIMEOUT) else { return };
    loop {
        let want = wanted.borrow_and_update().clone();
        let cluster = clusters.borrow().clone();
        let mut again = false;
        if let (Some((node, _)), Some(cluster)) = (want, cluster) {
            let result = asking.get(&cluster, &node, "files").await;
            again = result.is_err();
            if outbox.send(Message::FilesCame { node, result }).await.is_err() {
                return;
            }
            tokio::time::sleep(EVERY).await;
        }
        // What did not come is asked for again, what did only when it changed.
        if !again && wanted.changed().await.is_err() {
            return;
        }
    }
}
