//! Share of nodes that agree with the truth over the last two minutes, with what happened to the truth marked below.
//!
//! The curve is a step function: it holds a value until the next was seen. Where it moved within a column, the lowest value
//! is drawn, so that no dip is lost.

use p2pnet_shared::UnixMillis;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    cells::{duration, frame, row},
    theme::Role,
};
use crate::model::{
    Model,
    agreement::{MarkKind, WINDOW_MS},
    pane::Pane,
};

/// Columns for the scale.
const SCALE: u16 = 6;

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let none = model.theme.symbols.none;
    let show = |ms: Option<u64>| ms.map_or_else(|| none.to_owned(), duration);
    let times = [50, 99].map(|percent| show(model.agreement.percentile_ms(percent)));
    let footer = format!("time to converge p50 {} p99 {}", times[0], times[1]);
    let inner = frame(model, Pane::Agreement, "last 120 s", &footer, area, buf);
    if inner.width <= SCALE + 2 || inner.height < 4 {
        return;
    }
    let plot = Rect { x: inner.x + SCALE, width: inner.width - SCALE - 1, height: inner.height - 2, ..inner };
    curve(model, plot, buf);
    axis(model, inner, plot, buf);
    marks(model, inner, plot, buf);
}

/// From when to when column `i` of `columns` reaches.
fn span(model: &Model, i: usize, columns: usize) -> (UnixMillis, UnixMillis) {
    let start = model.picture.at.0.saturating_sub(WINDOW_MS);
    let edge = |i: usize| UnixMillis(start + WINDOW_MS * i as u64 / columns.max(1) as u64);
    (edge(i), edge(i + 1))
}

fn curve(model: &Model, plot: Rect, buf: &mut Buffer) {
    let style = model.theme.style(Role::Up);
    let (across, down) = if model.theme.symbols.braille { (2, 4) } else { (1, 1) };
    let (columns, rows) = (usize::from(plot.width) * across, usize::from(plot.height) * down);
    let mut dots = vec![0u8; usize::from(plot.width) * usize::from(plot.height)];
    let mut before: Option<usize> = None;
    for x in 0..columns {
        let (from, to) = span(model, x, columns);
        let Some(percent) = model.agreement.lowest(from, to) else {
            before = None;
            continue;
        };
        let y = ((100.0 - percent.clamp(0.0, 100.0)) / 100.0 * (rows - 1) as f32).round() as usize;
        let (top, bottom) = before.map_or((y, y), |last| (last.min(y), last.max(y)));
        for y in top..=bottom {
            dots[y / down * usize::from(plot.width) + x / across] |= dot(x % across, y % down);
        }
        before = Some(y);
    }
    for (i, pattern) in dots.into_iter().enumerate().filter(|(_, pattern)| *pattern != 0) {
        let (x, y) = (i % usize::from(plot.width), i / usize::from(plot.width));
        let glyph =
            if model.theme.symbols.braille { char::from_u32(0x2800 + u32::from(pattern)).unwrap_or('*') } else { '*' };
        if let Some(cell) = buf.cell_mut((plot.x + x as u16, plot.y + y as u16)) {
            cell.set_char(glyph).set_style(style);
        }
    }
}

/// The bit of one dot in a braille cell (Unicode §21.1).
fn dot(x: usize, y: usize) -> u8 {
    const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
    BITS[x][y]
}

fn axis(model: &Model, inner: Rect, plot: Rect, buf: &mut Buffer) {
    let muted = model.theme.style(Role::Muted);
    let (side, corner, line) = if model.theme.symbols.braille { ("│", "└", "─") } else { ("|", "+", "-") };
    for y in 0..usize::from(plot.height) {
        let label = match y {
            0 => " 100%",
            _ if y + 1 == usize::from(plot.height) => "   0%",
            _ if y == usize::from(plot.height) / 2 && plot.height > 6 => "  50%",
            _ => "     ",
        };
        row(Rect { width: SCALE, ..inner }, y, Line::styled(format!("{label}{side}"), muted), buf);
    }
    let base = format!("     {corner}{}", line.repeat(usize::from(plot.width)));
    row(inner, usize::from(plot.height), Line::styled(base, muted), buf);
}

/// Each mark on the axis with its words below, as far as there is room, the newest first.
fn marks(model: &Model, inner: Rect, plot: Rect, buf: &mut Buffer) {
    let theme = &model.theme;
    let start = UnixMillis(model.picture.at.0.saturating_sub(WINDOW_MS));
    let below = Rect { y: inner.y + plot.height + 1, height: 1, ..inner };
    let mut free_to = plot.right().saturating_sub(4);
    row(Rect { x: free_to, width: 4, ..below }, 0, Line::styled(" now", theme.style(Role::Muted)), buf);
    for mark in model.agreement.marks(start).collect::<Vec<_>>().into_iter().rev() {
        let x =
            plot.x + (mark.at.since(start).min(WINDOW_MS) * u64::from(plot.width.saturating_sub(1)) / WINDOW_MS) as u16;
        let (glyph, word, role) = match mark.kind {
            MarkKind::Down => (theme.symbols.dead, "down", Role::Dead),
            MarkKind::Up => (theme.symbols.starting, "up", Role::Up),
        };
        if x < plot.right() {
            row(
                Rect { x, y: inner.y + plot.height, width: 1, height: 1 },
                0,
                Span::styled(glyph, theme.style(role)),
                buf,
            );
        }
        let text = format!("{word} {} ", mark.count);
        let wide = text.len() as u16;
        let x = x.min(free_to.saturating_sub(wide));
        if x >= inner.x && x + wide <= free_to {
            row(Rect { x, width: wide, ..below }, 0, Line::styled(text, theme.style(role)), buf);
            free_to = x;
        }
    }
}

/// Disagreement in one line: flat while all is well.
pub(super) fn sparkline(model: &Model, area: Rect, buf: &mut Buffer) {
    let bars = &model.theme.symbols.bars;
    let columns = usize::from(area.width).saturating_sub(36).min(60);
    let mut line = String::from(" ");
    for x in 0..columns {
        let (from, to) = span(model, x, columns);
        match model.agreement.lowest(from, to) {
            Some(percent) => {
                let level = ((100.0 - percent.clamp(0.0, 100.0)) / 100.0 * 7.0).ceil() as usize;
                line.push_str(bars[level.min(7)]);
            }
            None => line.push(' '),
        }
    }
    let spans = vec![
        Span::styled(line, model.theme.style(Role::Up)),
        Span::styled("  disagreement, last 120 s", model.theme.style(Role::Muted)),
    ];
    row(area, 0, Line::from(spans), buf);
}
