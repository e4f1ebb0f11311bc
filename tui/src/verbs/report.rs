//! What is known of a network, for a shell: `status`, `wait` and `watch`.
//!
//! All three fold the same observations as the dashboard and ask the same summary.

use std::{io::Write, time::Duration};

use p2pnet_shared::{
    UnixMillis,
    telemetry::{DiskState, FolderState},
};
use tokio::sync::mpsc::Receiver;

use crate::{
    cluster::{Cluster, UnitState},
    failure::Failure,
    network::{Change, Detail, DigestGroup, Network, Node, Observation, Summary, Verdict},
    observe::{observe, unix_now},
};

/// How long `status` waits for a node that is up and does not report, before it says how things stand without it.
const COMPLETE: Duration = Duration::from_secs(3);
/// How often a condition that depends on time is looked at while nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Goal {
    /// Every node that is up agrees on members, ring and files, no message is outstanding, and every key has its copies.
    #[default]
    Converged,
    /// Every node that is up agrees on every member.
    Members,
    /// Every node that is up agrees on the ring, and every key has its copies.
    Keys,
    /// Every folder of a node that is up is the union of all.
    Files,
}

impl Goal {
    /// Whether it is reached.
    #[must_use]
    pub fn holds(self, summary: &Summary) -> bool {
        let known = !matches!(summary.verdict, Verdict::Unknown | Verdict::Starting);
        match self {
            Goal::Converged => summary.converged,
            Goal::Members => known && summary.nodes.up > 0 && summary.members.agree == summary.nodes.up,
            Goal::Keys => known && summary.nodes.up > 0 && keys_lack(summary).is_none(),
            Goal::Files => known && summary.nodes.up > 0 && files_lack(summary).is_none(),
        }
    }

    /// What is said when it is.
    #[must_use]
    pub fn reached(self, summary: &Summary) -> String {
        match self {
            Goal::Converged | Goal::Members => summary.reason.clone(),
            Goal::Keys => {
                format!("all {} keys have their copies, all {} nodes see one ring", summary.ring.keys, summary.nodes.up)
            }
            Goal::Files => {
                let files = &summary.files;
                format!("all {} folders hold the same {} files, {} bytes", files.folders, files.paths, files.bytes)
            }
        }
    }
}

/// What is in the way of every key having its copies.
fn keys_lack(summary: &Summary) -> Option<String> {
    let Summary { nodes, ring, .. } = summary;
    if ring.agree < nodes.up {
        return Some(format!("{} of {} nodes see the ring of the members there are", ring.agree, nodes.up));
    }
    let about = if ring.estimated { "about " } else { "" };
    (ring.under_replicated > 0).then(|| {
        format!(
            "{about}{} of {} keys are short of copies, {} out of reach",
            ring.under_replicated, ring.keys, ring.unreachable
        )
    })
}

/// What is in the way of every folder being the union of all.
fn files_lack(summary: &Summary) -> Option<String> {
    let files = &summary.files;
    if files.folders == 0 {
        return Some("no node that is up has told of a folder".into());
    }
    if files.lost > 0 {
        return Some(format!("{} acknowledged uploads are lost: every node that had them is down", files.lost));
    }
    if files.agree == files.folders && files.is_union {
        return None;
    }
    let need = match files.need_files {
        0 => String::new(),
        need => format!(", {need} files ({:.1} MB) are to come over all of them", files.need_bytes as f64 / 1e6),
    };
    Some(format!("{} of {} folders hold the same{need}", files.agree, files.folders))
}

/// A network being followed.
#[derive(Debug)]
pub struct Follower {
    /// What is known so far.
    pub network: Network,
    observations: Receiver<Observation>,
}

impl Follower {
    /// Begins to follow.
    #[must_use]
    pub fn new(cluster: &Cluster) -> Self {
        let mut network = Network::new(cluster.settings().network.clone(), cluster.runtime().kind);
        network.expect_vnodes(cluster.settings().vnodes());
        Self { network, observations: observe(cluster) }
    }

    /// Waits for the next observation and takes in all that have come; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Vec<Change>> {
        let first = self.observations.recv().await?;
        let mut changes = self.network.observe(unix_now(), first);
        while let Ok(more) = self.observations.try_recv() {
            changes.extend(self.network.observe(unix_now(), more));
        }
        Some(changes)
    }

    /// Follows until `done` or for `limit`, whichever is first; says which, and looks in between with `look`.
    pub async fn until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&Network, UnixMillis) -> bool,
    ) -> Result<bool, Failure> {
        let end = tokio::time::sleep(limit);
        tokio::pin!(end);
        loop {
            if done(&self.network, unix_now()) {
                return Ok(true);
            }
            tokio::select! {
                () = &mut end => return Ok(done(&self.network, unix_now())),
                () = tokio::time::sleep(TICK) => {}
                changes = self.next() => if changes.is_none() {
                    return Err(Failure::new("the network can no longer be followed").hint("try again"));
                },
            }
        }
    }
}

/// `status`: everything in one picture, as soon as it is whole.
///
/// # Errors
/// When the network cannot be followed.
pub async fn status(cluster: &Cluster) -> Result<Summary, Failure> {
    let mut follower = Follower::new(cluster);
    follower.until(COMPLETE, |network, _| network.is_complete()).await?;
    Ok(follower.network.summary(unix_now()))
}

/// `wait`: returns when `goal` holds.
///
/// # Errors
/// At the deadline, with the reason why it does not hold.
pub async fn wait(cluster: &Cluster, goal: Goal, limit: Duration) -> Result<Summary, Failure> {
    let mut follower = Follower::new(cluster);
    let held = follower.until(limit, |network, now| goal.holds(&network.summary(now))).await?;
    let summary = follower.network.summary(unix_now());
    if held {
        return Ok(summary);
    }
    let what = match goal {
        Goal::Converged => "converged",
        Goal::Members => "agreed on its members",
        Goal::Keys => "brought every key its copies",
        Goal::Files => "brought every folder all files",
    };
    let lack = match goal {
        _ if summary.verdict == Verdict::Unknown => None,
        Goal::Keys => keys_lack(&summary),
        Goal::Files => files_lack(&summary),
        Goal::Converged | Goal::Members => None,
    };
    let error = format!("network has not {what} after {}: {}", seconds(limit), lack.unwrap_or(summary.reason));
    Err(Failure::new(error).hint("`p2pnet status` shows each node; `--timeout 120s` waits longer"))
}

/// `watch`: one line per change until interrupted or until nobody reads any more.
///
/// # Errors
/// When the network cannot be followed.
pub async fn watch(cluster: &Cluster, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let mut follower = Follower::new(cluster);
    let end = crate::signals::asked_to_end();
    tokio::pin!(end);
    loop {
        let changes = tokio::select! {
            () = &mut end => return Ok(()),
            changes = follower.next() => changes,
        };
        let Some(changes) = changes else {
            return Err(Failure::new("the network can no longer be followed").hint("try again"));
        };
        for change in changes {
            let line = if json { json_line(&change) } else { plain_line(&change) };
            // A reader that went away (`| head`) has seen what it wanted.
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                return Ok(());
            }
        }
    }
}

fn json_line(change: &Change) -> String {
    serde_json::to_string(change).unwrap_or_default()
}

fn plain_line(change: &Change) -> String {
    let kind = serde_json::to_value(change.kind).ok();
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default().replace('_', " ");
    let node = change.node.as_ref().map_or_else(String::new, |node| format!("{node} "));
    format!("{} {kind:<13} {node}{}", clock(change.at), change.text)
}

/// Date and time of day in UTC, `2026-11-21T12:33:49.123Z` (civil-from-days, Hinnant 2013).
fn clock(at: UnixMillis) -> String {
    let (days, in_day) = (at.0 / 86_400_000, at.0 % 86_400_000);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// `2.5 s`, `120 s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    let tenths = time.as_millis() / 100;
    if tenths.is_multiple_of(10) { format!("{} s", tenths / 10) } else { format!("{}.{} s", tenths / 10, tenths % 10) }
}

/// `status --json`: the summary, and who runs the network and why.
#[must_use]
pub fn document(cluster: &Cluster, summary: &Summary) -> serde_json::Value {
    let mut document = serde_json::to_value(summary).unwrap_or_default();
    if let Some(fields) = document.as_object_mut() {
        let runtime = cluster.runtime();
        fields.insert("engine".into(), runtime.describe.clone().into());
        fields.insert("runtime_because".into(), runtime.why.clone().into());
    }
    document
}

/// `status` for people: one text screen.
#[must_use]
pub fn screen(cluster: &Cluster, summary: &Summary) -> Vec<String> {
    let runtime = cluster.runtime();
    let mut lines =
        vec![format!("{}  {} ({}; {})", cluster.settings().network, runtime.kind, runtime.describe, runtime.why)];
    lines.extend(headline(summary));
    lines.extend(table(summary));
    lines
}

fn headline(summary: &Summary) -> Vec<String> {
    let Summary { nodes, members, messages, .. } = summary;
    let word = match summary.verdict {
        Verdict::Unknown => "? UNKNOWN",
        Verdict::Starting => "~ STARTING",
        Verdict::Partitioned => "✕ PARTITIONED",
        Verdict::Degraded => "! DEGRADED",
        Verdict::Converging => "~ CONVERGING",
        Verdict::Converged => "✓ CONVERGED",
    };
    let time = match (summary.converged_in_ms, summary.converging_for_ms) {
        (Some(took), _) => format!(", {:.1} s after the last change", took as f64 / 1_000.0),
        (None, Some(so_far)) => format!(", {:.1} s since the last change", so_far as f64 / 1_000.0),
        (None, None) => String::new(),
    };
    let others = [("starting", nodes.starting), ("paused", nodes.paused), ("dead", nodes.dead), ("left", nodes.left)];
    let others: String =
        others.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!(", {count} {what}")).collect();
    let mut lines = vec![
        format!("{word}  {}{time}", summary.reason),
        format!("nodes     {} of {} up{others}", nodes.up, nodes.wanted),
        format!(
            "members   {} of {} agree, {} ghosts, {} missing, {} suspected",
            members.agree, nodes.up, members.ghosts, members.missing, members.suspects
        ),
        format!(
            "messages  {} accepted, {} of {} delivered, {} duplicates",
            messages.accepted, messages.delivered, messages.expected, messages.duplicates
        ),
        format!("overlay   {}", summary.overlay_text()),
    ];
    lines.extend(ring_lines(summary));
    lines.extend(file_lines(summary));
    for (i, fault) in summary.faults.iter().enumerate() {
        let label = if i == 0 { "faults" } else { "" };
        let missing = match fault.not_on.len() {
            0 => String::new(),
            1 => format!(", not on {}", fault.not_on[0]),
            many => format!(", not on {many} others"),
        };
        let age = fault.for_ms / 1_000;
        lines.push(format!("{label:<9} {}   on {} nodes for {age} s{missing}", fault.fault, fault.nodes));
    }
    lines
}

/// The store in a line, and in a second one what is under way with it.
fn ring_lines(summary: &Summary) -> Vec<String> {
    let Summary { nodes, ring, .. } = summary;
    let about = if ring.estimated { "about " } else { "" };
    let balance = ring
        .max_over_mean
        .map_or_else(String::new, |most| format!(", max/mean {most:.2} of {}", ring.max_over_mean_of));
    let mut lines = vec![format!(
        "ring      {} of {} agree, {about}{} keys, {} short of copies, {} out of reach{balance}",
        ring.agree, nodes.up, ring.keys, ring.under_replicated, ring.unreachable
    )];
    let mut more = Vec::new();
    if ring.under_replicated > 0 {
        let [none, one, two, _] = ring.copies;
        more.push(format!("{none} without a live copy, {one} with 1, {two} with 2"));
    }
    if ring.on_paused > 0 {
        more.push(format!("{} on paused nodes only", ring.on_paused));
    }
    if ring.moving.keys > 0 {
        more.push(format!("{} keys on their way ({:.1} KB left)", ring.moving.keys, ring.moving.bytes as f64 / 1e3));
    }
    if ring.conflicts > 0 {
        more.push(format!("{} with siblings", ring.conflicts));
    }
    match (ring.repairing_for_ms, ring.repair_window_ms) {
        (Some(ms), _) => more.push(format!("repair for {:.1} s", ms as f64 / 1e3)),
        (None, Some(ms)) => more.push(format!("last repair took {:.1} s", ms as f64 / 1e3)),
        (None, None) => {}
    }
    if !more.is_empty() {
        lines.push(format!("          {}", more.join("; ")));
    }
    lines
}

/// The shared folder in a line, and in a second one what is under way with it or amiss.
fn file_lines(summary: &Summary) -> Vec<String> {
    let files = &summary.files;
    if files.folders == 0 && files.uploads == 0 {
        return vec!["files     no folder".to_owned()];
    }
    let mut lines = vec![format!(
        "files     {} of {} agree, {} files ({:.1} MB), {} conflicts; {} uploads, {} at risk, {} lost",
        files.agree,
        files.folders,
        files.paths,
        files.bytes as f64 / 1e6,
        files.conflicts,
        files.uploads,
        files.at_risk,
        files.lost
    )];
    let mut more = Vec::new();
    if files.groups.len() > 1 {
        let group = |group: &DigestGroup| format!("{} × {}", group.nodes, group.digest.as_deref().unwrap_or("none"));
        let groups: Vec<String> = files.groups.iter().take(4).map(group).collect();
        more.push(format!("{}{}", groups.join(", "), if files.groups.len() > 4 { " …" } else { "" }));
    }
    if files.need_files > 0 {
        more.push(format!("{} files ({:.1} MB) to come", files.need_files, files.need_bytes as f64 / 1e6));
    }
    if files.one_holder > 0 && files.folders > 1 {
        let about = if files.estimated { "about " } else { "" };
        more.push(format!("{about}{} on one node only", files.one_holder));
    }
    match (files.union_for_ms, files.union_ms_last) {
        (Some(ms), _) => more.push(format!("union for {:.1} s", ms as f64 / 1e3)),
        (None, Some(ms)) => more.push(format!("last union took {:.1} s", ms as f64 / 1e3)),
        (None, None) => {}
    }
    if files.bad_chunks > 0 {
        more.push(format!("{} wrong chunks refused", files.bad_chunks));
    }
    if !more.is_empty() {
        lines.push(format!("          {}", more.join("; ")));
    }
    lines
}

/// Nodes that are not as they should be come one a line, the others as a count: one screen, whatever the size.
fn table(summary: &Summary) -> Vec<String> {
    const ROWS: usize = 15;
    let disk_is_odd = |row: &Detail| row.disk.is_some_and(|disk| disk != DiskState::Fine);
    let folder_is_odd = |row: &Detail| matches!(row.folder, Some(FolderState::Full | FolderState::Broken));
    let is_odd = |row: &&Detail| !row.agrees || disk_is_odd(row) || folder_is_odd(row);
    let odd: Vec<_> = summary.detail.iter().filter(is_odd).collect();
    let mut lines = Vec::new();
    if !odd.is_empty() {
        lines.push(format!(
            "{:<12} {:<8} {:>7} {:>7} {:<6} {:>7} {:<7} {:>9}  address",
            "node", "state", "members", "keys", "disk", "files", "folder", "memory"
        ));
    }
    for row in odd.iter().take(ROWS) {
        let state = match row.state {
            UnitState::Created => "created",
            UnitState::Up => "up",
            UnitState::Paused => "paused",
            UnitState::Dead => "dead",
            UnitState::Left => "left",
        };
        let memory = row.rss_bytes.map_or_else(|| "-".into(), |bytes| format!("{:.1} MiB", bytes as f64 / 1_048_576.0));
        let address = row.address.as_deref().unwrap_or("-");
        let keys = row.keys.map_or_else(|| "-".into(), |keys| keys.to_string());
        let disk = match row.disk {
            None => "-",
            Some(DiskState::Fine) => "fine",
            Some(DiskState::Full) => "FULL",
            Some(DiskState::Broken) => "BROKEN",
        };
        let files = row.files.map_or_else(|| "-".into(), |files| files.to_string());
        let folder = match row.folder {
            None => "-",
            Some(FolderState::NoFolder) => "none",
            Some(FolderState::Broken) => "BROKEN",
            Some(FolderState::Full) => "FULL",
            Some(FolderState::Scanning) => "scan",
            Some(FolderState::Stalled) => "stall",
            Some(FolderState::Syncing) => "sync",
            Some(FolderState::Idle) => "idle",
        };
        let (name, members) = (&row.name, row.members);
        lines.push(format!(
            "{name:<12} {state:<8} {members:>7} {keys:>7} {disk:<6} {files:>7} {folder:<7} {memory:>9}  {address}"
        ));
    }
    if odd.len() > ROWS {
        lines.push(format!("… and {} more that do not agree", odd.len() - ROWS));
    }
    let first = summary.detail.iter().find(|row| row.address.is_some() && row.state == UnitState::Up);
    if let Some(address) = first.and_then(|row| row.address.as_ref()) {
        lines.push(format!("first node {address}   all of them: p2pnet status --json"));
    }
    lines
}

/// The address at which the first node that is up is reached from this host.
#[must_use]
pub fn first_address(network: &Network) -> Option<String> {
    let up = |node: &&Node| node.state == UnitState::Up;
    network.nodes().filter(up).find_map(|node| node.address).map(|address| format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::ChangeKind;

    #[test]
    fn a_plain_line_has_time_kind_node_and_text() {
        let change = Change {
            at: UnixMillis(1_795_264_429_123),
            kind: ChangeKind::DeclaredDead,
            node: Some("node9".parse().unwrap()),
            text: "declared dead, first by node3".into(),
            known: None,
        };
        assert_eq!(plain_line(&change), "2026-11-21T12:33:49.123Z declared dead node9 declared dead, first by node3");
        assert_eq!(clock(UnixMillis(951_782_400_000)), "2000-02-29T00:00:00.000Z");
    }

    #[test]
    fn seconds_read_as_people_write_them() {
        assert_eq!(seconds(Duration::from_secs(60)), "60 s");
        assert_eq!(seconds(Duration::from_millis(2_540)), "2.5 s");
    }

    #[test]
    fn keys_have_their_copies_or_the_reason_why_not_is_said() {
        let mut summary = Summary { verdict: Verdict::Converging, ..Summary::default() };
        (summary.nodes.up, summary.ring.agree, summary.ring.keys) = (3, 2, 70);
        assert!(!Goal::Keys.holds(&summary));
        summary.ring.agree = 3;
        assert!(Goal::Keys.holds(&summary), "whatever messages do");
        assert_eq!(Goal::Keys.reached(&summary), "all 70 keys have their copies, all 3 nodes see one ring");
        summary.ring.under_replicated = 7;
        assert!(!Goal::Keys.holds(&summary));
        assert_eq!(keys_lack(&summary).unwrap(), "7 of 70 keys are short of copies, 0 out of reach");
        summary.ring.estimated = true;
        assert!(keys_lack(&summary).unwrap().starts_with("about 7"));
    }

    #[test]
    fn status_tells_of_the_store_in_two_lines() {
        let mut summary = Summary::default();
        summary.nodes.up = 3;
        (summary.ring.agree, summary.ring.keys, summary.ring.max_over_mean) = (3, 70, Some(1.3));
        summary.ring.max_over_mean_of = "keys";
        let line = "ring      3 of 3 agree, 70 keys, 0 short of copies, 0 out of reach, max/mean 1.30 of keys";
        assert_eq!(ring_lines(&summary), [line]);
        (summary.ring.under_replicated, summary.ring.copies, summary.ring.repairing_for_ms) =
            (3, [0, 1, 2, 67], Some(1_500));
        assert_eq!(ring_lines(&summary)[1], "          0 without a live copy, 1 with 1, 2 with 2; repair for 1.5 s");
    }

    #[test]
    fn folders_hold_the_same_or_the_reason_why_not_is_said() {
        let mut summary = Summary { verdict: Verdict::Converging, ..Summary::default() };
        summary.nodes.up = 4;
        assert_eq!(file_lines(&summary), ["files     no folder"]);
        assert_eq!(files_lack(&summary).unwrap(), "no node that is up has told of a folder");
        let files = &mut summary.files;
        (files.agree, files.folders, files.paths, files.bytes, files.is_union) = (4, 4, 400, 1_638_400, false);
        assert!(!Goal::Files.holds(&summary), "somebody has changed a file and not told the rest");
        summary.files.is_union = true;
        assert!(Goal::Files.holds(&summary), "whatever keys and messages do");
        assert_eq!(Goal::Files.reached(&summary), "all 4 folders hold the same 400 files, 1638400 bytes");
        let line = "files     4 of 4 agree, 400 files (1.6 MB), 0 conflicts; 0 uploads, 0 at risk, 0 lost";
        assert_eq!(file_lines(&summary), [line]);
        let files = &mut summary.files;
        (files.agree, files.need_files, files.need_bytes, files.union_for_ms) = (3, 20, 2_000_000, Some(1_500));
        let group = |digest: &str, nodes| DigestGroup {
            digest: Some(digest.into()),
            nodes,
            files: 0,
            lacking: 0,
            names: vec![],
        };
        files.groups = vec![group("4f2a91c0", 3), group("91c077aa", 1)];
        let lack = "3 of 4 folders hold the same, 20 files (2.0 MB) are to come over all of them";
        assert_eq!(files_lack(&summary).unwrap(), lack);
        let more = "          3 × 4f2a91c0, 1 × 91c077aa; 20 files (2.0 MB) to come; union for 1.5 s";
        assert_eq!(file_lines(&summary)[1], more);
        summary.files.lost = 1;
        assert!(files_lack(&summary).unwrap().contains("lost"));
    }

    #[test]
    fn members_may_agree_while_a_message_is_on_its_way() {
        let mut summary = Summary { verdict: Verdict::Converging, ..Summary::default() };
        (summary.nodes.up, summary.members.agree) = (3, 3);
        assert!(Goal::Members.holds(&summary) && !Goal::Converged.holds(&summary));
        summary.verdict = Verdict::Unknown;
        assert!(!Goal::Members.holds(&summary), "nothing can be claimed");
    }
}
