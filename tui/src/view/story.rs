//! The selected node's story: what happened to it, in order, each event once however many nodes saw it.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    cells::{clip, clock, pad, row},
    theme::{Role, Theme},
};
use crate::{
    model::{Model, log::word},
    network::Chapter,
};

/// As many of the newest chapters as fit, oldest first; `back` of the newest are left out.
pub(super) fn draw(model: &Model, area: Rect, back: usize, buf: &mut Buffer) {
    let chapters = &model.picture.about.story;
    if chapters.is_empty() {
        let text = "  nothing has happened to it since we began to watch";
        row(area, 1, Line::styled(text, model.theme.style(Role::Muted)), buf);
        return;
    }
    let rows = usize::from(area.height);
    let end = chapters.len().saturating_sub(back.min(chapters.len().saturating_sub(rows)));
    for (i, chapter) in chapters[end.saturating_sub(rows)..end].iter().enumerate() {
        row(area, i, line(&model.theme, chapter, usize::from(area.width)), buf);
    }
}

/// The newest chapters below a table, with a heading; how many rows are left for the table.
pub(super) fn below(model: &Model, area: Rect, buf: &mut Buffer) -> Rect {
    let told = u16::try_from(model.picture.about.story.len()).unwrap_or(u16::MAX);
    let rows = told.min(area.height / 3);
    if rows == 0 {
        return area;
    }
    let table = Rect { height: area.height - rows - 1, ..area };
    let name = model.picture.about.node.as_ref().map_or_else(String::new, ToString::to_string);
    let theme = &model.theme;
    let rule = if theme.symbols.braille { "─" } else { "-" };
    let heading = format!(" {rule} the story of {name} ");
    let heading =
        format!("{heading}{}", rule.repeat(usize::from(area.width).saturating_sub(super::cells::width(&heading) + 1)));
    row(area, usize::from(table.height), Line::styled(heading, theme.style(Role::Muted)), buf);
    draw(model, Rect { y: area.y + table.height + 1, height: rows, ..area }, 0, buf);
    table
}

fn line(theme: &Theme, chapter: &Chapter, columns: usize) -> Line<'static> {
    let (kind, role) = word(chapter.kind);
    let ellipsis = theme.symbols.ellipsis;
    let time: String = clock(chapter.at).chars().take(if columns < 78 { 8 } else { 12 }).collect();
    let used = time.len() + 12;
    Line::from(vec![
        Span::styled(format!(" {time}  "), theme.style(Role::Muted)),
        Span::styled(format!("{} ", pad(kind, 8, false, ellipsis)), theme.style(role)),
        Span::raw(clip(&chapter.text, columns.saturating_sub(used), ellipsis)),
    ])
}
