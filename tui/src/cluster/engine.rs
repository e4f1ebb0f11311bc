//! Who runs units: the trait that Docker and local processes implement.
//!
//! An engine does one thing to one unit and lists what there is. Order, parallelism, retries over many units, progress
//! and choosing the engine for a unit are `launch.rs`'s, once for all engines. An engine is told the whole [`Plan`] each
//! time and keeps nothing between calls, so it does not matter which p2pnet calls.
//!
//! What always holds: an engine touches only units that carry the network's mark, by the handle it listed them with,
//! never by a name that could meanwhile belong to somebody else.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use p2pnet_shared::{NetworkName, NodeName, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{Role, Settings, Unit, UnitState};
use crate::{failure::Failure, verb::Signal};

/// What a network is built to; found again with the network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// What its user chose.
    pub(crate) settings: Settings,
    /// What the gateway asks for.
    pub(crate) token: String,
    /// What each unit runs: an image id, or the path of an executable. Later units run the same as the first.
    pub(crate) program: String,
}

/// A network that exists on an engine.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) plan: Plan,
    /// Nothing but leftovers: no unit has its settings.
    pub(crate) is_empty: bool,
}

/// A unit to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) name: NodeName,
    pub(crate) role: Role,
}

impl Draft {
    pub(crate) fn bootstrap() -> Self {
        Self { name: NodeName::bootstrap(), role: Role::Bootstrap }
    }

    pub(crate) fn gateway() -> Self {
        Self { name: gateway_name(), role: Role::Gateway }
    }

    pub(crate) fn node(number: u32) -> Self {
        Self { name: NodeName::numbered(number), role: Role::Node }
    }

    /// Where it is reached from the host; `None` if its port is not published or is the engine's to choose.
    pub(crate) fn address(&self, settings: &Settings) -> Option<SocketAddr> {
        let offset = match self.role {
            Role::Gateway => return None,
            Role::Bootstrap => 0,
            Role::Node => u16::try_from(self.name.number()?).ok()?,
        };
        let port = settings.base_port.checked_add(offset)?;
        let ip = if settings.bind.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { settings.bind };
        settings.publish.then(|| SocketAddr::new(ip, port))
    }
}

/// The name of every network's gateway.
pub(crate) fn gateway_name() -> NodeName {
    "gateway".parse().expect("`gateway` is a valid name")
}

/// A unit as an engine holds it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) unit: Unit,
    /// The engine's own word for it, never reused: a container id, a pid with its start time.
    pub(crate) handle: String,
}

/// What can be done to a unit that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Start,
    End(Signal),
    Restart,
    Pause,
    Resume,
    Remove,
}

impl Action {
    /// For `could not … node7`.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Action::Start => "start",
            Action::End(_) => "stop",
            Action::Restart => "restart",
            Action::Pause => "pause",
            Action::Resume => "resume",
            Action::Remove => "remove",
        }
    }
}

/// One change an engine told us of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happening {
    pub(crate) name: NodeName,
    pub(crate) role: Role,
    /// `None`: it is gone.
    pub(crate) state: Option<UnitState>,
    pub(crate) at: UnixMillis,
}

/// See the module's words.
#[async_trait]
pub(crate) trait Engine: fmt::Debug + Send + Sync {
    /// `docker` or `process`.
    fn kind(&self) -> &'static str;

    /// What the screen shows of it.
    fn describe(&self) -> String;

    /// The network of that name, if there is anything of it here.
    async fn find(&self, network: &NetworkName) -> Result<Option<Found>, Failure>;

    /// Every unit of the network, in one request.
    async fn list(&self, plan: &Plan) -> Result<Vec<Held>, Failure>;

    /// Whether `drafts` could be made here. Changes nothing.
    async fn preflight(&self, plan: &Plan, drafts: &[Draft]) -> Result<(), Failure>;

    /// Makes what units share (image, network, state file) and returns what they run.
    async fn prepare(&self, plan: &Plan, binary: &Path) -> Result<String, Failure>;

    /// Raises what limits of the host a network of `nodes` nodes would run into. Called before units are made or added.
    async fn make_room(&self, plan: &Plan, nodes: u64) -> Result<(), Failure>;

    /// Makes a unit without starting it. One of ours with that name is kept.
    async fn create(&self, plan: &Plan, draft: &Draft) -> Result<(), Failure>;

    /// Does `action` to a unit. What already is as it should be is no error.
    async fn act(&self, plan: &Plan, held: &Held, action: Action) -> Result<(), Failure>;

    /// The last lines a unit printed, for the message when it would not run.
    async fn last_words(&self, plan: &Plan, held: &Held) -> Option<String>;

    /// Removes what units shared, after the last of them is gone.
    async fn release(&self, plan: &Plan) -> Result<(), Failure>;

    /// What the engine remembers of recent changes, to know since when units are as they are.
    async fn recall(&self, plan: &Plan) -> Vec<Happening>;

    /// Changes as they happen, from now on. An error or the end of the stream means that the engine is lost.
    fn changes(&self, plan: &Plan) -> BoxStream<'static, Result<Happening, Failure>>;
}
