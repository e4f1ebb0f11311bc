//! What is counted, since the node started.

use p2pnet_shared::NodeName;

/// Bytes of contents and those who sent wrong ones.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Bytes received.
    pub(super) received: u64,
    /// Bytes sent.
    pub(super) sent: u64,
    /// Received bytes of no use: they came twice, or were wrong.
    pub(super) wasted: u64,
    /// Bytes asked for twice, on purpose.
    pub(super) hedged: u64,
    /// Chunks, contents and outlines that were wrong.
    pub(super) bad: u64,
    /// Of whom the last one came.
    pub(super) liar: Option<NodeName>,
}

impl Tally {
    /// Something wrong came, of so many bytes.
    pub(super) fn bad(&mut self, from: &NodeName, bytes: u64) {
        self.wasted += bytes;
        self.bad += 1;
        self.liar = Some(from.clone());
    }
}
