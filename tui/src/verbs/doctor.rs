//! `doctor`: what this host allows, what the network needs, and how to mend what is short.
//!
//! It only looks. Each check is one function from what was found to a [`Finding`].

use std::net::{SocketAddr, TcpListener};

use crate::cluster::{Cluster, RuntimeChoice, Settings};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// Enough.
    Fine,
    /// It works, with the limit that is named.
    Short,
    /// It will not work.
    Fails,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it went.
    pub grade: Grade,
    /// What was looked at.
    pub what: &'static str,
    /// What there is and what is needed.
    pub found: String,
    /// The command that mends it.
    pub mend: Option<String>,
}

/// Looks at everything a network of `nodes` peers with these settings needs.
pub async fn examine(settings: &Settings, nodes: u32, runtime: RuntimeChoice) -> Vec<Finding> {
    let engine = engine(settings, runtime).await;
    let uses_docker = engine.grade == Grade::Fine && runtime != RuntimeChoice::Process;
    let mut findings = vec![engine];
    let is_running = matches!(Cluster::find(&settings.network, runtime).await, Ok(Some(_)));
    findings.push(ports(settings, nodes, is_running));
    findings.push(open_files(nodes, uses_docker));
    let limits = [
        ("neighbour table", "net/ipv4/neigh/default/gc_thresh3", u64::from(nodes) + 24),
        ("receive backlog", "net/core/netdev_max_backlog", 1_000),
        ("inotify instances", "fs/inotify/max_user_instances", if uses_docker { 128 } else { u64::from(nodes) + 16 }),
    ];
    findings.extend(limits.into_iter().filter_map(|(what, path, needed)| limit(what, path, needed)));
    findings.extend(memory(nodes));
    findings.push(folder(settings));
    findings
}

/// The findings as lines, each with its grade in a word and how to mend it.
#[must_use]
pub fn lines(findings: &[Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in findings {
        let grade = match finding.grade {
            Grade::Fine => "✓ fine ",
            Grade::Short => "! short",
            Grade::Fails => "✕ fails",
        };
        lines.push(format!("{grade} {:<18} {}", finding.what, finding.found));
        lines.extend(finding.mend.iter().map(|mend| format!("        {:<18} → {mend}", "")));
    }
    lines
}

async fn engine(settings: &Settings, runtime: RuntimeChoice) -> Finding {
    let what = "container engine";
    match Cluster::find(&settings.network, RuntimeChoice::Docker).await {
        Ok(found) => {
            let told = found.map_or_else(|| "answers".to_owned(), |cluster| cluster.runtime().describe.clone());
            Finding { grade: Grade::Fine, what, found: told, mend: None }
        }
        Err(failure) => {
            // Without an engine nodes run as processes, unless containers were asked for.
            let grade = if runtime == RuntimeChoice::Docker { Grade::Fails } else { Grade::Short };
            let mend = failure.hint.or_else(|| Some("start Docker, or use --runtime process".into()));
            Finding { grade, what, found: failure.error, mend }
        }
    }
}

fn ports(settings: &Settings, nodes: u32, is_running: bool) -> Finding {
    let what = "ports";
    let last = settings.base_port.saturating_add(u16::try_from(nodes).unwrap_or(u16::MAX));
    let range = format!("{}:{}-{last}", settings.bind, settings.base_port);
    if !settings.publish {
        return Finding { grade: Grade::Fine, what, found: "none are published".into(), mend: None };
    }
    if is_running {
        return Finding { grade: Grade::Fine, what, found: format!("{range} are this network's"), mend: None };
    }
    let is_taken = |port: &u16| TcpListener::bind(SocketAddr::new(settings.bind, *port)).is_err();
    let taken: Vec<String> = (settings.base_port..=last).filter(is_taken).map(|port| port.to_string()).collect();
    match taken.as_slice() {
        [] => Finding { grade: Grade::Fine, what, found: format!("{range} are free"), mend: None },
        [first, ..] => {
            let found = format!("{} of {range} are taken, the first is {first}", taken.len());
            let mend = Some("choose others with --base-port 8000, or stop what uses them".into());
            Finding { grade: Grade::Fails, what, found, mend }
        }
    }
}

#[cfg(unix)]
fn open_files(nodes: u32, uses_docker: bool) -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    // The gateway holds a link per node; as processes everything else is each process's own.
    let needed = if uses_docker { 256 } else { u64::from(nodes) * 2 + 64 };
    graded("open files", current, needed, format!("ulimit -n {}", needed.next_power_of_two()))
}

#[cfg(not(unix))]
fn open_files(_: u32, _: bool) -> Finding {
    Finding { grade: Grade::Fine, what: "open files", found: "no limit on this system".into(), mend: None }
}

/// A limit of the Linux kernel; elsewhere there is none of that name.
fn limit(what: &'static str, path: &str, needed: u64) -> Option<Finding> {
    let current = std::fs::read_to_string(format!("/proc/sys/{path}")).ok()?.trim().parse().ok()?;
    let key = path.replace('/', ".");
    Some(graded(what, current, needed, format!("sudo sysctl -w {key}={}", needed.next_power_of_two().max(1_024))))
}

fn graded(what: &'static str, current: u64, needed: u64, mend: String) -> Finding {
    let (grade, mend) = if current >= needed { (Grade::Fine, None) } else { (Grade::Short, Some(mend)) };
    Finding { grade, what, found: format!("{current}, needed {needed}"), mend }
}

fn memory(nodes: u32) -> Option<Finding> {
    // Measured: 4.4 GB for 1,000 containers with their shims and a node's 6 MiB.
    const PER_NODE_MIB: u64 = 11;
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let current = line.split_whitespace().next()?.parse::<u64>().ok()? / 1_024;
    let needed = u64::from(nodes) * PER_NODE_MIB;
    Some(graded("free memory, MiB", current, needed, "close something, or start fewer nodes with --nodes".into()))
}

fn folder(settings: &Settings) -> Finding {
    let what = "folder";
    let shown = settings.data.display();
    // The nearest folder that is there decides whether the rest can be made.
    let there = settings.data.ancestors().find(|dir| dir.exists());
    let writable = there.is_some_and(|dir| dir.is_dir() && is_writable(dir));
    if writable {
        return Finding { grade: Grade::Fine, what, found: format!("{shown} can be written"), mend: None };
    }
    let mend = Some("choose another with --data DIR".into());
    Finding { grade: Grade::Fails, what, found: format!("{shown} cannot be written"), mend }
}

#[cfg(unix)]
fn is_writable(dir: &std::path::Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(not(unix))]
fn is_writable(dir: &std::path::Path) -> bool {
    dir.metadata().is_ok_and(|metadata| !metadata.permissions().readonly())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_short_says_how_to_mend_it() {
        let finding = graded("open files", 256, 1_024, "ulimit -n 1024".into());
        assert_eq!(finding.grade, Grade::Short);
        let text = lines(&[finding]).join("\n");
        assert!(text.contains("256, needed 1024") && text.contains("→ ulimit -n 1024"), "{text}");
        assert_eq!(graded("open files", 1_024, 1_024, String::new()).mend, None);
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let settings = Settings {
            network: "doctor".parse().unwrap(),
            base_port: port,
            bind: "127.0.0.1".parse().unwrap(),
            data: std::env::temp_dir(),
            publish: true,
            secret: None,
        };
        let finding = ports(&settings, 0, false);
        assert_eq!(finding.grade, Grade::Fails);
        assert!(finding.found.contains(&port.to_string()), "{}", finding.found);
        assert_eq!(ports(&settings, 0, true).grade, Grade::Fine, "our own");
    }
}
