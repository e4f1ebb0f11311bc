//! Asks a node through the gateway, again and again, for what is on screen.
//!
//! Where the gateway is found is remembered from one question to the next. After a question that failed it is looked for anew: the
//! gateway may have another port by now.

use std::time::Duration;

use p2pnet_shared::NodeName;
use serde::de::DeserializeOwned;

use crate::cluster::{Cluster, GatewayAddress};

/// Longest answer taken, bytes: some 100,000 files.
const BODY_MAX: usize = 32 << 20;

/// Whoever asks.
#[derive(Debug)]
pub(super) struct Asking {
    client: reqwest::Client,
    gateway: Option<GatewayAddress>,
}

impl Asking {
    /// Nobody is asked yet; each answer may take `patience`. `None` if this host cannot ask anybody.
    pub(super) fn new(patience: Duration) -> Option<Self> {
        let client = reqwest::Client::builder().timeout(patience).no_proxy().build().ok()?;
        Some(Self { client, gateway: None })
    }

    /// The node's answer to a GET of `what`.
    ///
    /// # Errors
    /// In words, why there is none. Asking again may help.
    pub(super) async fn get<T: DeserializeOwned>(
        &mut self,
        cluster: &Cluster,
        node: &NodeName,
        what: &str,
    ) -> Result<T, String> {
        let answer = self.fetch(cluster, node, what).await;
        if answer.is_err() {
            self.gateway = None;
        }
        answer
    }

    async fn fetch<T: DeserializeOwned>(
        &mut self,
        cluster: &Cluster,
        node: &NodeName,
        what: &str,
    ) -> Result<T, String> {
        let gateway = match &mut self.gateway {
            Some(gateway) => gateway,
            none => none.insert(cluster.gateway().await.map_err(|failure| failure.error)?),
        };
        let url = format!("http://{}/nodes/{node}/{what}", gateway.addr);
        let reply = self.client.get(url).bearer_auth(&gateway.token).send().await;
        let mut reply = reply.map_err(|error| format!("{node} does not answer: {}", error.without_url()))?;
        let status = reply.status();
        if !status.is_success() {
            return Err(format!("{node} answers {status}"));
        }
        let mut body = Vec::new();
        let broken = |error: reqwest::Error| format!("{node} broke off: {}", error.without_url());
        while let Some(part) = reply.chunk().await.map_err(broken)? {
            body.extend_from_slice(&part);
            if body.len() > BODY_MAX {
                return Err(format!("the {what} of {node} are more than a screen can list"));
            }
        }
        serde_json::from_slice(&body).map_err(|error| format!("{node} answers with something else: {error}"))
    }
}
