//! Key presses: first to what covers the panes, then to the prompt, then to the panes.

use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::{ask_quit, files, layout, leave, owner_rows, requests, typing};
use crate::{
    cluster::UnitState,
    keys::{Action, action, is_interrupt},
    message::Command,
    model::{Dialog, Face, Model, Opening, files::FilesFace, pane::Pane, ring::RingFace},
    prompt::{Mode, grammar::Request},
};

pub(super) fn on_key(model: &mut Model, key: KeyEvent) -> Vec<Command> {
    if model.notice.as_ref().is_some_and(|notice| notice.failed) {
        model.notice = None;
    }
    if is_interrupt(key) {
        return match model.dialog {
            None if model.prompt.is_open() => {
                model.prompt.close();
                Vec::new()
            }
            _ => ask_quit(model),
        };
    }
    // Whoever begins to type has read what is shown: nothing typed is swallowed.
    let opens_prompt = matches!(action(key), Some(Action::Command | Action::Filter | Action::Say));
    if opens_prompt && matches!(model.dialog, Some(Dialog::Help(_) | Dialog::Answer { .. })) {
        model.dialog = None;
    }
    if model.dialog.is_some() {
        return on_dialog(model, key);
    }
    if model.prompt.is_open() {
        return typing::on_key(model, key);
    }
    match action(key) {
        Some(action) => act(model, action),
        None => Vec::new(),
    }
}

fn on_dialog(model: &mut Model, key: KeyEvent) -> Vec<Command> {
    let Some(dialog) = model.dialog.take() else { return Vec::new() };
    let closes = matches!(key.code, KeyCode::Esc | KeyCode::Char('n' | 'N'));
    match dialog {
        Dialog::Quit => match key.code {
            KeyCode::Enter | KeyCode::Char('l' | 'y') => return leave(model),
            KeyCode::Char('s' | 'S') if matches!(model.opening, Opening::Open | Opening::Starting) => {
                return requests::stop_network(model, false);
            }
            _ if closes => {}
            _ => model.dialog = Some(Dialog::Quit),
        },
        Dialog::Confirm { request, line, question } => match key.code {
            KeyCode::Char('y' | 'Y') => return requests::carry_out(model, request, line),
            _ if closes => {
                model.prompt.open(Mode::Command, &line);
                model.notify(false, "left as it was");
            }
            _ => model.dialog = Some(Dialog::Confirm { question, request, line }),
        },
        Dialog::Help(offset) => model.dialog = scrolled(key, offset).map(Dialog::Help),
        Dialog::Answer { title, lines, offset } => {
            let most = u16::try_from(lines.len()).unwrap_or(u16::MAX);
            model.dialog =
                scrolled(key, offset).map(|offset| Dialog::Answer { title, lines, offset: offset.min(most) });
        }
    }
    Vec::new()
}

/// The new offset, or `None` for a key that closes.
fn scrolled(key: KeyEvent, offset: u16) -> Option<u16> {
    match key.code {
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?') => None,
        KeyCode::Char('j') | KeyCode::Down => Some(offset.saturating_add(1).min(500)),
        KeyCode::Char('k') | KeyCode::Up => Some(offset.saturating_sub(1)),
        KeyCode::PageDown | KeyCode::Char(' ') => Some(offset.saturating_add(10).min(500)),
        KeyCode::PageUp => Some(offset.saturating_sub(10)),
        KeyCode::Char('g') | KeyCode::Home => Some(0),
        KeyCode::Char('G') | KeyCode::End => Some(500),
        _ => Some(offset),
    }
}

fn act(model: &mut Model, action: Action) -> Vec<Command> {
    match action {
        Action::Command => model.prompt.open(Mode::Command, ""),
        Action::Filter => {
            let filter = model.nodes.filter.clone();
            model.prompt.open(Mode::Filter, &filter);
        }
        Action::Say => {
            let from = model.nodes.selected.as_ref().map_or_else(String::new, |name| format!("{name} "));
            model.prompt.open(Mode::Message, &from);
        }
        Action::Help => model.dialog = Some(Dialog::Help(0)),
        Action::Back => back(model),
        Action::Pane(digit) => {
            let at = usize::from(digit).saturating_sub(1);
            model.focus = Pane::ALL.get(at).copied().unwrap_or_default();
        }
        Action::NextPane => model.focus = model.focus.step(1),
        Action::PreviousPane => model.focus = model.focus.step(-1),
        Action::Zoom => model.zoom = !model.zoom,
        Action::Move(by) => step(model, by),
        Action::Page(by) => {
            let rows = match model.focus {
                Pane::Files => files::rows(model),
                _ if owners_have_the_keys(model) => owner_rows(model),
                focus => layout(model).rows(focus, 1),
            };
            let page = rows.max(1);
            step(model, by * page as isize);
        }
        Action::First => step(model, -1_000_000),
        Action::Last => step(model, 1_000_000),
        Action::Mark => mark(model),
        Action::Sort => sort(model),
        Action::Reverse => reverse(model),
        Action::Inspect => inspect(model),
        Action::Face => turn(model),
        Action::Freeze => {
            model.frozen = if model.frozen.is_some() { None } else { Some(model.now) };
            model.stale |= model.frozen.is_none();
        }
        Action::Kill => return on_chosen(model, "kill"),
        Action::Stop => return on_chosen(model, "stop"),
        Action::Restart => return on_chosen(model, "restart"),
        Action::Pause => return pause(model),
        Action::Heal => return requests::on_line(model, "heal"),
        Action::Add => model.prompt.open(Mode::Command, "add "),
        Action::Quit => return ask_quit(model),
    }
    Vec::new()
}

/// Sorts what has the keys by its next column.
fn sort(model: &mut Model) {
    if owners_have_the_keys(model) {
        model.ring.sort_next();
        model.ring.arrange(&model.picture.ring.owners);
    } else if files_have_the_keys(model) {
        model.files.sort_next();
    } else {
        model.nodes.sort_next();
        model.nodes.arrange(&model.picture.nodes, &model.picture.ring);
    }
}

/// The other way round.
fn reverse(model: &mut Model) {
    if owners_have_the_keys(model) {
        model.ring.reversed = !model.ring.reversed;
        model.ring.arrange(&model.picture.ring.owners);
    } else if files_have_the_keys(model) {
        model.files.reversed = !model.files.reversed;
        model.files.arrange();
    } else {
        model.nodes.reversed = !model.nodes.reversed;
        model.nodes.arrange(&model.picture.nodes, &model.picture.ring);
    }
}

/// The other face of a pane that has more than one.
fn turn(model: &mut Model) {
    match model.focus {
        Pane::Ring => {
            model.ring.face = match model.ring.face {
                RingFace::Circle => RingFace::Owners,
                RingFace::Owners => RingFace::Circle,
            };
        }
        Pane::Files => {
            model.files.face = match model.files.face {
                FilesFace::Nodes => FilesFace::Files,
                FilesFace::Files => FilesFace::Nodes,
            };
        }
        _ => {
            model.peers.face = model.peers.face.next();
            model.peers.offset = 0;
            if layout(model).area(Pane::Peers).is_none() {
                model.focus = Pane::Peers;
            }
        }
    }
}

/// Whether the table of owners is in sight and has the focus.
fn owners_have_the_keys(model: &Model) -> bool {
    model.focus == Pane::Ring && owner_rows(model) > 0
}

/// Whether the list of files has the focus.
fn files_have_the_keys(model: &Model) -> bool {
    model.focus == Pane::Files && model.files.face == FilesFace::Files
}

/// Undoes the nearest thing: the unfolded trace, zoom, the selected file, marks, the filter, the key looked at.
fn back(model: &mut Model) {
    if model.traces.expanded {
        model.traces.expanded = false;
    } else if model.zoom {
        model.zoom = false;
    } else if files_have_the_keys(model) && model.files.selected.is_some() {
        model.files.selected = None;
    } else if !model.nodes.marked.is_empty() {
        model.nodes.marked.clear();
    } else if !model.nodes.filter.is_empty() {
        model.nodes.filter.clear();
        model.nodes.arrange(&model.picture.nodes, &model.picture.ring);
    } else if model.ring.key.is_some() {
        model.ring.key = None;
    } else {
        model.notice = None;
        model.focus = Pane::Nodes;
    }
}

fn step(model: &mut Model, by: isize) {
    let layout = layout(model);
    match model.focus {
        Pane::Ring if owners_have_the_keys(model) => {
            let next = model.ring.step(&model.picture.ring.owners, model.nodes.selected.as_ref(), by);
            model.nodes.selected = next.or(model.nodes.selected.take());
        }
        Pane::Files if files_have_the_keys(model) => model.files.step(by),
        Pane::Files => {
            let next = model.picture.files.step(model.nodes.selected.as_ref(), by);
            model.nodes.selected = next.or(model.nodes.selected.take());
        }
        Pane::Nodes | Pane::Agreement | Pane::Faults | Pane::Ring => model.nodes.step(&model.picture.nodes, by),
        Pane::Peers => {
            let rows = layout.rows(Pane::Peers, 0);
            let about = &model.picture.about;
            let told = about.story.len().min(rows / 3);
            let below = if told > 0 { told + 1 } else { 0 };
            let members = model.peers.table.as_ref().map_or(0, |(_, reply)| reply.members.len());
            // A story is read from its end.
            let (lines, room, by) = match model.peers.face {
                Face::Members => (members, rows.saturating_sub(1 + below), by),
                Face::Links => (about.neighbours.len(), rows.saturating_sub(2 + below), by),
                Face::Story => (about.story.len(), rows, by.saturating_neg()),
            };
            model.peers.offset = model.peers.offset.saturating_add_signed(by).min(lines.saturating_sub(room));
        }
        Pane::Traces if model.traces.expanded => {
            let arrivals = model.picture.traces.get(model.trace_position()).map_or(0, |trace| trace.arrivals.len());
            let most = (arrivals + 1).saturating_sub(layout.rows(Pane::Traces, 1));
            model.traces.offset = model.traces.offset.saturating_add_signed(by).min(most);
        }
        Pane::Traces => {
            let last = model.picture.traces.len().saturating_sub(1);
            let at = model.trace_position().saturating_add_signed(by).min(last);
            // The newest is followed rather than held on to.
            model.traces.selected = model.picture.traces.get(at).filter(|_| at > 0).map(|trace| trace.id.clone());
        }
        Pane::Log => model.log.scroll(by, layout.rows(Pane::Log, 0)),
    }
}

fn mark(model: &mut Model) {
    let Some(name) = model.nodes.selected.clone() else { return };
    if !model.nodes.marked.remove(&name) {
        model.nodes.marked.insert(name);
    }
    model.nodes.step(&model.picture.nodes, 1);
}

fn inspect(model: &mut Model) {
    match model.focus {
        Pane::Traces => {
            let at = model.trace_position();
            model.traces.selected = model.picture.traces.get(at).map(|trace| trace.id.clone());
            model.traces.expanded = !model.traces.expanded && model.traces.selected.is_some();
            model.traces.offset = 0;
        }
        Pane::Nodes => model.focus = Pane::Peers,
        Pane::Peers | Pane::Agreement | Pane::Log | Pane::Faults | Pane::Ring | Pane::Files => {
            model.zoom = !model.zoom;
        }
    }
}

/// A verb on the marked nodes, or on the selected one: the very line one would type.
fn on_chosen(model: &mut Model, verb: &str) -> Vec<Command> {
    let chosen = model.chosen();
    if chosen.is_empty() {
        model.notify(true, format!("nothing to {verb}: no node is selected"));
        return Vec::new();
    }
    let names: Vec<&str> = chosen.iter().map(|name| name.as_str()).collect();
    requests::on_line(model, &format!("{verb} {}", names.join(" ")))
}

/// Resumes if every chosen node is paused, pauses otherwise.
fn pause(model: &mut Model) -> Vec<Command> {
    let paused = |name| model.picture.node(name).is_some_and(|node| node.state == UnitState::Paused);
    let verb = if model.chosen().iter().all(paused) { "resume" } else { "pause" };
    on_chosen(model, verb)
}

/// Carries out what only the dashboard knows.
pub(super) fn on_own(model: &mut Model, request: &Request) -> Vec<Command> {
    match request {
        Request::Help => model.dialog = Some(Dialog::Help(0)),
        Request::Quit => return ask_quit(model),
        Request::Verb(_) | Request::StopNetwork { .. } => {}
    }
    Vec::new()
}
