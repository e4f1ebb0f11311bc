//! Every setting of a node: flags, then environment, then defaults (contract §2), and every limit.
//!
//! ```text
//! NodeOptions (as typed: text) ──check──▶ Settings (valid) ──▶ runtime::start
//! ```
//! An environment variable that is set but empty counts as unset, which is how compose files and shells leave one out.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use p2pnet_shared::{
    NetworkName, NodeName, amount,
    api::BODY_MAX_BYTES,
    id::KEY_MAX_BYTES,
    ring::VNODES,
    wire::{broadcast::TEXT_MAX_BYTES, dht::VALUE_TEXT_MAX_BYTES},
};

use crate::{
    broadcast::{self, Push},
    dht,
    discovery::{AddressError, DEFAULT_PORT, PeerAddress},
    folder, membership,
};

/// The data folder of a node that was told none.
pub const DEFAULT_DATA: &str = "/data";
/// The shared folder of a node that was told none.
pub const DEFAULT_SYNC: &str = "/sync";
/// Most places of a member on the ring: a thousand members make a million, 16 MB in each node.
pub const VNODES_MAX: u16 = 1_024;
/// The group and port of beacons on the local network. The group is of those an organisation may use as it likes (RFC 2365,
/// 239.0.0.0/8), the port one below the nodes' own 5000, which many on one host count up from.
pub const LAN_AT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 80, 50, 80), 4_999);

/// A node's settings as they are typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct NodeOptions {
    /// The node's name, unique in its network and kept over restarts [default: the host's name]
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// The one port, UDP and TCP: HTTP, links and membership; 0 takes a free one [default: 5000]
    #[arg(long, env = "PORT", value_name = "PORT")]
    pub port: Option<String>,
    /// The address to listen on [default: 0.0.0.0, every one]
    #[arg(long, env = "BIND", value_name = "IP")]
    pub bind: Option<String>,
    /// A node to ask for others, as http://bootstrap:5000; needed only to join
    #[arg(long, env = "BOOTSTRAP", value_name = "URL")]
    pub bootstrap: Option<String>,
    /// Nodes to join through, comma separated; two are enough and no bootstrap is needed then
    #[arg(long, env = "PEERS", value_name = "URL,URL")]
    pub peers: Option<String>,
    /// The network's name; nodes of other networks on the same wire are ignored [default: p2p_network]
    #[arg(long, env = "NETWORK", value_name = "NAME")]
    pub network: Option<String>,
    /// Folder for what must survive a restart: the node's identity and its copies of keys [default: /data if it is there]
    #[arg(long, env = "DATA_DIR", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The shared folder: what is in it is in the folder of every node [default: /sync if it is there]
    #[arg(long, env = "SYNC_DIR", value_name = "DIR")]
    pub sync: Option<PathBuf>,
    /// Bytes of files sent to other nodes in a second at most, as 6M or 600K [default: as many as go]
    #[arg(long, env = "EGRESS", value_name = "BYTES")]
    pub egress: Option<String>,
    /// Seals everything between nodes; a node without the same secret is not heard
    #[arg(long, env = "CLUSTER_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// The telemetry gateway to report to, as http://gateway:5000 or gateway:5000
    #[arg(long, env = "GATEWAY", value_name = "URL")]
    pub gateway: Option<String>,
    /// How broadcasts travel: over a tree, or flooded over every link; nodes of both kinds understand each other [default: tree]
    #[arg(long, env = "PUSH", value_name = "tree|flood")]
    pub push: Option<String>,
    /// Places of each member on the ring, the same in the whole network; whoever has another number is refused [default: 64]
    #[arg(long, env = "VNODES", value_name = "NUMBER")]
    pub vnodes: Option<String>,
    /// Looks for others on the local network with UDP beacons: auto does where neither bootstrap nor peers are given [default: off; auto in the image]
    #[arg(long, env = "LAN", value_name = "on|off|auto", num_args = 0..=1, default_missing_value = "on")]
    pub lan: Option<String>,
}

/// Whether a node looks for others on the local network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lan {
    /// No.
    #[default]
    Off,
    /// Where nobody told it of others: neither a bootstrap nor peers are given. Beacons reach everybody on the wire, so a
    /// hundred nodes that have a bootstrap are better off without.
    Auto,
    /// In any case.
    On,
}

impl FromStr for Lan {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            _ => Err(ConfigError::Lan(text.to_owned())),
        }
    }
}

/// Where the identity and the keys are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataFolder {
    /// Asked for: created if it is not there, and an error if it cannot be written.
    Required(PathBuf),
    /// The default: used if it is there; otherwise identity and keys live in memory, and the log says so.
    IfPresent(PathBuf),
    /// Nowhere: every start is a new node, for tests.
    Memory,
}

/// The shared folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncFolder {
    /// Asked for: created if it is not there, and an error if it cannot be used.
    Required(PathBuf),
    /// The default: used if it is there; otherwise the node has none.
    IfPresent(PathBuf),
    /// None: the node holds no files and says so.
    None,
}

impl SyncFolder {
    /// Where it is, if the node has one.
    #[must_use]
    pub fn path(&self) -> Option<&std::path::Path> {
        match self {
            SyncFolder::Required(path) => Some(path),
            SyncFolder::IfPresent(path) if path.is_dir() => Some(path),
            SyncFolder::IfPresent(_) | SyncFolder::None => None,
        }
    }
}

/// A node's settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub name: NodeName,
    /// UDP and TCP port; 0: any free one, the same for both. Default 5000.
    pub port: u16,
    /// The address to listen on. Default 0.0.0.0: in a container that is the only useful one.
    pub bind: IpAddr,
    /// Whom to ask for others.
    pub bootstrap: Option<PeerAddress>,
    /// Whom to contact directly.
    pub peers: Vec<PeerAddress>,
    /// Whether to look for others on the local network. Default off; `auto` in the image.
    pub lan: Lan,
    /// Where to: the group and the port of beacons. Default [`LAN_AT`], and the same for all who are to meet.
    pub lan_at: SocketAddrV4,
    /// The network. Default `p2p_network`.
    pub network: NetworkName,
    /// Where the identity and the keys are kept. Default `/data` if it is there.
    pub data: DataFolder,
    /// The shared folder. Default `/sync` if it is there.
    pub sync: SyncFolder,
    /// Seals datagrams, frames and telemetry.
    pub secret: Option<String>,
    /// Whom to report to.
    pub gateway: Option<PeerAddress>,
    /// What is refused, and when patience ends.
    pub limits: Limits,
    /// The membership protocol's knobs.
    pub membership: membership::Config,
    /// The broadcast protocol's knobs.
    pub broadcast: broadcast::Config,
    /// The store's knobs.
    pub dht: dht::Config,
    /// The folder's knobs.
    pub folder: folder::Config,
}

/// What the runtime refuses, and when its patience ends. Nobody outside can make a node use more than this.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of an HTTP body. Default 64 KiB (contract §2); beyond it 413.
    pub body_bytes: usize,
    /// Bytes of a message, direct or broadcast. Default 8 KiB (contract §2), so that one fits a frame eight times.
    pub message_bytes: usize,
    /// Bytes of the request line and all headers. Default 16 KiB, twice what a browser sends; beyond it 431.
    pub header_bytes: usize,
    /// Until a request's header is complete, and how long a kept-alive connection may idle. Default 10 s.
    pub header_timeout: Duration,
    /// Until a request's body is complete, and until the next bytes of an upload come or of a download are taken. Default 10 s;
    /// then 408.
    pub body_timeout: Duration,
    /// TCP connections at once, links excepted. Default 256: a thousand nodes on one host stay below its open files.
    /// Beyond it 503 and close.
    pub connections: usize,
    /// Links that others dialled, at once. Default 64, eight times the overlay's cap, for links that come and go.
    pub links: usize,
    /// Bytes waiting for one link from which on it is crowded. Default 256 KiB, 32 of the longest messages: beyond it
    /// messages are only announced, until half of it has been written, and the other side asks for what it lacks.
    pub link_crowded_bytes: usize,
    /// Frames waiting for one link from which on it is crowded. Default 256.
    pub link_crowded: usize,
    /// Bytes waiting for one link. Default 2 MiB: what is sent over a crowded link besides messages is small, so a peer
    /// that lets it grow so far reads nothing. Then the link is closed and counted, rather than a frame lost in silence:
    /// its two ends repair what they miss.
    pub link_queue_bytes: usize,
    /// Frames waiting for one link. Default 1,024. When full the link is closed, too.
    pub link_queue: usize,
    /// To connect to a peer and exchange Hellos. Default 3 s: below the overlay's own patience of 10 s.
    pub dial_timeout: Duration,
    /// To write one frame, and to read the rest of one that has begun. Default 10 s: a paused peer is not yet a dead one.
    pub frame_timeout: Duration,
    /// Connections for the store's packets at once, those that others dialled counted apart. Default 256: each pair of a
    /// network of 256 keeps one; in a larger one whoever was used least makes room.
    pub peers: usize,
    /// How long such a connection is kept without use. Default 60 s.
    pub peer_idle: Duration,
    /// Bytes waiting for one such connection. Default 4 MiB, four of the largest packets: a peer that lets it grow so far
    /// reads nothing. Then the connection is closed, and the store told that the peer is not reached.
    pub peer_queue_bytes: usize,
    /// Bytes of the body of a `POST /kv`. Default 400 KiB and a bit: the largest value and key, each byte written as `\u0000`.
    pub kv_body_bytes: usize,
    /// Puts, gets and deletes that wait for others at once. Default 4,096; beyond it 503.
    pub kv_waiting: usize,
    /// Bytes of an uploaded file. Default 4 GiB (contract §2); beyond it 413.
    pub file_bytes: u64,
    /// Uploads, downloads and other requests about files that wait for others or for the disk at once. Default 64; beyond it 503.
    pub files_waiting: usize,
    /// To answer a request of ours (bootstrap, greeting, `/send`, gossip). Default 3 s.
    pub call_timeout: Duration,
    /// Peers in one `/gossip`. Default 1,000; beyond it 400.
    pub gossip_peers: usize,
    /// Addresses heard of and not yet contacted. Default 2,000: two full gossips; beyond it they are dropped and counted.
    pub heard_queue: usize,
    /// Readers of `/events` at once. Default 16; beyond it 503.
    pub event_readers: usize,
    /// Events waiting for one reader. Default 256; a reader that lets it fill up is disconnected.
    pub event_queue: usize,
    /// Received messages kept for `/messages`. Default 1,000; the oldest go first.
    pub messages: usize,
    /// Bytes of text and paths in them. Default 1 MiB, as the broadcast keeps.
    pub messages_bytes: usize,
    /// Reports waiting for the gateway. Default 4,096; when full the link is closed and a new one starts with a snapshot.
    pub report_queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: BODY_MAX_BYTES,
            message_bytes: TEXT_MAX_BYTES,
            header_bytes: 16 * 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            connections: 256,
            links: 64,
            link_crowded_bytes: 256 * 1024,
            link_crowded: 256,
            link_queue_bytes: 2 * 1024 * 1024,
            link_queue: 1_024,
            dial_timeout: Duration::from_secs(3),
            frame_timeout: Duration::from_secs(10),
            peers: 256,
            peer_idle: Duration::from_secs(60),
            peer_queue_bytes: 4 * 1024 * 1024,
            kv_body_bytes: VALUE_TEXT_MAX_BYTES + 6 * KEY_MAX_BYTES + 10 * 1024,
            kv_waiting: 4_096,
            file_bytes: 4 * 1024 * 1024 * 1024,
            files_waiting: 64,
            call_timeout: Duration::from_secs(3),
            gossip_peers: 1_000,
            heard_queue: 2_000,
            event_readers: 16,
            event_queue: 256,
            messages: 1_000,
            messages_bytes: 1024 * 1024,
            report_queue: 4_096,
        }
    }
}

/// Why settings were refused. Prints as what is wrong; [`ConfigError::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A node's or network's name.
    #[error("{setting}: {source}")]
    Name {
        /// The flag and variable.
        setting: &'static str,
        /// What is wrong with it.
        source: p2pnet_shared::id::ParseIdError,
    },
    /// An address.
    #[error("{setting}: {source}")]
    Address {
        /// The flag and variable.
        setting: &'static str,
        /// What is wrong with it.
        source: AddressError,
    },
    /// A port.
    #[error("--port (PORT): `{0}` is not a number from 0 to 65535")]
    Port(String),
    /// A way to push.
    #[error("--push (PUSH): {0}")]
    Push(broadcast::UnknownPush),
    /// A number of virtual nodes.
    #[error("--vnodes (VNODES): `{0}` is not a number from 1 to 1024")]
    Vnodes(String),
    /// A way to look for others.
    #[error("--lan (LAN): `{0}` is none of on, off and auto")]
    Lan(String),
    /// A number of bytes.
    #[error("--egress (EGRESS): `{0}` is not a number of bytes")]
    Egress(String),
    /// An IP.
    #[error("--bind (BIND): `{0}` is not an IP address")]
    Bind(String),
}

impl ConfigError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            ConfigError::Name { setting: NAME, .. } => "choose one with `--name node7`",
            ConfigError::Name { .. } => "choose one with `--network p2p_network`",
            ConfigError::Address { .. } => {
                "for example `--bootstrap http://bootstrap:5000`; lists are separated by commas"
            }
            ConfigError::Port(_) => "the default is 5000; 0 takes a free port",
            ConfigError::Push(_) => "`tree` costs less, `flood` is the simpler one",
            ConfigError::Vnodes(_) => "the default is 64; networks that start with 500 nodes or more have 32",
            ConfigError::Lan(_) => "`auto` looks for others where neither bootstrap nor peers are given",
            ConfigError::Egress(_) => "for example 6M, 600K or 1500000, a second",
            ConfigError::Bind(_) => "0.0.0.0 listens everywhere, 127.0.0.1 on this machine only",
        }
    }
}

const NAME: &str = "--name (NODE_NAME)";

impl Settings {
    /// Whether this node sends and hears beacons.
    #[must_use]
    pub fn is_on_lan(&self) -> bool {
        match self.lan {
            Lan::Off => false,
            Lan::Auto => self.bootstrap.is_none() && self.peers.is_empty(),
            Lan::On => true,
        }
    }

    /// The settings of a node called `name` that keeps nothing, listens on a free port of 127.0.0.1 and knows nobody.
    #[must_use]
    pub fn local(name: NodeName, network: NetworkName) -> Self {
        Self {
            name,
            port: 0,
            bind: IpAddr::from([127, 0, 0, 1]),
            bootstrap: None,
            peers: Vec::new(),
            lan: Lan::Off,
            lan_at: LAN_AT,
            network,
            data: DataFolder::Memory,
            sync: SyncFolder::None,
            secret: None,
            gateway: None,
            limits: Limits::default(),
            membership: membership::Config::default(),
            broadcast: broadcast::Config::default(),
            dht: dht::Config::default(),
            folder: folder::Config::default(),
        }
    }
}

impl TryFrom<NodeOptions> for Settings {
    type Error = ConfigError;

    fn try_from(options: NodeOptions) -> Result<Self, ConfigError> {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let name = set(options.name).unwrap_or_else(host);
        let name = name.parse().map_err(|source| ConfigError::Name { setting: NAME, source })?;
        let network = set(options.network).unwrap_or_else(|| "p2p_network".to_owned());
        let network = network.parse().map_err(|source| ConfigError::Name { setting: "--network (NETWORK)", source })?;
        let port = set(options.port)
            .map_or(Ok(DEFAULT_PORT), |port| port.trim().parse().map_err(|_| ConfigError::Port(port)))?;
        let bind = set(options.bind).unwrap_or_else(|| "0.0.0.0".to_owned());
        let bind = bind.trim().parse().map_err(|_| ConfigError::Bind(bind))?;
        let address = |setting, text: Option<String>| {
            set(text).map(|text| text.parse()).transpose().map_err(|source| ConfigError::Address { setting, source })
        };
        let peers = options.peers.unwrap_or_default();
        let peers = peers.split(',').filter(|peer| !peer.trim().is_empty()).map(str::parse).collect::<Result<_, _>>();
        let push =
            set(options.push).map_or(Ok(Push::default()), |push| push.trim().parse()).map_err(ConfigError::Push)?;
        let vnodes = match set(options.vnodes) {
            None => VNODES,
            Some(text) => match text.trim().parse() {
                Ok(vnodes @ 1..=VNODES_MAX) => vnodes,
                _ => return Err(ConfigError::Vnodes(text)),
            },
        };
        let data = match options.data.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => DataFolder::Required(path),
            None => DataFolder::IfPresent(DEFAULT_DATA.into()),
        };
        let sync = match options.sync.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => SyncFolder::Required(path),
            None => SyncFolder::IfPresent(DEFAULT_SYNC.into()),
        };
        let egress =
            set(options.egress).map(|text| amount::bytes(&text).ok_or(ConfigError::Egress(text))).transpose()?;
        Ok(Self {
            port,
            bind,
            bootstrap: address("--bootstrap (BOOTSTRAP)", options.bootstrap)?,
            peers: peers.map_err(|source| ConfigError::Address { setting: "--peers (PEERS)", source })?,
            lan: set(options.lan).map_or(Ok(Lan::Off), |lan| lan.parse())?,
            data,
            sync,
            folder: folder::Config { egress, ..folder::Config::default() },
            secret: options.secret.filter(|secret| !secret.is_empty()),
            gateway: address("--gateway (GATEWAY)", options.gateway)?,
            broadcast: broadcast::Config { push, ..broadcast::Config::default() },
            dht: dht::Config { vnodes, ..dht::Config::default() },
            ..Self::local(name, network)
        })
    }
}

/// What was set to something.
fn set(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_node_told_nothing_has_the_contracts_defaults() {
        let settings = Settings::try_from(NodeOptions { name: text("node7"), ..NodeOptions::default() }).unwrap();
        assert_eq!((settings.port, settings.network.as_str()), (5000, "p2p_network"));
        assert_eq!(settings.data, DataFolder::IfPresent("/data".into()));
        assert!(settings.bootstrap.is_none() && settings.peers.is_empty() && settings.gateway.is_none());
    }

    #[test]
    fn broadcasts_are_flooded_on_demand() {
        let options = NodeOptions { name: text("a"), push: text("flood"), ..NodeOptions::default() };
        assert_eq!(Settings::try_from(options).unwrap().broadcast.push, Push::Flood);
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let empty = NodeOptions {
            name: text("node7"),
            port: text(""),
            bind: text(""),
            bootstrap: text(""),
            peers: text(" , "),
            network: text(""),
            data: Some("".into()),
            sync: Some("".into()),
            egress: text(""),
            secret: text(""),
            gateway: text(""),
            push: text(""),
            vnodes: text(""),
            lan: text(""),
        };
        let settings = Settings::try_from(empty).unwrap();
        assert_eq!(settings.port, 5000);
        assert!(settings.bootstrap.is_none() && settings.secret.is_none() && settings.peers.is_empty());
        assert_eq!(settings.broadcast.push, Push::Tree);
        assert_eq!((settings.sync, settings.folder.egress), (SyncFolder::IfPresent("/sync".into()), None));
    }

    #[test]
    fn bytes_are_read_as_people_write_them() {
        for (written, number) in [("6M", 6_000_000), ("600k", 600_000), (" 7 ", 7), ("1G", 1_000_000_000)] {
            let options = NodeOptions { name: text("a"), egress: text(written), ..Default::default() };
            assert_eq!(Settings::try_from(options).unwrap().folder.egress, Some(number), "{written}");
        }
    }

    #[test]
    fn the_local_network_is_searched_when_asked_or_with_auto_when_nobody_else_is_named() {
        let named = NodeOptions { name: text("a"), ..NodeOptions::default() };
        let told = NodeOptions { bootstrap: text("bootstrap"), ..named.clone() };
        for (options, lan, searches) in [
            (&named, None, false),
            (&named, text("off"), false),
            (&named, text("auto"), true),
            (&named, text("ON"), true),
            (&told, text("auto"), false),
            (&told, text("on"), true),
        ] {
            let settings = Settings::try_from(NodeOptions { lan: lan.clone(), ..options.clone() }).unwrap();
            assert_eq!(settings.is_on_lan(), searches, "{lan:?}");
        }
    }

    #[test]
    fn two_static_peers_are_a_comma_list() {
        let options = NodeOptions { name: text("a"), peers: text("node1:5001, http://node2"), ..Default::default() };
        let peers = Settings::try_from(options).unwrap().peers;
        assert_eq!(
            peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["http://node1:5001", "http://node2:5000"]
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_flag() {
        let named = NodeOptions { name: text("a"), ..NodeOptions::default() };
        for (options, flag) in [
            (NodeOptions { name: text("no spaces please"), ..named.clone() }, "--name"),
            (NodeOptions { network: text("-x"), ..named.clone() }, "--network"),
            (NodeOptions { port: text("70000"), ..named.clone() }, "--port"),
            (NodeOptions { bind: text("localhost"), ..named.clone() }, "--bind"),
            (NodeOptions { bootstrap: text("ftp://x"), ..named.clone() }, "--bootstrap"),
            (NodeOptions { peers: text("a,b:c"), ..named.clone() }, "--peers"),
            (NodeOptions { push: text("pull"), ..named.clone() }, "--push"),
            (NodeOptions { vnodes: text("0"), ..named.clone() }, "--vnodes"),
            (NodeOptions { lan: text("maybe"), ..named.clone() }, "--lan"),
            (NodeOptions { egress: text("fast"), ..named.clone() }, "--egress"),
            (NodeOptions { gateway: text("x:0"), ..named }, "--gateway"),
        ] {
            let error = Settings::try_from(options).unwrap_err();
            assert!(error.to_string().starts_with(flag) && !error.hint().is_empty(), "{error}");
        }
    }
}
