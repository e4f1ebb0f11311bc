//! What can be asked of a running network: one value, whether it was typed in a shell or at the dashboard's prompt.

use p2pnet_shared::NodeName;

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
}
