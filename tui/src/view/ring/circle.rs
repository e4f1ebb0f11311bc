//! The ring as a circle of dots: 0 at the top, clockwise.
//!
//! ```text
//!     outside, two dots thick, a gap between     the selected node's arcs
//!     the circle, one dot, closed                the hash space; coloured by owner where there are colours
//!     spikes inwards: short, longer, longest     keys one copy short, two copies short, without any copy
//!     ◆ on the circle                            the key looked at; its holders are named inside
//! ```
//! A braille cell holds 2×4 dots and one colour, so of two dots of a cell the more important one gives the colour. Where
//! braille may not be used, a cell is one dot: `.` the circle, `#` the selected node's arcs, `2`, `1`, `0` spikes.
//!
//! Always holds: the circle is closed and touches nothing outside its area.

use p2pnet_shared::NodeName;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
};

use super::{super::cells::clip, percent};
use crate::{
    cluster::UnitState,
    model::{
        Model,
        ring::{PIECES, piece},
    },
    view::{
        cells::{keys, row, width},
        theme::{Depth, Role, Theme},
    },
};

/// Dots between the circle and the edge: a gap and the selected node's arcs.
const MARGIN: f64 = 3.2;
/// How far a spike goes inwards, dots, for keys with two copies, one, none.
const SPIKES: [f64; 3] = [5.0, 3.5, 2.0];

/// What a dot is about, the more important the larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ink {
    Owner(u8),
    Lit,
    Short(u8),
}

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    if area.width < 4 || area.height < 2 {
        return;
    }
    let geometry = Geometry::of(area, model.theme.symbols.braille);
    let short = shortest(model);
    let mut canvas = vec![Cell::default(); usize::from(area.width) * usize::from(area.height)];
    geometry.each_dot(|dot| {
        let Some(ink) = ink(model, &geometry, &short, &dot) else { return };
        let cell = &mut canvas[dot.cell];
        cell.pattern |= dot.bit;
        cell.ink = cell.ink.max(Some(ink));
    });
    for (i, cell) in canvas.iter().enumerate() {
        let Some(ink) = cell.ink else { continue };
        let at = (area.x + (i % usize::from(area.width)) as u16, area.y + (i / usize::from(area.width)) as u16);
        if let Some(target) = buf.cell_mut(at) {
            target.set_char(glyph(model, cell.pattern, ink)).set_style(style(&model.theme, ink));
        }
    }
    inside(model, &geometry, area, buf);
    key_mark(model, &geometry, buf);
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    pattern: u8,
    ink: Option<Ink>,
}

/// One dot near the circle.
struct Dot {
    cell: usize,
    bit: u8,
    /// From the centre, dots.
    distance: f64,
    piece: usize,
}

/// Where the circle is, in dots.
struct Geometry {
    area: Rect,
    /// Dots of a cell across and down.
    per_cell: (u16, u16),
    /// How much wider than high a dot is drawn.
    stretch: f64,
    centre: (f64, f64),
    radius: f64,
    margin: f64,
}

impl Geometry {
    fn of(area: Rect, braille: bool) -> Self {
        let per_cell = if braille { (2, 4) } else { (1, 1) };
        // Without braille a dot is a cell, twice as high as wide: across, two of them count as one.
        let stretch = if braille { 1.0 } else { 0.5 };
        let (across, down) = (f64::from(area.width * per_cell.0), f64::from(area.height * per_cell.1));
        let margin = if braille { MARGIN } else { 1.2 };
        let radius = ((across - 1.0) * stretch).min(down - 1.0) / 2.0 - margin;
        Self { area, per_cell, stretch, centre: ((across - 1.0) / 2.0, (down - 1.0) / 2.0), radius, margin }
    }

    /// Calls back for every dot that could be drawn.
    fn each_dot(&self, mut with: impl FnMut(Dot)) {
        let deepest = self.radius - SPIKES[0] - 1.5;
        for y in 0..self.area.height * self.per_cell.1 {
            for x in 0..self.area.width * self.per_cell.0 {
                let (dx, dy) = ((f64::from(x) - self.centre.0) * self.stretch, f64::from(y) - self.centre.1);
                let distance = dx.hypot(dy);
                if distance < deepest || distance > self.radius + self.margin {
                    continue;
                }
                let turn = (dx.atan2(-dy) / std::f64::consts::TAU).rem_euclid(1.0);
                let piece = ((turn * PIECES as f64) as usize).min(PIECES - 1);
                let (column, line) = (x / self.per_cell.0, y / self.per_cell.1);
                let cell = usize::from(line) * usize::from(self.area.width) + usize::from(column);
                let bit = BITS[usize::from(x % self.per_cell.0)][usize::from(y % self.per_cell.1)];
                with(Dot { cell, bit, distance, piece });
            }
        }
    }

    /// How many pieces one dot of the circle stands for, at least one.
    fn pieces_per_dot(&self) -> usize {
        (PIECES as f64 / (std::f64::consts::TAU * self.radius.max(1.0))).ceil() as usize
    }

    /// How many columns of a row lie inside the circle, and inside its spikes if it has any.
    fn room_inside(&self, row: usize, spikes: bool) -> usize {
        let reach = self.radius
            - if self.per_cell.0 == 1 {
                1.0
            } else if spikes {
                SPIKES[0]
            } else {
                2.0
            };
        let per_row = f64::from(self.per_cell.1);
        let (upper, lower) = (row as f64 * per_row - self.centre.1, (row + 1) as f64 * per_row - 1.0 - self.centre.1);
        let off = upper.abs().max(lower.abs());
        let dots = (reach * reach - off * off).max(0.0).sqrt() * 2.0 / self.stretch;
        (dots / f64::from(self.per_cell.0)) as usize
    }

    /// The cell in which a piece of the circle lies.
    fn cell_of(&self, piece: usize) -> (u16, u16) {
        let angle = (piece as f64 + 0.5) / PIECES as f64 * std::f64::consts::TAU;
        let x = self.centre.0 + self.radius * angle.sin() / self.stretch;
        let y = self.centre.1 - self.radius * angle.cos();
        let cell = |dots: f64, per_cell: u16, cells: u16| ((dots.round().max(0.0) as u16) / per_cell).min(cells - 1);
        let x = cell(x, self.per_cell.0, self.area.width);
        (self.area.x + x, self.area.y + cell(y, self.per_cell.1, self.area.height))
    }
}

/// The bit of one dot in a braille cell (Unicode §21.1).
const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// Of each piece, the fewest copies that a key in it has, if any is short.
fn shortest(model: &Model) -> Vec<Option<u8>> {
    let mut pieces = vec![None; PIECES];
    for (place, copies) in &model.picture.ring.short {
        let held: &mut Option<u8> = &mut pieces[piece(*place)];
        *held = Some(held.map_or(*copies, |fewest| fewest.min(*copies)));
    }
    pieces
}

/// What is drawn at a dot, if anything.
fn ink(model: &Model, geometry: &Geometry, short: &[Option<u8>], dot: &Dot) -> Option<Ink> {
    let off = dot.distance - geometry.radius;
    // A dot stands for several pieces: what is true of one of them is seen.
    let span = geometry.pieces_per_dot();
    let near = || (0..span).map(|step| (dot.piece + PIECES + step - span / 2) % PIECES);
    let thin = if geometry.per_cell.0 == 2 { 0.5 } else { 0.45 };
    if off.abs() <= thin {
        if geometry.per_cell.0 == 1
            && let Some(few) = near().filter_map(|piece| short[piece]).min()
        {
            return Some(Ink::Short(few));
        }
        let tint = model.ring.arcs.owner(dot.piece).map_or(3, |owner| owner % 3);
        return Some(Ink::Owner(tint as u8));
    }
    if off > 0.0 {
        let outside = off > geometry.margin - 2.0 && near().any(|piece| model.ring.arcs.is_lit(piece));
        return outside.then_some(Ink::Lit);
    }
    let few = near().filter_map(|piece| short[piece]).min().filter(|_| geometry.per_cell.0 == 2)?;
    (-off <= SPIKES[usize::from(few).min(2)]).then_some(Ink::Short(few))
}

fn glyph(model: &Model, pattern: u8, ink: Ink) -> char {
    if model.theme.symbols.braille {
        return char::from_u32(0x2800 + u32::from(pattern)).unwrap_or('*');
    }
    match ink {
        Ink::Owner(_) => '.',
        Ink::Lit => '#',
        Ink::Short(few) => char::from_digit(u32::from(few), 10).unwrap_or('+'),
    }
}

/// Shades of one hue and none with a meaning of its own: neighbours are to be told apart, not to be known.
fn style(theme: &Theme, ink: Ink) -> Style {
    match ink {
        Ink::Short(few) => theme.style(if few < 2 { Role::Dead } else { Role::Warning }),
        Ink::Lit => theme.style(Role::Title),
        Ink::Owner(tint) => Style::new().fg(tints(theme.depth)[usize::from(tint.min(3))]),
    }
}

fn tints(depth: Depth) -> [Color; 4] {
    match depth {
        Depth::True => [0x56_B4_E9, 0x2B_7F_B8, 0xA9_D6_F0, 0x99_99_99].map(Color::from_u32),
        Depth::Indexed => [74, 31, 153, 246].map(Color::Indexed),
        Depth::Sixteen => [Color::LightBlue, Color::Blue, Color::Cyan, Color::DarkGray],
        Depth::Mono => [Color::Reset; 4],
    }
}

/// The key looked at and who is to hold it, or the selected node and its part, in the middle of the circle.
fn inside(model: &Model, geometry: &Geometry, area: Rect, buf: &mut Buffer) {
    let theme = &model.theme;
    let symbols = &theme.symbols;
    let ring = &model.picture.ring;
    let mut lines: Vec<(String, Role)> = Vec::new();
    if let Some(key) = &ring.key {
        lines.push((format!("{} {}", symbols.mark, key.focus.key), Role::Path));
        for (i, (name, holds)) in key.replicas.iter().enumerate() {
            let (glyph, role) = holder(model, name, *holds);
            lines.push((format!("{} {name} {glyph}", i + 1), role));
        }
    } else if let Some(owner) = model.nodes.selected.as_ref().and_then(|name| ring.owner(name)) {
        lines.push((owner.name.to_string(), Role::Title));
        if owner.share > 0.0 {
            lines.push((percent(owner.share), Role::Text));
            lines.push((keys(owner.keys), Role::Text));
        } else {
            lines.push(("off the ring".to_owned(), Role::Dead));
        }
    } else if ring.ring.is_none() {
        lines.push(("no ring".to_owned(), Role::Muted));
    }
    if lines.len() > usize::from(area.height) {
        return;
    }
    let top = (usize::from(area.height) - lines.len()).div_ceil(2);
    for (i, (text, role)) in lines.into_iter().enumerate() {
        let text = clip(&text, geometry.room_inside(top + i, !ring.short.is_empty()), symbols.ellipsis);
        let wide = width(&text) as u16;
        let at = Rect { x: area.x + area.width.saturating_sub(wide) / 2, width: wide, ..area };
        row(at, top + i, ratatui::text::Line::styled(text, theme.style(role)), buf);
    }
}

/// Whether a replica holds the key, as a glyph.
pub(super) fn holder(model: &Model, name: &NodeName, holds: bool) -> (&'static str, Role) {
    let symbols = &model.theme.symbols;
    let state = model.picture.node(name).map(|node| node.state);
    match state {
        Some(UnitState::Dead | UnitState::Left) => (symbols.dead, Role::Dead),
        Some(UnitState::Paused) => (symbols.paused, Role::Muted),
        _ if holds => (symbols.check, Role::Up),
        _ if model.picture.ring.key.as_ref().is_some_and(|key| !key.known) => (symbols.none, Role::Muted),
        _ => (symbols.converging, Role::Converging),
    }
}

fn key_mark(model: &Model, geometry: &Geometry, buf: &mut Buffer) {
    let Some(key) = &model.picture.ring.key else { return };
    let at = geometry.cell_of(piece(key.focus.place));
    if let Some(cell) = buf.cell_mut(at) {
        cell.set_symbol(model.theme.symbols.mark).set_style(model.theme.style(Role::Path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dots of the bare circle, as a field of true and false with a border of false.
    fn dots(columns: u16, rows: u16, braille: bool) -> (Geometry, Vec<Vec<bool>>) {
        let area = Rect::new(0, 0, columns, rows);
        let geometry = Geometry::of(area, braille);
        let (across, down) = (columns * geometry.per_cell.0, rows * geometry.per_cell.1);
        let mut field = vec![vec![false; usize::from(across) + 2]; usize::from(down) + 2];
        let model = Model::default();
        geometry.each_dot(|dot| {
            if !matches!(ink(&model, &geometry, &vec![None; PIECES], &dot), Some(Ink::Owner(_))) {
                return;
            }
            let (column, line) = (dot.cell % usize::from(columns), dot.cell / usize::from(columns));
            for (x, y) in (0..geometry.per_cell.0).flat_map(|x| (0..geometry.per_cell.1).map(move |y| (x, y))) {
                if BITS[usize::from(x)][usize::from(y)] == dot.bit {
                    let x = column * usize::from(geometry.per_cell.0) + usize::from(x);
                    field[line * usize::from(geometry.per_cell.1) + usize::from(y) + 1][x + 1] = true;
                }
            }
        });
        (geometry, field)
    }

    /// From the border inwards over empty dots, up, down, left and right: what is not reached is enclosed.
    fn reached(field: &[Vec<bool>]) -> Vec<Vec<bool>> {
        let (height, width) = (field.len(), field[0].len());
        let mut seen = vec![vec![false; width]; height];
        let mut ahead = vec![(0, 0)];
        while let Some((x, y)) = ahead.pop() {
            if field[y][x] || std::mem::replace(&mut seen[y][x], true) {
                continue;
            }
            let sides = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
            ahead.extend(sides.into_iter().filter(|(x, y)| *x < width && *y < height));
        }
        seen
    }

    #[test]
    fn the_circle_is_round_closed_and_fits() {
        for rows in 8..40 {
            for columns in [rows * 2, rows * 2 + 1, rows * 2 - 3] {
                let (geometry, field) = dots(columns, rows, true);
                let outside = reached(&field);
                let (x, y) = (geometry.centre.0 as usize + 1, geometry.centre.1 as usize + 1);
                assert!(!outside[y][x], "{columns}×{rows}: the circle has a hole");
                let drawn = field.iter().flatten().filter(|dot| **dot).count() as f64;
                let around = geometry.radius * std::f64::consts::TAU;
                assert!((drawn - around).abs() <= around * 0.1 + 8.0, "{columns}×{rows}: {drawn} dots, about {around}");
                for (y, line) in field.iter().enumerate() {
                    for (x, _) in line.iter().enumerate().filter(|(_, dot)| **dot) {
                        let (dx, dy) = (x as f64 - 1.0 - geometry.centre.0, y as f64 - 1.0 - geometry.centre.1);
                        assert!((dx.hypot(dy) - geometry.radius).abs() <= 0.5, "{columns}×{rows}: not round");
                    }
                }
            }
        }
    }

    #[test]
    fn the_top_is_zero_and_it_goes_clockwise() {
        let geometry = Geometry::of(Rect::new(10, 20, 32, 16), true);
        let quarter = PIECES / 4;
        let (top, right) = (geometry.cell_of(0), geometry.cell_of(quarter));
        let (bottom, left) = (geometry.cell_of(quarter * 2), geometry.cell_of(quarter * 3));
        assert!(top.1 < right.1 && right.1 < bottom.1 && left.0 < top.0 && bottom.0 < right.0);
        assert!(right.1.abs_diff(left.1) <= 1 && top.0.abs_diff(bottom.0) <= 1, "of an even number none is the middle");
        let mut pieces = Vec::new();
        geometry.each_dot(|dot| pieces.push(dot.piece));
        assert!(pieces.iter().all(|piece| *piece < PIECES));
    }

    #[test]
    fn a_circle_of_letters_is_closed_to_the_eye() {
        let (_, field) = dots(32, 16, false);
        let drawn = field.iter().flatten().filter(|dot| **dot).count();
        assert!(drawn > 40, "{drawn}");
        let rows = field.iter().filter(|line| line.iter().any(|dot| *dot)).count();
        assert!(rows >= 13, "{rows} rows");
    }

    #[test]
    fn more_copies_lost_make_a_longer_spike() {
        let mut model = Model::default();
        let lengths = [2u8, 1, 0].map(|copies| {
            model.picture.ring.short = vec![(p2pnet_shared::ring::Place(1 << 62), copies)];
            let geometry = Geometry::of(Rect::new(0, 0, 32, 16), true);
            let short = shortest(&model);
            let mut dots = 0;
            geometry.each_dot(|dot| {
                dots += usize::from(matches!(ink(&model, &geometry, &short, &dot), Some(Ink::Short(_))));
            });
            dots
        });
        assert!(0 < lengths[0] && lengths[0] < lengths[1] && lengths[1] < lengths[2], "{lengths:?}");
    }
}
