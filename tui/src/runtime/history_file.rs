//! Lines typed at the prompt, kept per user: `$XDG_STATE_HOME/p2pnet/history`, by default `~/.local/state/p2pnet/history`.
//!
//! One line each, oldest first. A history that cannot be read or written is no reason to bother anybody: the session has
//! its own. Nobody but the user can read it: messages may be private.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
};

use crate::prompt::history::LINES_MAX;

/// More of the file than this is not read, bytes.
const READ_MAX_BYTES: u64 = 1024 * 1024;

/// Where lines are kept, if anywhere.
pub(super) struct HistoryFile {
    path: Option<PathBuf>,
}

impl HistoryFile {
    /// The calling user's.
    pub(super) fn of_this_user() -> Self {
        let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
        Self { path: state.map(|state| state.join("p2pnet/history")) }
    }

    /// The newest lines, oldest first. A file that has grown to twice what is kept is cut down to it.
    pub(super) fn load(&self) -> Vec<String> {
        let Some(path) = &self.path else { return Vec::new() };
        let mut bytes = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(READ_MAX_BYTES).read_to_end(&mut bytes));
        if read.is_err() {
            return Vec::new();
        }
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let kept: Vec<String> =
            all[all.len().saturating_sub(LINES_MAX)..].iter().map(|line| (*line).to_owned()).collect();
        if all.len() > 2 * LINES_MAX {
            // Beside, then over: a crash in between leaves the old one whole.
            let beside = path.with_extension("new");
            if private(&beside, false).and_then(|mut file| file.write_all((kept.join("\n") + "\n").as_bytes())).is_ok()
            {
                let _ = fs::rename(beside, path);
            }
        }
        kept
    }

    /// Adds a line.
    pub(super) fn append(&self, line: &str) {
        let Some(path) = &self.path else { return };
        if let Some(folder) = path.parent() {
            let _ = fs::create_dir_all(folder);
        }
        let _ = private(path, true).and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }
}

fn private(path: &PathBuf, append: bool) -> std::io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).append(append).truncate(!append);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_an_overgrown_file_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let file = HistoryFile { path: Some(folder.path().join("deep/history")) };
        assert!(file.load().is_empty());
        for i in 0..2 * LINES_MAX + 3 {
            file.append(&format!("kill {i}"));
        }
        let lines = file.load();
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (LINES_MAX, "kill 1002"));
        let text = fs::read_to_string(file.path.as_ref().unwrap()).unwrap();
        assert_eq!(text.lines().count(), LINES_MAX);
    }
}
