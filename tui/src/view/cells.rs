//! Small things every pane needs: rows, clipped text, frames, durations, sizes. None of them can write off the screen.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Block, Widget},
};

use crate::{
    model::{Model, pane::Pane},
    view::theme::Role,
};

/// Draws a frame and returns what is inside. The focused pane's frame is lit, and its title is bold.
pub(super) fn frame(model: &Model, pane: Pane, title: &str, footer: &str, area: Rect, buf: &mut Buffer) -> Rect {
    let theme = &model.theme;
    let focused = model.focus == pane;
    let style = theme.style(if focused { Role::Focus } else { Role::Muted });
    let name = format!(" {} {} ", pane.digit(), pane.title());
    let mut top = vec![Span::styled(name, theme.style(if focused { Role::Focus } else { Role::Title }))];
    if !title.is_empty() {
        top.push(Span::raw(format!("{} {title} ", theme.symbols.dot)));
    }
    boxed(model, Line::from(top), footer, style, area, buf)
}

/// A frame with any title.
pub(super) fn boxed(model: &Model, title: Line<'_>, footer: &str, style: Style, area: Rect, buf: &mut Buffer) -> Rect {
    let mut block = Block::bordered().border_set(model.theme.border()).border_style(style).title_top(title);
    if !footer.is_empty() && area.width > 30 {
        block = block.title_bottom(Line::from(format!(" {footer} ")).right_aligned());
    }
    let inner = block.inner(area);
    block.render(area, buf);
    inner
}

/// Draws a line on the `row`th row of `area`, cut at its edge; rows outside are left out.
pub(super) fn row(area: Rect, row: usize, line: impl Into<Line<'static>>, buf: &mut Buffer) {
    if row < usize::from(area.height) {
        let at = Rect { y: area.y + row as u16, height: 1, ..area };
        line.into().render(at, buf);
    }
}

/// Restyles the `row`th row of `area`.
pub(super) fn restyle(area: Rect, row: usize, style: Style, buf: &mut Buffer) {
    if row < usize::from(area.height) {
        buf.set_style(Rect { y: area.y + row as u16, height: 1, ..area }, style);
    }
}

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { Span::raw(text).width() }
}

/// At most `columns` of a text; what was cut off is told by an ellipsis. Control characters become blanks: texts come
/// from outside, and an escape sequence is none of ours.
pub(super) fn clip(text: &str, columns: usize, ellipsis: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if width(&clean) <= columns {
        return clean;
    }
    let room = columns.saturating_sub(width(ellipsis));
    let mut cut = String::new();
    let mut used = 0;
    for c in clean.chars() {
        let mut bytes = [0; 4];
        used += width(c.encode_utf8(&mut bytes));
        if used > room {
            break;
        }
        cut.push(c);
    }
    if columns > 0 {
        cut.push_str(ellipsis);
    }
    cut
}

/// Words in lines of at most `columns`.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && width(&line) + width(word) + 1 > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&clip(word, columns, "~"));
    }
    lines.push(line);
    lines
}

/// A text in a column of fixed width, cut or filled up.
pub(super) fn pad(text: &str, columns: usize, right: bool, ellipsis: &str) -> String {
    let text = clip(text, columns, ellipsis);
    let blanks = " ".repeat(columns.saturating_sub(width(&text)));
    if right { blanks + &text } else { text + &blanks }
}

/// `0.8 s`, `3.1 s`, `41 s`, `6:02`, `1:06:02`, `3 d`.
pub(super) fn duration(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..10 => format!("{}.{} s", s, ms % 1_000 / 100),
        10..60 => format!("{s} s"),
        60..3_600 => format!("{}:{:02}", s / 60, s % 60),
        3_600..172_800 => format!("{}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60),
        _ => format!("{} d", s / 86_400),
    }
}

/// A duration in whole seconds: for ages, which nobody reads in tenths.
pub(super) fn age(ms: u64) -> String {
    if ms < 60_000 { format!("{} s", ms / 1_000) } else { duration(ms) }
}

/// `4.9M`, `9.1G`.
pub(super) fn bytes(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    match kib {
        _ if kib < 1_000.0 => format!("{kib:.0}K"),
        _ if kib < 1_000.0 * 1024.0 => format!("{:.1}M", kib / 1024.0),
        _ => format!("{:.1}G", kib / 1024.0 / 1024.0),
    }
}

/// `4,040`: people compare these by eye.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 key`, `4,040 keys`.
pub(super) fn keys(number: u64) -> String {
    if number == 1 { "1 key".to_owned() } else { format!("{} keys", count(number)) }
}

/// `12:34:56.789`, the UTC time of day.
pub(super) fn clock(at: p2pnet_shared::UnixMillis) -> String {
    let (s, ms) = (at.0 / 1_000 % 86_400, at.0 % 1_000);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3_600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_columns_and_never_carries_escapes() {
        assert_eq!(clip("hello", 5, "…"), "hello");
        assert_eq!(clip("hello world", 6, "…"), "hello…");
        assert_eq!(clip("日本語", 5, "…"), "日本…");
        assert_eq!(clip("a\x1b[31mb", 20, "…"), "a [31mb");
        assert_eq!(clip("abc", 0, "…"), "");
        assert_eq!(pad("日", 4, true, "…"), "  日");
    }

    #[test]
    fn numbers_read_at_a_glance() {
        assert_eq!([duration(840), duration(41_000), duration(362_000)], ["0.8 s", "41 s", "6:02"]);
        assert_eq!([duration(3_962_000), age(3_100)], ["1:06:02", "3 s"]);
        assert_eq!([bytes(5_138_022), bytes(9_771_050_598), bytes(0)], ["4.9M", "9.1G", "0K"]);
        assert_eq!([count(4_040), count(12), count(1_234_567)], ["4,040", "12", "1,234,567"]);
        assert_eq!(clock(p2pnet_shared::UnixMillis(1_763_728_463_902)), "12:34:23.902");
    }
}
