//! Carries out a [`Verb`]: the same code for a shell and for the dashboard's prompt.
//!
//! ```text
//! shell  ──cli.rs──▶ Verb ──┐                 ┌──▶ Cluster: add, stop, restart, pause, resume
//!                           ├──▶ verbs::run ──┤
//! prompt ──────────▶ Verb ──┘                 └──▶ Client through the gateway: broadcast, send, messages, keys, files, faults
//! ```
//! What a shell asks beyond that, and a dashboard never does, is in `verbs/`: starting and stopping a network
//! (`launch.rs`), waiting for and printing what is known (`report.rs`).

pub mod fault;
pub mod files;
pub mod keys;
pub mod launch;
pub mod report;

use p2pnet_shared::{
    NodeName,
    client::{Client, ClientError},
};
use tokio::sync::mpsc;

use crate::{
    cluster::{Cluster, Progress, Role, Unit, UnitState},
    failure::Failure,
    select::Selector,
    verb::{Signal, Verb},
};

/// Progress reports on their way to whoever shows them. When full, the work waits for a moment; nothing is lost.
pub const PROGRESS_MAX: usize = 64;

/// What a verb has to say when it is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// For people, one line each; data (a message id, `- apple (Node 4 -> Node 8)`) before remarks.
    pub lines: Vec<String>,
}

impl Outcome {
    fn line(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()] }
    }
}

/// Does what `verb` asks of the network.
///
/// # Errors
/// [`Failure`] naming what failed and what to do; what was done to some of several nodes stays done and is named.
pub async fn run(cluster: &Cluster, verb: Verb) -> Result<Outcome, Failure> {
    let (progress, mut ignored) = mpsc::channel(PROGRESS_MAX);
    let drain = async move { while ignored.recv().await.is_some() {} };
    // The drain ends when the verb drops its end of the queue.
    tokio::join!(run_with(cluster, verb, progress), drain).0
}

/// As [`run`], with a place to report how far growth has come.
///
/// # Errors
/// As [`run`].
pub async fn run_with(cluster: &Cluster, verb: Verb, progress: mpsc::Sender<Progress>) -> Result<Outcome, Failure> {
    match verb {
        Verb::Add(0) => Err(Failure::new("cannot add 0 nodes").hint("say how many, for example `add-nodes 5`")),
        Verb::Add(count) => Ok(said("added", &cluster.add_nodes(count, progress).await?)),
        Verb::Stop(who, signal) => {
            let names = choose(cluster, &who).await?;
            cluster.stop_nodes(&names, signal).await?;
            Ok(said(if signal == Signal::Kill { "killed" } else { "asked to leave:" }, &names))
        }
        Verb::Restart(who) => {
            let names = choose(cluster, &who).await?;
            cluster.restart_nodes(&names).await?;
            Ok(said("restarted", &names))
        }
        Verb::Pause(who) => {
            let names = choose(cluster, &who).await?;
            cluster.pause_nodes(&names).await?;
            Ok(said("paused", &names))
        }
        Verb::Resume(who) => {
            let names = choose(cluster, &who).await?;
            cluster.resume_nodes(&names).await?;
            Ok(said("resumed", &names))
        }
        Verb::Broadcast { from, text } => {
            let node = reach(cluster, &from).await?;
            let reply = node.broadcast(&text).await.map_err(|error| refused(&from, &error))?;
            Ok(Outcome::line(reply.id.to_string()))
        }
        Verb::Direct { from, to, text } => {
            let node = reach(cluster, &from).await?;
            let reply = node.send(&to, &text).await.map_err(|error| refused(&from, &error))?;
            Ok(Outcome::line(format!("{} received it: {}", reply.current_node, one_line(&reply.reply))))
        }
        Verb::Messages(of) => {
            let node = reach(cluster, &of).await?;
            let reply = node.messages(None).await.map_err(|error| refused(&of, &error))?;
            let lines = reply.messages.iter().map(|message| {
                let path: Vec<String> = message.path.iter().map(NodeName::spoken).collect();
                format!("- {} ({})", one_line(&message.msg), path.join(" -> "))
            });
            Ok(Outcome { lines: lines.collect() })
        }
        Verb::Key(order) => keys::answer(cluster, &order).await.map(Outcome::from),
        Verb::File(order) => files::answer(cluster, &order).await.map(Outcome::from),
        Verb::Fault(order) => fault::set(cluster, order).await,
        Verb::Faults => fault::faults(cluster).await,
        Verb::Heal(who) => fault::heal(cluster, who.as_ref()).await,
    }
}

/// The bootstrap and the peers, whatever their state.
async fn members(cluster: &Cluster) -> Result<Vec<Unit>, Failure> {
    let mut units = cluster.list().await?;
    units.retain(|unit| unit.role != Role::Gateway);
    units.sort_by(|a, b| a.name.display_order().cmp(&b.name.display_order()));
    Ok(units)
}

async fn choose(cluster: &Cluster, who: &Selector) -> Result<Vec<NodeName>, Failure> {
    who.resolve(&members(cluster).await?)
}

/// A way to `name` through the gateway, after making sure that there is somebody to answer.
async fn reach(cluster: &Cluster, name: &NodeName) -> Result<Client, Failure> {
    let units = members(cluster).await?;
    let Some(unit) = units.iter().find(|unit| unit.name == *name) else {
        let (first, last) = (units.first(), units.last());
        let failure = Failure::new(format!("there is no node `{name}` in network `{}`", cluster.settings().network));
        return Err(match (first, last) {
            (Some(first), Some(last)) => failure.hint(format!("there are {} to {}", first.name, last.name)),
            _ => failure,
        });
    };
    let state = match unit.state {
        UnitState::Up => None,
        UnitState::Created => Some(("is not started yet", "wait until it runs")),
        UnitState::Paused => Some(("is paused", "resume-node")),
        UnitState::Dead => Some(("is dead", "restart-node")),
        UnitState::Left => Some(("has left", "restart-node")),
    };
    if let Some((state, verb)) = state {
        let number = name.number().map_or_else(|| name.to_string(), |number| number.to_string());
        let hint =
            if verb.contains(' ') { verb.to_owned() } else { format!("`p2pnet {verb} {number}` brings it back") };
        return Err(Failure::new(format!("node `{name}` {state}")).hint(hint));
    }
    let gateway = cluster.gateway().await?;
    Client::through(&format!("http://{}", gateway.addr), &gateway.token, name).map_err(|error| refused(name, &error))
}

fn refused(name: &NodeName, error: &ClientError) -> Failure {
    let failure = Failure::new(format!("node `{name}`: {error}"));
    match error {
        ClientError::Refused { .. } => failure,
        _ => failure.hint("`p2pnet status` shows which nodes are up and whether the gateway answers"),
    }
}

fn said(what: &str, names: &[NodeName]) -> Outcome {
    let many = if names.len() > NAMED { format!("{} nodes: ", names.len()) } else { String::new() };
    Outcome::line(format!("{what} {many}{}", list(names.iter().map(NodeName::to_string))))
}

/// Most names in one line.
const NAMED: usize = 12;

/// The first dozen, and how many more there are.
fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

/// Text from a node on one line of ours, without anything that would move a cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
