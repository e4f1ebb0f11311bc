//! The pane of the ring: the circle, the numbers, the table of owners. Numbers first, the circle only where there is room.
//!
//! ```text
//! face circle   74×16  circle │ numbers        30×11 and less  numbers       158×32  circle │ numbers
//! face owners   the table alone                                                            │ table of owners
//! ```
//! circle.rs draws, numbers.rs counts, owners.rs lists; which of them goes where is [`Plan`].

use p2pnet_shared::telemetry::DiskState;
use ratatui::{
    buffer::Buffer,
    layout::{Margin, Rect},
};

use super::{
    cells::{count, frame, keys},
    theme::{Role, Theme},
};
use crate::model::{Model, pane::Pane, ring::RingFace};

mod circle;
mod numbers;
mod owners;

/// Columns that numbers need to say anything.
const NUMBERS_MIN: u16 = 30;
/// Columns that numbers make use of.
const NUMBERS_MAX: u16 = 84;
/// Rows below which a circle is no circle.
const CIRCLE_MIN: u16 = 8;
/// Rows of numbers above the table where both are shown.
const NUMBERS_ROWS: u16 = 15;

/// Which part goes where within the frame; a part without room is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    circle: Rect,
    numbers: Rect,
    owners: Rect,
}

impl Plan {
    /// For a pane of that area, its frame included.
    pub(crate) fn of_frame(area: Rect, face: RingFace) -> Self {
        Self::of(area.inner(Margin::new(1, 1)), face)
    }

    fn of(inner: Rect, face: RingFace) -> Self {
        if inner.width == 0 || inner.height == 0 {
            return Self::default();
        }
        if face == RingFace::Owners {
            return Self { owners: inner, ..Self::default() };
        }
        // A cell is twice as high as wide, so a circle of so many rows is twice as many columns wide.
        let room = inner.width.saturating_sub(NUMBERS_MIN + 1);
        let columns = room.min(inner.height * 2);
        if inner.height < CIRCLE_MIN || columns < CIRCLE_MIN * 2 {
            return Self { numbers: inner, ..Self::default() };
        }
        let circle = Rect { width: columns, ..inner };
        let rest = Rect { x: inner.x + columns + 1, width: (inner.width - columns - 1).min(NUMBERS_MAX), ..inner };
        if inner.height < NUMBERS_ROWS * 2 {
            return Self { circle, numbers: rest, ..Self::default() };
        }
        let numbers = Rect { height: NUMBERS_ROWS, ..rest };
        let owners = Rect { y: rest.y + NUMBERS_ROWS, height: rest.height - NUMBERS_ROWS, ..rest };
        Self { circle, numbers, owners }
    }

    /// How many rows of the table of owners there is room for.
    pub(crate) fn owner_rows(&self) -> usize {
        usize::from(self.owners.height.saturating_sub(1))
    }
}

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let symbols = &model.theme.symbols;
    let ring = &model.picture.ring;
    let title = match &ring.ring {
        Some(held) => {
            let (members, tokens) = (held.members().len() as u64, held.len() as u64);
            let many = if members == 1 { "" } else { "s" };
            let held = format!("{} member{many}, {} tokens", count(members), count(tokens));
            format!("{held} {} {}", symbols.dot, keys(ring.keys))
        }
        None => "no ring yet".to_owned(),
    };
    let plan = Plan::of_frame(area, model.ring.face);
    let footer = match model.ring.face {
        RingFace::Circle => "o: owners".to_owned(),
        RingFace::Owners => format!("{} {} o: circle", owners::place(model), symbols.dot),
    };
    frame(model, Pane::Ring, &title, &footer, area, buf);
    circle::draw(model, plan.circle, buf);
    numbers::draw(model, plan.numbers, buf);
    owners::draw(model, plan.owners, buf);
}

/// `312 B`, `4.1 KiB`, `2.3 MiB`: keys and values are small, so that whole kibibytes would hide them.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1_000.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `1.02 %`, `33 %`: a share of the ring.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 9.995 { format!("{percent:.1} %") } else { format!("{percent:.2} %") }
}

/// A disk's state in a word and why nothing is stored there; `None` for one that is as it should be.
pub(super) fn disk_trouble(disk: DiskState) -> Option<(&'static str, &'static str)> {
    match disk {
        DiskState::Fine => None,
        DiskState::Full => Some(("DISK FULL", "no room for new keys")),
        DiskState::Broken => Some(("DISK BROKEN", "cannot be read or written")),
    }
}

/// A bar of `part` of `whole`, so many columns wide; what is there at all is seen.
fn bar(theme: &Theme, part: u64, whole: u64, columns: usize) -> String {
    if whole == 0 || part == 0 {
        return String::new();
    }
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (u128::from(part.min(whole)) * columns as u128 * 8 / u128::from(whole)).max(1) as usize;
    if theme.symbols.braille {
        "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
    } else {
        "#".repeat(eighths.div_ceil(8))
    }
}

/// How a number of live copies is to be read: three are well, two are short, fewer are danger.
fn copies_role(copies: usize, wanted: u8) -> Role {
    match copies {
        _ if copies >= usize::from(wanted) => Role::Text,
        0 | 1 => Role::Dead,
        _ => Role::Warning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(width: u16, height: u16) -> Plan {
        Plan::of(Rect::new(3, 5, width, height), RingFace::Circle)
    }

    #[test]
    fn numbers_come_first_and_the_circle_where_there_is_room() {
        assert_eq!(plan(74, 16).circle, Rect::new(3, 5, 32, 16));
        assert_eq!(plan(74, 16).numbers, Rect::new(36, 5, 41, 16));
        assert_eq!((plan(43, 9).circle.area(), plan(43, 9).numbers.width), (0, 43));
        assert_eq!((plan(78, 12).circle.width, plan(78, 12).numbers.width), (24, 53));
        assert!(plan(158, 35).owner_rows() > 10 && plan(158, 35).circle.width == 70);
        assert_eq!(plan(74, 16).owner_rows(), 0);
    }

    #[test]
    fn no_part_lies_outside_or_on_another() {
        for (width, height) in (0..200).flat_map(|width| (0..60).map(move |height| (width, height))) {
            let area = Rect::new(3, 5, width, height);
            for face in [RingFace::Circle, RingFace::Owners] {
                let Plan { circle, numbers, owners } = Plan::of(area, face);
                for (a, b) in [(circle, numbers), (numbers, owners), (owners, circle)] {
                    assert_eq!(a.intersection(area).area(), a.area(), "{width}×{height}");
                    assert!(a.area() == 0 || b.area() == 0 || a.intersection(b).area() == 0, "{width}×{height}");
                }
            }
        }
    }

    #[test]
    fn sizes_and_shares_read_at_a_glance() {
        assert_eq!([size(0), size(312), size(4_200), size(2_400_000)], ["0 B", "312 B", "4.1 KiB", "2.3 MiB"]);
        assert_eq!([percent(0.0102), percent(0.333), percent(1.0)], ["1.02 %", "33.3 %", "100.0 %"]);
    }

    #[test]
    fn what_is_there_at_all_has_a_bar() {
        let theme = Theme::default();
        assert_eq!([bar(&theme, 1, 10_000, 10), bar(&theme, 10_000, 10_000, 4)], ["▏", "████"]);
        assert_eq!([bar(&theme, 0, 10, 4), bar(&theme, 0, 0, 4), bar(&theme, 5, 10, 4)], ["", "", "██"]);
    }
}
