//! The lines of the help: made from the live key table and the live verb table, so they cannot be out of date.

use ratatui::text::{Line, Span};

use super::{
    cells::pad,
    theme::{Role, Theme},
};
use crate::{keys::BINDINGS, prompt::grammar::FORMS};

pub(super) fn lines(theme: &Theme) -> Vec<Line<'static>> {
    let heading = |text: &'static str| Line::styled(text, theme.style(Role::Title));
    let pair = |left: String, columns: usize, right: String| {
        Line::from(vec![
            Span::styled(format!("  {} ", pad(&left, columns, false, theme.symbols.ellipsis)), theme.style(Role::Up)),
            Span::raw(right),
        ])
    };
    let mut lines = vec![heading("Keys")];
    for binding in BINDINGS.iter().filter(|binding| !binding.help.is_empty()) {
        lines.push(pair(binding.label.to_owned(), 10, binding.help.to_owned()));
    }
    lines.push(pair("Ctrl-C".into(), 10, "the same as Q; twice leaves the network running".into()));
    lines.push(Line::default());
    lines.push(heading("Verbs, after :"));
    for form in FORMS {
        let also = match form.names {
            [_, rest @ ..] if !rest.is_empty() => format!(" (also {})", rest.join(", ")),
            _ => String::new(),
        };
        lines.push(pair(format!("{} {}", form.names[0], form.signature), 32, format!("{}{also}", form.help)));
    }
    lines.push(Line::default());
    lines.push(heading("NODES"));
    for (form, meaning) in [
        ("9  node9  bootstrap", "one node"),
        ("20-30", "from node20 to node30"),
        ("30% seed 7", "that share of the nodes, the same ones for the same seed"),
    ] {
        lines.push(pair(form.into(), 32, meaning.into()));
    }
    lines.push(Line::default());
    lines.push(heading("While typing"));
    for (keys, meaning) in [
        ("Tab", "the next candidate"),
        ("Right, Ctrl-F", "take what is proposed"),
        ("Up, Down", "earlier lines that begin as this one does"),
        ("Ctrl-R", "earlier lines that contain this one"),
        ("Ctrl-U, Ctrl-W, Ctrl-A, Ctrl-E", "erase, erase a word, to the start, to the end"),
    ] {
        lines.push(pair(keys.into(), 32, meaning.into()));
    }
    lines
}
