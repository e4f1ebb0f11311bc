//! One TCP port for HTTP and links: the first bytes tell which.

use std::{sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use p2pnet_shared::wire::{Codec, Hello, LINK_PREFACE, MAGIC};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::{ask::Asker, http, link};
use crate::config::Limits;

/// Accepts for ever. Beyond [`Limits::connections`] a newcomer is closed at once.
pub(super) async fn serve(tcp: TcpListener, me: Hello, codec: Codec, asker: Asker, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let router = http::router(asker.clone(), &limits);
    let limits = Arc::new(limits);
    loop {
        let Ok((stream, _)) = tcp.accept().await else {
            // Out of file descriptors, most likely: give others a moment to close theirs.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let (me, codec, asker, router, limits) =
            (me.clone(), codec.clone(), asker.clone(), router.clone(), limits.clone());
        tokio::spawn(async move {
            let _place = place;
            match timeout(limits.header, is_link(&stream)).await {
                Ok(Some(true)) => serve_link(stream, me, codec, asker, limits.header).await,
                Ok(Some(false)) => serve_http(stream, router, limits.header).await,
                Ok(None) | Err(_) => {}
            }
        });
    }
}

/// Whether the first byte is a link's; `None` when the other side closed without one.
async fn is_link(stream: &TcpStream) -> Option<bool> {
    let mut first = [0];
    let peeked = stream.peek(&mut first).await.ok()?;
    (peeked == 1).then_some(first[0] == MAGIC)
}

async fn serve_link(mut stream: TcpStream, me: Hello, codec: Codec, asker: Asker, deadline: Duration) {
    let mut preface = [0; LINK_PREFACE.len()];
    let read = timeout(deadline, stream.read_exact(&mut preface)).await;
    if matches!(read, Ok(Ok(_))) && preface == LINK_PREFACE {
        let Some(serial) = asker.ask(|node| node.next_link_serial()).await else { return };
        link::accept(serial, stream, me, codec, asker.events()).await;
    }
}

async fn serve_http(stream: TcpStream, router: axum::Router, header_timeout: Duration) {
    let service = TowerToHyperService::new(router);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let _ = connection.await;
}
