//! What the host's kernel knows of the processes of a network: who they are, what they cost, when they are gone.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use p2pnet_shared::{NodeName, UnixMillis};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::{running::now, support::Lab};

/// How often a process that is to end is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// How long it may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process of each node and, under `gateway`, of the gateway: those whose environment, or whose arguments, name this network.
/// A container's process is one of the host like any other, where the engine is on this host; elsewhere nobody is found.
pub(crate) fn node_pids(lab: &Lab) -> BTreeMap<String, u32> {
    let mut pids = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let told = told_by_environment(&entry.path()).or_else(|| told_by_arguments(&entry.path()));
        if let Some((network, name)) = told
            && network == lab.network
        {
            pids.insert(name.unwrap_or_else(|| "gateway".to_owned()), pid);
        }
    }
    pids
}

/// The network and the name that a container's process was given.
fn told_by_environment(process: &Path) -> Option<(String, Option<String>)> {
    let words = words(&process.join("environ"));
    let mut variables: BTreeMap<&str, &str> = words.iter().filter_map(|pair| pair.split_once('=')).collect();
    let network = variables.remove("NETWORK")?.to_owned();
    Some((network, variables.remove("NODE_NAME").map(str::to_owned)))
}

/// The same of a local process.
fn told_by_arguments(process: &Path) -> Option<(String, Option<String>)> {
    let words = words(&process.join("cmdline"));
    words.get(1).filter(|verb| *verb == "node" || *verb == "gateway")?;
    let after = |option: &str| words.iter().skip_while(|word| *word != option).nth(1).cloned();
    Some((after("--network")?, after("--name")))
}

fn words(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Processor time a process has used so far, seconds; `None` when it is gone.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// Resident memory of a process, MiB; `None` when it is gone.
#[expect(clippy::cast_precision_loss, reason = "KiB of ordinary size")]
pub(crate) fn rss_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib as f64 / 1024.0)
}

/// Bytes sent so far through every interface but loopback of the network namespace `pid` lives in.
pub(crate) fn bytes_sent(pid: u32) -> Option<u64> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let interfaces = table.lines().filter_map(|line| line.split_once(':'));
    let sent = interfaces
        .filter(|(name, _)| name.trim() != "lo")
        .filter_map(|(_, numbers)| numbers.split_whitespace().nth(8)?.parse::<u64>().ok());
    Some(sent.sum())
}

/// Kills `victims` within milliseconds of one another, which no engine does. False, and nobody is killed, where this
/// host does not see them all or may not do so to them.
pub(crate) fn kill_at_once(lab: &Lab, victims: &[NodeName]) -> bool {
    let pids = node_pids(lab);
    let victims: Option<Vec<Pid>> =
        victims.iter().map(|victim| Pid::from_raw(pids.get(victim.as_str())?.cast_signed())).collect();
    let Some(victims) = victims.filter(|victims| victims.iter().all(|pid| test_kill_process(*pid).is_ok())) else {
        return false;
    };
    victims.iter().all(|pid| kill_process(*pid, Signal::KILL).is_ok())
}

/// Whether a process has ended, also if nobody has asked for its exit status yet.
fn is_gone(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    matches!(state, None | Some("Z" | "X"))
}

/// Looks at `victims` every millisecond until the last of them is gone, and says when that was. Started before
/// the kill is asked for, so that what the engine takes for a kill can be told from what detection takes. `None` where
/// this host does not see the victims.
pub(crate) fn watch_end(lab: &Lab, victims: &[NodeName]) -> Option<JoinHandle<UnixMillis>> {
    let pids = node_pids(lab);
    let victims: Option<Vec<u32>> = victims.iter().map(|victim| pids.get(victim.as_str()).copied()).collect();
    let victims = victims?;
    Some(std::thread::spawn(move || {
        let started = Instant::now();
        while !victims.iter().all(|pid| is_gone(*pid)) {
            assert!(started.elapsed() < PATIENCE, "killed processes are still there after {PATIENCE:?}");
            std::thread::sleep(LOOK);
        }
        now()
    }))
}

/// Ticks all cores of the host were idle, and ticks there were, since it booted.
pub(crate) fn host_ticks() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/stat").expect("/proc is there");
    let line = stat.lines().next().expect("the first line is that of all cores");
    // user nice system idle iowait irq softirq steal; what follows is counted in the first two as well.
    let ticks: Vec<f64> = line.split_whitespace().skip(1).take(8).filter_map(|ticks| ticks.parse().ok()).collect();
    (ticks[3] + ticks[4], ticks.iter().sum())
}

/// How many cores there are.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether a program of that name can be started.
pub(crate) fn can_start(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", "command -v \"$0\" >/dev/null", program])
        .status()
        .is_ok_and(|status| status.success())
}
