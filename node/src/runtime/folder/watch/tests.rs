use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use p2pnet_shared::FilePath;
use tokio::sync::mpsc::{self, Receiver};

use super::*;
use crate::runtime::folder::disk::tests::{Rig, at, memory};

const PATIENCE: Duration = Duration::from_secs(30);

struct Watched {
    rig: Rig,
    told: Receiver<Input>,
    watch: Option<Watch>,
}

impl Watched {
    fn new(rig: Rig, room: usize) -> Self {
        let (tell, told) = mpsc::channel(room);
        let watch = Watch::start(rig.disk(), tell);
        assert!(watch.is_some());
        Self { rig, told, watch }
    }

    fn next(&mut self) -> Input {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.told.try_recv() {
                Ok(input) => return input,
                Err(mpsc::error::TryRecvError::Disconnected) => panic!("the watch ended"),
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            assert!(Instant::now() < until, "the watch says nothing");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until this was told.
    fn expect(&mut self, input: &Input) {
        while self.next() != *input {}
    }

    /// Waits until all of these were touched, and gives back what else was.
    fn touched(&mut self, paths: &[&str]) -> BTreeSet<FilePath> {
        let mut left: BTreeSet<FilePath> = paths.iter().map(|path| at(path)).collect();
        let mut others = BTreeSet::new();
        while !left.is_empty() {
            if let Input::Touched { path } = self.next()
                && !left.remove(&path)
            {
                others.insert(path);
            }
        }
        others
    }
}

#[test]
fn what_is_written_moved_removed_or_given_another_mode_is_told() {
    let mut watched = Watched::new(Rig::new(), 1_000);
    watched.expect(&Input::Watching(true));
    let path = |name: &str| watched.rig.path(name);
    let (one, two, outside) = (path("one"), path("two"), path("../outside"));
    fs::write(&one, "1").unwrap();
    assert!(watched.touched(&["one"]).is_empty());
    fs::rename(&one, &two).unwrap();
    watched.touched(&["one", "two"]);
    fs::set_permissions(&two, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    watched.touched(&["two"]);
    fs::rename(&two, &outside).unwrap();
    watched.touched(&["two"]);
    fs::rename(&outside, &two).unwrap();
    watched.touched(&["two"]);
    fs::remove_file(&two).unwrap();
    watched.touched(&["two"]);
    symlink("/etc", &one).unwrap();
    watched.touched(&["one"]);
    watched.rig.place(memory("placed/by us", b"x")).unwrap();
    assert!(watched.touched(&["placed/by us"]).iter().all(|path| !path.as_str().contains("p2pnet")));
}

#[test]
fn folders_are_watched_as_they_appear_and_what_is_in_them_is_told() {
    let rig = Rig::new();
    fs::create_dir_all(rig.path("there/before")).unwrap();
    let mut watched = Watched::new(rig, 1_000);
    watched.expect(&Input::Watching(true));
    fs::write(watched.rig.path("there/before/file"), "1").unwrap();
    watched.touched(&["there/before/file"]);
    for n in 0..50 {
        fs::create_dir_all(watched.rig.path(&format!("new{n}/a/b"))).unwrap();
        fs::write(watched.rig.path(&format!("new{n}/a/b/file")), "1").unwrap();
    }
    let names: Vec<_> = (0..50).map(|n| format!("new{n}/a/b/file")).collect();
    watched.touched(&names.iter().map(String::as_str).collect::<Vec<_>>());
    // A folder that comes from elsewhere with files in it.
    let outside = watched.rig.path("../outside");
    fs::create_dir_all(outside.join("c")).unwrap();
    fs::write(outside.join("c/file"), "1").unwrap();
    fs::rename(&outside, watched.rig.path("came")).unwrap();
    watched.touched(&["came/c/file"]);
    // It is renamed: its files are gone from there without a word, and are told of where they are now.
    fs::rename(watched.rig.path("came"), watched.rig.path("renamed")).unwrap();
    watched.expect(&Input::Overflowed);
    watched.touched(&["renamed/c/file"]);
    fs::write(watched.rig.path("renamed/c/file"), "2").unwrap();
    watched.touched(&["renamed/c/file"]);
}

#[test]
fn what_does_not_fit_is_told_in_one_word() {
    let mut watched = Watched::new(Rig::new(), 4);
    watched.expect(&Input::Watching(true));
    for n in 0..200 {
        fs::write(watched.rig.path(&format!("{n}")), "1").unwrap();
    }
    watched.expect(&Input::Overflowed);
    fs::write(watched.rig.path("last"), "1").unwrap();
    // Afterwards it is as before; what falls into the rest of the flood is in that word, too.
    loop {
        match watched.next() {
            Input::Touched { path } if path == at("last") => break,
            Input::Overflowed => fs::write(watched.rig.path("last"), "again").unwrap(),
            _ => {}
        }
    }
}

#[test]
fn a_folder_that_goes_away_is_not_watched_any_more() {
    let mut watched = Watched::new(Rig::new(), 1_000);
    watched.expect(&Input::Watching(true));
    fs::rename(watched.rig.path(""), watched.rig.path("../away")).unwrap();
    watched.expect(&Input::Overflowed);
    watched.expect(&Input::Watching(false));
}

#[test]
fn a_watch_that_is_dropped_ends() {
    let mut watched = Watched::new(Rig::new(), 1_000);
    watched.expect(&Input::Watching(true));
    drop(watched.watch.take());
    let until = Instant::now() + PATIENCE;
    while !watched.told.is_closed() {
        assert!(Instant::now() < until, "its thread lives on");
        while watched.told.try_recv().is_ok() {}
        thread::sleep(Duration::from_millis(1));
    }
}
