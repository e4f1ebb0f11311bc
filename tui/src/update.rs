//! The only writer of the model: (model, message) to commands. No clock, no file, no socket, nothing that waits.
//!
//! ```text
//! key press ─▶ update/keys.rs ──▶ panes, dialogs             observation ─▶ Network::observe ─▶ changes ─▶ log, curve
//!          └─▶ update/typing.rs ─▶ prompt ─▶ update/requests.rs ─▶ Command::Run ─▶ … ─▶ Message::VerbDone
//! ```
//! Always holds: whatever was asked for is told to the user when it is done or failed, in the notice and in the log.

use p2pnet_shared::UnixMillis;

use crate::{
    message::{Command, Message},
    model::{
        Dialog, Farewell, Model, Opening,
        agreement::MarkKind,
        log::{LogLine, word},
        pane::{Beside, Pane},
    },
    network::{Change, ChangeKind, Network, Observation},
    view::{layout::Layout, ring::Plan, theme::Role},
};

mod files;
mod keys;
mod requests;
#[cfg(test)]
mod tests;
mod typing;

/// How long a notice of success stays, milliseconds. Default 6 s: long enough to read, short enough not to be taken for
/// news. Failures stay until the next key.
const NOTICE_MS: u64 = 6_000;

/// Shortest time between two pictures while the screen moves by itself, milliseconds. Default 100: what is known is copied
/// ten times a second at most, however often a mark moves on.
const NEWS_MS: u64 = 100;

/// Takes in what happened at `now`.
pub fn update(model: &mut Model, now: UnixMillis, message: Message) -> Vec<Command> {
    model.now = now;
    let mut commands = match message {
        Message::Key(key) => keys::on_key(model, key),
        Message::Pasted(text) => typing::on_paste(model, &text),
        Message::Resized(columns, rows) => {
            model.size = (columns, rows);
            Vec::new()
        }
        Message::Ticked => on_tick(model),
        Message::FrameDue => on_frame(model),
        Message::HistoryLoaded(lines) => {
            model.prompt.history.load(lines);
            Vec::new()
        }
        Message::Observed(observation) => on_observed(model, observation),
        Message::MembersCame { node, result } => {
            on_members(model, &node, result);
            Vec::new()
        }
        Message::FilesCame { node, result } => {
            files::on_files(model, node, result);
            Vec::new()
        }
        Message::HostMeasured(load) => {
            model.host = Some(load);
            Vec::new()
        }
        Message::VerbDone { ticket, result } => {
            requests::on_done(model, ticket, result);
            Vec::new()
        }
        Message::Signalled(signal) => close(model, Farewell::Signal(signal)),
        other => on_opening(model, other),
    };
    match model.focus {
        Pane::Peers => model.beside = Beside::Peers,
        Pane::Ring => model.beside = Beside::Ring,
        Pane::Files => model.beside = Beside::Files,
        _ => {}
    }
    keep_in_sight(model);
    model.ring.arcs.follow(model.picture.ring.ring.as_ref(), model.nodes.selected.as_ref());
    // Another key is looked at: it is lit at once, also while the picture is held still.
    if model.picture.ring.key.as_ref().map(|key| &key.focus) != model.ring.key.as_ref() {
        model.picture.ring.look_at(&model.network, model.ring.key.as_ref());
    }
    // Another node was selected: its story is shown at once, also while the picture is held still.
    if model.picture.about.node != model.nodes.selected {
        model.picture.look_at(&model.network, model.nodes.selected.as_ref());
        model.peers.offset = 0;
    }
    commands.extend(watch_members(model));
    commands.extend(files::watch(model));
    commands
}

/// How the network came to be, or went.
fn on_opening(model: &mut Model, message: Message) -> Vec<Command> {
    match message {
        Message::StartBegun => {
            model.opening = Opening::Starting;
            say(model, "p2pnet", "start", Role::Converging, "no network runs: starting one");
        }
        // Reports and results come by different ways: one that comes late is of no interest.
        Message::Progressed(progress) if model.opening == Opening::Starting || model.stopping => {
            model.progress = Some(progress);
        }
        Message::Attached(runtime) => {
            if model.opening == Opening::Looking {
                model.opening = Opening::Open;
            }
            say(model, "p2pnet", "watch", Role::Up, &format!("watching: {} ({})", runtime.describe, runtime.why));
            if let Some(name) = model.name.clone() {
                model.network = Network::new(name, runtime.kind);
            }
            model.runtime = Some(runtime);
        }
        Message::Started => {
            model.opening = Opening::Open;
            model.progress = None;
            say(model, "p2pnet", "start", Role::Up, "every node runs");
        }
        Message::OpeningFailed(failure) => {
            say(model, "p2pnet", "FAILED", Role::Dead, &failure.to_string().replace('\n', "  "));
            model.progress = None;
            model.opening = Opening::Failed(failure);
        }
        Message::ObservationEnded => {
            model.notify(true, "nothing more is learnt of this network: close and open the dashboard again");
        }
        Message::NetworkStopped(Ok(())) => return close(model, Farewell::Stopped),
        Message::NetworkStopped(Err(failure)) => {
            model.stopping = false;
            model.progress = None;
            requests::tell_failure(model, "stop-network", &failure);
        }
        _ => {}
    }
    Vec::new()
}

fn on_tick(model: &mut Model) -> Vec<Command> {
    let now = model.now;
    if model.notice.as_ref().is_some_and(|notice| !notice.failed && now.since(notice.at) >= NOTICE_MS) {
        model.notice = None;
    }
    // A verdict may turn with time alone: a ghost grows old.
    model.stale |= model.runtime.is_some();
    Vec::new()
}

/// A new picture if something was learnt, moved clocks if not, nothing while frozen.
fn on_frame(model: &mut Model) -> Vec<Command> {
    let now = model.now;
    if model.frozen.is_none() {
        // A moving mark needs more frames than news does.
        let due = !is_animated(model) || now.since(model.taken_at) >= NEWS_MS;
        if model.stale && due {
            (model.stale, model.taken_at) = (false, now);
            model.picture.take(&model.network, now, model.ring.key.as_ref(), &model.files);
            model.nodes.arrange(&model.picture.nodes, &model.picture.ring);
            let ring = &mut model.picture.ring;
            model.ring.follow_moves(now, &mut ring.moves);
            model.ring.arrange(&ring.owners);
            model.picture.look_at(&model.network, model.nodes.selected.as_ref());
        } else {
            model.picture.tick(now);
        }
        let nodes = model.picture.summary.nodes;
        let agree = model.picture.summary.members.agree;
        let percent = (nodes.up > 0).then(|| agree as f32 * 100.0 / nodes.up as f32);
        model.agreement.sample(now, percent);
    }
    Vec::new()
}

fn on_observed(model: &mut Model, observation: Observation) -> Vec<Command> {
    let changes = model.network.observe(model.now, observation);
    model.stale = true;
    for change in changes {
        on_change(model, change);
    }
    Vec::new()
}

fn on_change(model: &mut Model, change: Change) {
    match change.kind {
        ChangeKind::Dead | ChangeKind::Left | ChangeKind::Paused => model.agreement.mark(change.at, MarkKind::Down),
        ChangeKind::Up => model.agreement.mark(change.at, MarkKind::Up),
        ChangeKind::Converged => {
            if let Some(ms) = model.network.summary(model.now).converged_in_ms {
                model.agreement.converged_in(ms);
            }
        }
        _ => {}
    }
    let (kind, role) = word(change.kind);
    let who = change.node.map_or_else(|| "network".to_owned(), |node| node.to_string());
    model.log.push(LogLine { at: change.at, who, kind, role, text: change.text });
}

fn on_members(
    model: &mut Model,
    node: &p2pnet_shared::NodeName,
    result: Result<p2pnet_shared::api::MembersReply, String>,
) {
    if model.peers.wanted.as_ref() != Some(node) {
        return;
    }
    match result {
        Ok(reply) => {
            model.peers.table = Some((model.now, reply));
            model.peers.error = None;
        }
        Err(error) => model.peers.error = Some(error),
    }
}

/// Whether something moves on the screen by itself: copies are on their way and their lines are in sight.
#[must_use]
pub fn is_animated(model: &Model) -> bool {
    model.frozen.is_none() && model.picture.ring.is_moving() && layout(model).area(Pane::Ring).is_some()
}

/// A line of the log that is ours.
fn say(model: &mut Model, who: &str, kind: &'static str, role: Role, text: &str) {
    model.log.push(LogLine { at: model.now, who: who.to_owned(), kind, role, text: text.to_owned() });
}

fn close(model: &mut Model, farewell: Farewell) -> Vec<Command> {
    model.farewell = Some(farewell.clone());
    vec![Command::Quit(farewell)]
}

/// Where everything is now.
fn layout(model: &Model) -> Layout {
    Layout::of(model.size, model.focus, model.beside, model.zoom)
}

/// The selected row stays on screen, whatever moved.
fn keep_in_sight(model: &mut Model) {
    let rows = layout(model).rows(Pane::Nodes, 1);
    if rows > 0 {
        model.nodes.scroll(&model.picture.nodes, rows);
    }
    let selected = model.nodes.selected.clone();
    let rows = owner_rows(model);
    if rows > 0 {
        model.ring.scroll(&model.picture.ring.owners, selected.as_ref(), rows);
    }
    files::keep_in_sight(model);
}

/// How many rows of the table of owners are in sight.
fn owner_rows(model: &Model) -> usize {
    layout(model).area(Pane::Ring).map_or(0, |area| Plan::of_frame(area, model.ring.face).owner_rows())
}

/// A node's member table is asked for only while it is on screen, and anew when another node is selected.
fn watch_members(model: &mut Model) -> Option<Command> {
    let visible = layout(model).area(Pane::Peers).is_some() && model.runtime.is_some();
    let wanted = model.nodes.selected.clone().filter(|_| visible);
    if wanted == model.peers.wanted {
        return None;
    }
    model.peers.error = None;
    model.peers.offset = 0;
    model.peers.wanted.clone_from(&wanted);
    Some(Command::WatchMembers(wanted))
}

/// Asks before closing; a second Ctrl-C takes the default.
fn ask_quit(model: &mut Model) -> Vec<Command> {
    if model.dialog == Some(Dialog::Quit) {
        return leave(model);
    }
    model.dialog = Some(Dialog::Quit);
    Vec::new()
}

fn leave(model: &mut Model) -> Vec<Command> {
    let farewell = if model.opening == Opening::Starting { Farewell::LeftStarting } else { Farewell::LeftRunning };
    close(model, farewell)
}
