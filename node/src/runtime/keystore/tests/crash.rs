//! Ends at every point: before each call that changes a file, what would be found if nothing came after it.
//!
//! Killed, a node leaves what it wrote so far, names of files included. A power failure leaves of what was not synced any
//! part, in sectors, in any order. Either way everything acknowledged is to be there, and of the group under way all or
//! nothing.

use std::{path::PathBuf, sync::Mutex};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

const SECTOR: usize = 512;

/// What may be found: what was acknowledged, or that and the group under way.
#[derive(Debug, Default)]
struct Expected {
    acknowledged: Kept,
    under_way: Kept,
    looked: usize,
    wrong: Vec<String>,
}

impl Expected {
    /// Looks at what is in a folder.
    fn look(&mut self, folder: &Path, point: &str) {
        self.looked += 1;
        match read(folder) {
            Ok(held) if held == self.acknowledged || held == self.under_way => {}
            Ok(held) => self.wrong.push(format!("{point}: {} keys, not what they were", held.len())),
            Err(why) => self.wrong.push(format!("{point}: {why}")),
        }
    }
}

/// Calls `before` with each call that changes something.
struct Watched<F> {
    disk: Disk,
    before: F,
}

#[derive(Debug)]
enum Call<'a> {
    Length(u64),
    Write(u64, &'a [u8]),
    Sync,
}

impl<F> std::fmt::Debug for Watched<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.disk.fmt(f)
    }
}

impl<F: Fn(Call<'_>) + Send + Sync + 'static> StorageBackend for Watched<F> {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        (self.before)(Call::Length(len));
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        (self.before)(Call::Sync);
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        (self.before)(Call::Write(offset, data));
        self.disk.write(offset, data)
    }
}

/// Writes groups, some larger than the log, and settles between some; `expected` follows.
fn live(files: &mut Files, expected: &Mutex<Expected>, groups: std::ops::Range<usize>) {
    for number in groups {
        let size = if number % 9 == 8 { 3_000 } else { 40 };
        let mut changes: Vec<Change> = (0..number % 4 + 1)
            .map(|key| put(&format!("k{}", (number * 5 + key * 3) % 20), &format!("{number} {}", "x".repeat(size))))
            .collect();
        changes.push(drop_of(&format!("k{}", number * 7 % 20)));
        let mut after = expected.lock().unwrap().acknowledged.clone();
        apply(&changes, &mut after);
        expected.lock().unwrap().under_way.clone_from(&after);
        files.write(&mut group(&changes)).unwrap();
        expected.lock().unwrap().acknowledged = after;
        if number % 7 == 6 {
            files.settle().unwrap();
        }
    }
}

fn small(folder: &Path) -> Home {
    let mut home = Home::new(folder);
    home.log_bytes = 4096 + 1500;
    home
}

#[test]
fn killed_at_any_call_it_gives_back_what_it_acknowledged() {
    let (scratch, found) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = Arc::new(Mutex::new(Expected::default()));
    let (from, to) = (scratch.path().to_owned(), found.path().to_owned());
    let copy = move || {
        for entry in fs::read_dir(&to).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for entry in fs::read_dir(&from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        to.clone()
    };
    let copy = Arc::new(copy);
    // Three lives, none of which ends in good order.
    for life in 0..3 {
        let (shared, copy) = (expected.clone(), copy.clone());
        let mut home = small(scratch.path());
        home.wrap = Some(Box::new(move |disk| {
            let (shared, copy) = (shared.clone(), copy.clone());
            Box::new(Watched {
                disk,
                before: move |call: Call<'_>| {
                    let folder: PathBuf = copy();
                    shared.lock().unwrap().look(&folder, &format!("life {life}, before {:.40}", format!("{call:?}")));
                },
            })
        }));
        let (mut files, held) = Files::open(home).unwrap();
        assert_eq!(kept(held), expected.lock().unwrap().acknowledged);
        live(&mut files, &expected, life * 20..life * 20 + 20);
    }
    let expected = expected.lock().unwrap();
    assert_eq!(expected.wrong, Vec::<String>::new());
    assert!(expected.looked > 200, "{}", expected.looked);
}

/// One file as the disk knows it, and what was written since.
#[derive(Debug, Default)]
struct Platter {
    synced: Vec<u8>,
    since: Vec<(u64, Vec<u8>)>,
    len: u64,
}

impl Platter {
    fn hear(&mut self, call: &Call<'_>) {
        match call {
            Call::Length(len) => self.len = *len,
            Call::Write(at, bytes) => self.since.push((*at, bytes.to_vec())),
            Call::Sync => {
                self.synced.resize(self.len as usize, 0);
                for (at, bytes) in self.since.drain(..) {
                    self.synced[at as usize..][..bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
    }

    /// What a power failure leaves of it.
    fn fail(&self, rng: &mut StdRng) -> Vec<u8> {
        let mut left = self.synced.clone();
        if rng.random() {
            left.resize(self.len as usize, 0);
        }
        for (at, bytes) in &self.since {
            for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                let at = *at as usize + number * SECTOR;
                if rng.random() {
                    left.resize(left.len().max(at + sector.len()), 0);
                    left[at..][..sector.len()].copy_from_slice(sector);
                }
            }
        }
        left
    }
}

#[test]
fn a_power_failure_at_any_call_leaves_what_was_acknowledged() {
    let (scratch, found) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = Arc::new(Mutex::new(Expected::default()));
    // Both files are made; names are not what this is about.
    let mut files = Files::open(small(scratch.path())).unwrap().0;
    live(&mut files, &expected, 0..3);
    drop(files);
    let names = [FILE, super::super::log::FILE];
    let platter = |name| {
        let synced = fs::read(scratch.path().join(name)).unwrap();
        Platter { len: synced.len() as u64, synced, since: Vec::new() }
    };
    let platters = Arc::new(Mutex::new((names.map(platter), StdRng::seed_from_u64(1))));
    let opened = Arc::new(AtomicI64::new(0));
    let (shared, to) = (expected.clone(), found.path().to_owned());
    let mut home = small(scratch.path());
    home.wrap = Some(Box::new(move |disk| {
        // The redb file is opened first.
        let which = opened.fetch_add(1, Ordering::SeqCst) as usize;
        let (shared, platters, to) = (shared.clone(), platters.clone(), to.clone());
        Box::new(Watched {
            disk,
            before: move |call: Call<'_>| {
                let (platters, rng) = &mut *platters.lock().unwrap();
                for attempt in 0..2 {
                    for (platter, name) in platters.iter().zip(names) {
                        fs::write(to.join(name), platter.fail(rng)).unwrap();
                    }
                    let point = format!("attempt {attempt} before {:.40} of {}", format!("{call:?}"), names[which]);
                    shared.lock().unwrap().look(&to, &point);
                }
                platters[which].hear(&call);
            },
        })
    }));
    let (mut files, held) = Files::open(home).unwrap();
    assert_eq!(kept(held), expected.lock().unwrap().acknowledged);
    live(&mut files, &expected, 3..40);
    let expected = expected.lock().unwrap();
    assert_eq!(expected.wrong, Vec::<String>::new());
    assert!(expected.looked > 200, "{}", expected.looked);
}
