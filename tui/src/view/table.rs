//! What every table has in common: columns that drop where it is narrow, headings, rows of which one is selected.
//!
//! ```text
//!        NODE       FILES     BYTES      headings: what the rows are ordered by is underlined
//!  ●     node1        412   3.1 MiB      so many marks, then cells with a gap behind each
//! ```

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Modifier,
    text::{Line, Span},
};

use super::{
    cells::{pad, restyle, row},
    theme::{Role, Theme},
};

/// How a column looks.
pub(super) struct Shape {
    pub(super) heading: &'static str,
    pub(super) width: usize,
    right: bool,
    /// Drops sooner the larger it is; 0 never.
    drop: u8,
}

/// A column of words.
pub(super) const fn left(heading: &'static str, width: usize, drop: u8) -> Shape {
    Shape { heading, width, right: false, drop }
}

/// A column of numbers.
pub(super) const fn right(heading: &'static str, width: usize, drop: u8) -> Shape {
    Shape { heading, width, right: true, drop }
}

impl Shape {
    /// A text in this column, cut or filled up.
    pub(super) fn cell(&self, text: &str, ellipsis: &str) -> String {
        pad(text, self.width, self.right, ellipsis)
    }
}

/// Which columns fit side by side in `width` behind so many marks, with `gap` between them.
pub(super) fn fitting<'a, C>(
    columns: &'a [C],
    width: u16,
    marks: usize,
    gap: &str,
    shape: impl Fn(&C) -> &Shape,
) -> Vec<&'a C> {
    // The gap behind the last one may be cut off.
    let room = (usize::from(width) + gap.len()).saturating_sub(marks);
    let mut columns: Vec<&C> = columns.iter().collect();
    while columns.iter().map(|column| shape(column).width + gap.len()).sum::<usize>() > room {
        let droppable = (0..columns.len()).filter(|at| shape(columns[*at]).drop > 0);
        let Some(at) = droppable.max_by_key(|at| shape(columns[*at]).drop) else { break };
        columns.remove(at);
    }
    columns
}

/// The line above a table: each column's heading, and whether the rows are ordered by it.
pub(super) fn headings<'a>(
    theme: &Theme,
    marks: usize,
    gap: &'static str,
    columns: impl Iterator<Item = (&'a Shape, bool)>,
) -> Line<'static> {
    let style = theme.style(Role::Muted);
    let mut spans = vec![Span::raw(" ".repeat(marks))];
    for (shape, is_order) in columns {
        let style = if is_order { style.add_modifier(Modifier::UNDERLINED) } else { style };
        spans.push(Span::styled(shape.cell(shape.heading, ""), style));
        spans.push(Span::raw(gap));
    }
    Line::from(spans)
}

/// Draws rows below the headings, each with whether it is the selected one. Only those that there is room for are made.
pub(super) fn rows(theme: &Theme, area: Rect, rows: impl Iterator<Item = (Line<'static>, bool)>, buf: &mut Buffer) {
    let room = usize::from(area.height).saturating_sub(1);
    for (i, (line, is_selected)) in rows.take(room).enumerate() {
        row(area, i + 1, line, buf);
        if is_selected {
            restyle(area, i + 1, theme.selection(), buf);
        }
    }
}
