//! The screen. Reads the model, writes cells, decides nothing.
//!
//! ```text
//! ┌ header ──────────────────────────────────────────────────┐  view/header.rs     verdict, counts, clocks, stream
//! ├ nodes ───────────────────────────┬ peers, ring or files ─┤  view/nodes.rs      view/peers.rs, view/ring.rs, view/files.rs
//! │                                  │                       │
//! ├ traces ──────────────────────────┼ agreement or faults ──┤  view/traces.rs     view/agreement.rs, view/faults.rs
//! ├ log ─────────────────────────────┴───────────────────────┤  view/log.rs
//! └ prompt ──────────────────────────────────────────────────┘  view/prompt.rs
//!   which pane goes where at which size: view/layout.rs; colours and glyphs: view/theme.rs; cells and tables: view/cells.rs, view/table.rs
//! ```
//! Always holds: no size of terminal, 1×1 included, makes a draw fail.

use ratatui::Frame;

use crate::model::{Model, pane::Pane};

mod agreement;
mod cells;
mod dialog;
mod faults;
pub(crate) mod files;
mod header;
mod help;
pub mod layout;
mod links;
mod log;
mod nodes;
mod peers;
mod prompt;
pub(crate) mod ring;
mod story;
mod strip;
mod table;
pub mod theme;
mod traces;

use layout::{Arrangement, Layout};

/// Draws the whole screen.
pub fn view(model: &Model, frame: &mut Frame) {
    let area = frame.area();
    let layout = Layout::of((area.width, area.height), model.focus, model.beside, model.zoom);
    let buf = frame.buffer_mut();
    header::draw(model, &layout, buf);
    for (pane, area) in &layout.panes {
        match pane {
            Pane::Nodes => nodes::draw(model, *area, buf),
            Pane::Peers => peers::draw(model, *area, buf),
            Pane::Traces => traces::draw(model, *area, buf),
            Pane::Agreement => agreement::draw(model, *area, buf),
            Pane::Log => log::draw(model, *area, buf),
            Pane::Faults => faults::draw(model, *area, buf),
            Pane::Ring => ring::draw(model, *area, buf),
            Pane::Files => files::draw(model, *area, buf),
        }
    }
    if let Some(area) = layout.strip {
        strip::draw(model, area, buf);
    }
    match layout.arrangement {
        Arrangement::One => {
            strip::tabs(model, layout.tabs, buf);
            log::last(model, layout.last, buf);
        }
        Arrangement::Two => agreement::sparkline(model, layout.last, buf),
        Arrangement::Four | Arrangement::Tiny => {}
    }
    let cursor = prompt::draw(model, &layout, buf);
    dialog::draw(model, area, buf);
    if let Some(cursor) = cursor.filter(|at| model.dialog.is_none() && area.contains(*at)) {
        frame.set_cursor_position(cursor);
    }
}
