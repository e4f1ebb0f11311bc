//! One reader of the feed: history, then life, and history again if it falls behind.
//!
//! The history is made node by node between live lines, so that neither a thousand members of a thousand nodes nor a
//! slow reader holds up or fills the gateway. Each node's part is as of a line number; older lines of that node that
//! were queued meanwhile are in it already and are skipped, newer ones are passed on, those of nodes not yet told are
//! skipped because their part will have them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use p2pnet_shared::telemetry::FeedLine;
use tokio::sync::mpsc;

use super::{
    Shared,
    store::{Line, write_line},
};

/// After this long without a line the reader is told that we are still here.
const IDLE: Duration = Duration::from_secs(5);
/// A reader that takes nothing for this long is let go.
const STALLED: Duration = Duration::from_secs(60);

/// The reader has gone.
struct Gone;

/// Feeds one reader until it goes.
pub(super) async fn run(shared: Arc<Shared>, out: mpsc::Sender<Bytes>) {
    let mut again = false;
    loop {
        let pass = if again { say(&out, &FeedLine::Overrun).await } else { Ok(()) };
        again = true;
        if pass.is_err() || one_pass(&shared, &out).await.is_err() {
            return;
        }
    }
}

/// A history and what follows it, until lines had to be left out.
async fn one_pass(shared: &Shared, out: &mpsc::Sender<Bytes>) -> Result<(), Gone> {
    let (mut queue, tellers) = {
        let mut store = shared.store();
        (store.subscribe(), store.tellers())
    };
    // As of which line each node has been told; who is not in it yet waits for its part.
    let mut told: HashMap<u16, u64> = HashMap::new();
    let waiting: std::collections::HashSet<u16> = tellers.iter().copied().collect();
    for node in tellers {
        let (part, number) = shared.store().history(node);
        told.insert(node, number);
        send(out, part).await?;
        while let Ok(line) = queue.try_recv() {
            // Somebody new since the list was made has told everything in its lines.
            if told.get(&line.node).map_or(!waiting.contains(&line.node), |told| line.number > *told) {
                send(out, line.bytes).await?;
            }
        }
    }
    if queue.is_closed() {
        return Ok(());
    }
    let (written_at, whole_at) = shared.store().key_times();
    if written_at.or(whole_at).is_some() {
        say(out, &FeedLine::KeyTimes { written_at, whole_at }).await?;
    }
    say(out, &FeedLine::CaughtUp).await?;
    loop {
        match tokio::time::timeout(IDLE, queue.recv()).await {
            Err(_) => say(out, &FeedLine::Idle).await?,
            Ok(None) => return Ok(()),
            Ok(Some(Line { number, node, bytes })) => {
                if told.get(&node).is_none_or(|told| number > *told) {
                    send(out, bytes).await?;
                }
            }
        }
    }
}

async fn say(out: &mpsc::Sender<Bytes>, line: &FeedLine) -> Result<(), Gone> {
    let mut bytes = Vec::new();
    write_line(&mut bytes, line);
    send(out, bytes.into()).await
}

async fn send(out: &mpsc::Sender<Bytes>, bytes: Bytes) -> Result<(), Gone> {
    out.send_timeout(bytes, STALLED).await.map_err(|_| Gone)
}
