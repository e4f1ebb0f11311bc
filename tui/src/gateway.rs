//! The gateway: collects what nodes push, hands it on as one stream, and is a way in to each node.
//!
//! ```text
//!                         one TCP port, told apart by the first byte
//! node ──LINK_PREFACE, Hello, Report …──▶ link.rs ──▶ store.rs ──FeedLine──▶ feed.rs ──▶ GET /feed
//!                                                        │ addresses
//! dashboard ──ANY /nodes/node7/status──▶ http.rs ◀───────┘        GET /health
//! ```
//! It is no member of the network and nobody depends on it: nodes dial it again and again while it is away and say
//! everything anew when it is back. It judges nothing: whether a node is up only the engine knows.
//!
//! Everything it keeps is bounded: [`store::NODES_MAX`] nodes, [`store::NAMES_MAX`] names, [`store::MESSAGES_MAX`]
//! messages, [`held::HELD_ALL_MAX`] keys, the files and uploads that `folders.rs` has room for, and a queue per reader of the feed that starts over when it overflows.
#![allow(clippy::disallowed_methods, reason = "the gateway is a runtime: its tasks and its clock are here")]

mod feed;
mod folders;
mod held;
mod http;
mod link;
mod store;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use p2pnet_shared::{NetworkName, UnixMillis, wire, wire::Codec};
use tokio::net::{TcpListener, TcpStream};

use self::store::Store;
use crate::failure::Failure;

/// How long a connection may take to say what it is, and a link to say who.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections at once: a thousand nodes' links, as many proxied requests, and room.
const CONNECTIONS_MAX: usize = 4_096;

/// The gateway's settings.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct GatewayOptions {
    /// Name of the network whose nodes report here.
    #[arg(long, env = "NETWORK", default_value = "p2p_network")]
    pub network: NetworkName,
    /// The one TCP port, for nodes' links and for HTTP. Default 5000, as for every node; 0 takes a free one.
    #[arg(long, env = "PORT", default_value_t = 5000)]
    pub port: u16,
    /// The address to listen on. Default: every one, since in a container that is the only useful one.
    #[arg(long, default_value = "0.0.0.0")]
    pub bind: IpAddr,
    /// What readers and callers send as `Authorization: Bearer …`; without it nobody gets in.
    #[arg(long, env = "GATEWAY_TOKEN", hide_env_values = true)]
    pub token: String,
    /// Opens sealed reports of nodes that were started with the same secret.
    #[arg(long, env = "CLUSTER_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
}

/// What every connection needs.
#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    codec: Codec,
    /// Hash of the token, so that comparing takes the same time however much of a guess is right.
    token: blake3::Hash,
    /// Reaches the nodes.
    client: reqwest::Client,
    /// The same for files, whose bytes may keep a node busy for longer than any other answer takes.
    files: reqwest::Client,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        // A panic while the lock was held is our own mistake; the store is still whole enough to be replaced by Hellos.
        self.store.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A gateway that listens.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Gateway {
    /// Opens the port.
    ///
    /// # Errors
    /// When the port cannot be opened, or the token is empty.
    pub async fn bind(options: GatewayOptions) -> Result<Self, Failure> {
        if options.token.trim().is_empty() {
            return Err(Failure::new("the gateway's token is empty").hint("set GATEWAY_TOKEN"));
        }
        let at = SocketAddr::new(options.bind, options.port);
        let listener = TcpListener::bind(at).await.map_err(|e| {
            Failure::new(format!("could not listen on {at}: {e}")).hint("choose another port with --port or PORT")
        })?;
        let settings = || {
            reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(Duration::from_secs(3))
                .pool_max_idle_per_host(1)
                .pool_idle_timeout(Duration::from_secs(10))
        };
        let failed = |e| Failure::new(format!("could not set up the HTTP client: {e}"));
        let client = settings().read_timeout(Duration::from_secs(30)).build().map_err(failed)?;
        let files = settings().build().map_err(failed)?;
        let shared = Shared {
            store: Mutex::new(Store::default()),
            codec: Codec::new(&options.network, options.secret.as_deref()),
            token: blake3::hash(options.token.as_bytes()),
            client,
            files,
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the operating system cannot tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until dropped.
    pub async fn serve(self) {
        let slots = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
        let app = http::router(self.shared.clone());
        loop {
            // Waits for a free slot first: beyond the limit connections queue in the kernel instead of in memory.
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: give those who leave the time to.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (shared, app) = (self.shared.clone(), app.clone());
            tokio::spawn(async move {
                connection(shared, app, stream, peer).await;
                drop(slot);
            });
        }
    }
}

async fn connection(shared: Arc<Shared>, app: axum::Router, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let mut first = [0_u8];
    match tokio::time::timeout(HANDSHAKE, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first[0] == wire::MAGIC => link::serve(&shared, stream, peer).await,
        Ok(Ok(1)) => http::serve(app, stream).await,
        // Closed or silent: nothing was asked, nothing is owed.
        _ => {}
    }
}

fn unix_now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `p2pnet gateway`: serves until SIGTERM or SIGINT, and then ends at once: nothing is kept here that is not kept elsewhere.
///
/// # Errors
/// As [`Gateway::bind`].
pub async fn run(options: GatewayOptions) -> Result<(), Failure> {
    // Before it says that it listens: whoever waits for that may send a signal at once.
    let end = crate::signals::asked_to_end();
    let gateway = Gateway::bind(options).await?;
    let addr = gateway.local_addr().map_err(|e| Failure::new(format!("could not listen: {e}")))?;
    tracing::info!(%addr, "the gateway listens");
    tokio::select! {
        () = gateway.serve() => Ok(()),
        () = end => Ok(()),
    }
}
