//! The shared folder in the top lines: how many files, and on how many nodes all of them are.
//!
//! An acknowledged upload that is lost comes before everything else, and one that a single node has before it is lost.

use ratatui::text::{Line, Span};

use super::part;
use crate::{
    model::Model,
    view::{
        cells::{bytes, count},
        theme::Role,
    },
};

/// What is to be said of them, at their worst.
fn worst(model: &Model) -> (String, Role) {
    let files = &model.picture.summary.files;
    let symbols = &model.theme.symbols;
    match files.folders {
        _ if files.lost > 0 => (format!("{} {} lost", symbols.dead, count(files.lost)), Role::Dead),
        0 => (String::new(), Role::Muted),
        _ if !files.troubles.is_empty() => (format!("{} {} full", symbols.dead, files.troubles.len()), Role::Dead),
        _ if files.at_risk > 0 => (format!("{} {} at risk", symbols.warning, count(files.at_risk)), Role::Warning),
        folders if files.agree < folders => (format!("{}/{folders} agree", files.agree), Role::Converging),
        _ if files.conflicts == 1 => ("1 conflict".to_owned(), Role::Warning),
        _ if files.conflicts > 0 => (format!("{} conflicts", count(files.conflicts)), Role::Warning),
        folders => (format!("{folders} the same"), Role::Text),
    }
}

/// Files and bytes; how they are.
pub(super) fn groups(model: &Model) -> (Line<'static>, Line<'static>) {
    let files = &model.picture.summary.files;
    if files.folders == 0 && files.lost == 0 {
        return (Line::from(part("no folder", Role::Muted, model)), Line::default());
    }
    let (text, role) = worst(model);
    let number = Line::from(vec![
        part(format!("{} ", count(files.paths)), Role::Title, model),
        part(bytes(files.bytes), Role::Muted, model),
    ]);
    (number, Line::from(part(text, role, model)))
}

/// The same in a line that has more to say; nothing while there is nothing to tell.
pub(super) fn in_short(model: &Model) -> Vec<Span<'static>> {
    let files = &model.picture.summary.files;
    let symbols = &model.theme.symbols;
    if files.folders == 0 && files.lost == 0 {
        return Vec::new();
    }
    let (text, role) = worst(model);
    vec![
        part(format!(" files {} {} ", count(files.paths), symbols.dot), Role::Text, model),
        part(text, role, model),
        part(if symbols.braille { " │" } else { " |" }, Role::Muted, model),
    ]
}
