//! What takes the place of panes that do not fit: traces and log in one frame, and the line of tabs.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    cells::{boxed, row},
    log,
    theme::Role,
    traces,
};
use crate::model::{Model, pane::Pane};

/// The newest broadcasts above the newest log lines.
pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = &model.theme;
    let title = Line::from(vec![
        Span::styled(" 3 Traces + 5 Log ", theme.style(Role::Title)),
        Span::styled(
            format!("{} a digit brings one up, 4 Agreement, 6 Faults, 7 Ring, 8 Files ", theme.symbols.dot),
            theme.style(Role::Muted),
        ),
    ]);
    let inner = boxed(model, title, "", theme.style(Role::Muted), area, buf);
    let shown = model.picture.traces.len().min(usize::from(inner.height) / 3);
    for (i, trace) in model.picture.traces.iter().take(shown).enumerate() {
        row(inner, i, traces::summary(model, trace, usize::from(inner.width)), buf);
    }
    let rows = shown.min(usize::from(inner.height)) as u16;
    log::lines(model, Rect { y: inner.y + rows, height: inner.height - rows, ..inner }, buf);
}

/// Which panes there are, the one in sight in brackets.
pub(super) fn tabs(model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = &model.theme;
    let mut spans = vec![Span::raw(" ")];
    for pane in Pane::ALL {
        let name = format!("{} {}", pane.digit(), pane.title());
        spans.push(if pane == model.focus {
            Span::styled(format!("[{name}]"), theme.style(Role::Focus))
        } else {
            Span::styled(format!(" {name} "), theme.style(Role::Muted))
        });
    }
    let used: usize = spans.iter().map(Span::width).sum();
    if used + 8 <= usize::from(area.width) {
        spans.push(Span::styled("Tab next", theme.style(Role::Muted)));
    }
    row(area, 0, Line::from(spans), buf);
}
