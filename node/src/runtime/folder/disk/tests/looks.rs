//! What is there is found, all of it and nothing else.

use std::{
    ffi::OsStr,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
};

use super::*;

#[test]
fn a_walk_finds_every_file_in_pages_and_counts_what_it_leaves_out() {
    let mut rig = Rig::new();
    let names: Vec<String> = (0..1_300).map(|n| format!("d{}/e/file{n}", n % 7)).collect();
    for name in &names {
        fs::create_dir_all(rig.path(name).parent().unwrap()).unwrap();
        fs::write(rig.path(name), name).unwrap();
    }
    let longest = "ü".repeat(127);
    for odd in ["new\nline", "-rf *", &longest, "empty", "d1/.p2pnet"] {
        fs::write(rig.path(odd), if odd == "empty" { "" } else { "x" }).unwrap();
    }
    symlink("empty", rig.path("link")).unwrap();
    symlink("/etc", rig.path("d1/elsewhere")).unwrap();
    fs::write(rig.path("").join(OsStr::from_bytes(b"not\xffutf8")), "x").unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, rig.path("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    fs::create_dir(rig.path("nothing in it")).unwrap();
    let (files, skipped) = rig.walk().unwrap();
    let mut expected = names;
    expected.extend(["new\nline", "-rf *", &longest, "empty", "d1/.p2pnet"].map(str::to_owned));
    expected.sort();
    assert_eq!(files.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(skipped, 4);
    let (path, stat) = &files[files.len() / 2];
    assert_eq!(rig.stat(path.as_str()), *stat, "a walk sees what a look sees");
    let order = rig.give(Order::Walk { beneath: Some(at("d3/e")) });
    let (of, Done::Walked { files, is_last: true, .. }) = rig.hear() else { panic!("no page") };
    assert!(of == order && files.len() == 186 && files.iter().all(|(path, _)| path.as_str().starts_with("d3/e/")));
    assert!(
        matches!(rig.ask(Order::Walk { beneath: Some(at("gone")) }), Done::Walked { files, .. } if files.is_empty())
    );
}

#[test]
fn paths_too_long_to_be_shared_are_left_out() {
    let mut rig = Rig::new();
    let long = vec!["x".repeat(200); 5].join("/");
    fs::create_dir_all(rig.path(&long)).unwrap();
    fs::write(rig.path(&long).join("y".repeat(18)), "1").unwrap();
    fs::write(rig.path(&long).join("y".repeat(19)), "1").unwrap();
    fs::write(rig.path(&long).join("y".repeat(20)), "1").unwrap();
    let (files, skipped) = rig.walk().unwrap();
    assert_eq!((files.len(), skipped), (2, 1), "1,024 bytes are the most");
}

#[test]
fn a_file_that_cannot_be_read_is_no_file_and_a_folder_that_cannot_ends_the_walk() {
    let mut rig = Rig::new();
    fs::create_dir(rig.path("closed")).unwrap();
    fs::write(rig.path("closed/file"), "1").unwrap();
    fs::write(rig.path("secret"), "1").unwrap();
    fs::set_permissions(rig.path("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(rig.path("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let walked = rig.walk();
    if rustix::process::geteuid().is_root() {
        // Nothing is closed to root.
        assert_eq!(walked.map(|(files, skipped)| (files.len(), skipped)), Ok((2, 0)));
        let stat = rig.stat("secret");
        assert_eq!(rig.hash("secret", stat), Ok((Root::of(b"1"), stat)));
    } else {
        assert_eq!(walked.map(|_| ()), Err(Trouble::Broken));
        assert_eq!(rig.look("secret"), Found::Other);
    }
    fs::set_permissions(rig.path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_look_tells_files_folders_and_others_apart() {
    let mut rig = Rig::new();
    fs::create_dir(rig.path("folder")).unwrap();
    fs::write(rig.path("folder/file"), "1").unwrap();
    symlink("folder", rig.path("link")).unwrap();
    assert_eq!(rig.look("folder"), Found::Folder);
    assert_eq!(rig.look("link"), Found::Other);
    assert_eq!(rig.look("link/file"), Found::Other, "links are not followed");
    assert_eq!(rig.look("folder/other"), Found::Nothing);
    assert_eq!(rig.look("folder/file/beneath"), Found::Nothing);
    assert_eq!(rig.stat("folder/file").size, 1);
}

#[test]
fn a_hash_is_of_a_file_that_did_not_change() {
    let mut rig = Rig::new();
    for length in [0, 1, 1_000_000] {
        let contents = noise(9, length);
        fs::write(rig.path("a"), &contents).unwrap();
        let stat = rig.stat("a");
        assert_eq!(rig.hash("a", stat), Ok((Root::of(&contents), stat)));
    }
    let stat = rig.stat("a");
    fs::write(rig.path("a"), noise(8, 1_000_000)).unwrap();
    assert_eq!(rig.hash("a", stat), Err(Trouble::Changed));
    fs::remove_file(rig.path("a")).unwrap();
    assert_eq!(rig.hash("a", stat), Err(Trouble::Changed));
    let read = Order::Read { source: Source::File { path: at("a"), stat }, offset: 0, length: 1 };
    assert_eq!(rig.ask(read), Done::Read(Err(Trouble::Changed)));
}

#[test]
fn no_more_is_read_than_there_is_or_may_be_sent() {
    let mut rig = Rig::new();
    let contents = noise(1, 2_000_000);
    fs::write(rig.path("a"), &contents).unwrap();
    let source = Source::File { path: at("a"), stat: rig.stat("a") };
    for (offset, length, is_right) in [
        (0, 1 << 20, true),
        (1_999_999, 1, true),
        (2_000_000, 1, false),
        (u64::MAX, 2, false),
        (0, (1 << 20) + 1, false),
    ] {
        let done = rig.ask(Order::Read { source: source.clone(), offset, length });
        match done {
            Done::Read(Ok(bytes)) if is_right => {
                let from = usize::try_from(offset).unwrap();
                assert_eq!(bytes, contents[from..from + length as usize]);
            }
            other => assert!(!is_right && other == Done::Read(Err(Trouble::Refused)), "{offset} {length}: {other:?}"),
        }
    }
    let outline = |chunk_bytes| Order::Outline { source: source.clone(), chunk_bytes };
    assert!(matches!(rig.ask(outline(1 << 20)), Done::Outlined(Ok(values)) if values.len() == 2));
    assert_eq!(rig.ask(outline(1_000)), Done::Outlined(Err(Trouble::Refused)));
    assert_eq!(rig.ask(outline(0)), Done::Outlined(Err(Trouble::Refused)));
}

#[test]
fn without_its_marker_or_its_folder_nothing_is_said_to_be_gone() {
    for is_moved in [false, true] {
        let mut rig = Rig::new();
        let stat = rig.place(memory("a", b"one")).unwrap();
        let away = rig.outside("away");
        if is_moved {
            fs::rename(rig.path(""), &away).unwrap();
            fs::create_dir(rig.path("")).unwrap();
        } else {
            fs::remove_file(rig.path(".p2pnet/folder")).unwrap();
        }
        assert_eq!(rig.walk().map(|_| ()), Err(Trouble::NoFolder));
        assert_eq!(rig.ask(Order::Look { path: at("a") }), Done::Looked(Err(Trouble::NoFolder)));
        assert_eq!(rig.hash("a", stat), Err(Trouble::NoFolder));
        assert_eq!(rig.place(memory("b", b"two")), Err(Trouble::NoFolder));
        assert_eq!(rig.write(b"part", 0, 4), Err(Trouble::NoFolder));
        assert_eq!(rig.ask(Order::Remove { path: at("a"), over: stat }), Done::Removed(Err(Trouble::NoFolder)));
        assert_eq!(rig.ask(Order::Persist { rows: [].into() }), Done::Persisted(Err(Trouble::NoFolder)));
        assert!(!is_moved || fs::read_dir(rig.path("")).unwrap().next().is_none(), "nothing was made there");
        if is_moved {
            fs::remove_dir(rig.path("")).unwrap();
            fs::rename(&away, rig.path("")).unwrap();
            assert_eq!(rig.walk().map(|(files, _)| files.len()), Ok(1), "it is back");
        }
    }
}

#[test]
fn two_nodes_do_not_share_a_folder() {
    let rig = Rig::new();
    let (tell, _told) = tokio::sync::mpsc::unbounded_channel();
    let second = Disk::open(&rig.path(""), &"node2".parse().unwrap(), tell, Pool::default());
    assert!(matches!(second, Err(DiskTrouble::Taken { .. })));
}

#[test]
#[ignore = "figures: run with --nocapture when the machine is idle"]
fn how_fast_it_walks_hashes_and_reads() {
    const BYTES: usize = 256 * 1024 * 1024;
    let mut rig = Rig::new();
    fs::create_dir(rig.path("many")).unwrap();
    (0..10_000).for_each(|n| fs::write(rig.path(&format!("many/{n}")), "x").unwrap());
    let began = Instant::now();
    assert_eq!(rig.walk().unwrap().0.len(), 10_000);
    println!("10,000 files walked in {:?}", began.elapsed());
    let contents = noise(1, BYTES);
    fs::write(rig.path("large"), &contents).unwrap();
    let stat = rig.stat("large");
    let began = Instant::now();
    assert_eq!(rig.hash("large", stat), Ok((Root::of(&contents), stat)));
    let rate = |began: Instant| BYTES as f64 / 1e6 / began.elapsed().as_secs_f64();
    println!("hashed twice (file and memory) at {:.0} MB/s each", 2.0 * rate(began));
    let began = Instant::now();
    for offset in (0..BYTES as u64).step_by(1 << 20) {
        let read = Order::Read { source: Source::File { path: at("large"), stat }, offset, length: 1 << 20 };
        assert!(matches!(rig.ask(read), Done::Read(Ok(_))));
    }
    println!("read in chunks of 1 MiB, one at a time, at {:.0} MB/s", rate(began));
}
