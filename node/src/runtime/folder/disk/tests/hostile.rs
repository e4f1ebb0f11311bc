//! Nothing outside the folder is ever touched, whatever is put into it.

use std::{
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::io::Errno;

use super::{
    super::{
        beneath::Beneath,
        home::{Own, Swap},
    },
    *,
};

/// A folder outside with one file in it, and whether it is still as it was.
fn canary(rig: &Rig) -> impl Fn() + use<> {
    let outside = rig.outside("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "canary").unwrap();
    move || {
        let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["file"], "something came or went");
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"canary");
    }
}

#[test]
fn a_link_in_the_way_leads_nowhere() {
    let mut rig = Rig::new();
    let unharmed = canary(&rig);
    symlink(rig.outside("outside"), rig.path("dir")).unwrap();
    symlink(rig.outside("outside/file"), rig.path("file")).unwrap();
    let stat = {
        fs::write(rig.path("own"), "canary").unwrap();
        rig.stat("own")
    };
    assert_eq!(rig.place(memory("dir/new", b"x")), Err(Trouble::Refused));
    assert_eq!(rig.place(memory("dir/deeper/new", b"x")), Err(Trouble::Refused));
    assert_eq!(rig.place(memory("file", b"x")), Err(Trouble::Refused));
    assert_eq!(rig.place(memory("file/new", b"x")), Err(Trouble::Refused));
    assert_eq!(rig.hash("dir/file", stat), Err(Trouble::Changed));
    assert!(matches!(rig.ask(Order::Remove { path: at("dir/file"), over: stat }), Done::Removed(Err(_))));
    assert!(matches!(rig.ask(Order::Remove { path: at("file"), over: stat }), Done::Removed(Err(_))));
    let touch = Order::Touch { path: at("file"), over: stat, mtime_ns: 0, executable: true };
    assert!(matches!(rig.ask(touch), Done::Placed(Err(_))));
    assert_eq!(rig.walk().map(|(files, skipped)| (files.len(), skipped)), Ok((1, 2)));
    unharmed();
}

#[test]
fn a_folder_that_becomes_a_link_and_back_all_the_time_lets_nothing_out() {
    let mut rig = Rig::new();
    let unharmed = canary(&rig);
    let over = Arc::new(AtomicBool::new(false));
    let swapping = {
        let (outside, dir, real) = (rig.outside("outside"), rig.path("dir"), rig.path("real"));
        let over = over.clone();
        fs::create_dir(&dir).unwrap();
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if fs::rename(&dir, &real).is_err() {
                    // Placing made the folder anew while it was away: both hold files, and neither goes over the other.
                    let _ = fs::remove_dir_all(&real);
                    continue;
                }
                let _ = symlink(&outside, &dir);
                let _ = fs::remove_file(&dir);
                let _ = fs::rename(&real, &dir);
                let _ = fs::create_dir(&dir);
            }
        })
    };
    let (mut placed, mut refused) = (0, 0);
    let until = Instant::now() + PATIENCE;
    while placed + refused < 1_500 || placed == 0 || refused == 0 {
        assert!(Instant::now() < until, "{placed} placed, {refused} refused");
        let n = placed + refused;
        for n in n..n + 50 {
            rig.give(Order::Place(memory(&format!("dir/{n}"), b"inside")));
        }
        for _ in 0..50 {
            match rig.hear() {
                (_, Done::Placed(Ok(_))) => placed += 1,
                (_, Done::Placed(Err(_))) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    over.store(true, Ordering::Relaxed);
    swapping.join().unwrap();
    unharmed();
    println!("{placed} placed, {refused} refused");
    assert!(rig.own("new").is_empty() && rig.own("swap").is_empty());
}

#[test]
fn a_file_that_is_edited_while_it_is_replaced_is_never_lost() {
    let mut rig = Rig::new();
    let over = Arc::new(AtomicBool::new(false));
    // Somebody saves as editors do: a new file renamed over the old one. What was saved must be there, or have been seen as it
    // was replaced.
    let saving = {
        let (file, beside, over) = (rig.path("file"), rig.outside("beside"), over.clone());
        fs::write(&file, "mine 0").unwrap();
        thread::spawn(move || {
            let mut n = 0;
            while !over.load(Ordering::Relaxed) {
                n += 1;
                fs::write(&beside, format!("mine {n}")).unwrap();
                fs::rename(&beside, &file).unwrap();
            }
            n
        })
    };
    let (mut placed, mut changed) = (0, 0);
    let mut last_over = String::new();
    let until = Instant::now() + Duration::from_millis(1_500);
    while Instant::now() < until {
        let Found::File(stat) = rig.look("file") else { panic!("no file under its name") };
        let now = fs::read_to_string(rig.path("file")).unwrap();
        match rig.place(Place { over: Some(stat), ..memory("file", b"theirs") }) {
            Ok(_) => {
                placed += 1;
                if now != "theirs" {
                    last_over = now;
                }
            }
            Err(Trouble::Changed) => changed += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    over.store(true, Ordering::Relaxed);
    let last = saving.join().unwrap();
    let end = fs::read_to_string(rig.path("file")).unwrap();
    let last = format!("mine {last}");
    assert!(end == last || end == "theirs" && last_over == last, "{end}, {last_over} after {last}");
    println!("{placed} replaced, {changed} seen to have changed");
    assert!(changed > 0 && rig.own("new").is_empty() && rig.own("swap").is_empty());
}

#[test]
fn what_a_crash_left_in_an_exchange_is_removed_unless_it_is_somebodys() {
    let mut rig = Rig::new();
    let stat = rig.place(memory("a", b"old")).unwrap();
    let home = rig.disk().home();
    let swap = |inode, size| Swap { number: 900 + inode, new: 0, inode, size, mtime_ns: stat.mtime_ns }.name();
    let (expected, edited) = (swap(stat.inode, 3), swap(1, 9));
    fs::rename(rig.path("a"), rig.path(".p2pnet/swap").join(&expected)).unwrap();
    fs::write(rig.path(".p2pnet/swap").join(&edited), "an edit").unwrap();
    for own in ["new", "uploads"] {
        fs::write(rig.path(".p2pnet").join(own).join("77"), "x").unwrap();
    }
    assert!(home.own_file(Own::New, "77").unwrap().is_some());
    drop(home);
    let rig = rig.again();
    assert!(["new", "uploads", "swap"].iter().all(|own| rig.own(own).is_empty()));
    let saved = rig.own("saved");
    assert_eq!(saved.len(), 1, "{saved:?}");
    assert_eq!(fs::read(rig.path(".p2pnet/saved").join(&saved[0])).unwrap(), b"an edit");
}

#[test]
fn with_and_without_openat2_the_same_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/file"), "1").unwrap();
    fs::write(folder.path().join("outside"), "1").unwrap();
    symlink("b", root.join("a/link")).unwrap();
    symlink("file", root.join("a/b/link")).unwrap();
    for beneath in [Beneath::open(&root).unwrap(), Beneath::open(&root).unwrap().without_openat2()] {
        assert!(beneath.file("a/b/file").is_ok() && beneath.folder("a/b").is_ok() && beneath.folder("").is_ok());
        assert_eq!(beneath.file("a/b/link").unwrap_err(), Errno::LOOP);
        for path in ["a/link/file", "a/b/file/x"] {
            assert!(matches!(beneath.file(path), Err(Errno::LOOP | Errno::NOTDIR)), "{path}");
        }
        assert!(matches!(beneath.folder("a/link"), Err(Errno::LOOP | Errno::NOTDIR)));
        assert_eq!(beneath.file("a/none").unwrap_err(), Errno::NOENT);
        assert_eq!(beneath.file("a").unwrap_err(), Errno::NOENT, "a folder");
        let made = beneath.make_folder("a/c/d/e", |_| {}).unwrap();
        assert!(beneath.leads_to("a/c/d/e", &made) && !beneath.leads_to("a/c/d", &made));
        fs::remove_dir_all(root.join("a/c")).unwrap();
        assert!(beneath.make_folder("a/link/d", |_| {}).is_err() && !root.join("a/b/d").exists());
    }
    let proc = Beneath::open(std::path::Path::new("/")).unwrap();
    for beneath in [proc, Beneath::open(std::path::Path::new("/")).unwrap().without_openat2()] {
        assert_eq!(beneath.folder("proc").unwrap_err(), Errno::XDEV, "another mount");
    }
}
