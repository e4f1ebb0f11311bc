//! The pane of the shared folder: what holds for all of it, every node's part, the files, and how far one of them is where.
//!
//! ```text
//! little room   lines over the table of nodes, or (o) over the files and the heat map of one
//! much room     lines over the table of nodes over files │ heat map
//! ```
//! lines.rs tells, nodes.rs and list.rs are tables, heat.rs draws; which of them goes where is [`Plan`].

use p2pnet_shared::telemetry::FolderState;
use ratatui::{
    buffer::Buffer,
    layout::{Margin, Rect},
};

use super::{
    cells::{count, frame},
    ring::size,
    theme::{Role, Theme},
};
use crate::{
    cluster::UnitState,
    model::{
        Model,
        files::{FilesFace, FolderRow},
        pane::Pane,
    },
};

mod heat;
mod lines;
mod list;
mod nodes;

/// Rows of lines about the whole.
const LINES: u16 = 4;
/// Rows from which on everything is shown at once.
const ALL_ROWS: u16 = 28;
/// Columns a heat map takes beside the files: a name, all 64 parts, how much.
const HEAT_WIDE: u16 = 84;
/// The same with half as many parts.
const HEAT_NARROW: u16 = 50;
/// Columns that files need beside it.
const LIST_MIN: u16 = 46;

/// Which part goes where within the frame; a part without room is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    lines: Rect,
    nodes: Rect,
    list: Rect,
    heat: Rect,
}

impl Plan {
    /// For a pane of that area, its frame included.
    pub(crate) fn of_frame(area: Rect, face: FilesFace) -> Self {
        Self::of(area.inner(Margin::new(1, 1)), face)
    }

    fn of(inner: Rect, face: FilesFace) -> Self {
        if inner.width == 0 || inner.height == 0 {
            return Self::default();
        }
        let told = LINES.min(inner.height.saturating_sub(3).max(1));
        let (lines, body) = cut(inner, told);
        let mut plan = Self { lines, ..Self::default() };
        let files = match face {
            _ if body.height >= ALL_ROWS => {
                let (nodes, rest) = cut(body, body.height * 2 / 5);
                plan.nodes = nodes;
                rest
            }
            FilesFace::Nodes => {
                plan.nodes = body;
                return plan;
            }
            FilesFace::Files => body,
        };
        let beside = [HEAT_WIDE, HEAT_NARROW].into_iter().find(|heat| files.width >= heat + LIST_MIN);
        match beside {
            Some(heat) => {
                plan.list = Rect { width: files.width - heat - 1, ..files };
                plan.heat = Rect { x: files.x + files.width - heat, width: heat, ..files };
            }
            None => (plan.list, plan.heat) = cut(files, files.height / 2),
        }
        plan
    }

    /// How many rows of the table of nodes there is room for.
    pub(crate) fn node_rows(&self) -> usize {
        usize::from(self.nodes.height.saturating_sub(1))
    }

    /// How many files there is room for.
    pub(crate) fn file_rows(&self) -> usize {
        usize::from(self.list.height.saturating_sub(1))
    }
}

fn cut(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    let rest = Rect { y: area.y + rows, height: area.height - rows, ..area };
    (Rect { height: rows, ..area }, rest)
}

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let symbols = &model.theme.symbols;
    let files = &model.picture.summary.files;
    let title = match files.folders {
        0 => "no folder yet".to_owned(),
        1 => format!("1 folder {} {} files", symbols.dot, count(files.paths)),
        many => format!(
            "{} folders {} {} files, {}",
            count(many.into()),
            symbols.dot,
            count(files.paths),
            size(files.bytes)
        ),
    };
    let plan = Plan::of_frame(area, model.files.face);
    let footer = match model.files.face {
        FilesFace::Nodes => format!("{} {} o: files", nodes::place(model), symbols.dot),
        FilesFace::Files => format!("{} {} o: nodes", list::place(model), symbols.dot),
    };
    frame(model, Pane::Files, &title, &footer, area, buf);
    lines::draw(model, plan.lines, buf);
    nodes::draw(model, plan.nodes, buf);
    list::draw(model, plan.list, buf);
    heat::draw(model, plan.heat, buf);
}

/// What a node's folder is doing: glyph, word, meaning. Never told by colour alone.
fn state(theme: &Theme, row: &FolderRow) -> (&'static str, &'static str, Role) {
    let symbols = &theme.symbols;
    let (glyph, word, role) = match (row.unit, row.folder.counts.state) {
        (UnitState::Up, _) if !row.folder.told => ("?", "no word yet", Role::Muted),
        (UnitState::Up, FolderState::NoFolder) => (symbols.left, "NO FOLDER", Role::Muted),
        (UnitState::Up, FolderState::Broken) => (symbols.dead, "BROKEN", Role::Dead),
        (UnitState::Up, FolderState::Full) => (symbols.dead, "FULL", Role::Dead),
        (UnitState::Up, FolderState::Stalled) => (symbols.warning, "STALL", Role::Warning),
        (UnitState::Up, FolderState::Scanning) => (symbols.starting, "SCAN", Role::Converging),
        (UnitState::Up, FolderState::Syncing) => (symbols.converging, "SYNC", Role::Converging),
        (UnitState::Up, FolderState::Idle) if !row.folder.agrees => (symbols.converging, "IDLE", Role::Converging),
        (UnitState::Up, FolderState::Idle) if row.folder.counts.rescan_only => (symbols.up, "RESCAN-ONLY", Role::Up),
        (UnitState::Up, FolderState::Idle) => (symbols.up, "IDLE", Role::Up),
        (unit, _) => theme.unit(unit),
    };
    // Its link is lost: these are its last words.
    if row.unit == UnitState::Up && row.folder.told && !row.folder.live {
        ("?", word, Role::Warning)
    } else {
        (glyph, word, role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_lies_outside_or_on_another() {
        for (width, height) in (0..200).flat_map(|width| (0..60).map(move |height| (width, height))) {
            let area = Rect::new(3, 5, width, height);
            for face in [FilesFace::Nodes, FilesFace::Files] {
                let Plan { lines, nodes, list, heat } = Plan::of(area, face);
                let parts = [lines, nodes, list, heat];
                for (i, a) in parts.iter().enumerate() {
                    assert_eq!(a.intersection(area).area(), a.area(), "{width}×{height}");
                    let apart = |b: &Rect| a.area() == 0 || b.area() == 0 || a.intersection(*b).area() == 0;
                    assert!(parts[..i].iter().all(apart), "{width}×{height}");
                }
            }
        }
    }

    #[test]
    fn each_size_has_what_it_has_room_for() {
        let plan = |width, height, face| Plan::of(Rect::new(0, 0, width, height), face);
        let small = plan(78, 14, FilesFace::Nodes);
        assert_eq!((small.node_rows(), small.file_rows(), small.heat.area()), (9, 0, 0));
        let small = plan(78, 14, FilesFace::Files);
        assert!(small.node_rows() == 0 && small.file_rows() >= 4 && small.heat.height >= 4);
        let beside = plan(102, 16, FilesFace::Files);
        assert_eq!((beside.heat.width, beside.list.width), (HEAT_NARROW, 51));
        let all = plan(158, 36, FilesFace::Files);
        assert!(all.node_rows() > 8 && all.file_rows() > 12 && all.heat.width == HEAT_WIDE);
    }
}
