//! What can be asked of a running network: one value, whether it was typed in a shell or at the dashboard's prompt.

use std::path::PathBuf;

use p2pnet_shared::{
    FilePath, Key, NodeName,
    fault::{DelayMs, Percent},
};

use crate::select::Selector;

/// How a node is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signal {
    /// A crash: it says goodbye to nobody.
    #[default]
    Kill,
    /// Politely: it announces that it leaves.
    Term,
}

/// One request to a running network.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// `add-nodes N`
    Add(u32),
    /// `remove-node 9 10`, `kill 30% seed 7`
    Stop(Selector, Signal),
    /// `restart-node 9`
    Restart(Selector),
    /// `pause-node 9`
    Pause(Selector),
    /// `resume-node 9`
    Resume(Selector),
    /// `send-message 4 apple`: node 4 broadcasts.
    Broadcast {
        /// Who sends.
        from: NodeName,
        /// What.
        text: String,
    },
    /// `send node4 "hi" to node9`: to one node.
    Direct {
        /// Who sends.
        from: NodeName,
        /// To whom.
        to: NodeName,
        /// What.
        text: String,
    },
    /// `get-messages 8`
    Messages(NodeName),
    /// `put KEY VALUE`, `get KEY`, `delete KEY`, `owner KEY`
    Key(KeyOrder),
    /// `upload FILE`, `download PATH`, `files`, `delete-file PATH`
    File(FileOrder),
    /// `cut 1-50 | 51-100`, `fault loss 30%`
    Fault(FaultOrder),
    /// `fault` alone: what is wrong now
    Faults,
    /// `heal`, `heal 7`: no fault any more, on all or on these; the paused among them go on
    Heal(Option<Selector>),
}

/// What is wanted of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyOrder {
    /// Which.
    pub key: Key,
    /// The node to ask; any that is up without it.
    pub via: Option<NodeName>,
    /// What to do.
    pub act: KeyAct,
}

/// What is done to a key.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyAct {
    /// Store this.
    Put(serde_json::Value),
    /// Show the value.
    Get,
    /// Delete it.
    Delete,
    /// Show whose it is.
    Owner,
}

/// What is wanted of the shared folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOrder {
    /// The node to ask; any that is up without it.
    pub via: Option<NodeName>,
    /// What to do.
    pub act: FileAct,
}

/// What is done with files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAct {
    /// Share a file of this host.
    Upload {
        /// Which.
        from: PathBuf,
        /// Where it is to be in the folder.
        to: FilePath,
    },
    /// Fetch a file.
    Download {
        /// Which.
        path: FilePath,
        /// Where to.
        to: Target,
    },
    /// Show what there is.
    List,
    /// Delete it everywhere.
    Delete(FilePath),
}

/// Where a download goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To whoever reads what we print.
    Stdout,
    /// To this file, which is not there yet, or into this folder.
    File(PathBuf),
}

/// What is to go wrong, with nodes as they were named; a `p2pnet_shared::fault::Fault` once it is known which there are.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultOrder {
    /// Nothing gets from one side to the other.
    Cut {
        /// One side.
        from: Selector,
        /// The other; everybody else without it.
        to: Option<Selector>,
        /// Only `to` does not hear `from`.
        one_way: bool,
    },
    /// Part of what nodes send is lost.
    Loss {
        /// How much.
        percent: Percent,
        /// At which nodes; all without it.
        nodes: Option<Selector>,
    },
    /// What nodes send takes its time.
    Delay {
        /// One way.
        ms: DelayMs,
        /// So much more or less.
        jitter: DelayMs,
        /// At which nodes; all without it.
        nodes: Option<Selector>,
    },
}
