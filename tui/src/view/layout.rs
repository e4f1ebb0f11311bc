//! Which pane goes where, at which size.
//!
//! ```text
//! ≥ 150×40  four panes and the log          header 5, prompt 3     the faults take the curve's place while they have the focus
//! ≥  95×28  two panes and a merged strip    header 4, prompt 3     strip: traces and log, or the pane whose digit was pressed
//!                                                                  in both, beside the nodes: peers, ring or files, whichever was last
//! ≥  60×16  one pane with tabs              header 3, prompt 3
//!    below  verdict, a note, the prompt
//! ```
//! A pure function of the size, the focused pane, zoom and what is beside the nodes, so that `update` can ask what is visible.

use ratatui::layout::Rect;

use crate::model::pane::{Beside, Pane};

/// How much fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// Four panes and the log.
    Four,
    /// Two panes and a strip.
    Two,
    /// One pane.
    One,
    /// No pane.
    Tiny,
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// How much fits.
    pub arrangement: Arrangement,
    /// The top lines.
    pub header: Rect,
    /// The line of tabs, where there is one.
    pub tabs: Rect,
    /// The panes in sight.
    pub panes: Vec<(Pane, Rect)>,
    /// Where traces and log share a pane.
    pub strip: Option<Rect>,
    /// One line below the panes: a small curve, or the last log line.
    pub last: Rect,
    /// Input, signature, keys.
    pub prompt: Rect,
}

/// Width, height, and how many rows the header takes, from the largest arrangement down.
const BREAKPOINTS: [(Arrangement, u16, u16, u16); 3] =
    [(Arrangement::Four, 150, 40, 5), (Arrangement::Two, 95, 28, 4), (Arrangement::One, 60, 16, 3)];

impl Layout {
    /// The layout for a terminal of `(columns, rows)`.
    #[must_use]
    pub fn of(size: (u16, u16), focus: Pane, beside: Beside, zoom: bool) -> Self {
        let (width, height) = size;
        let fits = BREAKPOINTS.iter().find(|(_, columns, rows, _)| width >= *columns && height >= *rows);
        let (arrangement, header) = fits.map_or((Arrangement::Tiny, 1), |(which, .., header)| (*which, *header));
        let prompt = if arrangement == Arrangement::Tiny { 1 } else { 3 };
        let tabs = u16::from(arrangement == Arrangement::One);
        let last = u16::from(matches!(arrangement, Arrangement::One | Arrangement::Two));
        let (top, screen) = cut_top(Rect::new(0, 0, width, height), header);
        let (tab_line, screen) = cut_top(screen, tabs);
        let (screen, prompt) = cut_bottom(screen, prompt);
        let (body, last) = cut_bottom(screen, last);
        let mut layout =
            Self { arrangement, header: top, tabs: tab_line, panes: Vec::new(), strip: None, last, prompt };
        match arrangement {
            Arrangement::Tiny => {}
            _ if zoom || arrangement == Arrangement::One => layout.panes.push((focus, body)),
            Arrangement::Four => layout.four(body, focus, beside),
            _ => layout.two(body, focus, beside),
        }
        layout
    }

    fn four(&mut self, body: Rect, focus: Pane, beside: Beside) {
        let (body, log) = cut_bottom(body, (body.height / 5).max(6));
        let (upper, lower) = cut_top(body, body.height * 3 / 5);
        // The files' table has columns of its own for each node.
        let fortieths = if beside == Beside::Files { 14 } else { 21 };
        let (nodes, second) = cut_left(upper, upper.width * fortieths / 40);
        let (traces, agreement) = cut_left(lower, lower.width * 21 / 40);
        self.panes = vec![
            (Pane::Nodes, nodes),
            (shown(beside), second),
            (Pane::Traces, traces),
            (if focus == Pane::Faults { Pane::Faults } else { Pane::Agreement }, agreement),
            (Pane::Log, log),
        ];
    }

    fn two(&mut self, body: Rect, focus: Pane, beside: Beside) {
        let (upper, strip) = cut_bottom(body, (body.height * 2 / 5).max(6));
        // The circle and the files need the room that a table's last columns can spare.
        let fortieths = match beside {
            Beside::Peers => 22,
            Beside::Ring => 19,
            Beside::Files => 14,
        };
        let (nodes, second) = cut_left(upper, upper.width * fortieths / 40);
        self.panes = vec![(Pane::Nodes, nodes), (shown(beside), second)];
        match focus {
            Pane::Nodes | Pane::Peers | Pane::Ring | Pane::Files => self.strip = Some(strip),
            other => self.panes.push((other, strip)),
        }
    }

    /// Where a pane is, if it is in sight.
    #[must_use]
    pub fn area(&self, pane: Pane) -> Option<Rect> {
        self.panes.iter().find(|(shown, _)| *shown == pane).map(|(_, area)| *area)
    }

    /// How many rows of content a pane has, its frame and `headings` left out.
    #[must_use]
    pub fn rows(&self, pane: Pane, headings: u16) -> usize {
        self.area(pane).map_or(0, |area| usize::from(area.height.saturating_sub(2 + headings)))
    }
}

fn shown(beside: Beside) -> Pane {
    match beside {
        Beside::Peers => Pane::Peers,
        Beside::Ring => Pane::Ring,
        Beside::Files => Pane::Files,
    }
}

fn cut_top(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    let rest = Rect { y: area.y + rows, height: area.height - rows, ..area };
    (Rect { height: rows, ..area }, rest)
}

fn cut_bottom(area: Rect, rows: u16) -> (Rect, Rect) {
    cut_top(area, area.height.saturating_sub(rows))
}

fn cut_left(area: Rect, columns: u16) -> (Rect, Rect) {
    let columns = columns.min(area.width);
    let rest = Rect { x: area.x + columns, width: area.width - columns, ..area };
    (Rect { width: columns, ..area }, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BESIDE: [Beside; 3] = [Beside::Peers, Beside::Ring, Beside::Files];

    #[test]
    fn nothing_overlaps_and_nothing_is_off_the_screen() {
        for width in 1..=220 {
            for height in 1..=70 {
                for (focus, beside) in Pane::ALL.into_iter().flat_map(|pane| BESIDE.map(|beside| (pane, beside))) {
                    let layout = Layout::of((width, height), focus, beside, false);
                    let screen = Rect::new(0, 0, width, height);
                    let mut areas: Vec<Rect> = layout.panes.iter().map(|(_, area)| *area).collect();
                    areas.extend([layout.header, layout.tabs, layout.last, layout.prompt]);
                    areas.extend(layout.strip);
                    for (i, a) in areas.iter().enumerate() {
                        assert_eq!(a.intersection(screen).area(), a.area(), "{width}×{height}");
                        assert!(areas[..i].iter().all(|b| a.intersection(*b).area() == 0), "{width}×{height} {a}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_size_has_the_panes_it_has_room_for() {
        let shown = |size| Layout::of(size, Pane::Nodes, Beside::Ring, false).panes.len();
        assert_eq!([shown((160, 45)), shown((100, 30)), shown((80, 24)), shown((40, 10))], [5, 2, 1, 0]);
        assert!(Layout::of((100, 30), Pane::Log, Beside::Peers, false).area(Pane::Log).is_some());
        assert_eq!(Layout::of((160, 45), Pane::Log, Beside::Peers, true).panes.len(), 1);
        for pane in Pane::ALL {
            let beside = match pane {
                Pane::Ring => Beside::Ring,
                Pane::Files => Beside::Files,
                _ => Beside::Peers,
            };
            assert!(
                Layout::of((160, 45), pane, beside, false).area(pane).is_some(),
                "{pane:?} is in sight once it has the focus"
            );
        }
    }
}
