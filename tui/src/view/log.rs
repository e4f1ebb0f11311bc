//! The log: what changed, what was asked and what came of it, newest last.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    cells::{clip, clock, frame, pad, row},
    theme::{Role, Theme},
};
use crate::model::{Model, log::LogLine, pane::Pane};

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let follow =
        if model.log.back == 0 { "follows".to_owned() } else { format!("{} below (G follows)", model.log.back) };
    let title =
        format!("{} lines {} UTC {} {follow}", model.log.len(), model.theme.symbols.dot, model.theme.symbols.dot);
    let inner = frame(model, Pane::Log, &title, "", area, buf);
    lines(model, inner, buf);
}

/// As many of the newest lines as fit.
pub(super) fn lines(model: &Model, area: Rect, buf: &mut Buffer) {
    if model.log.is_empty() {
        row(area, 0, Line::styled("  nothing has happened yet", model.theme.style(Role::Muted)), buf);
    }
    for (i, line) in model.log.window(usize::from(area.height)).enumerate() {
        row(area, i, one(&model.theme, line, usize::from(area.width)), buf);
    }
}

/// The newest line alone.
pub(super) fn last(model: &Model, area: Rect, buf: &mut Buffer) {
    if let Some(line) = model.log.last() {
        row(area, 0, one(&model.theme, line, usize::from(area.width)), buf);
    }
}

fn one(theme: &Theme, line: &LogLine, columns: usize) -> Line<'static> {
    let ellipsis = theme.symbols.ellipsis;
    Line::from(vec![
        Span::styled(format!(" {}  ", clock(line.at)), theme.style(Role::Muted)),
        Span::styled(pad(&line.who, 10, false, ellipsis), theme.style(Role::Title)),
        Span::styled(format!(" {} ", pad(line.kind, 8, false, ellipsis)), theme.style(line.role)),
        Span::raw(clip(&line.text, columns.saturating_sub(36), ellipsis)),
    ])
}
