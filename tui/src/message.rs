//! Everything that can happen to the dashboard, and everything it can ask for.

use p2pnet_shared::{
    NodeName,
    api::{FilesReply, MembersReply},
    wire::folder::FolderDigest,
};
use ratatui::crossterm::event::KeyEvent;

use crate::{
    cluster::{Progress, RuntimeInfo},
    failure::Failure,
    model::{Farewell, HostLoad},
    network::Observation,
    verb::Verb,
};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Pasted(String),
    /// The terminal has another size: columns, rows.
    Resized(u16, u16),
    /// A second passed: running clocks move.
    Ticked,
    /// A frame is about to be drawn.
    FrameDue,
    /// Lines typed in earlier sessions.
    HistoryLoaded(Vec<String>),
    /// No network runs: one is being started.
    StartBegun,
    /// A start or a stop has come so far.
    Progressed(Progress),
    /// The network was found, or is far enough to be watched.
    Attached(RuntimeInfo),
    /// A start is through.
    Started,
    /// There is no network and none could be made.
    OpeningFailed(Failure),
    /// Something was learnt.
    Observed(Observation),
    /// Nothing more will be learnt: the stream of observations ended.
    ObservationEnded,
    /// A verb is done.
    VerbDone {
        /// Which.
        ticket: u64,
        /// What it has to say.
        result: Result<Vec<String>, Failure>,
    },
    /// The network was stopped, or would not stop.
    NetworkStopped(Result<(), Failure>),
    /// The member table of a node came, or why it did not.
    MembersCame {
        /// Of which node.
        node: NodeName,
        /// The table.
        result: Result<MembersReply, String>,
    },
    /// The files of a node came, or why they did not.
    FilesCame {
        /// Of which node.
        node: NodeName,
        /// The files.
        result: Result<FilesReply, String>,
    },
    /// What the machine is doing.
    HostMeasured(HostLoad),
    /// Asked by a signal to close.
    Signalled(&'static str),
}

/// What `update` wants done. None of it is waited for: it comes back as a [`Message`].
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Carry out a verb.
    Run {
        /// Comes back with the result.
        ticket: u64,
        /// What.
        verb: Verb,
    },
    /// Take the network down.
    StopNetwork {
        /// Whether folders stay.
        keep_data: bool,
    },
    /// Ask this node for its member table about once a second; `None` to leave off.
    WatchMembers(Option<NodeName>),
    /// Ask this node for its files, which have that digest; `None` to leave off.
    WatchFiles(Option<(NodeName, FolderDigest)>),
    /// Append a line to the history file.
    Remember(String),
    /// Close.
    Quit(Farewell),
}
