//! Every setting of a node: flags, then environment, then defaults (contract §2).

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use p2pnet_shared::{NetworkName, NodeName, api::BODY_MAX_BYTES};

use crate::{broadcast, membership};

/// The default data folder: where the image has it.
const DATA_DEFAULT: &str = "/data";

/// The flags of `p2pnet node`.
#[derive(Debug, Clone, Args)]
pub struct NodeOptions {
    /// The node's name, unique in its network [default: this host's name]
    #[arg(long, env = "NODE_NAME")]
    pub name: Option<NodeName>,
    /// The port for HTTP, links and datagrams alike; 0 takes a free one
    #[arg(long, env = "PORT", default_value_t = 5000)]
    pub port: u16,
    /// The address to listen on
    #[arg(long, env = "BIND", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub bind: IpAddr,
    /// The node to come to first, as `http://bootstrap:5000`
    #[arg(long, env = "BOOTSTRAP")]
    pub bootstrap: Option<String>,
    /// Nodes to come to directly, as `host:port`, separated by commas
    #[arg(long, env = "PEERS", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// The network's name; nodes of another network are ignored
    #[arg(long, env = "NETWORK", default_value = "p2p_network")]
    pub network: NetworkName,
    /// Where the node keeps its identity [default: /data where it exists]
    #[arg(long, env = "DATA_DIR")]
    pub data: Option<PathBuf>,
    /// Seals everything between nodes; every node of the network has the same one
    #[arg(long, env = "CLUSTER_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// Where to report to, as `host:port`
    #[arg(long, env = "GATEWAY")]
    pub gateway: Option<String>,
}

/// Everything a node is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub name: NodeName,
    /// Its network.
    pub network: NetworkName,
    /// Where it listens.
    pub bind: IpAddr,
    /// The port for HTTP, links and datagrams; 0 takes a free one.
    pub port: u16,
    /// `host:port` of the bootstrap.
    pub bootstrap: Option<String>,
    /// `host:port` of static neighbours.
    pub peers: Vec<String>,
    /// `host:port` of the gateway.
    pub gateway: Option<String>,
    /// Folder for the identity; `None` keeps it in memory, so that a restart is a new node.
    pub data: Option<PathBuf>,
    /// Seals everything between nodes.
    pub secret: Option<String>,
    /// Bounds on what comes from outside.
    pub limits: Limits,
    /// The membership's knobs.
    pub membership: membership::Config,
    /// The broadcast's knobs.
    pub broadcast: broadcast::Config,
}

/// Bounds on what comes from outside.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest HTTP body, bytes. Default 64 KiB.
    pub body_bytes: usize,
    /// Longest direct message, bytes. Default 8 KiB, as for a broadcast.
    pub message_bytes: usize,
    /// Time for a request's header, and an idle connection's life. Default 10 s.
    pub header: Duration,
    /// Time for a request's body after its header. Default 10 s.
    pub body: Duration,
    /// TCP connections at once, HTTP and links. Default 256: a node has 8 links and few visitors; when full, a newcomer is
    /// closed at once.
    pub connections: usize,
    /// Names in one `/gossip`. Default 1,000.
    pub gossip_peers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: BODY_MAX_BYTES,
            message_bytes: 8 * 1024,
            header: Duration::from_secs(10),
            body: Duration::from_secs(10),
            connections: 256,
            gossip_peers: 1_000,
        }
    }
}

/// A setting that makes no sense. Nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not of the form `host:port` or `http://host:port`.
    #[error("{what} `{given}` is not of the form http://HOST:PORT or HOST:PORT")]
    Address {
        /// Which setting.
        what: &'static str,
        /// As given.
        given: String,
    },
    /// The host's name cannot be a node's name.
    #[error("this host's name cannot be a node's name ({0}); give one with --name")]
    HostName(String),
}

impl NodeOptions {
    /// The settings these flags stand for.
    ///
    /// # Errors
    /// [`SettingsError`] names the flag that makes no sense.
    pub fn settings(self) -> Result<Settings, SettingsError> {
        let address = |what: &'static str, given: &str| {
            host_and_port(given).ok_or_else(|| SettingsError::Address { what, given: given.to_owned() })
        };
        let some = |what, given: Option<&String>| given.filter(|g| !g.is_empty()).map(|g| address(what, g)).transpose();
        let name = match self.name {
            Some(name) => name,
            None => host_name()?,
        };
        let peers = self.peers.iter().filter(|peer| !peer.is_empty());
        Ok(Settings {
            name,
            network: self.network,
            bind: self.bind,
            port: self.port,
            bootstrap: some("--bootstrap", self.bootstrap.as_ref())?,
            peers: peers.map(|peer| address("--peers", peer)).collect::<Result<_, _>>()?,
            gateway: some("--gateway", self.gateway.as_ref())?,
            data: self.data.or_else(|| Some(PathBuf::from(DATA_DEFAULT)).filter(|folder| folder.is_dir())),
            secret: self.secret.filter(|secret| !secret.is_empty()),
            limits: Limits::default(),
            membership: membership::Config::default(),
            broadcast: broadcast::Config::default(),
        })
    }
}

fn host_name() -> Result<NodeName, SettingsError> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.parse().map_err(|error| SettingsError::HostName(format!("{error}")))
}

/// `host:port` of `http://host:port/` or `host:port`; `None` when it is neither.
#[must_use]
pub fn host_and_port(address: &str) -> Option<String> {
    let rest = address.trim().strip_prefix("http://").unwrap_or_else(|| address.trim());
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let sound = match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !host.is_empty() && host.len() <= 253 && host.chars().all(allowed)
        }
    };
    sound.then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_url_or_plain() {
        for (given, taken) in [
            ("http://node9:5000", Some("node9:5000")),
            ("http://node9:5000/", Some("node9:5000")),
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("[::1]:80", Some("[::1]:80")),
            ("node9", None),
            ("node9:0", None),
            ("node9:99999", None),
            ("https://node9:5000", None),
            ("http://no de:5000", None),
            ("http://a/b:5000", None),
            ("", None),
        ] {
            assert_eq!(host_and_port(given).as_deref(), taken, "{given:?}");
        }
    }
}
