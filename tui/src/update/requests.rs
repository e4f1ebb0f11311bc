//! A line becomes a request, a request becomes a command, and what came of it is told.
//!
//! A verb on more than ten nodes, on the bootstrap, or on the whole network asks once, with exactly whom it is about. A line
//! that names a node there is none of is refused before anything is sent.

use p2pnet_shared::NodeName;

use super::{keys, say};
use crate::{
    cluster::Unit,
    failure::Failure,
    message::Command,
    model::{
        Dialog, Model, Work,
        pane::{Beside, Pane},
        ring::KeyFocus,
    },
    network::Node,
    prompt::{
        LineError, Mode,
        grammar::{Request, read},
    },
    select::Selector,
    verb::{FileOrder, KeyAct, KeyOrder, Signal, Verb},
    view::theme::Role,
};

/// More nodes than this are asked about.
const UNASKED_MAX: usize = 10;

/// A line was entered.
pub(super) fn on_line(model: &mut Model, line: &str) -> Vec<Command> {
    let request = match read(line) {
        Ok(request) => request,
        Err(error) => return refuse(model, line, error),
    };
    match question(model, &request) {
        Err(why) => refuse(model, line, LineError { at: 0..0, text: why }),
        Ok(Some(question)) => {
            model.prompt.close();
            model.dialog = Some(Dialog::Confirm { question, request, line: line.to_owned() });
            Vec::new()
        }
        Ok(None) => carry_out(model, request, line.to_owned()),
    }
}

/// The line stays as it was typed, with the word that is wrong pointed at.
fn refuse(model: &mut Model, line: &str, error: LineError) -> Vec<Command> {
    let mut error = error;
    match model.prompt.mode {
        // What is read of a message has `send ` before it.
        Mode::Message => {
            error.at = error.at.start.saturating_sub("send ".len())..error.at.end.saturating_sub("send ".len());
        }
        Mode::Command if model.prompt.input.value().trim() == line => {
            let typed = model.prompt.input.value();
            let shift = typed.len() - typed.trim_start().len();
            error.at = error.at.start + shift..error.at.end + shift;
        }
        _ => model.prompt.open(Mode::Command, line),
    }
    model.prompt.error = Some(error);
    Vec::new()
}

/// What to ask before carrying it out, if anything; an error if it is about nodes there are not.
fn question(model: &Model, request: &Request) -> Result<Option<String>, String> {
    let verb = match request {
        Request::Verb(verb) => verb,
        Request::StopNetwork { keep_data } => {
            let folders = if *keep_data { "folders stay" } else { "folders go too" };
            let count = model.picture.summary.nodes.wanted;
            return Ok(Some(format!("stop the network: remove {count} nodes and everything else of it, {folders}?")));
        }
        Request::Help | Request::Quit => return Ok(None),
    };
    if model.runtime.is_none() {
        return Err("there is no network yet: the top lines show how far its start is".into());
    }
    let (selector, what) = match verb {
        Verb::Stop(selector, Signal::Kill) => (selector, "kill"),
        Verb::Stop(selector, Signal::Term) => (selector, "stop politely"),
        Verb::Restart(selector) => (selector, "restart"),
        Verb::Pause(selector) => (selector, "pause"),
        Verb::Resume(selector) => (selector, "resume"),
        Verb::Broadcast { from, .. } | Verb::Messages(from) => return known(model, from).map(|()| None),
        Verb::Direct { from, to, .. } => {
            known(model, from)?;
            return known(model, to).map(|()| None);
        }
        Verb::Fault(order) => {
            let units: Vec<Unit> = model.picture.nodes.iter().map(Node::unit).collect();
            return crate::verbs::fault::check(order, &units).map(|()| None).map_err(|failure| flat(&failure));
        }
        Verb::Heal(Some(selector)) => return chosen(model, selector).map(|_| None),
        Verb::Key(KeyOrder { via: Some(via), .. }) | Verb::File(FileOrder { via: Some(via), .. }) => {
            return known(model, via).map(|()| None);
        }
        Verb::Key(_) | Verb::File(_) | Verb::Add(_) | Verb::Faults | Verb::Heal(None) => return Ok(None),
    };
    let chosen = chosen(model, selector)?;
    let bootstrap = chosen.iter().any(|name| *name == NodeName::bootstrap());
    if chosen.len() <= UNASKED_MAX && !bootstrap {
        return Ok(None);
    }
    let who = match chosen.as_slice() {
        [one] => one.to_string(),
        [first, .., last] => format!("{} nodes, {first} to {last}", chosen.len()),
        [] => return Err(format!("`{selector}` is no node of this network")),
    };
    let also = if bootstrap && chosen.len() > 1 { ", the bootstrap among them" } else { "" };
    Ok(Some(format!("{what} {selector}: {who}{also}?")))
}

/// Whom a selector means among the nodes there are.
fn chosen(model: &Model, selector: &Selector) -> Result<Vec<NodeName>, String> {
    let units: Vec<Unit> = model.picture.nodes.iter().map(Node::unit).collect();
    selector.resolve(&units).map_err(|failure| flat(&failure))
}

fn known(model: &Model, name: &NodeName) -> Result<(), String> {
    if model.picture.node(name).is_some() {
        return Ok(());
    }
    let there = match (model.picture.nodes.first(), model.picture.nodes.last()) {
        (Some(first), Some(last)) => format!("{} to {}", first.name, last.name),
        _ => "none yet".to_owned(),
    };
    Err(format!("there is no node `{name}`; there are {there}"))
}

fn flat(failure: &Failure) -> String {
    match &failure.hint {
        Some(hint) => format!("{}: {hint}", failure.error),
        None => failure.error.clone(),
    }
}

/// Starts what was asked for and remembers the line.
pub(super) fn carry_out(model: &mut Model, request: Request, line: String) -> Vec<Command> {
    model.prompt.close();
    model.notice = None;
    let mut commands = Vec::new();
    if model.prompt.history.push(&line) {
        commands.push(Command::Remember(line.clone()));
    }
    match request {
        Request::Verb(verb) => {
            if let Verb::Key(order) = &verb {
                look_at_key(model, order);
            }
            say(model, "you", "command", Role::Title, &line);
            let ticket = model.next_ticket;
            model.next_ticket += 1;
            model.work.insert(ticket, Work { line, since: model.now });
            commands.push(Command::Run { ticket, verb });
        }
        Request::StopNetwork { keep_data } => commands.extend(stop_network(model, keep_data)),
        own => commands.extend(keys::on_own(model, &own)),
    }
    commands
}

/// Whoever asks about a key wants to see where it is; who asks for its owner wants the ring itself.
fn look_at_key(model: &mut Model, order: &KeyOrder) {
    model.ring.key = Some(KeyFocus::of(order.key.as_str()));
    if order.act == KeyAct::Owner {
        model.beside = Beside::Ring;
        if model.focus == Pane::Peers {
            model.focus = Pane::Ring;
        }
    }
}

pub(super) fn stop_network(model: &mut Model, keep_data: bool) -> Vec<Command> {
    say(model, "you", "command", Role::Title, "stop-network");
    model.stopping = true;
    vec![Command::StopNetwork { keep_data }]
}

/// A verb came back.
pub(super) fn on_done(model: &mut Model, ticket: u64, result: Result<Vec<String>, Failure>) {
    let Some(work) = model.work.remove(&ticket) else { return };
    match result {
        Err(failure) => tell_failure(model, &work.line, &failure),
        Ok(lines) => {
            for line in lines.iter().take(20) {
                say(model, "p2pnet", "done", Role::Text, line);
            }
            match lines.as_slice() {
                [] => model.notify(false, format!("done: {}", work.line)),
                [one] => model.notify(false, format!("{}: {one}", work.line)),
                _ if model.dialog.is_none() => {
                    model.dialog = Some(Dialog::Answer { title: work.line, lines, offset: 0 });
                }
                [first, ..] => model.notify(false, format!("{}: {first}", work.line)),
            }
        }
    }
}

pub(super) fn tell_failure(model: &mut Model, line: &str, failure: &Failure) {
    let text = flat(failure);
    say(model, "p2pnet", "FAILED", Role::Dead, &format!("{line}: {text}"));
    model.notify(true, format!("{line}: {text}"));
}
