//! Lines typed before. Up and Down walk those that begin as the line does; Ctrl-R those that contain it.

use std::collections::VecDeque;

/// Most lines remembered. Default 500. When full the oldest is forgotten.
pub const LINES_MAX: usize = 500;

/// What was typed, oldest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    lines: VecDeque<String>,
    /// While walking: where, and the line that was being typed before.
    walk: Option<(usize, String)>,
}

impl History {
    /// Takes in lines of earlier sessions.
    pub fn load(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            self.push(&line);
        }
    }

    /// Remembers a line; says whether it was worth it (not empty, not the last one again).
    pub fn push(&mut self, line: &str) -> bool {
        self.walk = None;
        let line = line.trim();
        if line.is_empty() || line.contains('\n') || self.lines.back().is_some_and(|last| last == line) {
            return false;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
        true
    }

    /// The walk is over; the next one begins at the newest line.
    pub fn rewind(&mut self) {
        self.walk = None;
    }

    /// The next older line that begins with what was typed.
    pub fn older(&mut self, typed: &str) -> Option<&str> {
        self.walk_to(typed, |line, typed| line.starts_with(typed))
    }

    /// The next older line that contains what was typed.
    pub fn search(&mut self, typed: &str) -> Option<&str> {
        self.walk_to(typed, |line, typed| line.contains(typed))
    }

    fn walk_to(&mut self, typed: &str, fits: impl Fn(&str, &str) -> bool) -> Option<&str> {
        let (from, typed) = self.walk.clone().unwrap_or_else(|| (self.lines.len(), typed.to_owned()));
        let at = (0..from).rev().find(|at| fits(&self.lines[*at], &typed) && self.lines[*at] != typed)?;
        self.walk = Some((at, typed));
        Some(&self.lines[at])
    }

    /// The next newer one, and after the newest the line that was being typed.
    pub fn newer(&mut self) -> Option<String> {
        let (from, typed) = self.walk.clone()?;
        let next =
            (from + 1..self.lines.len()).find(|at| self.lines[*at].starts_with(&typed) && self.lines[*at] != typed);
        self.walk = next.map(|at| (at, typed.clone()));
        Some(next.map_or(typed, |at| self.lines[at].clone()))
    }

    /// How many lines are remembered, and which of them is shown, from 1, newest first.
    #[must_use]
    pub fn place(&self) -> (usize, usize) {
        (self.walk.as_ref().map_or(0, |(at, _)| self.lines.len() - at), self.lines.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let mut history = History::default();
        history.load(["kill 7", "add 5", "kill 8", "send 4 hi"].map(str::to_owned));
        history
    }

    #[test]
    fn up_and_down_walk_lines_that_begin_as_typed() {
        let mut history = history();
        assert_eq!(history.older("ki"), Some("kill 8"));
        assert_eq!(history.older("kill 8"), Some("kill 7"));
        assert_eq!(history.older("kill 7"), None);
        assert_eq!(history.place(), (4, 4));
        assert_eq!(history.newer().as_deref(), Some("kill 8"));
        assert_eq!(history.newer().as_deref(), Some("ki"), "the line that was being typed comes back");
        assert_eq!(history.newer(), None);
    }

    #[test]
    fn search_finds_lines_that_contain_it() {
        assert_eq!(history().search("4"), Some("send 4 hi"));
        assert_eq!(history().search("nothing like it"), None);
    }

    #[test]
    fn it_holds_so_many_lines_and_no_line_twice_in_a_row() {
        let mut history = History::default();
        assert!(history.push("a") && !history.push("a") && !history.push("  "));
        for i in 0..LINES_MAX + 10 {
            history.push(&i.to_string());
        }
        assert_eq!(history.place().1, LINES_MAX);
    }
}
