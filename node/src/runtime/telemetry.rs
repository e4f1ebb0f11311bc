//! The link to the gateway: reports in order, and from the start again whenever it breaks.

use std::time::Duration;

use p2pnet_shared::{
    telemetry::Report,
    wire::{Codec, Hello, LINK_PREFACE, REPORT_MAX_BYTES},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{sleep, timeout},
};

use super::Event;

/// Reports that wait for the gateway. When full the link is dropped and everything told anew: a snapshot is never wrong.
const QUEUE_REPORTS: usize = 4_096;
/// For connecting and for writing one report.
const DEADLINE: Duration = Duration::from_secs(5);
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Keeps a link to `gateway` (`host:port`) for ever. The name is looked up at each attempt: a restarted gateway may have
/// another address.
pub(super) async fn run(gateway: String, me: Hello, codec: Codec, events: mpsc::Sender<Event>) {
    let mut retry = RETRY_MIN;
    loop {
        if let Ok(Ok(stream)) = timeout(DEADLINE, TcpStream::connect(&gateway)).await {
            retry = RETRY_MIN;
            let (reports, queue) = mpsc::channel(QUEUE_REPORTS);
            if events.send(Event::TelemetryUp(reports)).await.is_err() {
                return;
            }
            push(stream, &me, &codec, queue).await;
        }
        sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}

/// Writes reports until either side gives up.
async fn push(mut stream: TcpStream, me: &Hello, codec: &Codec, mut queue: mpsc::Receiver<Report>) {
    let _ = stream.set_nodelay(true);
    let mut opening = LINK_PREFACE.to_vec();
    opening.extend_from_slice(&codec.encode_frame(me));
    if !matches!(timeout(DEADLINE, stream.write_all(&opening)).await, Ok(Ok(()))) {
        return;
    }
    let (mut reader, mut writer) = stream.into_split();
    let mut unexpected = [0; 64];
    loop {
        tokio::select! {
            report = queue.recv() => {
                let Some(report) = report else { return };
                let frame = codec.encode_frame(&bounded(report, codec));
                if !matches!(timeout(DEADLINE, writer.write_all(&frame)).await, Ok(Ok(()))) {
                    return;
                }
            }
            // The gateway says nothing; the end of the stream is all there is to read.
            read = reader.read(&mut unexpected) => if !matches!(read, Ok(1..)) { return },
        }
    }
}

/// A snapshot with a thousand long messages may exceed a frame: the oldest messages are left out then.
fn bounded(report: Report, codec: &Codec) -> Report {
    let Report::Snapshot { members, mut deliveries } = report else { return report };
    loop {
        let report = Report::Snapshot { members: members.clone(), deliveries: deliveries.clone() };
        if deliveries.is_empty() || codec.encode(&report).len() <= REPORT_MAX_BYTES {
            return report;
        }
        deliveries.drain(..deliveries.len().div_ceil(2));
    }
}
