//! Carries out a [`Verb`]: the same code for a shell and for the dashboard's prompt.

use crate::{cluster::Cluster, failure::Failure, verb::Verb};

/// What a verb has to say when it is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// For people, one line each; data (a message id, `- apple (Node 4 -> Node 8)`) before remarks.
    pub lines: Vec<String>,
}

/// Does what `verb` asks of the network.
///
/// # Errors
/// [`Failure`] naming what failed and what to do; what was done to some of several nodes stays done and is named.
pub async fn run(cluster: &Cluster, verb: Verb) -> Result<Outcome, Failure> {
    let _ = (cluster, verb);
    Err(Failure::new("not wired yet"))
}
