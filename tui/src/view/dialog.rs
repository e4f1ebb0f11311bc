//! What covers the panes: help, a question, an answer of several lines.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::Line,
    widgets::{Clear, Widget},
};

use super::{
    cells::{boxed, clip, row, width, wrap},
    help,
    theme::Role,
};
use crate::model::{Dialog, Model, Opening};

pub(super) fn draw(model: &Model, screen: Rect, buf: &mut Buffer) {
    let Some(dialog) = &model.dialog else { return };
    let theme = &model.theme;
    match dialog {
        Dialog::Help(offset) => {
            popup(model, " Help ", "j k scroll, Esc closes", help::lines(theme), *offset, screen, buf)
        }
        Dialog::Answer { title, lines, offset } => {
            let columns = usize::from(screen.width).saturating_sub(8);
            let lines = lines.iter().map(|line| Line::raw(clip(line, columns, theme.symbols.ellipsis))).collect();
            let title = format!(" {} ", clip(title, columns, theme.symbols.ellipsis));
            popup(model, &title, "j k scroll, Esc closes", lines, *offset, screen, buf);
        }
        Dialog::Confirm { question, .. } => {
            let lines = wrap(question, usize::from(screen.width).saturating_sub(10).min(70));
            let lines = lines.into_iter().map(Line::raw).collect();
            popup(model, " Really? ", "y yes, n no", lines, 0, screen, buf);
        }
        Dialog::Quit => popup(model, " Quit ", "", quit(model), 0, screen, buf),
    }
}

fn quit(model: &Model) -> Vec<Line<'static>> {
    let muted = model.theme.style(Role::Muted);
    let mut lines = vec![
        Line::raw("Enter  leave the network running (the default)"),
        Line::raw("s      stop the network: remove its containers and folders"),
        Line::raw("Esc    stay here"),
    ];
    match model.opening {
        Opening::Starting => {
            lines.insert(0, Line::styled("The network is still being started.", model.theme.style(Role::Converging)));
            lines.push(Line::styled("A start that is left half done is completed by the next `p2pnet`.", muted));
        }
        Opening::Open => lines.push(Line::styled("Ctrl-C again leaves it running too.", muted)),
        Opening::Looking | Opening::Failed(_) => return vec![Line::raw("Enter  quit"), Line::raw("Esc    stay here")],
    }
    lines
}

fn popup(
    model: &Model,
    title: &str,
    footer: &str,
    lines: Vec<Line<'static>>,
    offset: u16,
    screen: Rect,
    buf: &mut Buffer,
) {
    let widest = lines.iter().map(Line::width).max().unwrap_or(0).max(width(title)).max(width(footer) + 4);
    let across = u16::try_from(widest + 4).unwrap_or(u16::MAX).min(screen.width);
    let down = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(screen.height);
    let area = Rect {
        x: screen.x + (screen.width - across) / 2,
        y: screen.y + (screen.height - down) / 2,
        width: across,
        height: down,
    };
    Clear.render(area, buf);
    let style = model.theme.style(Role::Focus);
    let inner = boxed(model, Line::styled(title.to_owned(), style), footer, style, area, buf);
    let text = Rect { x: (inner.x + 1).min(inner.right()), width: inner.width.saturating_sub(1), ..inner };
    let offset = usize::from(offset).min(lines.len().saturating_sub(usize::from(inner.height)));
    for (i, line) in lines.into_iter().skip(offset).take(usize::from(inner.height)).enumerate() {
        row(text, i, line, buf);
    }
}
