//! Starting and stopping a whole network from a shell.
//!
//! A start is a verb with two halves: the engine makes and starts everything, then the nodes find each other. Ctrl-C in
//! the first half removes what was made, or says how to complete a network that was there before; in the second half the
//! network is whole and stays.
#![allow(clippy::disallowed_methods, reason = "a shell's verb: the time shown to its user is read here")]

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use p2pnet_shared::NetworkName;
use tokio::sync::mpsc;

use super::{
    Outcome, PROGRESS_MAX,
    report::{Follower, Goal, first_address, seconds},
};
use crate::{
    cluster::{Cluster, Progress, RuntimeChoice, Settings},
    failure::Failure,
    observe::unix_now,
    signals::asked_to_end,
};

/// How a verb ended that may be interrupted.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is done.
    Done(Outcome),
    /// Its user pressed Ctrl-C; what there is to say about what is left.
    Interrupted(Outcome),
}

/// What `start-network` was asked for.
#[derive(Debug, Clone)]
pub struct Start {
    /// What is fixed for the network's life.
    pub settings: Settings,
    /// Peers beside the bootstrap.
    pub nodes: u32,
    /// Who is to run it.
    pub runtime: RuntimeChoice,
    /// How long to wait for agreement; zero for not at all.
    pub wait: Duration,
}

/// `start-network`.
///
/// # Errors
/// When something could not be made, or the nodes do not agree in time; the hint says what is left and what to do.
pub async fn start(start: Start) -> Result<Ended, Failure> {
    let began = Instant::now();
    let network = start.settings.network.clone();
    let was_there = Cluster::find(&network, start.runtime).await?.is_some();
    let data_was_there = start.settings.data.join(network.as_str()).exists();
    let (progress, shown) = mpsc::channel(PROGRESS_MAX);
    let making = Cluster::start(start.settings.clone(), start.nodes, start.runtime, progress);
    let made = tokio::select! {
        made = async { tokio::join!(making, show(shown)).0 } => Some(made?),
        () = asked_to_end() => None,
    };
    let Some(cluster) = made else {
        return Ok(Ended::Interrupted(give_up(&network, start.runtime, was_there, data_was_there).await?));
    };
    let started = began.elapsed();
    if start.wait.is_zero() {
        return Ok(Ended::Done(Outcome { lines: vec![format!("started in {}", seconds(started))] }));
    }
    let mut follower = Follower::new(&cluster);
    let mut line = StatusLine::new();
    let agreed = tokio::select! {
        agreed = follower.until(start.wait, |known, now| {
            let summary = known.summary(now);
            line.show(&format!("nodes agree {}/{}", summary.members.agree, summary.nodes.wanted), summary.converged);
            Goal::Converged.holds(&summary)
        }) => Some(agreed?),
        () = asked_to_end() => None,
    };
    line.end();
    let option = network_option(&network);
    match agreed {
        None => Ok(Ended::Interrupted(Outcome {
            lines: vec![format!("`{network}` keeps running; `p2pnet stop-network{option}` removes it")],
        })),
        Some(false) => {
            let reason = follower.network.summary(unix_now()).reason;
            let error =
                format!("network `{network}` runs, but has not converged after {}: {reason}", seconds(start.wait));
            Err(Failure::new(error).hint(format!(
                "it keeps running: look with `p2pnet status{option}`, remove it with `p2pnet stop-network{option}`"
            )))
        }
        Some(true) => {
            let (nodes, took) = (follower.network.summary(unix_now()).nodes.up, began.elapsed());
            let mut lines = vec![format!(
                "{nodes} nodes agree after {} ({} to start them, {} to agree)",
                seconds(took),
                seconds(started),
                seconds(took.saturating_sub(started))
            )];
            lines.extend(first_address(&follower.network).map(|address| format!("first node: {address}")));
            lines.push(format!(
                "next: `p2pnet{option}` to watch, `p2pnet send-message{option} 4 apple`, `p2pnet stop-network{option}`"
            ));
            Ok(Ended::Done(Outcome { lines }))
        }
    }
}

/// After Ctrl-C in the middle of a start.
async fn give_up(
    network: &NetworkName,
    runtime: RuntimeChoice,
    was_there: bool,
    data_was_there: bool,
) -> Result<Outcome, Failure> {
    let option = network_option(network);
    if was_there {
        let line = format!(
            "interrupted: `{network}` was there before and stays; `p2pnet start-network{option}` completes it, \
             `p2pnet stop-network{option}` removes it"
        );
        return Ok(Outcome { lines: vec![line] });
    }
    if let Some(cluster) = Cluster::find(network, runtime).await? {
        eprintln!("interrupted: removing what was made");
        let (progress, shown) = mpsc::channel(PROGRESS_MAX);
        tokio::join!(cluster.stop(data_was_there, progress), show(shown)).0?;
    }
    Ok(Outcome { lines: vec![format!("interrupted: nothing of `{network}` is left")] })
}

/// `stop-network`.
///
/// # Errors
/// When something could not be removed; it is named, and stopping again is safe.
pub async fn stop(cluster: &Cluster, keep_data: bool) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let network = cluster.settings().network.clone();
    let folder = cluster.settings().data.join(network.as_str());
    let (progress, shown) = mpsc::channel(PROGRESS_MAX);
    tokio::join!(cluster.stop(keep_data, progress), show(shown)).0?;
    let mut lines = vec![format!("stopped `{network}` in {}", seconds(began.elapsed()))];
    if keep_data {
        lines.push(format!("its files are kept in {}", folder.display()));
    }
    Ok(Outcome { lines })
}

/// Shows progress on stderr until the work is over.
pub async fn show(mut progress: mpsc::Receiver<Progress>) {
    let mut line = StatusLine::new();
    while let Some(Progress { step, done, total }) = progress.recv().await {
        line.show(&format!("{step} {done}/{total}"), done >= total);
    }
    line.end();
}

/// ` --network lab`, or nothing for the network every verb means by itself.
#[must_use]
pub fn network_option(network: &NetworkName) -> String {
    if network.as_str() == crate::cli::NETWORK { String::new() } else { format!(" --network {network}") }
}

/// On a terminal one line that changes; elsewhere a plain line now and then, so that a log stays readable.
struct StatusLine {
    on_terminal: bool,
    /// Something is on the line that must be ended.
    open: bool,
    printed: Option<Instant>,
    last: String,
}

impl StatusLine {
    fn new() -> Self {
        Self { on_terminal: std::io::stderr().is_terminal(), open: false, printed: None, last: String::new() }
    }

    fn show(&mut self, text: &str, is_final: bool) {
        let pause = Duration::from_millis(if self.on_terminal { 50 } else { 2_000 });
        let is_due = self.printed.is_none_or(|printed| printed.elapsed() >= pause);
        if text == self.last || !(is_due || is_final) {
            return;
        }
        (self.printed, self.last) = (Some(Instant::now()), text.to_owned());
        // Who does not want to read progress does not have to.
        let mut stderr = std::io::stderr().lock();
        let _ = if self.on_terminal { write!(stderr, "\r\x1b[K{text}") } else { writeln!(stderr, "{text}") };
        let _ = stderr.flush();
        self.open = self.on_terminal;
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            eprintln!();
        }
    }
}
