//! One table: key, what it does, help text. The dispatcher, the hint line and the help all read it.
//!
//! Lower case looks, upper case acts. While the prompt is open or a dialog asks, keys are theirs.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key of the panes asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Open the prompt for a verb.
    Command,
    /// Open the prompt for a filter.
    Filter,
    /// Open the prompt for a message from the selected node.
    Say,
    /// Keys and verbs.
    Help,
    /// One step back: zoom, unfolded trace, filter, marks.
    Back,
    /// The pane of that digit.
    Pane(u8),
    /// The next pane.
    NextPane,
    /// The pane before.
    PreviousPane,
    /// The focused pane alone, or all again.
    Zoom,
    /// So many rows.
    Move(isize),
    /// So many screens.
    Page(isize),
    /// The first row.
    First,
    /// The last row.
    Last,
    /// Mark the selected row.
    Mark,
    /// Sort by the next column.
    Sort,
    /// The other way round.
    Reverse,
    /// Look inside the selected row.
    Inspect,
    /// The selected node's members, links or story; the ring's circle or table; the folder's nodes or files.
    Face,
    /// Hold the picture still, or let it go.
    Freeze,
    /// Kill.
    Kill,
    /// Pause, or resume what is paused.
    Pause,
    /// Stop politely.
    Stop,
    /// Start again.
    Restart,
    /// Undo every fault.
    Heal,
    /// Add nodes.
    Add,
    /// Close.
    Quit,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// The keys.
    pub keys: &'static [KeyCode],
    /// As they are written.
    pub label: &'static str,
    /// What they do.
    pub action: Action,
    /// In a few words.
    pub help: &'static str,
    /// One word for the hint line; empty keeps it out.
    pub hint: &'static str,
}

const fn bind(
    keys: &'static [KeyCode],
    label: &'static str,
    action: Action,
    hint: &'static str,
    help: &'static str,
) -> Binding {
    Binding { keys, label, action, help, hint }
}

use KeyCode::{BackTab, Char, Down, End, Enter, Esc, Home, PageDown, PageUp, Tab, Up};

/// Every key of the panes.
pub const BINDINGS: &[Binding] = &[
    bind(&[Char('?'), KeyCode::F(1)], "?", Action::Help, "help", "keys and verbs"),
    bind(&[Char(':')], ":", Action::Command, "command", "type a verb"),
    bind(&[Char('/')], "/", Action::Filter, "filter", "show only rows that match"),
    bind(&[Char('@')], "@", Action::Say, "send", "send a message from the selected node"),
    bind(&[Enter], "Enter", Action::Inspect, "inspect", "a node's members, a message's paths, ring or files in full"),
    bind(&[Char('K')], "K", Action::Kill, "kill", "kill the marked or selected nodes"),
    bind(&[Char('P')], "P", Action::Pause, "pause", "pause them, or resume if paused"),
    bind(&[Char('T')], "T", Action::Stop, "", "stop them politely"),
    bind(&[Char('B')], "B", Action::Restart, "boot", "start them again"),
    bind(&[Char('H')], "H", Action::Heal, "", "heal: undo every fault, resume what is paused"),
    bind(&[Char('U')], "U", Action::Add, "add", "add nodes"),
    bind(&[Char('f')], "f", Action::Freeze, "freeze", "hold the picture still; data keeps flowing"),
    bind(&[Char('z')], "z", Action::Zoom, "zoom", "the focused pane alone"),
    bind(
        &[Char('o')],
        "o",
        Action::Face,
        "links",
        "the node's members, links, story; circle or owners; nodes or files",
    ),
    bind(&[Char('1')], "1-8", Action::Pane(1), "pane", "bring up a pane"),
    bind(&[Char('2')], "", Action::Pane(2), "", ""),
    bind(&[Char('3')], "", Action::Pane(3), "", ""),
    bind(&[Char('4')], "", Action::Pane(4), "", ""),
    bind(&[Char('5')], "", Action::Pane(5), "", ""),
    bind(&[Char('6')], "", Action::Pane(6), "", ""),
    bind(&[Char('7')], "", Action::Pane(7), "", ""),
    bind(&[Char('8')], "", Action::Pane(8), "", ""),
    bind(&[Tab], "Tab", Action::NextPane, "", "the next pane"),
    bind(&[BackTab], "S-Tab", Action::PreviousPane, "", "the pane before"),
    bind(&[Char('j'), Down], "j Down", Action::Move(1), "", "down"),
    bind(&[Char('k'), Up], "k Up", Action::Move(-1), "", "up"),
    bind(&[PageDown], "PgDn", Action::Page(1), "", "a screen down"),
    bind(&[PageUp], "PgUp", Action::Page(-1), "", "a screen up"),
    bind(&[Char('g'), Home], "g Home", Action::First, "", "to the first row"),
    bind(&[Char('G'), End], "G End", Action::Last, "", "to the last row; the log follows again"),
    bind(&[Char(' ')], "Space", Action::Mark, "", "mark a row for verbs"),
    bind(&[Char('s')], "s", Action::Sort, "", "sort by the next column"),
    bind(&[Char('r')], "r", Action::Reverse, "", "sort the other way round"),
    bind(&[Esc], "Esc", Action::Back, "", "back: unfold, zoom, filter, marks"),
    bind(&[Char('Q'), Char('q')], "Q", Action::Quit, "quit", "quit: leave the network running or stop it"),
];

/// What a key asks for while neither prompt nor dialog has the keys. Ctrl-C is looked at before.
#[must_use]
pub fn action(key: KeyEvent) -> Option<Action> {
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return None;
    }
    BINDINGS.iter().find(|binding| binding.keys.contains(&key.code)).map(|binding| binding.action)
}

/// Whether it is Ctrl-C.
#[must_use]
pub fn is_interrupt(key: KeyEvent) -> bool {
    key.code == Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_bound_twice() {
        let keys: Vec<KeyCode> = BINDINGS.iter().flat_map(|binding| binding.keys).copied().collect();
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{key:?}");
        }
    }

    #[test]
    fn every_pane_has_a_digit() {
        for pane in crate::model::pane::Pane::ALL {
            let digit = char::from_digit(pane.digit() as u32, 10).unwrap();
            let bound = action(KeyEvent::new(Char(digit), KeyModifiers::NONE));
            assert_eq!(bound, Some(Action::Pane(pane.digit() as u8)));
        }
    }
}
