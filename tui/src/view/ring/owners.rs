//! The table of owners: each node's part of the ring and what it holds of it, bad disks in red with the reason.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{bar, disk_trouble, percent, size};
use crate::{
    model::{
        Model,
        ring::{Owner, OwnersBy},
    },
    view::{
        cells::{count, row},
        table::{Shape, fitting, headings, left, right, rows},
        theme::Role,
    },
};

/// One column, and what it sorts by.
struct Column {
    shape: Shape,
    by: Option<OwnersBy>,
}

const COLUMNS: [Column; 7] = [
    Column { shape: left("NODE", 11, 0), by: Some(OwnersBy::Name) },
    Column { shape: right("SHARE", 8, 0), by: Some(OwnersBy::Share) },
    Column { shape: right("KEYS", 7, 0), by: Some(OwnersBy::Keys) },
    Column { shape: right("OWNED", 7, 2), by: None },
    Column { shape: right("MISPLACED", 9, 3), by: None },
    Column { shape: right("BYTES", 9, 1), by: Some(OwnersBy::Bytes) },
    Column { shape: left("DISK", 12, 0), by: Some(OwnersBy::Disk) },
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
    let columns = fitting(&COLUMNS, area.width, MARKS, " ", |column| &column.shape);
    let used: usize = MARKS + columns.iter().map(|column| column.shape.width + 1).sum::<usize>();
    let room = usize::from(area.width).saturating_sub(used);
    let headed = columns.iter().map(|column| (&column.shape, column.by == Some(model.ring.sort)));
    row(area, 0, headings(&model.theme, MARKS, " ", headed), buf);
    if owners.is_empty() {
        row(area, 2, Line::styled("  nobody is on the ring yet", model.theme.style(Role::Muted)), buf);
        return;
    }
    let most = owners.iter().map(|owner| owner.keys).max().unwrap_or(0);
    let selected = model.nodes.selected.as_ref();
    let shown = model.ring.order.iter().skip(model.ring.offset).filter_map(|at| owners.get(*at));
    let lines = shown.map(|owner| (line(model, owner, &columns, most, room), selected == Some(&owner.name)));
    rows(&model.theme, area, lines, buf);
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
        if let Some((word, why)) =
            trouble.filter(|_| column.shape.heading == "OWNED" || column.shape.heading == "BYTES")
        {
            // Why it is red matters more than the numbers to the right of here.
            spans.push(Span::styled(format!(" {word}: {why}"), theme.style(Role::Dead)));
            return Line::from(spans);
        }
        let (text, role) = match column.shape.heading {
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
        spans.push(Span::styled(column.shape.cell(&text, symbols.ellipsis), theme.style(role)));
        spans.push(Span::raw(" "));
    }
    if room >= 4 {
        spans.push(Span::styled(bar(theme, owner.keys, most, room.min(30)), theme.style(Role::Muted)));
    }
    Line::from(spans)
}
