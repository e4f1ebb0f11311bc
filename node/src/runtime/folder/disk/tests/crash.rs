//! `kill -9` at any moment: a name has the old contents or the new, and the index knows nothing that is not there.
//!
//! The test binary starts itself as the child; the child replaces files without end, and the parent reads what is under the names,
//! kills it, and looks at what is left.

use std::{
    collections::BTreeMap,
    env,
    process::{Command, Stdio},
};

use super::*;

const KILLS: usize = 55;
const FILES: usize = 12;
const FOLDER: &str = "P2PNET_TEST_CRASH_FOLDER";
const CHILD: &str = "runtime::folder::disk::tests::crash::the_one_who_is_killed";

/// The `generation`-th contents of a file: it says so itself, and begins with the hash of the rest.
fn contents(file: usize, generation: u64) -> Vec<u8> {
    let length = (file * 7_919 + usize::try_from(generation).unwrap() * 104_729) % 200_000;
    let mut rest = generation.to_le_bytes().to_vec();
    rest.extend(noise(file as u8, length));
    [blake3::hash(&rest).as_bytes().as_slice(), &rest].concat()
}

/// Which generation is under that name; `None` if nothing is.
fn generation(path: &Path) -> Option<u64> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        bytes => bytes.unwrap(),
    };
    let (hash, rest) = bytes.split_at_checked(32).unwrap_or_else(|| panic!("{} is torn", path.display()));
    assert_eq!(hash, blake3::hash(rest).as_bytes(), "{} is torn: {} bytes", path.display(), bytes.len());
    Some(u64::from_le_bytes(*rest.first_chunk().unwrap()))
}

fn name(file: usize) -> String {
    format!("folder{}/file{file}", file % 3)
}

#[test]
#[ignore = "it never ends; the test below starts it and kills it"]
fn the_one_who_is_killed() {
    let Some(folder) = env::var_os(FOLDER) else { panic!("{FOLDER} is not set: this is a part of another test") };
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (disk, _) = Disk::open(Path::new(&folder), &"child".parse().unwrap(), tell, Pool::default()).unwrap();
    let mut order = 0;
    let begin = (0..FILES).filter_map(|file| generation(&Path::new(&folder).join(name(file)))).max().unwrap_or(0);
    for now in begin + 1.. {
        for file in 0..FILES {
            let bytes = contents(file, now);
            let over = disk.home.beneath.look(&name(file)).unwrap();
            let over = if let Found::File(stat) = over { Some(stat) } else { None };
            let mut place = Place { over, ..memory(&name(file), &bytes) };
            if (file as u64 + now).is_multiple_of(2) {
                place.source = Source::Part(place.root);
                for (at, piece) in bytes.chunks(50_000).enumerate() {
                    let (offset, piece) = (at as u64 * 50_000, Bytes::copy_from_slice(piece));
                    disk.give(0, Order::Write { root: place.root, size: place.size, offset, bytes: piece });
                }
            }
            disk.give(order, Order::Place(place));
            let row = Row { key: name(file).into(), value: Some(now.to_le_bytes().to_vec()) };
            disk.give(order + 1, Order::Persist { rows: [row].into() });
            order += 2;
        }
        for _ in 0..FILES {
            while !matches!(told.blocking_recv().unwrap().1, Done::Persisted(Ok(()))) {}
        }
    }
}

#[test]
fn a_kill_at_any_moment_leaves_whole_files_and_a_true_index() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    let mut seen = [0_u64; FILES];
    let mut index = BTreeMap::new();
    let mut kills_in_the_middle = 0;
    for _ in 0..KILLS {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", CHILD, "--ignored", "--nocapture"])
            .env(FOLDER, &shared)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = seen;
        let began = Instant::now();
        let mut kill_at = None;
        while kill_at.is_none_or(|at| Instant::now() < at) {
            for (file, seen) in seen.iter_mut().enumerate() {
                let now = generation(&shared.join(name(file))).unwrap_or(0);
                assert!(now >= *seen, "{} went back from {seen} to {now}", name(file));
                *seen = now;
            }
            if kill_at.is_none() && seen != before {
                kill_at = Some(Instant::now() + Duration::from_micros(rand::random_range(0..60_000)));
            }
            assert!(began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "the child does nothing");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let own = |name: &str| fs::read_dir(shared.join(".p2pnet").join(name)).map_or(0, Iterator::count);
        kills_in_the_middle += usize::from(own("new") + own("swap") + own("parts") > 0);

        let (tell, _told) = tokio::sync::mpsc::unbounded_channel();
        let (disk, opened) = Disk::open(&shared, &"parent".parse().unwrap(), tell, Pool::default()).unwrap();
        assert!(opened.rows.len() >= index.len(), "rows are lost");
        for row in opened.rows {
            let said = u64::from_le_bytes(row.value.unwrap().try_into().unwrap());
            let before = index.insert(row.key.clone(), said);
            assert!(before <= Some(said), "{}: the index went back from {before:?} to {said}", row.key);
            let there = generation(&shared.join(&*row.key));
            assert!(there.is_some_and(|there| there >= said), "{}: {there:?}, the index says {said}", row.key);
        }
        assert_eq!((own("new"), own("swap"), own("saved")), (0, 0, 0), "left behind");
        drop(disk);
    }
    println!("{KILLS} kills, {kills_in_the_middle} of them in the middle of something, generations {seen:?}");
    assert!(kills_in_the_middle > 0 && index.len() == FILES && seen.iter().all(|generation| *generation > 0));
}
