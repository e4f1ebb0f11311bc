//! The folders' numbers by reports made by hand; and any reports at all, by chance.

use p2pnet_shared::{
    FilePath, UnixMillis,
    telemetry::{FeedLine, FileProgress, FolderCounts, FolderEvent, FolderState, HeldFile, Report},
    wire::folder::{FolderDigest, Root},
};
use proptest::prelude::*;

use super::{
    super::{
        Change, ChangeKind, Observation, Verdict,
        tests::{Told, kinds, name, unit},
    },
    FilesCounts,
};
use crate::cluster::{Truth, UnitState};

const SAME: u128 = 0x4f2a_91c0 << 96;
const OTHER: u128 = 0x91c0_77aa << 96;

fn path(number: u64) -> FilePath {
    format!("f{number}").parse().unwrap()
}

fn root(number: u8) -> Root {
    Root([number; 32])
}

fn held(number: u64, contents: u8) -> HeldFile {
    HeldFile { path: path(number).hash64(), root: Some(root(contents).short()) }
}

/// A folder of `files` files that has `here` of them; what it has and wants by those digests, since `since`.
fn counts((files, here): (u64, u64), (want, have): (u128, u128), since: u64) -> FolderCounts {
    FolderCounts {
        state: if want == have { FolderState::Idle } else { FolderState::Syncing },
        files,
        files_here: here,
        bytes: files * 1_000,
        bytes_here: here * 1_000,
        index: FolderDigest(want),
        want: FolderDigest(want),
        have: FolderDigest(have),
        since: UnixMillis(since),
        ..FolderCounts::default()
    }
}

impl Told {
    /// As [`Told::of`], each with a folder that holds the same three files since 4 s.
    fn with_folders(nodes: u32) -> Self {
        let mut told = Self::of(nodes);
        (1..=nodes).for_each(|node| told.has_all(node));
        told.passes(6_000);
        told
    }

    fn has_all(&mut self, node: u32) {
        self.says(node, Report::Folder(counts((3, 3), (SAME, SAME), 4_000)));
        self.says(node, Report::Files { anew: true, files: vec![held(1, 1), held(2, 2), held(3, 3)] });
    }

    fn folder(&mut self, node: u32, told: FolderCounts) -> Vec<Change> {
        self.says(node, Report::Folder(told))
    }

    fn has_file(&mut self, node: u32, file: HeldFile) -> Vec<Change> {
        self.says(node, Report::Files { anew: false, files: vec![file] })
    }

    fn event(&mut self, node: u32, event: FolderEvent) -> Vec<Change> {
        let at = UnixMillis(self.now);
        self.says(node, Report::FolderEvent { event, at })
    }

    fn uploads(&mut self, node: u32, number: u64, holders: &[u32]) -> Vec<Change> {
        for holder in holders {
            self.has_file(*holder, held(number, 9));
        }
        let count = holders.len() as u32;
        self.event(node, FolderEvent::Uploaded { path: path(number), root: root(9), holders: count })
    }

    fn passes(&mut self, ms: u64) -> Vec<Change> {
        self.now += ms;
        self.feed(FeedLine::Idle)
    }

    fn files(&self) -> FilesCounts {
        self.network.files_counts(UnixMillis(self.now))
    }
}

#[test]
fn folders_that_hold_the_same_agree() {
    let told = Told::with_folders(4);
    let files = told.files();
    assert_eq!((files.agree, files.folders, files.paths, files.bytes), (4, 4, 3, 3_000));
    assert_eq!((files.one_holder, files.no_holder, files.need_files), (0, 0, 0));
    assert_eq!(files.groups.len(), 1);
    assert_eq!((files.groups[0].digest.as_deref(), files.groups[0].nodes), (Some("4f2a91c0"), 4));
    let summary = told.summary();
    assert!(summary.converged, "{}", summary.reason);
    assert_eq!((summary.detail[0].files, summary.detail[0].folder), (Some(3), Some(FolderState::Idle)));
}

#[test]
fn a_network_without_folders_has_nothing_to_agree_on() {
    let mut told = Told::of(3);
    assert!(told.summary().converged && told.files().groups[0].digest.is_none());
    let none = FolderCounts { state: FolderState::NoFolder, ..FolderCounts::default() };
    told.folder(1, none.clone());
    assert!(told.summary().converged);
    // One that has said nothing where others have a folder may be about to; after a while it is taken to have none.
    told.has_all(2);
    assert!(!told.summary().converged);
    told.has_all(3);
    told.folder(1, none);
    let summary = told.summary();
    assert!(summary.converged, "{}", summary.reason);
    assert_eq!((summary.files.agree, summary.files.folders, summary.detail[0].files), (2, 2, None));
    let digests: Vec<_> = summary.files.groups.iter().map(|group| (group.digest.is_some(), group.nodes)).collect();
    assert_eq!(digests, [(true, 2), (false, 1)]);
}

#[test]
fn a_node_that_says_nothing_of_a_folder_is_awaited_for_a_while() {
    let mut told = Told::of(2);
    told.has_all(1);
    assert!(!told.summary().converged);
    assert_eq!(told.summary().reason, "not every node has told of its folder");
    told.passes(5_000);
    assert!(told.summary().converged);
}

#[test]
fn one_that_lacks_files_differs_and_the_time_to_union_runs_until_it_has_them() {
    let mut told = Told::with_folders(3);
    assert_eq!(told.files().union_ms_last, None, "nobody saw a change");
    told.now = 40_000;
    let changes = told.event(1, FolderEvent::Changed { path: path(4), root: Some(root(4)) });
    assert_eq!(kinds(&changes), [ChangeKind::FileChanged]);
    assert_eq!(changes[0].text, "its user wrote \"f4\"");
    assert!(!told.summary().converged, "until its numbers come");
    told.folder(1, counts((4, 4), (OTHER, OTHER), 40_000));
    told.folder(2, counts((4, 3), (OTHER, SAME), 40_020));
    told.passes(300);
    let files = told.files();
    assert_eq!((files.agree, files.folders, files.need_files, files.need_bytes), (1, 3, 1, 1_000));
    assert_eq!((files.union_for_ms, files.groups.len(), files.groups[0].nodes), (Some(300), 2, 2));
    let summary = told.summary();
    assert_eq!((summary.verdict, summary.converging_for_ms), (Verdict::Converging, Some(300)));
    assert_eq!(summary.reason, "2 of 3 folders differ: a file is on its way");
    told.now = 40_900;
    told.folder(2, counts((4, 4), (OTHER, OTHER), 40_450));
    let changes = told.folder(3, counts((4, 4), (OTHER, OTHER), 40_510));
    assert_eq!(kinds(&changes), [ChangeKind::FilesUnion]);
    assert_eq!(changes[0].text, "all 3 folders have the same 4 files, 0.5 s after the last change");
    let summary = told.summary();
    assert_eq!((summary.files.union_for_ms, summary.files.union_ms_last), (None, Some(510)));
    assert_eq!((summary.converged, summary.converged_in_ms), (true, Some(510)), "{}", summary.reason);
    // The next one takes longer: 99 of 100 times did not exceed it.
    told.now = 50_000;
    told.event(2, FolderEvent::Changed { path: path(4), root: None });
    told.folder(2, counts((3, 3), (SAME, SAME), 50_000));
    told.folder(1, counts((3, 3), (SAME, SAME), 50_100));
    told.now = 52_300;
    told.folder(3, counts((3, 3), (SAME, SAME), 52_000));
    let files = told.files();
    assert_eq!((files.union_ms_last, files.union_ms_p99), (Some(2_000), Some(2_000)));
}

#[test]
fn who_attaches_later_knows_how_long_the_last_union_took() {
    let mut told = Told { network: super::super::Network::new("lab".parse().unwrap(), "process"), now: 90_000 };
    told.truth(Truth::Listed((1..=2).map(|n| unit(n, UnitState::Up, 1_000)).collect()));
    for node in 1..=2 {
        told.joins(node, 1_000, &[1, 2], 3_000);
        told.folder(node, counts((3, 3), (SAME, SAME), 60_000 + u64::from(node) * 300));
        let event = FolderEvent::Changed { path: path(3), root: Some(root(3)) };
        told.says(node, Report::FolderEvent { event, at: UnixMillis(60_000 - u64::from(node)) });
    }
    let changes = told.feed(FeedLine::CaughtUp);
    assert!(!kinds(&changes).contains(&ChangeKind::FileChanged), "a history is no news");
    let files = told.files();
    assert_eq!((files.union_for_ms, files.union_ms_last), (None, Some(601)));
    assert_eq!(told.summary().converged_in_ms, Some(601));
}

/// It said 36 s, of an upload that was everywhere in one and of a node that was started half a minute later.
#[test]
fn who_attaches_after_a_node_came_does_not_take_its_coming_for_the_end_of_an_earlier_union() {
    let mut told = Told { network: super::super::Network::new("lab".parse().unwrap(), "process"), now: 120_000 };
    told.truth(Truth::Listed((1..=3).map(|n| unit(n, UnitState::Up, 1_000)).collect()));
    for (node, epoch, since) in [(1, 1_000, 60_300), (2, 1_000, 60_600), (3, 95_000, 96_200)] {
        told.joins(node, epoch, &[1, 2, 3], 96_000);
        told.folder(node, counts((3, 3), (SAME, SAME), since));
    }
    let event = FolderEvent::Changed { path: path(3), root: Some(root(3)) };
    told.says(1, Report::FolderEvent { event, at: UnixMillis(60_000) });
    told.feed(FeedLine::CaughtUp);
    let files = told.files();
    assert_eq!((files.union_for_ms, files.union_ms_last), (None, Some(1_200)));
}

#[test]
fn a_new_node_with_an_empty_folder_begins_the_clock_when_it_began_to_differ() {
    let mut told = Told::with_folders(2);
    told.now = 60_500;
    told.folder(2, counts((3, 0), (SAME, 0), 60_000));
    assert_eq!(told.files().union_for_ms, Some(500));
    told.now = 61_000;
    told.folder(2, counts((3, 3), (SAME, SAME), 60_800));
    assert_eq!(told.files().union_ms_last, Some(800));
}

#[test]
fn the_dead_and_the_paused_do_not_count() {
    let mut told = Told::with_folders(3);
    told.folder(3, counts((4, 4), (OTHER, OTHER), 30_000));
    assert_eq!(told.files().agree, 2);
    told.truth(Truth::Changed(unit(3, UnitState::Paused, 31_000)));
    let files = told.files();
    assert_eq!((files.agree, files.folders, files.groups.len()), (2, 2, 1));
    told.dies(2, 32_000);
    assert_eq!(told.files().one_holder, 3, "the only live one has them all");
    // A link that breaks changes nothing: its last word stands.
    told.feed(FeedLine::Lost { node: name(1), at: UnixMillis(32_500) });
    let files = told.files();
    assert_eq!((files.agree, files.folders), (1, 1));
    let folder = told.network.node_folder(&name(1), UnixMillis(told.now)).unwrap();
    assert_eq!((folder.live, folder.told, folder.agrees, folder.counts.files), (false, true, true, 3));
}

#[test]
fn uploads_are_held_at_risk_or_lost() {
    let mut told = Told::with_folders(3);
    let changes = told.uploads(1, 7, &[1, 2]);
    assert_eq!(changes[0].text, "took the upload \"f7\", on 2 nodes when acknowledged");
    let risks = |told: &Told| {
        let files = told.files();
        (files.uploads, files.at_risk, files.lost)
    };
    told.passes(3_000);
    assert_eq!(risks(&told), (1, 0, 0));
    told.dies(1, told.now);
    assert_eq!(risks(&told), (1, 1, 0));
    let now = told.now + 3_000;
    let mut changes = told.dies(2, now);
    assert_eq!(risks(&told), (1, 0, 1));
    changes.extend(told.passes(2_000));
    let lost = changes.iter().find(|change| change.kind == ChangeKind::FilesLost).unwrap();
    assert_eq!(lost.text, "the acknowledged upload \"f7\": every node that had it is down");
    let summary = told.summary();
    assert_eq!(summary.files.lost_paths[0].path, "f7");
    assert_eq!(summary.reason, "the acknowledged upload \"f7\" is lost: every node that had it is down");
    // One of them is back with its disk.
    told.truth(Truth::Changed(unit(2, UnitState::Up, told.now)));
    told.joins(2, told.now, &[1, 2, 3], told.now);
    assert_eq!(risks(&told).2, 1, "it has not told what it has");
    told.says(2, Report::Files { anew: true, files: vec![held(1, 1), held(7, 9)] });
    told.folder(2, counts((3, 3), (SAME, SAME), told.now));
    assert_eq!(risks(&told), (1, 1, 0));
    let changes = told.passes(2_100);
    assert!(kinds(&changes).contains(&ChangeKind::FilesBack));
    // Deleted by a user, it is nobody's concern any more.
    told.event(2, FolderEvent::Changed { path: path(7), root: None });
    told.says(2, Report::Files { anew: false, files: vec![HeldFile { root: None, ..held(7, 9) }] });
    told.passes(5_000);
    assert_eq!(risks(&told), (0, 0, 0));
}

#[test]
fn an_upload_just_acknowledged_is_where_it_was_acknowledged() {
    let mut told = Told::with_folders(3);
    let event = FolderEvent::Uploaded { path: path(8), root: root(8), holders: 2 };
    told.event(1, event);
    let files = told.files();
    assert_eq!((files.uploads, files.at_risk, files.lost), (1, 0, 0), "reports of what nodes have are on their way");
}

#[test]
fn a_thousand_changes_are_a_few_lines() {
    let mut told = Told::with_folders(2);
    let mut lines = Vec::new();
    for number in 0..1_000 {
        lines.extend(told.event(1, FolderEvent::Changed { path: path(number), root: Some(root(1)) }));
    }
    assert_eq!(lines.len(), 5);
    let changes = told.passes(1_000);
    let more = changes.iter().find(|change| change.kind == ChangeKind::FileChanged).unwrap();
    assert_eq!(more.text, "995 more changes of files in that second");
}

#[test]
fn trouble_with_a_folder_is_told_and_named() {
    let mut told = Told::with_folders(3);
    let full = FolderCounts { state: FolderState::Full, ..counts((3, 3), (SAME, SAME), 4_000) };
    let changes = told.folder(2, full.clone());
    assert_eq!(kinds(&changes), [ChangeKind::Folder]);
    assert_eq!(
        (told.summary().verdict, told.summary().reason),
        (Verdict::Degraded, "the folder of node2 is full".into())
    );
    let wrong = FolderCounts { bad_chunks: 2, liar: Some(name(3)), rescan_only: true, ..full };
    let texts: Vec<String> = told.folder(2, wrong).into_iter().map(|change| change.text).collect();
    assert_eq!(texts[1], "refused 2 wrong chunks from node3");
    assert!(texts[0].contains("no watch"));
    told.folder(2, counts((3, 3), (SAME, SAME), 4_000));
    assert!(told.summary().converged);
    let conflict = FolderCounts { conflicts: 2, ..counts((3, 3), (SAME, SAME), 4_000) };
    told.passes(5_000);
    let changes = told.folder(1, conflict);
    assert_eq!(kinds(&changes), [ChangeKind::Conflict]);
    assert_eq!(told.files().conflicts, 2);
    told.folder(3, FolderCounts { state: FolderState::Stalled, ..counts((5, 3), (OTHER, SAME), 30_000) });
    assert_eq!(told.summary().reason, "the folder of node3 differs: up to 2 files are on no node within reach");
}

#[test]
fn rates_are_those_of_now() {
    let mut told = Told::with_folders(2);
    let base = counts((3, 3), (SAME, SAME), 4_000);
    told.folder(1, base.clone());
    told.now += 500;
    told.folder(1, FolderCounts { received_bytes: 1_000_000, sent_bytes: 500_000, wasted_bytes: 7, ..base });
    let files = told.files();
    assert_eq!((files.received_per_second, files.sent_per_second, files.wasted_bytes), (2_000_000, 1_000_000, 7));
    told.passes(2_000);
    assert_eq!(told.files().received_per_second, 0, "nothing was told for a while");
}

#[test]
fn a_file_on_its_way_is_known_by_its_holders() {
    let mut told = Told::with_folders(3);
    told.has_file(1, held(5, 5));
    let progress = FileProgress { root: root(5).short(), chunks: 64, here: 1, map: 1, sources: vec![(name(1), 1); 20] };
    told.says(2, Report::Progress(vec![progress; 40]));
    let folder = told.network.node_folder(&name(2), UnixMillis(told.now)).unwrap();
    assert_eq!((folder.progress.len(), folder.progress[0].sources.len()), (16, 8), "no more than a node tells");
    let holders = told.network.file_holders(root(5).short());
    assert_eq!((holders.live, holders.down), (vec![name(1)], vec![]));
    assert_eq!(told.network.live_holders(path(5).hash64(), root(5).short()), 1);
    assert_eq!(told.files().one_holder, 1);
}

fn any_report() -> impl Strategy<Value = Report> {
    let state = prop_oneof![
        Just(FolderState::NoFolder),
        Just(FolderState::Full),
        Just(FolderState::Stalled),
        Just(FolderState::Syncing),
        Just(FolderState::Idle)
    ];
    let counts = (state, any::<[u64; 6]>(), 0..3_u128, 0..3_u128).prop_map(|(state, numbers, want, have)| {
        let [files, files_here, bytes, bytes_here, received_bytes, since] = numbers;
        let (want, have, since) = (FolderDigest(want), FolderDigest(have), UnixMillis(since));
        let here = (files_here, bytes_here);
        let (files_here, bytes_here) = here;
        FolderCounts {
            state,
            files,
            files_here,
            bytes,
            bytes_here,
            received_bytes,
            want,
            have,
            since,
            ..Default::default()
        }
    });
    let file = (0..4_u64, proptest::option::of(0..3_u8));
    let file = file.prop_map(|(number, contents)| HeldFile {
        path: path(number).hash64(),
        root: contents.map(|contents| root(contents).short()),
    });
    let event = prop_oneof![
        (0..4_u64, 0..3_u8, any::<u32>()).prop_map(|(number, contents, holders)| FolderEvent::Uploaded {
            path: path(number),
            root: root(contents),
            holders
        }),
        (0..4_u64, proptest::option::of(0..3_u8))
            .prop_map(|(number, contents)| FolderEvent::Changed { path: path(number), root: contents.map(root) }),
    ];
    prop_oneof![
        3 => counts.prop_map(Report::Folder),
        3 => (any::<bool>(), proptest::collection::vec(file, 0..5)).prop_map(|(anew, files)| Report::Files { anew, files }),
        2 => (event, any::<u64>()).prop_map(|(event, at)| Report::FolderEvent { event, at: UnixMillis(at) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_told_numbers_stay_within_bounds(
        steps in proptest::collection::vec((1..4_u32, 0..3_000_u64, 0..8_u8, any_report()), 0..40)
    ) {
        let mut told = Told::of(3);
        for (node, passed, step, report) in steps {
            told.now += passed;
            match step {
                0 => _ = told.dies(node, told.now),
                1 => _ = told.truth(Truth::Changed(unit(node, UnitState::Up, told.now))),
                2 => told.joins(node, told.now, &[1, 2, 3], told.now),
                3 => _ = told.observe(Observation::FeedBack),
                4 => _ = told.feed(FeedLine::CaughtUp),
                _ => _ = told.says(node, report),
            }
            told.network.files.holdings.check();
            let (files, up) = (told.files(), told.network.up.count());
            prop_assert!(files.agree <= files.folders && files.folders <= up);
            prop_assert!(files.at_risk + files.lost <= files.uploads);
            prop_assert_eq!(files.groups.iter().map(|group| group.nodes).sum::<u32>(), up);
            prop_assert!(!told.summary().converged || files.agree == files.folders);
        }
    }
}
