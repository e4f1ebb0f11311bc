//! What the kernel says of a process, from `/proc/<pid>/stat`.

use std::fs;

use rustix::process::{Pid, WaitOptions, waitpid};
use serde::{Deserialize, Serialize};

/// One life of one process. A pid is used again after its process is gone; a pid with its start time never is, and the
/// boot it counts from is part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Life {
    pub(super) pid: i32,
    /// Clock ticks from the boot to its start.
    started_ticks: u64,
    boot: String,
}

/// How a life is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Running,
    Stopped,
    /// Gone; the exit code where it can be known: only a parent is told.
    Ended(Option<i32>),
}

struct Stat {
    state: char,
    parent: i32,
    started_ticks: u64,
}

impl Life {
    /// The process that has this pid now.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started_ticks: stat(pid)?.started_ticks, boot: boot() })
    }

    /// How it is. A child of ours that ended is buried on the way.
    pub(super) fn condition(&self) -> Condition {
        let Some(stat) = stat(self.pid).filter(|stat| stat.started_ticks == self.started_ticks) else {
            return Condition::Ended(None);
        };
        match stat.state {
            'Z' | 'X' if stat.parent == std::process::id().cast_signed() => Condition::Ended(bury(self.pid)),
            'Z' | 'X' => Condition::Ended(None),
            'T' => Condition::Stopped,
            _ if self.boot == boot() => Condition::Running,
            _ => Condition::Ended(None),
        }
    }

    /// The pid, if it is still this life's.
    pub(super) fn pid(&self) -> Option<Pid> {
        match self.condition() {
            Condition::Ended(_) => None,
            Condition::Running | Condition::Stopped => Pid::from_raw(self.pid),
        }
    }
}

/// Every process there is.
pub(super) fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn bury(pid: i32) -> Option<i32> {
    let (_, status) = waitpid(Some(Pid::from_raw(pid)?), WaitOptions::NOHANG).ok()??;
    status.exit_status()
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in the second field may hold spaces and brackets, so fields are counted from its last bracket.
fn parse(line: &str) -> Option<Stat> {
    let (_, fields) = line.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started_ticks: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        let stat = parse(&format!("77 (a) b (c)) {tail}")).unwrap();
        assert_eq!((stat.state, stat.parent, stat.started_ticks), ('S', 1, 4242));
        assert!(parse("77 (short) S 1").is_none());
        assert!(parse("").is_none());
    }

    #[test]
    fn a_life_ends_and_its_pid_in_other_hands_is_not_it() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let life = Life::of(child.id().cast_signed()).unwrap();
        assert_eq!(life.condition(), Condition::Running);
        let stranger = Life { started_ticks: life.started_ticks + 1, ..life.clone() };
        assert_eq!(stranger.condition(), Condition::Ended(None));
        assert_eq!(stranger.pid(), None, "never touched");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(life.condition(), Condition::Ended(None));
    }
}
