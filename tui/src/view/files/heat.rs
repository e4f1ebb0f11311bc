//! How far one file has come on every node: a row a node, a column for each 64th of the file (or two or four of them).
//!
//! Those it is on its way to come first, each with whom it gets it from. Nodes that have all of it, or nothing, look alike:
//! where rows are few they are counted instead. Characters say what colours say.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    model::{
        Model,
        files::{Has, Heat, HeatRow, PARTS},
    },
    view::{
        cells::{clip, count, pad, row, width},
        theme::{Role, Theme},
    },
};

/// Columns of a name.
const NAME: usize = 10;
/// Columns of how much.
const PERCENT: usize = 4;

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let theme = &model.theme;
    let Some(heat) = &model.picture.files.heat else {
        let text = " nothing is on its way: a selected file is shown here";
        return row(area, 0, Line::styled(text, theme.style(Role::Muted)), buf);
    };
    let columns = usize::from(area.width);
    // As many parts as there is room for: all, or two or four of them in one column.
    let room = columns.saturating_sub(NAME + PERCENT);
    let Some(group) = [1, 2, 4, 8].into_iter().find(|group| PARTS / group <= room) else { return };
    row(area, 0, title(model, heat, columns), buf);
    row(area, 1, rarity(model, heat, group), buf);
    let height = usize::from(area.height).saturating_sub(2);
    let fits = heat.rows.len() <= height;
    let shown = if fits { height } else { height.saturating_sub(1) };
    for (i, of) in heat.rows.iter().take(shown).enumerate() {
        row(area, i + 2, line(theme, of, group, columns), buf);
    }
    if !fits {
        row(area, shown + 2, Line::styled(rest(&heat.rows[shown..]), theme.style(Role::Muted)), buf);
    }
}

fn title(model: &Model, heat: &Heat, columns: usize) -> Line<'static> {
    let theme = &model.theme;
    let name = heat.path.as_ref().map_or_else(|| format!("contents {:08x}", heat.root >> 32), ToString::to_string);
    let all = heat.rows.iter().filter(|row| row.live && row.has == Has::All).count();
    let chunks = heat.chunks.map_or_else(String::new, |chunks| format!(", {} chunks", count(chunks.into())));
    let text = format!("on {all} of {}{chunks}", heat.rows.iter().filter(|row| row.live).count());
    let name = clip(&name, columns.saturating_sub(width(&text) + 2), theme.symbols.ellipsis);
    Line::from(vec![
        Span::styled(name, theme.style(Role::Title)),
        Span::styled(format!("  {text}"), theme.style(Role::Muted)),
    ])
}

/// How many live nodes have each part: the rarest is the lowest.
fn rarity(model: &Model, heat: &Heat, group: usize) -> Line<'static> {
    let theme = &model.theme;
    let nodes = heat.rows.iter().filter(|row| row.live).count().max(1);
    let mut bars = String::new();
    for parts in heat.parts.chunks(group) {
        let live = parts.iter().copied().min().unwrap_or(0) as usize;
        bars.push_str(if live == 0 { " " } else { theme.symbols.bars[(live * 8).div_ceil(nodes).clamp(1, 8) - 1] });
    }
    let rarest = heat.parts.iter().copied().min().unwrap_or(0);
    Line::from(vec![
        Span::styled(pad("rarest", NAME, false, ""), theme.style(Role::Muted)),
        Span::styled(bars, theme.style(Role::Path)),
        Span::styled(pad(&format!("{rarest}"), PERCENT, true, ""), theme.style(Role::Muted)),
    ])
}

/// A column: all of it here, some of it, nothing.
fn glyphs(theme: &Theme, of: &HeatRow) -> [&'static str; 3] {
    match (&of.has, of.live, theme.symbols.braille) {
        (Has::All, true, true) => ["█", "█", "█"],
        (Has::All, true, false) => ["#", "#", "#"],
        (_, false, true) => ["░", "░", "·"],
        (_, false, false) => ["-", "-", "."],
        (_, true, true) => ["▓", "▒", "·"],
        (_, true, false) => ["+", ":", "."],
    }
}

fn line(theme: &Theme, of: &HeatRow, group: usize, columns: usize) -> Line<'static> {
    let [all, some, none] = glyphs(theme, of);
    let map = match &of.has {
        Has::All => u64::MAX,
        Has::Some { map, .. } => *map,
        Has::None => 0,
    };
    let whole = (1_u64 << group) - 1;
    let parts: String = (0..PARTS / group)
        .map(|at| match map >> (at * group) & whole {
            0 => none,
            part if part == whole => all,
            _ => some,
        })
        .collect();
    let role = match (&of.has, of.live) {
        (_, false) => Role::Muted,
        (Has::All, _) => Role::Up,
        (Has::Some { .. }, _) => Role::Converging,
        (Has::None, _) => Role::Muted,
    };
    let (percent, from) = match &of.has {
        Has::All if of.live => ("all".to_owned(), String::new()),
        Has::All => ("all".to_owned(), "  not up".to_owned()),
        Has::None if of.live => ("0%".to_owned(), String::new()),
        Has::None => ("0%".to_owned(), "  not up".to_owned()),
        Has::Some { here, chunks, sources, .. } => {
            let sources: Vec<String> = sources.iter().map(|(node, chunks)| format!("{node} {chunks}")).collect();
            let percent = u64::from(*here) * 100 / u64::from(*chunks).max(1);
            let from = if sources.is_empty() { String::new() } else { format!("  from {}", sources.join(", ")) };
            (format!("{percent}%"), from)
        }
    };
    let room = columns.saturating_sub(NAME + PARTS / group + PERCENT);
    Line::from(vec![
        Span::styled(pad(of.name.as_str(), NAME, false, theme.symbols.ellipsis), theme.style(role)),
        Span::styled(parts, theme.style(role)),
        Span::styled(pad(&percent, PERCENT, true, ""), theme.style(Role::Text)),
        Span::styled(clip(&from, room, theme.symbols.ellipsis), theme.style(Role::Muted)),
    ])
}

/// What there is no room for.
fn rest(rows: &[HeatRow]) -> String {
    let count = |what: fn(&Has) -> bool| rows.iter().filter(|row| what(&row.has)).count();
    let all = count(|has| *has == Has::All);
    let some = count(|has| matches!(has, Has::Some { .. }));
    let none = count(|has| *has == Has::None);
    let parts = [(some, "get it"), (all, "have all of it"), (none, "have nothing of it")];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    format!("and {} more: {}", rows.len(), parts.join(", "))
}
