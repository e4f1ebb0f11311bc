//! The shared folder on screen: what nodes report becomes rows, names are asked for while they can be read.

use p2pnet_shared::{
    FilePath, NodeName, UnixMillis,
    api::{FileRow, FilesReply},
    telemetry::{FeedLine, FileProgress, FolderCounts, FolderEvent, FolderState, HeldFile, Report},
    wire::folder::{FolderDigest, Root},
};
use ratatui::crossterm::event::KeyCode;

use super::*;
use crate::model::{
    files::{FilesFace, Has},
    pane::{Beside, Pane},
};

const SAME: FolderDigest = FolderDigest(7 << 100);
const OTHER: FolderDigest = FolderDigest(9 << 100);

fn path(number: usize) -> FilePath {
    format!("f{number}").parse().unwrap()
}

fn root(number: usize) -> Root {
    Root::of(&[number as u8])
}

fn held(number: usize) -> HeldFile {
    HeldFile { path: path(number).hash64(), root: Some(root(number).short()) }
}

fn listing(files: usize, digest: FolderDigest) -> FilesReply {
    let row = |number| FileRow { path: path(number), size: 1, hash: root(number), modified: UnixMillis(1), holders: 1 };
    FilesReply { files: (0..files).map(row).collect(), conflicts: Vec::new(), digest }
}

impl Story {
    /// The bootstrap and `peers` peers whose folders hold the same three files.
    fn with_folders(peers: u32) -> Self {
        let mut story = Self::with_peers(peers);
        for number in 0..=peers {
            story.folder(number, (3, 3), SAME, SAME);
            story.says(number, Report::Files { anew: true, files: (0..3).map(held).collect() });
        }
        story.after(100).frame()
    }

    fn folder(&mut self, number: u32, (files, files_here): (u64, u64), want: FolderDigest, have: FolderDigest) {
        let state = if want == have { FolderState::Idle } else { FolderState::Syncing };
        let since = self.now;
        let counts = FolderCounts { state, files, files_here, want, have, since, ..FolderCounts::default() };
        self.says(number, Report::Folder(counts));
    }

    fn says(&mut self, number: u32, report: Report) {
        let node = unit(number, UnitState::Up).name;
        self.observe(Observation::Feed(FeedLine::Report { node, report }));
    }

    fn wanted(&mut self) -> Vec<Option<(NodeName, FolderDigest)>> {
        let asked = std::mem::take(&mut self.asked).into_iter();
        asked
            .filter_map(|command| if let Command::WatchFiles(wanted) = command { Some(wanted) } else { None })
            .collect()
    }
}

#[test]
fn folders_become_rows_trouble_first() {
    let mut story = Story::with_folders(3);
    assert_eq!(story.model.picture.summary.files.agree, 4);
    story.folder(3, (4, 3), OTHER, SAME);
    story.observe(Observation::Truth(Truth::Changed(unit(2, UnitState::Dead))));
    let story = story.after(100).frame();
    let rows: Vec<&str> = story.model.picture.files.folders.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(rows, ["node2", "node3", "bootstrap", "node1"]);
    assert_eq!(story.model.picture.summary.files.agree, 2);
}

#[test]
fn names_are_asked_for_while_the_pane_is_in_sight_and_when_what_is_shown_changes() {
    let mut story = Story::with_folders(2);
    assert_eq!(story.wanted(), [], "nobody looks");
    let mut story = story.press(KeyCode::Char('8'));
    assert_eq!((story.model.focus, story.model.beside), (Pane::Files, Beside::Files));
    let wanted = story.wanted();
    let asked = wanted[0].clone().expect("somebody is asked");
    assert_eq!((wanted.len(), asked.1), (1, SAME));
    story.tell(Message::FilesCame { node: asked.0.clone(), result: Ok(listing(3, SAME)) });
    assert_eq!(story.model.files.listing.files.len(), 3);
    assert_eq!(story.model.picture.files.live(2), Some(3), "who has it is looked up");
    let mut story = story.after(1_000).frame();
    assert_eq!(story.wanted(), [], "nothing changed");
    for number in 0..3 {
        story.folder(number, (4, 4), OTHER, OTHER);
    }
    let mut story = story.after(100).frame();
    assert_eq!(story.wanted(), [Some((asked.0.clone(), OTHER))]);
    story.tell(Message::FilesCame { node: asked.0.clone(), result: Err("node1 does not answer".into()) });
    assert_eq!(story.model.files.listing.files.len(), 3, "what came before stays");
    assert!(story.model.files.error.is_some());
    story.tell(Message::FilesCame { node: "node77".parse().unwrap(), result: Ok(listing(9, OTHER)) });
    assert_eq!(story.model.files.listing.files.len(), 3, "an answer nobody waits for");
    // The node that was asked dies: another one is.
    let number = asked.0.number().unwrap_or(0);
    story.observe(Observation::Truth(Truth::Changed(unit(number, UnitState::Dead))));
    let mut story = story.after(100).frame();
    let wanted = story.wanted();
    assert!(matches!(wanted.as_slice(), [Some((other, _))] if *other != asked.0), "{wanted:?}");
    let mut story = story.press(KeyCode::Char('2'));
    assert_eq!(story.wanted(), [None], "nobody looks any more");
}

#[test]
fn the_selected_file_is_followed_on_every_node() {
    let mut story = Story::with_folders(2).press(KeyCode::Char('8')).press(KeyCode::Char('o'));
    assert_eq!(story.model.files.face, FilesFace::Files);
    assert!(story.model.picture.files.heat.is_none(), "nothing is selected, nothing is on its way");
    let node = story.model.files.wanted.clone().unwrap().0;
    story.tell(Message::FilesCame { node, result: Ok(listing(5, SAME)) });
    // Without a selection it is the largest on its way.
    let progress =
        |number, chunks| FileProgress { root: root(number).short(), chunks, here: 1, map: 1, sources: vec![] };
    story.says(1, Report::Progress(vec![progress(3, 16), progress(4, 64)]));
    story.says(2, Report::Files { anew: false, files: vec![held(4)] });
    let story = story.after(100).frame();
    let heat = story.model.picture.files.heat.clone().unwrap();
    assert_eq!((heat.path.as_ref().unwrap().as_str(), heat.chunks), ("f4", Some(64)));
    assert!(matches!(heat.rows[0].has, Has::Some { map: 1, here: 1, .. }) && heat.rows[1].has == Has::All);
    assert_eq!((heat.rows[2].has.clone(), heat.parts[0], heat.parts[1]), (Has::None, 2, 1));
    let story = story.press(KeyCode::Char('j')).press(KeyCode::Char('j'));
    let heat = story.model.picture.files.heat.clone().unwrap();
    assert_eq!(heat.path.unwrap().as_str(), "f1", "at once");
    assert!(heat.rows.iter().all(|row| row.has == Has::All));
    let story = story.press(KeyCode::Esc);
    assert!(story.model.files.selected.is_none());
}

#[test]
fn what_users_do_is_in_the_log_and_the_clock_runs() {
    let mut story = Story::with_folders(2);
    let event = FolderEvent::Changed { path: path(9), root: Some(root(9)) };
    let at = story.now;
    story.says(1, Report::FolderEvent { event, at });
    story.folder(1, (4, 4), OTHER, OTHER);
    let mut story = story.after(700).frame();
    let last = story.model.log.last().unwrap();
    assert_eq!((last.who.as_str(), last.kind, last.text.as_str()), ("node1", "file", "its user wrote \"f9\""));
    assert_eq!(story.model.picture.summary.files.union_for_ms, Some(700));
    assert_eq!(story.model.picture.summary.verdict, Verdict::Converging);
    for number in [0, 2] {
        story.folder(number, (4, 4), OTHER, OTHER);
    }
    let story = story.after(100).frame();
    assert_eq!(story.model.picture.summary.files.union_ms_last, Some(700));
    assert_eq!(story.model.log.last().unwrap().kind, "union");
    assert!(story.model.picture.summary.converged, "{}", story.model.picture.summary.reason);
}
