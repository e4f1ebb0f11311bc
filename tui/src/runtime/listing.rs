//! Asks a node for the names of the files while they are on screen: once, and again when what the node shows has changed.
//!
//! A listing is megabytes for ten thousand files and makes the node ask others who has what, so two are [`EVERY`] apart at
//! least, however fast files change.

use std::time::Duration;

use p2pnet_shared::{NodeName, api::FilesReply, wire::folder::FolderDigest};
use tokio::sync::{mpsc::Sender, watch};

use crate::{
    cluster::{Cluster, GatewayAddress},
    message::Message,
};

/// Shortest time between two listings.
const EVERY: Duration = Duration::from_secs(2);
/// How long a listing may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest listing taken, bytes: some 100,000 files.
const BODY_MAX: usize = 32 << 20;

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
    let Ok(client) = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build() else { return };
    let mut gateway: Option<GatewayAddress> = None;
    loop {
        let want = wanted.borrow_and_update().clone();
        let cluster = clusters.borrow().clone();
        let mut again = false;
        if let (Some((node, _)), Some(cluster)) = (want, cluster) {
            let result = fetch(&client, &cluster, &mut gateway, &node).await;
            again = result.is_err();
            if again {
                // It may have another port by now.
                gateway = None;
            }
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

async fn fetch(
    client: &reqwest::Client,
    cluster: &Cluster,
    gateway: &mut Option<GatewayAddress>,
    node: &NodeName,
) -> Result<FilesReply, String> {
    let address = match gateway {
        Some(address) => address.clone(),
        None => gateway.insert(cluster.gateway().await.map_err(|failure| failure.error)?).clone(),
    };
    let url = format!("http://{}/nodes/{node}/files", address.addr);
    let reply = client.get(url).bearer_auth(&address.token).send().await;
    let mut reply = reply.map_err(|error| format!("{node} does not answer: {}", error.without_url()))?;
    let status = reply.status();
    if !status.is_success() {
        return Err(format!("{node} answers {status}"));
    }
    let mut body = Vec::new();
    while let Some(part) = reply.chunk().await.map_err(|error| format!("{node} broke off: {}", error.without_url()))? {
        body.extend_from_slice(&part);
        if body.len() > BODY_MAX {
            return Err(format!("the files of {node} are more than a screen can list"));
        }
    }
    serde_json::from_slice(&body).map_err(|error| format!("{node} answers with something else: {error}"))
}
