//! The prompt: one line, always in sight, that takes every verb.
//!
//! ```text
//!  : kill 30% seed 7░            the line; its first character is the mode, after the cursor comes the ghost
//!    kill NODES [--signal …]     the verb's signature and candidates, or what is wrong with the line
//! ```
//! A line that is refused stays, with the word that is wrong underlined. `prompt/grammar.rs` reads lines,
//! `prompt/completion.rs` proposes the rest of one, `prompt/history.rs` remembers them.

use std::ops::Range;

use tui_input::Input;

pub mod completion;
pub mod grammar;
pub mod history;

use history::History;

/// Longest line taken, bytes: a message of 8 KiB and its verb. What is beyond is not typed.
pub const LINE_MAX_BYTES: usize = 9 * 1024;

/// What is being typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing: keys are for the panes.
    #[default]
    Idle,
    /// A verb.
    Command,
    /// What rows must match; takes effect while typing.
    Filter,
    /// A message: a node and a text.
    Message,
}

impl Mode {
    /// The character it is called with and shown by.
    #[must_use]
    pub fn glyph(self) -> Option<char> {
        match self {
            Mode::Idle => None,
            Mode::Command => Some(':'),
            Mode::Filter => Some('/'),
            Mode::Message => Some('@'),
        }
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineError {
    /// The word that is wrong, as bytes of the line.
    pub at: Range<usize>,
    /// What is wrong with it.
    pub text: String,
}

/// The line and everything about it.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// What is being typed.
    pub mode: Mode,
    /// The line.
    pub input: Input,
    /// Why it was refused; the next change of the line clears it.
    pub error: Option<LineError>,
    /// What was typed before.
    pub history: History,
    /// What Tab is cycling through: the line before the word, the candidates, and which one is shown.
    pub cycle: Option<(String, Vec<String>, usize)>,
}

impl Prompt {
    /// Begins a line.
    pub fn open(&mut self, mode: Mode, text: &str) {
        self.mode = mode;
        self.input = Input::new(text.to_owned());
        self.changed();
        self.history.rewind();
    }

    /// Gives the keys back to the panes.
    pub fn close(&mut self) {
        self.open(Mode::Idle, "");
    }

    /// The line is not what it was.
    pub fn changed(&mut self) {
        self.error = None;
        self.cycle = None;
    }

    /// Puts another line in place of this one.
    pub fn replace(&mut self, line: &str) {
        self.input = Input::new(line.to_owned());
        self.error = None;
    }

    /// Whether keys are for the prompt.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.mode != Mode::Idle
    }
}
