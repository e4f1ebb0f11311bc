//! Finds the network, or starts it while the screen is already up.
//!
//! A network that is being started is looked for again every second, so that its nodes are watched as they come up rather
//! than once the last one runs.

use std::time::Duration;

use tokio::sync::mpsc::{self, Sender};

use super::DashboardOptions;
use crate::{cluster::Cluster, message::Message};

/// A network to watch.
pub(super) enum Opened {
    /// It runs, or enough of it to watch.
    Attached(Cluster),
    /// Its start is through.
    Started(Cluster),
}

/// Between two looks for a network that is being started.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Opens the network; what goes wrong is told on the screen.
pub(super) async fn open(options: DashboardOptions, outbox: Sender<Message>, found: Sender<Opened>) {
    let name = options.settings.network.clone();
    match Cluster::find(&name, options.runtime).await {
        Ok(Some(cluster)) => {
            let _ = found.send(Opened::Attached(cluster)).await;
            return;
        }
        Ok(None) => {}
        Err(failure) => {
            let _ = outbox.send(Message::OpeningFailed(failure)).await;
            return;
        }
    }
    if outbox.send(Message::StartBegun).await.is_err() {
        return;
    }
    let (reporter, reports) = mpsc::channel(64);
    tokio::spawn(super::work::pass_on(reports, outbox.clone()));
    let start = Cluster::start(options.settings, options.nodes, options.runtime, reporter);
    tokio::pin!(start);
    let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + LOOK_EVERY, LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watching = false;
    let started = loop {
        tokio::select! {
            biased;
            started = &mut start => break started,
            _ = looks.tick(), if !watching => {
                // The start goes on meanwhile: a look may take as long as the engine wants.
                let look = Cluster::find(&name, options.runtime);
                tokio::select! {
                    biased;
                    started = &mut start => break started,
                    look = look => {
                        if let Ok(Some(cluster)) = look {
                            watching = true;
                            let _ = found.send(Opened::Attached(cluster)).await;
                        }
                    }
                }
            }
        }
    };
    let told = match started {
        Ok(cluster) => found.send(Opened::Started(cluster)).await.is_ok(),
        Err(failure) => outbox.send(Message::OpeningFailed(failure)).await.is_ok(),
    };
    // Nobody listens once the dashboard is closed; the network stands either way.
    let _ = told;
}
