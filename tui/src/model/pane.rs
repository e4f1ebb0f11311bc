//! The panes there are. Where each is drawn is one line of `view/layout.rs`.

/// One pane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Pane {
    /// Every node: how it is, and what it believes.
    #[default]
    Nodes,
    /// The selected node's member table.
    Peers,
    /// Each broadcast and where it has been.
    Traces,
    /// How many nodes agreed over the last two minutes.
    Agreement,
    /// What changed, newest last.
    Log,
    /// What is wrong on purpose.
    Faults,
    /// The key-value store: the ring, its copies, what moves.
    Ring,
    /// The shared folder: nodes, files, how far each has come.
    Files,
}

/// What has the place beside the nodes, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Beside {
    /// The selected node's members, links or story.
    #[default]
    Peers,
    /// The ring, with the selected node's arcs.
    Ring,
    /// The shared folder.
    Files,
}

impl Pane {
    /// In the order of their digits and of Tab.
    pub const ALL: [Pane; 8] =
        [Pane::Nodes, Pane::Peers, Pane::Traces, Pane::Agreement, Pane::Log, Pane::Faults, Pane::Ring, Pane::Files];

    /// Its name in a title or a tab.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Pane::Nodes => "Nodes",
            Pane::Peers => "Peers",
            Pane::Traces => "Traces",
            Pane::Agreement => "Agreement",
            Pane::Log => "Log",
            Pane::Faults => "Faults",
            Pane::Ring => "Ring",
            Pane::Files => "Files",
        }
    }

    /// The digit that brings it up, from 1.
    #[must_use]
    pub fn digit(self) -> usize {
        Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0) + 1
    }

    /// The one `steps` further, round and round.
    #[must_use]
    pub fn step(self, steps: isize) -> Self {
        let len = Self::ALL.len() as isize;
        Self::ALL[(self.digit() as isize - 1 + steps).rem_euclid(len) as usize]
    }
}
