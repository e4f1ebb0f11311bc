//! Joins what the engine says and what the nodes say into one stream, which [`crate::network::Network`] folds.
//!
//! ```text
//! Cluster::watch ──Truth────▶ ┐
//!                             ├─▶ one bounded queue ──Observation──▶ dashboard, status, wait, watch
//! Feed::next ─────FeedLine──▶ ┘
//! ```
//! The feed is opened again whenever it breaks; each time a whole history follows, so nothing is missed for long.
#![allow(clippy::disallowed_methods, reason = "a runtime module: its tasks and its clock are here")]

use std::time::{Duration, SystemTime};

use p2pnet_shared::UnixMillis;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{cluster::Cluster, feed::Feed, network::Observation};

/// Observations on their way to whoever folds them. When full, both sources wait: the engine's events in its own
/// queue, the feed's lines at the gateway, which starts over with `Overrun` when that lasts.
const WAITING_MAX: usize = 1_024;
/// First wait before the gateway is dialled again; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest wait before the gateway is dialled again.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A gateway that has never answered may still be starting: for this many tries its silence is no news.
const STARTING_TRIES: u32 = 5;

/// Everything there is to know of a network, as it happens, until the receiver is dropped.
pub fn observe(cluster: &Cluster) -> Receiver<Observation> {
    let (tx, rx) = channel(WAITING_MAX);
    let (truths, for_truths) = (cluster.watch(), tx.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = forward_truths(truths, &for_truths) => {}
            () = for_truths.closed() => {}
        }
    });
    let cluster = cluster.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = follow_feed(&cluster, &tx) => {}
            () = tx.closed() => {}
        }
    });
    rx
}

/// What the wall clock shows.
#[must_use]
pub fn unix_now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

async fn forward_truths(mut truths: Receiver<crate::cluster::Truth>, out: &Sender<Observation>) {
    while let Some(truth) = truths.recv().await {
        if out.send(Observation::Truth(truth)).await.is_err() {
            return;
        }
    }
}

async fn follow_feed(cluster: &Cluster, out: &Sender<Observation>) {
    let (mut wait, mut tries, mut lost, mut was_open) = (RETRY_MIN, 0, false, false);
    loop {
        let opened = match cluster.gateway().await {
            Ok(gateway) => Feed::open(&gateway).await.map_err(|error| error.to_string()),
            Err(failure) => Err(failure.error),
        };
        let reason = match opened {
            Err(reason) => reason,
            Ok(mut feed) => {
                if was_open && out.send(Observation::FeedBack).await.is_err() {
                    return;
                }
                (wait, lost, was_open) = (RETRY_MIN, false, true);
                let error = loop {
                    match feed.next().await {
                        Ok(line) => {
                            if out.send(Observation::Feed(line)).await.is_err() {
                                return;
                            }
                        }
                        Err(error) => break error,
                    }
                };
                error.to_string()
            }
        };
        tries += 1;
        if !lost && (was_open || tries >= STARTING_TRIES) {
            (lost, was_open) = (true, true);
            if out.send(Observation::FeedLost(reason)).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}
