//! The table of owners: each node's part of the ring and what it holds of it, bad disks in red with the reason.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Modifier,
    text::{Line, Span},
};

use super::{bar, disk_trouble, percent, size};
use crate::{
    model::{
        Model,
        ring::{Owner, OwnersBy},
    },
    view::{
        cells::{count, fitting, pad, restyle, row},
        theme::Role,
    },
};

/// One column: heading, width, whether to the right, and what it sorts by.
struct Column {
    heading: &'static str,
    width: usize,
    right: bool,
    by: Option<OwnersBy>,
    /// Drops sooner the larger it is; 0 never.
    drop: u8,
}

const fn column(heading: &'static str, width: usize, right: bool, drop: u8, by: Option<OwnersBy>) -> Column {
    Column { heading, width, right, by, drop }
}

const COLUMNS: [Column; 7] = [
    column("NODE", 11, false, 0, Some(OwnersBy::Name)),
    column("SHARE", 8, true, 0, Some(OwnersBy::Share)),
    column("KEYS", 7, true, 0, Some(OwnersBy::Keys)),
    column("OWNED", 7, true, 2, None),
    column("MISPLACED", 9, true, 3, None),
    column("BYTES", 9, true, 1, Some(OwnersBy::Bytes)),
    column("DISK", 12, false, 0, Some(OwnersBy::Disk)),
];

/// Glyph and the place of the looked-at key before the first column.
const MARKS: usize = 4;

/// Which row of how many is selected.
pub(super) fn place(model: &Model) -> String {
    let owners = &model.picture.ring.owners;
    let at = model.ring.position(owners, model.nodes.selected.as_ref()).map_or(0, |at| at + 1);
    let order = format!("sort {}{}", model.ring.sort.heading(), if model.ring.reversed { " reversed" } else { "" });
    format!("{at}/{} {} {order}", owners.len(), model.theme.symbols.dot)
}

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let owners = &model.picture.ring.owners;
    let columns = fitting(&COLUMNS, (usize::from(area.width) + 1).saturating_sub(MARKS), |column| {
        (column.width + 1, column.drop)
    });
    let used: usize = MARKS + columns.iter().map(|column| column.width + 1).sum::<usize>();
    let room = usize::from(area.width).saturating_sub(used);
    row(area, 0, headings(model, &columns), buf);
    if owners.is_empty() {
        row(area, 2, Line::styled("  nobody is on the ring yet", model.theme.style(Role::Muted)), buf);
        return;
    }
    let most = owners.iter().map(|owner| owner.keys).max().unwrap_or(0);
    let height = usize::from(area.height).saturating_sub(1);
    for (i, owner) in
        model.ring.order.iter().skip(model.ring.offset).take(height).filter_map(|at| owners.get(*at)).enumerate()
    {
        row(area, i + 1, line(model, owner, &columns, most, room), buf);
        if model.nodes.selected.as_ref() == Some(&owner.name) {
            restyle(area, i + 1, model.theme.selection(), buf);
        }
    }
}

fn headings(model: &Model, columns: &[&Column]) -> Line<'static> {
    let style = model.theme.style(Role::Muted);
    let mut spans = vec![Span::raw(" ".repeat(MARKS))];
    for column in columns {
        let sorted = column.by == Some(model.ring.sort);
        let text = pad(column.heading, column.width, column.right, "");
        spans.push(Span::styled(text, if sorted { style.add_modifier(Modifier::UNDERLINED) } else { style }));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

fn line(model: &Model, owner: &Owner, columns: &[&Column], most: u64, room: usize) -> Line<'static> {
    let theme = &model.theme;
    let symbols = &theme.symbols;
    let trouble = disk_trouble(owner.disk).filter(|_| owner.live);
    let (glyph, role) = match (owner.live, trouble) {
        (false, _) => (symbols.dead, Role::Muted),
        (true, Some(_)) => (symbols.dead, Role::Dead),
        (true, None) => (symbols.up, Role::Up),
    };
    let holds = match model.picture.ring.holds_focus(&owner.name) {
        Some(0) => symbols.mark.to_owned(),
        Some(replica) => replica.to_string(),
        None => " ".to_owned(),
    };
    let mut spans = vec![
        Span::styled(format!(" {glyph}"), theme.style(role)),
        Span::styled(holds, theme.style(Role::Path)),
        Span::raw(" "),
    ];
    let plain = if owner.live { Role::Text } else { Role::Muted };
    for column in columns {
        if let Some((word, why)) = trouble.filter(|_| column.heading == "OWNED" || column.heading == "BYTES") {
            // Why it is red matters more than the numbers to the right of here.
            spans.push(Span::styled(format!(" {word}: {why}"), theme.style(Role::Dead)));
            return Line::from(spans);
        }
        let (text, role) = match column.heading {
            "NODE" => (owner.name.to_string(), role),
            "SHARE" if owner.share == 0.0 => (symbols.none.to_owned(), Role::Muted),
            "SHARE" => (percent(owner.share), plain),
            "KEYS" => (count(owner.keys), plain),
            "OWNED" => (count(owner.owned), plain),
            "MISPLACED" => (count(owner.misplaced), if owner.misplaced > 0 { Role::Path } else { Role::Muted }),
            "BYTES" => (size(owner.bytes), plain),
            _ => match trouble {
                Some((word, _)) => (word.to_owned(), Role::Dead),
                None if owner.live => ("fine".to_owned(), Role::Muted),
                None => (symbols.none.to_owned(), Role::Muted),
            },
        };
        spans.push(Span::styled(pad(&text, column.width, column.right, symbols.ellipsis), theme.style(role)));
        spans.push(Span::raw(" "));
    }
    if room >= 4 {
        spans.push(Span::styled(bar(theme, owner.keys, most, room.min(30)), theme.style(Role::Muted)));
    }
    Line::from(spans)
}
