//! Colours and glyphs, by what they mean.
//!
//! The hues are Okabe and Ito's (2008), told apart with every common colour blindness; green is left out on purpose.
//! Nothing rests on colour alone: each state also has a glyph and a word, the selection is reverse video. With `NO_COLOR`
//! every colour is `Reset`, so that not one colour escape is sent (crossterm 0.29 answers `NO_COLOR` with bare resets,
//! which would take bold and reverse along). The background is always the terminal's own.

use ratatui::{
    style::{Color, Modifier, Style},
    symbols::border,
};

use crate::{cluster::UnitState, network::Verdict};

/// How many colours the terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// 24 bits.
    True,
    /// The 256-colour palette.
    #[default]
    Indexed,
    /// The sixteen of old.
    Sixteen,
    /// None.
    Mono,
}

impl Depth {
    /// What the environment says: `NO_COLOR` first (no-color.org: set and not empty), then `COLORTERM`, then `TERM`.
    #[must_use]
    pub fn detect(var: impl Fn(&str) -> Option<String>) -> Self {
        let term = var("TERM").unwrap_or_default();
        if var("NO_COLOR").is_some_and(|value| !value.is_empty()) || term == "dumb" {
            return Self::Mono;
        }
        let deep = var("COLORTERM").is_some_and(|value| value.contains("truecolor") || value.contains("24bit"));
        if deep || term.contains("direct") {
            Self::True
        } else if term.contains("256") || term.contains("kitty") || term.contains("alacritty") {
            Self::Indexed
        } else {
            Self::Sixteen
        }
    }
}

/// What a piece of text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Plain text.
    Text,
    /// Names of things, headings.
    Title,
    /// Up and in agreement.
    Up,
    /// On its way: starting, converging.
    Converging,
    /// Stale, out of step, worth a look.
    Warning,
    /// Dead or lost.
    Dead,
    /// A message's way.
    Path,
    /// Paused, old, beside the point.
    Muted,
    /// All is well.
    Converged,
    /// Frame of the pane that has the keys.
    Focus,
}

/// One set of glyphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbols {
    /// Up and agreeing.
    pub up: &'static str,
    /// Not yet there.
    pub converging: &'static str,
    /// Being made.
    pub starting: &'static str,
    /// Worth a look.
    pub warning: &'static str,
    /// Dead.
    pub dead: &'static str,
    /// Left by itself.
    pub left: &'static str,
    /// Frozen.
    pub paused: &'static str,
    /// The bootstrap.
    pub bootstrap: &'static str,
    /// All is well, delivered.
    pub check: &'static str,
    /// The stream runs.
    pub live: &'static str,
    /// From one node to the next.
    pub arrow: &'static str,
    /// Before the prompt.
    pub prompt: &'static str,
    /// Stands for what was cut off.
    pub ellipsis: &'static str,
    /// Between two facts of one line.
    pub dot: &'static str,
    /// A row that verbs will take.
    pub mark: &'static str,
    /// Nothing known.
    pub none: &'static str,
    /// Eight levels of a bar, lowest first.
    pub bars: [&'static str; 8],
    /// Whether curves may be drawn in braille.
    pub braille: bool,
}

const UNICODE: Symbols = Symbols {
    up: "●",
    converging: "~",
    starting: "▲",
    warning: "!",
    dead: "✕",
    left: "○",
    paused: "‖",
    bootstrap: "★",
    check: "✓",
    live: "▶",
    arrow: "→",
    prompt: "❯",
    ellipsis: "…",
    dot: "·",
    mark: "◆",
    none: "—",
    bars: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    braille: true,
};

const ASCII: Symbols = Symbols {
    up: "o",
    converging: "~",
    starting: "^",
    warning: "!",
    dead: "x",
    left: "-",
    paused: "=",
    bootstrap: "*",
    check: "v",
    live: ">",
    arrow: "->",
    prompt: ">",
    ellipsis: "~",
    dot: "|",
    mark: "+",
    none: "-",
    bars: ["_", "_", ".", ".", ":", ":", "|", "#"],
    braille: false,
};

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// Colours and glyphs in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// How many colours there are.
    pub depth: Depth,
    /// The glyphs.
    pub symbols: Symbols,
}

impl Default for Theme {
    fn default() -> Self {
        Self::new(Depth::default(), false)
    }
}

impl Theme {
    /// A theme; with `ascii` it needs no other characters.
    #[must_use]
    pub fn new(depth: Depth, ascii: bool) -> Self {
        Self { depth, symbols: if ascii { ASCII } else { UNICODE } }
    }

    /// How text of that meaning looks.
    #[must_use]
    pub fn style(&self, role: Role) -> Style {
        let style = match role {
            Role::Text => return Style::new(),
            Role::Title | Role::Converged => return Style::new().add_modifier(Modifier::BOLD),
            Role::Muted if self.depth == Depth::Mono => Style::new().add_modifier(Modifier::DIM),
            Role::Dead | Role::Focus => Style::new().add_modifier(Modifier::BOLD),
            _ => Style::new(),
        };
        style.fg(self.colour(role))
    }

    /// The selected row, on top of whatever colour it has.
    #[must_use]
    pub fn selection(&self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Lines of frames.
    #[must_use]
    pub fn border(&self) -> border::Set<'static> {
        if self.symbols.braille { border::PLAIN } else { ASCII_BORDER }
    }

    fn colour(&self, role: Role) -> Color {
        let (rgb, indexed, sixteen) = match role {
            Role::Up | Role::Focus => (0x56_B4_E9, 74, Color::LightBlue),
            Role::Converging => (0xF0_E4_42, 221, Color::LightYellow),
            Role::Warning => (0xE6_9F_00, 178, Color::Yellow),
            Role::Dead => (0xD5_5E_00, 166, Color::Red),
            Role::Path => (0xCC_79_A7, 175, Color::Magenta),
            Role::Muted => (0x99_99_99, 246, Color::DarkGray),
            Role::Text | Role::Title | Role::Converged => return Color::Reset,
        };
        match self.depth {
            Depth::True => Color::from_u32(rgb),
            Depth::Indexed => Color::Indexed(indexed),
            Depth::Sixteen => sixteen,
            Depth::Mono => Color::Reset,
        }
    }

    /// A verdict's glyph, word and meaning.
    #[must_use]
    pub fn verdict(&self, verdict: Verdict) -> (&'static str, &'static str, Role) {
        match verdict {
            Verdict::Unknown => ("?", "UNKNOWN", Role::Warning),
            Verdict::Starting => (self.symbols.starting, "STARTING", Role::Converging),
            Verdict::Partitioned => (self.symbols.dead, "PARTITIONED", Role::Dead),
            Verdict::Degraded => (self.symbols.warning, "DEGRADED", Role::Warning),
            Verdict::Converging => (self.symbols.converging, "CONVERGING", Role::Converging),
            Verdict::Converged => (self.symbols.check, "CONVERGED", Role::Converged),
        }
    }

    /// A unit's glyph, word and meaning, by the engine's word alone.
    #[must_use]
    pub fn unit(&self, state: UnitState) -> (&'static str, &'static str, Role) {
        match state {
            UnitState::Created => (self.symbols.starting, "starting", Role::Converging),
            UnitState::Up => (self.symbols.up, "up", Role::Up),
            UnitState::Paused => (self.symbols.paused, "PAUSED", Role::Muted),
            UnitState::Dead => (self.symbols.dead, "DEAD", Role::Dead),
            UnitState::Left => (self.symbols.left, "left", Role::Muted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(pairs: &[(&str, &str)]) -> Depth {
        Depth::detect(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_says_how_many_colours_there_are() {
        assert_eq!(detect(&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]), Depth::True);
        assert_eq!(detect(&[("TERM", "xterm-256color")]), Depth::Indexed);
        assert_eq!(detect(&[("TERM", "linux")]), Depth::Sixteen);
        assert_eq!(detect(&[("TERM", "dumb")]), Depth::Mono);
        assert_eq!(detect(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")]), Depth::Mono);
        assert_eq!(detect(&[("TERM", "xterm-256color"), ("NO_COLOR", "")]), Depth::Indexed);
    }

    #[test]
    fn without_colours_no_style_holds_one() {
        let theme = Theme::new(Depth::Mono, false);
        for role in [Role::Up, Role::Converging, Role::Warning, Role::Dead, Role::Path, Role::Muted, Role::Focus] {
            assert!(matches!(theme.style(role).fg, None | Some(Color::Reset)), "{role:?}");
        }
    }
}
