//! One port for everything: UDP and TCP on the same number, and on TCP both links and HTTP.
//!
//! ```text
//! accept ─▶ first byte? ─ MAGIC ──▶ preface? ─ link ─▶ link.rs reads the Hello, the loop's table decides
//!                       │                    └ peer, file ─▶ peers.rs the same, for the store and for the folder
//!                       └ other ──▶ hyper, one connection, gets of keys at once, all else by axum's router
//! ```
//! A link's first byte is no ASCII character, so nothing has to be guessed. Every connection is a task of its own with a
//! deadline on its first byte, its header and its body. There are at most `Limits::connections` of them, links and the store's
//! connections counted apart; one more is told 503 and closed, so that a flood costs a bounded number of files and no
//! memory.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper_util::rt::{TokioIo, TokioTimer};
use p2pnet_shared::wire::{FILES_PREFACE, LINK_PREFACE, MAGIC, PEER_PREFACE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    folder::Folder,
    http::Front,
    keys::Keys,
    lan,
    link::{self, Wiring},
    peers,
};

/// How often a free TCP port is tried whose UDP twin turns out to be taken.
const PORT_TRIES: usize = 32;
/// Wait after the system refused to accept, which it does when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Receive buffer for datagrams, bytes: a burst of a few hundred while the loop is busy.
const DATAGRAM_BUFFER_BYTES: usize = 512 * 1024;

/// The port is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {addr} ({what}): {source}")]
pub struct ListenError {
    /// Where.
    pub addr: SocketAddr,
    what: &'static str,
    source: io::Error,
}

/// Binds UDP and TCP to one number; with port 0 to any number that is free for both.
pub(super) async fn bind(ip: IpAddr, port: u16) -> Result<(TcpListener, UdpSocket), ListenError> {
    let mut tries = if port == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let addr = SocketAddr::new(ip, port);
        let fail = |what| move |source| ListenError { addr, what, source };
        let tcp = TcpListener::bind(addr).await.map_err(fail("TCP"))?;
        let bound = tcp.local_addr().map_err(fail("TCP"))?;
        match UdpSocket::bind(bound).await {
            Ok(udp) => {
                // Best effort: the system may grant less.
                let _ = socket2::SockRef::from(&udp).set_recv_buffer_size(DATAGRAM_BUFFER_BYTES);
                return Ok((tcp, udp));
            }
            Err(error) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(fail("UDP")(error)),
        }
    }
}

/// Our address as others reach it. A node that listens everywhere takes the one from which it would send to `towards`
/// (its bootstrap or a peer), to the outside world, the one its own host name stands for, or that of its first interface:
/// a network of its own has no way out and perhaps no names. No packet is sent for this.
pub(super) async fn own_address(ip: IpAddr, port: u16, towards: Option<SocketAddr>, host: &str) -> SocketAddr {
    if !ip.is_unspecified() {
        return SocketAddr::new(ip, port);
    }
    // 192.0.2.0/24 is set aside for documentation (RFC 5737): whoever has a default route has a way there.
    let outside = SocketAddr::from(([192, 0, 2, 1], 9));
    for target in towards.into_iter().chain([outside]) {
        if let Some(ip) = source_towards(target).await {
            return SocketAddr::new(ip, port);
        }
    }
    if let Ok(Ok(addrs)) = timeout(Duration::from_secs(1), tokio::net::lookup_host((host, port))).await {
        let mut addrs = addrs.filter(|addr| !addr.ip().is_loopback() && addr.is_ipv4());
        if let Some(addr) = addrs.next() {
            return addr;
        }
    }
    let first = lan::interfaces(ip).into_iter().map(|interface| interface.ip).find(|ip| !ip.is_loopback());
    SocketAddr::from((first.unwrap_or(Ipv4Addr::LOCALHOST), port))
}

async fn source_towards(target: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(target).await.ok()?;
    socket.local_addr().ok().map(|addr| addr.ip()).filter(|ip| !ip.is_unspecified())
}

/// What is behind the port.
#[derive(Debug, Clone)]
pub(super) struct House {
    pub(super) front: Front,
    pub(super) links: Wiring,
    pub(super) keys: Keys,
    pub(super) folder: Option<Folder>,
    link_places: Arc<Semaphore>,
    peer_places: Arc<Semaphore>,
    file_places: Arc<Semaphore>,
}

impl House {
    pub(super) fn new(front: Front, links: Wiring, keys: Keys, folder: Option<Folder>) -> Self {
        let link_places = Arc::new(Semaphore::new(links.limits.links));
        let peer_places = Arc::new(Semaphore::new(links.limits.peers));
        let file_places = Arc::new(Semaphore::new(links.limits.peers));
        Self { front, links, keys, folder, link_places, peer_places, file_places }
    }
}

/// Accepts until `closing` turns true, then gives open requests a moment to finish.
pub(super) async fn serve(listener: TcpListener, house: House, mut closing: watch::Receiver<bool>) {
    let wiring = &house.links;
    let places = Arc::new(Semaphore::new(wiring.limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let Ok(place) = places.clone().try_acquire_owned() else {
                    wiring.counters.connections_refused.add(1);
                    refuse(&stream);
                    continue;
                };
                connections.spawn(connection(stream, place, house.clone(), closing.clone()));
            }
            Err(error) => {
                tracing::warn!(node = %wiring.me.name, %error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Tells why, if the system takes it at once, and closes.
fn refuse(stream: &TcpStream) {
    let body = r#"{"error":"too many connections; try again later"}"#;
    let reply = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.try_write(reply.as_bytes());
}

async fn connection(stream: TcpStream, place: OwnedSemaphorePermit, house: House, mut closing: watch::Receiver<bool>) {
    let mut first = [0];
    let peeked = tokio::select! {
        peeked = timeout(house.links.limits.header_timeout, stream.peek(&mut first)) => peeked,
        _ = closing.wait_for(|closing| *closing) => return,
    };
    match peeked {
        Ok(Ok(1)) if first[0] == MAGIC => between_nodes(stream, place, house).await,
        Ok(Ok(1)) => http(stream, house, closing).await,
        _ => {} // closed, broken, or silent for too long
    }
}

/// Another node, by its first byte: a link or a connection for the store, each with places of its own.
async fn between_nodes(mut stream: TcpStream, place: OwnedSemaphorePermit, house: House) {
    let House { links, keys, folder, link_places, peer_places, file_places, .. } = house;
    let mut preface = [0; LINK_PREFACE.len()];
    match timeout(links.limits.dial_timeout, stream.read_exact(&mut preface)).await {
        Ok(Ok(_)) if preface == LINK_PREFACE => match link_places.try_acquire_owned() {
            Ok(permit) => {
                drop(place);
                link::greet(links, stream, permit).await;
            }
            Err(_) => links.counters.links_refused.add(1),
        },
        Ok(Ok(_)) if preface == PEER_PREFACE => match peer_places.try_acquire_owned() {
            Ok(permit) => {
                drop(place);
                peers::line::greet(keys, stream, permit).await;
            }
            Err(_) => links.counters.store.refused.add(1),
        },
        Ok(Ok(_)) if preface == FILES_PREFACE => match (folder, file_places.try_acquire_owned()) {
            (Some(folder), Ok(permit)) => {
                drop(place);
                peers::line::greet(folder, stream, permit).await;
            }
            // Who has no folder says so by closing.
            _ => links.counters.files.refused.add(1),
        },
        _ => links.counters.links_refused.add(1),
    }
}

async fn http(stream: TcpStream, house: House, mut closing: watch::Receiver<bool>) {
    let limits = &house.links.limits;
    let _ = stream.set_nodelay(true);
    let mut server = hyper::server::conn::http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes.max(8 * 1024));
    let mut connection = server.serve_connection(TokioIo::new(stream), house.front);
    let ended = {
        let mut serving = std::pin::pin!(std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)));
        tokio::select! {
            ended = &mut serving => Some(ended),
            _ = closing.wait_for(|closing| *closing) => None,
        }
    };
    match ended {
        // An idle or half-sent request ran out of time: say so, and close.
        Some(Err(error)) if error.is_timeout() => {
            let parts = connection.into_parts();
            let mut stream = parts.io.into_inner();
            if !parts.read_buf.is_empty() {
                let body = r#"{"error":"the request did not arrive in time; send it whole"}"#;
                let reply = format!(
                    "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = timeout(Duration::from_secs(1), stream.write_all(reply.as_bytes())).await;
            }
            let _ = stream.shutdown().await;
        }
        Some(_) => {
            let _ = connection.into_parts().io.into_inner().shutdown().await;
        }
        None => {
            let mut connection = std::pin::pin!(connection);
            connection.as_mut().graceful_shutdown();
            let _ = timeout(Duration::from_millis(300), connection).await;
        }
    }
}
