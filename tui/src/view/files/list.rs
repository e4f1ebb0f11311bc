//! The files by name: how large, on how many nodes, conflict copies marked.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::size;
use crate::{
    model::{Model, files::FileLine, files::FilesFace},
    view::{
        cells::{age, pad, row},
        table::rows,
        theme::Role,
    },
};

/// Columns of size, holders and age with what parts them, and of the mark in front.
const SIZE: usize = 10;
const ON: usize = 9;
const WRITTEN: usize = 9;
const MARK: usize = 2;
/// Columns of a name below which the age is left out.
const NAME_MIN: usize = 24;

/// Which file of how many is selected, by whose word, in which order.
pub(super) fn place(model: &Model) -> String {
    let view = &model.files;
    let at = view.position().map_or(0, |at| at + 1);
    let order = format!("sort {}{}", view.sort.heading(), if view.reversed { " reversed" } else { "" });
    format!("{at}/{} {} {order}", view.listing.files.len() + view.listing.left_out, model.theme.symbols.dot)
}

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let view = &model.files;
    let theme = &model.theme;
    let columns = usize::from(area.width);
    let fixed = MARK + SIZE + ON;
    let with_age = columns >= fixed + WRITTEN + NAME_MIN;
    let name = columns.saturating_sub(fixed + if with_age { WRITTEN } else { 0 });
    let by = view.listing.node.as_ref().map_or_else(String::new, |node| format!("FILE, as {node} shows it"));
    let mut headings = format!("{}{}", " ".repeat(MARK), pad(&by, name, false, theme.symbols.ellipsis));
    headings += &(pad("SIZE", SIZE, true, "") + &pad("ON", ON, true, ""));
    if with_age {
        headings += &pad("WRITTEN", WRITTEN, true, "");
    }
    row(area, 0, Line::styled(headings, theme.style(Role::Muted)), buf);
    if view.listing.files.is_empty() {
        let (text, role) = match (&view.error, &view.wanted) {
            (Some(error), _) => (error.clone(), Role::Warning),
            (None, Some((node, _))) if view.listing.node.is_none() => (format!("asking {node}"), Role::Muted),
            (None, None) => ("no node with a folder can be asked".to_owned(), Role::Muted),
            _ => ("the folder is empty: `:upload FILE`, or copy one into any node's folder".to_owned(), Role::Muted),
        };
        let text = pad(&text, columns.saturating_sub(MARK), false, theme.symbols.ellipsis);
        return row(area, 1, Line::styled(format!("{}{text}", " ".repeat(MARK)), theme.style(role)), buf);
    }
    let selected = view.selected.as_ref().filter(|_| view.face == FilesFace::Files);
    let shown = view.listing.files.iter().enumerate().skip(view.file_offset);
    let lines = shown.map(|(at, file)| (line(model, at, file, name, with_age), selected == Some(&file.path)));
    rows(theme, area, lines, buf);
}

fn line(model: &Model, at: usize, file: &FileLine, name: usize, with_age: bool) -> Line<'static> {
    let theme = &model.theme;
    let folders = model.picture.summary.files.folders;
    let live = model.picture.files.live(at);
    let on = live.map_or_else(|| theme.symbols.none.to_owned(), |live| format!("{live}/{folders}"));
    let on_role = match live {
        Some(0) => Role::Dead,
        Some(1) if folders > 1 => Role::Warning,
        Some(live) if live < folders => Role::Converging,
        _ => Role::Text,
    };
    let (mark, role) = if file.copy_of.is_some() { ("! ", Role::Warning) } else { ("  ", Role::Text) };
    let mut spans = vec![
        Span::styled(mark, theme.style(Role::Warning)),
        Span::styled(pad(file.path.as_str(), name, false, theme.symbols.ellipsis), theme.style(role)),
        Span::raw(pad(&size(file.size), SIZE, true, "")),
        Span::styled(pad(&on, ON, true, ""), theme.style(on_role)),
    ];
    if with_age {
        let written = age(model.picture.at.since(file.modified));
        spans.push(Span::styled(pad(&written, WRITTEN, true, ""), theme.style(Role::Muted)));
    }
    Line::from(spans)
}
