//! Everything the dashboard knows. Plain data: `update` alone writes it, panes only read it.
//!
//! ```text
//! message ──▶ update ──▶ Model ──▶ view ──▶ frame
//!               │          ├── network   all observations, folded      (network.rs)
//!               │          ├── picture   the copy the panes draw       (model/picture.rs)
//!               ▼          ├── nodes, peers, traces, ring, files …     (what each pane's reader set up)
//!            commands      └── prompt, dialog, notice                  (what is being typed or asked)
//! ```
//! Always holds: nothing in here reads a clock, a file or a socket; `now` is when the last message came in.

use std::collections::BTreeMap;

use p2pnet_shared::{MessageId, NetworkName, NodeName, UnixMillis, api::MembersReply};

use crate::{
    cluster::{Progress, RuntimeInfo},
    failure::Failure,
    network::Network,
    prompt::{Prompt, grammar::Request},
    view::theme::Theme,
};

pub mod agreement;
pub mod files;
pub mod log;
pub mod nodes;
pub mod pane;
pub mod picture;
pub mod ring;

use agreement::Agreement;
use files::FilesView;
use log::Log;
use nodes::NodesView;
use pane::{Beside, Pane};
use picture::Picture;
use ring::RingView;

/// How far the dashboard has come with its network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Opening {
    /// Asks whether one runs.
    #[default]
    Looking,
    /// Makes one; nothing is told of its pieces yet.
    Starting,
    /// It runs.
    Open,
    /// There is none and none could be made.
    Failed(Failure),
}

/// What the machine is doing, so that a slow laptop is not mistaken for a slow protocol.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HostLoad {
    /// All cores, percent.
    pub cpu_percent: f32,
    /// Memory in use, bytes: total less what is available.
    pub memory_used_bytes: u64,
    /// Memory there is, bytes.
    pub memory_total_bytes: u64,
}

/// What the pane of the selected node shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Face {
    /// Whom it believes alive.
    #[default]
    Members,
    /// Its overlay links.
    Links,
    /// What happened to it.
    Story,
}

impl Face {
    /// The next one, round and round.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Face::Members => Face::Links,
            Face::Links => Face::Story,
            Face::Story => Face::Members,
        }
    }
}

/// The selected node's member table.
#[derive(Debug, Clone, Default)]
pub struct PeersView {
    /// What of the node is shown.
    pub face: Face,
    /// Whose table is wanted, while it is on screen.
    pub wanted: Option<NodeName>,
    /// The last one that came, and when.
    pub table: Option<(UnixMillis, MembersReply)>,
    /// Why the last request failed.
    pub error: Option<String>,
    /// The first row shown.
    pub offset: usize,
}

/// The list of broadcasts.
#[derive(Debug, Clone, Default)]
pub struct TracesView {
    /// Which one keys are about; `None` is the newest.
    pub selected: Option<MessageId>,
    /// Whether every node's path of the selected one is shown.
    pub expanded: bool,
    /// Lines scrolled down within the expanded one.
    pub offset: usize,
}

/// Something that covers the panes until it is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Dialog {
    /// The keys and the verbs; scrolled by so many lines.
    Help(u16),
    /// A verb on many nodes or on the bootstrap, and the line that asked for it.
    Confirm {
        /// What will be done to exactly whom.
        question: String,
        /// The request, carried out on `y`.
        request: Request,
        /// As typed; it comes back to the prompt on a no.
        line: String,
    },
    /// Leave the network running, stop it, or stay.
    Quit,
    /// What a verb had to say, when it is more than a line.
    Answer {
        /// The line that asked.
        title: String,
        /// What came back.
        lines: Vec<String>,
        /// Scrolled by so many lines.
        offset: u16,
    },
}

/// One line about what was asked last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// When it came.
    pub at: UnixMillis,
    /// Whether it tells of a failure; those stay until the next key.
    pub failed: bool,
    /// What.
    pub text: String,
}

/// A verb that is being carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// As typed.
    pub line: String,
    /// Since when.
    pub since: UnixMillis,
}

/// Why the dashboard closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Farewell {
    /// The user left; the network runs on.
    LeftRunning,
    /// The user left before the start was through.
    LeftStarting,
    /// The user had the network stopped.
    Stopped,
    /// A signal; the network runs on.
    Signal(&'static str),
}

/// The dashboard.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// When the last message came in.
    pub now: UnixMillis,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// Colours and glyphs.
    pub theme: Theme,
    /// The network's name.
    pub name: Option<NetworkName>,
    /// How far it is.
    pub opening: Opening,
    /// How far a start or stop has come.
    pub progress: Option<Progress>,
    /// Whether the network is being taken down by us.
    pub stopping: bool,
    /// Who runs it, and why them.
    pub runtime: Option<RuntimeInfo>,
    /// All that was observed, folded.
    pub network: Network,
    /// What the panes draw.
    pub picture: Picture,
    /// Whether something was observed since the picture was taken.
    pub stale: bool,
    /// When it was taken.
    pub taken_at: UnixMillis,
    /// Since when the picture is held still, if it is.
    pub frozen: Option<UnixMillis>,
    /// The machine.
    pub host: Option<HostLoad>,
    /// The pane that has the keys.
    pub focus: Pane,
    /// Whether that pane has the whole body.
    pub zoom: bool,
    /// Which of two panes is beside the nodes: the one of them that had the keys last.
    pub beside: Beside,
    /// The node table.
    pub nodes: NodesView,
    /// The selected node's members.
    pub peers: PeersView,
    /// The broadcasts.
    pub traces: TracesView,
    /// The key-value store.
    pub ring: RingView,
    /// The shared folder.
    pub files: FilesView,
    /// The curve.
    pub agreement: Agreement,
    /// The log.
    pub log: Log,
    /// The prompt.
    pub prompt: Prompt,
    /// What covers the panes.
    pub dialog: Option<Dialog>,
    /// What became of the last request.
    pub notice: Option<Notice>,
    /// Verbs under way, by ticket.
    pub work: BTreeMap<u64, Work>,
    /// The next ticket.
    pub next_ticket: u64,
    /// Set once it is time to close.
    pub farewell: Option<Farewell>,
}

impl Model {
    /// A dashboard that knows nothing yet.
    #[must_use]
    pub fn new(now: UnixMillis, size: (u16, u16), theme: Theme, name: NetworkName) -> Self {
        Self { now, size, theme, name: Some(name), ..Self::default() }
    }

    /// Tells the user one line.
    pub fn notify(&mut self, failed: bool, text: impl Into<String>) {
        self.notice = Some(Notice { at: self.now, failed, text: text.into() });
    }

    /// The nodes that a verb by key is about: the marked ones, or the selected one.
    #[must_use]
    pub fn chosen(&self) -> Vec<NodeName> {
        if self.nodes.marked.is_empty() {
            return self.nodes.selected.iter().cloned().collect();
        }
        let mut marked: Vec<NodeName> = self.nodes.marked.iter().cloned().collect();
        marked.sort_by(|a, b| a.display_order().cmp(&b.display_order()));
        marked
    }

    /// Which of the shown broadcasts is selected.
    #[must_use]
    pub fn trace_position(&self) -> usize {
        let selected = self.traces.selected.as_ref();
        self.picture.traces.iter().position(|trace| Some(&trace.id) == selected).unwrap_or(0)
    }
}
