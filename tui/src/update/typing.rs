//! Key presses while a line is being typed.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tui_input::InputRequest;

use super::requests;
use crate::{
    message::Command,
    model::Model,
    prompt::{LINE_MAX_BYTES, Mode, completion::complete},
};

pub(super) fn on_key(model: &mut Model, key: KeyEvent) -> Vec<Command> {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match (key.code, ctrl) {
        (KeyCode::Enter, _) => return submit(model),
        (KeyCode::Esc, _) => cancel(model),
        (KeyCode::Tab, _) => cycle(model, 1),
        (KeyCode::BackTab, _) => cycle(model, -1),
        (KeyCode::Up, _) => walk(model, Walk::Older),
        (KeyCode::Down, _) => walk(model, Walk::Newer),
        (KeyCode::Char('r'), true) => walk(model, Walk::Search),
        (KeyCode::Right, false) | (KeyCode::Char('f'), true) if at_end(model) => take_ghost(model),
        (KeyCode::Backspace, false) if model.prompt.input.value().is_empty() => cancel(model),
        _ => {
            if let Some(request) = edit(key) {
                let full = model.prompt.input.value().len() >= LINE_MAX_BYTES;
                if !(full && matches!(request, InputRequest::InsertChar(_))) {
                    model.prompt.input.handle(request);
                    changed(model);
                }
            }
        }
    }
    Vec::new()
}

/// The editing keys of every shell.
fn edit(key: KeyEvent) -> Option<InputRequest> {
    use InputRequest as Edit;
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    Some(match (key.code, ctrl, alt) {
        (KeyCode::Char('a'), true, _) | (KeyCode::Home, ..) => Edit::GoToStart,
        (KeyCode::Char('e'), true, _) | (KeyCode::End, ..) => Edit::GoToEnd,
        (KeyCode::Char('u'), true, _) => Edit::DeleteFromStart,
        (KeyCode::Char('k'), true, _) => Edit::DeleteTillEnd,
        (KeyCode::Char('w'), true, _) | (KeyCode::Backspace, _, true) => Edit::DeletePrevWord,
        (KeyCode::Char('d'), true, _) | (KeyCode::Delete, ..) => Edit::DeleteNextChar,
        (KeyCode::Char('h'), true, _) | (KeyCode::Backspace, ..) => Edit::DeletePrevChar,
        (KeyCode::Char('b'), _, true) | (KeyCode::Left, true, _) => Edit::GoToPrevWord,
        (KeyCode::Char('f'), _, true) | (KeyCode::Right, true, _) => Edit::GoToNextWord,
        (KeyCode::Char('b'), true, _) | (KeyCode::Left, ..) => Edit::GoToPrevChar,
        (KeyCode::Char('f'), true, _) | (KeyCode::Right, ..) => Edit::GoToNextChar,
        (KeyCode::Char('y'), true, _) => Edit::Yank,
        (KeyCode::Char(letter), false, false) => Edit::InsertChar(letter),
        _ => return None,
    })
}

pub(super) fn on_paste(model: &mut Model, text: &str) -> Vec<Command> {
    if !model.prompt.is_open() && model.dialog.is_none() {
        model.prompt.open(Mode::Command, "");
    }
    if model.prompt.is_open() {
        // One line: what comes after a line break was meant for something else.
        for letter in text.lines().next().unwrap_or("").chars().filter(|letter| !letter.is_control()) {
            if model.prompt.input.value().len() < LINE_MAX_BYTES {
                model.prompt.input.handle(InputRequest::InsertChar(letter));
            }
        }
        changed(model);
    }
    Vec::new()
}

fn changed(model: &mut Model) {
    model.prompt.changed();
    model.prompt.history.rewind();
    if model.prompt.mode == Mode::Filter {
        model.nodes.filter = model.prompt.input.value().trim().to_owned();
        model.nodes.arrange(&model.picture.nodes, &model.picture.ring);
    }
}

fn submit(model: &mut Model) -> Vec<Command> {
    let line = model.prompt.input.value().trim().to_owned();
    match model.prompt.mode {
        Mode::Idle => Vec::new(),
        Mode::Filter => {
            model.prompt.close();
            Vec::new()
        }
        _ if line.is_empty() => {
            model.prompt.close();
            Vec::new()
        }
        Mode::Command => requests::on_line(model, line.trim_start_matches(':').trim_start()),
        Mode::Message => requests::on_line(model, &format!("send {line}")),
    }
}

/// Closes the prompt; a filter that was being typed is given up.
fn cancel(model: &mut Model) {
    if model.prompt.mode == Mode::Filter {
        model.nodes.filter.clear();
        model.nodes.arrange(&model.picture.nodes, &model.picture.ring);
    }
    model.prompt.close();
}

fn at_end(model: &Model) -> bool {
    model.prompt.input.cursor() == model.prompt.input.value().chars().count()
}

fn take_ghost(model: &mut Model) {
    let names: Vec<_> = model.picture.nodes.iter().map(|node| &node.name).collect();
    let line = model.prompt.input.value().to_owned();
    let ghost = complete(model.prompt.mode, &line, &names).ghost().to_owned();
    if !ghost.is_empty() {
        model.prompt.replace(&(line + &ghost));
        changed(model);
    }
}

/// Puts the next candidate in place of the word; the first Tab settles which ones there are.
fn cycle(model: &mut Model, by: isize) {
    let (before, candidates, at) = match model.prompt.cycle.take() {
        Some((before, candidates, at)) => {
            let next = (at as isize + by).rem_euclid(candidates.len() as isize) as usize;
            (before, candidates, next)
        }
        None => {
            let names: Vec<_> = model.picture.nodes.iter().map(|node| &node.name).collect();
            let found = complete(model.prompt.mode, model.prompt.input.value(), &names);
            if found.candidates.is_empty() {
                return;
            }
            let first = if by < 0 { found.candidates.len() - 1 } else { 0 };
            (found.before, found.candidates, first)
        }
    };
    // A word that is the only one it can be is done: the next one begins.
    let blank = if candidates.len() == 1 { " " } else { "" };
    model.prompt.replace(&format!("{before}{}{blank}", candidates[at]));
    changed(model);
    if candidates.len() > 1 {
        model.prompt.cycle = Some((before, candidates, at));
    }
}

enum Walk {
    Older,
    Newer,
    Search,
}

fn walk(model: &mut Model, walk: Walk) {
    let typed = model.prompt.input.value().to_owned();
    let history = &mut model.prompt.history;
    let line = match walk {
        Walk::Older => history.older(&typed).map(str::to_owned),
        Walk::Newer => history.newer(),
        Walk::Search => history.search(&typed).map(str::to_owned),
    };
    if let Some(line) = line.filter(|_| model.prompt.mode != Mode::Filter) {
        model.prompt.replace(&line);
        model.prompt.cycle = None;
    }
}
