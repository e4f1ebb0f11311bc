//! Files that are torn, damaged, full or gone, and what a node makes of them.

mod both;
mod crash;

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use p2pnet_shared::{
    Key, UnixMillis,
    wire::dht::{Actor, Dot, Value, Version},
};
use proptest::prelude::*;
use redb::{ReadableDatabase, StorageBackend};

use super::{
    log::Group,
    row::Rows,
    store::{Bound, FILE, Store, Trouble},
    trial::Disk,
    *,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn me() -> NodeName {
    NodeName::numbered(7)
}

fn entry(key: &str, value: &str) -> Entry {
    let actor = Actor { node: me(), era: 1 };
    let value = Value::new(&serde_json::Value::from(value)).unwrap();
    let dot = Dot { actor: actor.clone(), count: 2 };
    let version = Version { dot, context: vec![(actor, 1)], at: UnixMillis(9), value: Some(value) };
    Entry { key: key.parse().unwrap(), versions: vec![version] }
}

fn put(key: &str, value: &str) -> Change {
    Change::Put(entry(key, value))
}

fn drop_of(key: &str) -> Change {
    Change::Drop(key.parse().unwrap())
}

type Kept = BTreeMap<Key, Entry>;

fn kept(entries: impl IntoIterator<Item = Entry>) -> Kept {
    entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect()
}

/// The way to the disk and back.
struct Way {
    keystore: Keystore,
    outcomes: Outcomes,
    at_once: VecDeque<dht::Input>,
}

impl Way {
    fn of((keystore, outcomes, held): (Keystore, Outcomes, Option<Vec<Entry>>)) -> (Self, Kept) {
        (Self { keystore, outcomes, at_once: VecDeque::new() }, kept(held.expect("the file is good")))
    }

    fn persist(&mut self, batch: u64, changes: Vec<Change>) {
        self.at_once.extend(self.keystore.persist(batch, changes));
    }

    async fn heard(&mut self) -> dht::Input {
        match self.at_once.pop_front() {
            Some(told) => told,
            None => tokio::time::timeout(DEADLINE, self.outcomes.next()).await.expect("the disk answers in time"),
        }
    }
}

/// Waits until everything up to with this batch is on disk.
async fn persisted(keystore: &mut Way, until: u64) {
    loop {
        match keystore.heard().await {
            dht::Input::Persisted { batch } if batch >= until => return,
            dht::Input::Persisted { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

fn open(folder: &Path) -> (Way, Kept) {
    Way::of(Keystore::open(Some(folder), &me()))
}

fn read(folder: &Path) -> Result<Kept, Trouble> {
    Files::open(Home::new(folder)).map(|(_, held)| kept(held))
}

fn group(changes: &[Change]) -> Group {
    let mut group = Group::new();
    changes.iter().for_each(|change| group.push(change));
    group
}

/// What becomes of what is kept.
fn apply(changes: &[Change], to: &mut Kept) {
    for change in changes {
        match change {
            Change::Put(entry) => drop(to.insert(entry.key.clone(), entry.clone())),
            Change::Drop(key) => drop(to.remove(key)),
        }
    }
}

#[tokio::test]
async fn an_idle_node_has_no_file_and_no_thread() {
    let folder = tempfile::tempdir().unwrap();
    let (keystore, held) = open(folder.path());
    assert!(held.is_empty() && matches!(keystore.keystore.state, State::Waiting(_)));
    drop(keystore);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_was_persisted_is_there_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Kept::new();
    for life in 0..3_u64 {
        let (mut keystore, held) = open(folder.path());
        assert_eq!(held, expected, "life {life}");
        for batch in 1..=20 {
            let (key, value) = (format!("k{}", batch % 7), format!("{life}/{batch}"));
            let other = format!("other {batch}");
            keystore.persist(batch, vec![put(&key, &value), put(&other, "x"), drop_of(&other)]);
            expected.insert(key.parse().unwrap(), entry(&key, &value));
        }
        persisted(&mut keystore, 20).await;
    }
    assert_eq!(open(folder.path()).1, expected);
}

#[tokio::test]
async fn leaving_writes_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (mut keystore, _) = open(folder.path());
    for batch in 1..=300 {
        keystore.persist(batch, vec![put(&format!("k{batch}"), "v")]);
    }
    keystore.keystore.close();
    drop(keystore);
    assert_eq!(open(folder.path()).1.len(), 300);
}

#[tokio::test]
async fn without_a_folder_everything_is_acknowledged_and_nothing_kept() {
    let (mut keystore, held) = Way::of(Keystore::open(None, &me()));
    assert!(held.is_empty());
    keystore.persist(1, vec![put("a", "1")]);
    assert_eq!(keystore.heard().await, dht::Input::Persisted { batch: 1 });
}

#[test]
fn a_file_that_is_none_is_told_and_left_as_it_is() {
    for garbage in [&b""[..], b"{}", &[0xFF; 5_000], &[0; 100_000]] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        fs::write(&file, garbage).unwrap();
        let (mut keystore, _outcomes, held) = Keystore::open(Some(folder.path()), &me());
        assert!(held.is_none());
        let told = keystore.persist(1, vec![put("a", "1")]);
        assert_eq!(told, Some(dht::Input::NotPersisted { batch: 1, why: Refusal::Broken }));
        assert_eq!(fs::read(&file).unwrap(), garbage);
    }
}

#[test]
fn files_of_other_programs_and_newer_versions_are_told_apart_and_left_as_they_are() {
    let strange = redb::TableDefinition::<&str, u64>::new("store");
    for (version, says) in [(None, "another program"), (Some(3), "version 3")] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let database = redb::Database::create(&file).unwrap();
        let write = database.begin_write().unwrap();
        if let Some(version) = version {
            write.open_table(strange).unwrap().insert("version", version).unwrap();
        }
        write.commit().unwrap();
        assert!(database.begin_read().is_ok());
        drop(database);
        let before = fs::read(&file).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(fs::read(&file).unwrap(), before);
    }
}

#[test]
fn a_row_that_was_changed_in_any_bit_is_refused() {
    let row = row::encode(&entry("key", "value"), Vec::new());
    assert_eq!(row::decode("key", &row).unwrap(), entry("key", "value"));
    assert!(row::decode("kex", &row).is_err());
    for bit in 0..row.len() * 8 {
        let mut bad = row.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(row::decode("key", &bad).is_err(), "bit {bit}");
        assert!(row::decode("key", &row[..bit / 8]).is_err(), "cut at {}", bit / 8);
    }
}

/// A disk that fails from the k-th call on that changes something, until it is mended.
#[derive(Debug)]
struct Failing {
    disk: Disk,
    left: Arc<AtomicI64>,
    kind: io::ErrorKind,
}

impl Failing {
    fn call(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 { Ok(()) } else { Err(self.kind.into()) }
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call()?;
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call()?;
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.call()?;
        self.disk.write(offset, data)
    }
}

const MENDED: i64 = i64::MAX / 2;

/// With a log in which two small groups have room, or one of the usual length.
fn failing(folder: &Path, kind: io::ErrorKind, short: bool) -> (Home, Arc<AtomicI64>) {
    let left = Arc::new(AtomicI64::new(MENDED));
    let mut home = Home::new(folder);
    if short {
        home.log_bytes = 4096 + 500;
    }
    let counter = left.clone();
    home.wrap = Some(Box::new(move |disk| Box::new(Failing { disk, left: counter.clone(), kind })));
    (home, left)
}

#[tokio::test]
async fn a_full_disk_refuses_at_any_call_and_takes_everything_once_there_is_room() {
    for (call, short) in (0..40).flat_map(|call| [(call, false), (call, true)]) {
        let folder = tempfile::tempdir().unwrap();
        let (home, left) = failing(folder.path(), io::ErrorKind::StorageFull, short);
        let (mut keystore, _) = Way::of(Keystore::open_home(home, &me()));
        let first = if call % 2 == 0 { 0 } else { 5 };
        for batch in 1..=first {
            keystore.persist(batch, vec![put(&format!("k{batch}"), "old")]);
        }
        if first > 0 {
            persisted(&mut keystore, first).await;
        }
        left.store(call / 2, Ordering::SeqCst);
        let mut batch = first;
        // Until it fails: a commit takes a few calls.
        let failed = loop {
            batch += 1;
            keystore.persist(batch, vec![put("k1", &format!("new {batch}")), put(&format!("b{batch}"), "1")]);
            match keystore.heard().await {
                dht::Input::Persisted { batch: done } => assert_eq!(done, batch),
                dht::Input::NotPersisted { batch: failed, why } => {
                    assert_eq!((failed, why), (batch, Refusal::Full));
                    break failed;
                }
                other => panic!("{other:?}"),
            }
        };
        let retry = failed + 1;
        keystore.persist(retry, vec![put("again", "x")]);
        assert_eq!(
            keystore.heard().await,
            dht::Input::NotPersisted { batch: retry, why: Refusal::Full },
            "it is still full"
        );
        left.store(MENDED, Ordering::SeqCst);
        keystore.persist(retry + 1, vec![put("room", "again")]);
        persisted(&mut keystore, retry + 1).await;
        drop(keystore);

        let mut expected = kept((1..=first).map(|batch| entry(&format!("k{batch}"), "old")));
        expected.extend(kept((first + 1..failed).map(|batch| entry(&format!("b{batch}"), "1"))));
        if failed > first + 1 {
            expected.extend(kept([entry("k1", &format!("new {}", failed - 1))]));
        }
        expected.extend(kept([entry("room", "again")]));
        assert_eq!(read(folder.path()).unwrap(), expected, "call {call}, {short}: the failed batch is gone whole");
    }
}

#[tokio::test]
async fn a_disk_that_fails_is_broken_for_this_life_and_keeps_what_was_acknowledged() {
    for (call, short) in (0..24).flat_map(|call| [(call, false), (call, true)]) {
        let folder = tempfile::tempdir().unwrap();
        let (home, left) = failing(folder.path(), io::ErrorKind::Other, short);
        let (mut keystore, _) = Way::of(Keystore::open_home(home, &me()));
        keystore.persist(1, vec![put("a", "1")]);
        persisted(&mut keystore, 1).await;
        left.store(call, Ordering::SeqCst);
        let mut batch = 1;
        let failed = loop {
            batch += 1;
            keystore.persist(batch, vec![put("a", &batch.to_string()), put("b", "2")]);
            match keystore.heard().await {
                dht::Input::Persisted { .. } => {}
                dht::Input::NotPersisted { batch, why } => break (batch, why),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(failed, (batch, Refusal::Broken));
        left.store(MENDED, Ordering::SeqCst);
        keystore.persist(batch + 1, vec![put("c", "3")]);
        let again = keystore.heard().await;
        assert_eq!(again, dht::Input::NotPersisted { batch: batch + 1, why: Refusal::Broken });
        drop(keystore);
        // The next life reads the last commit, or the one that was not acknowledged but got through whole.
        let held = read(folder.path()).unwrap();
        let value = |count: u64| entry("a", &count.to_string());
        let a = &held[&"a".parse().unwrap()];
        assert!(*a == value(batch - 1) || *a == value(batch), "{a:?}, failed at {batch}");
        assert_eq!(held.len(), if *a == value(1) { 1 } else { 2 });
    }
}

/// Keeps handing over batches without waiting: groups form, and a failure takes all that is under way with it.
#[tokio::test]
async fn batches_are_written_in_order_and_a_failure_takes_all_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let (home, left) = failing(folder.path(), io::ErrorKind::StorageFull, true);
    let (mut keystore, _) = Way::of(Keystore::open_home(home, &me()));
    let mut expected = Kept::new();
    let mut sent = 0_u64;
    let mut groups = 0;
    for round in 0..30 {
        left.store(40 + round * 3, Ordering::SeqCst);
        let mut under_way = Vec::new();
        loop {
            while under_way.len() < 8 {
                sent += 1;
                let one = if sent.is_multiple_of(5) {
                    drop_of("k3")
                } else {
                    put(&format!("k{}", sent % 7), &sent.to_string())
                };
                let changes = vec![put("last", &sent.to_string()), one];
                keystore.persist(sent, changes.clone());
                under_way.push((sent, changes));
            }
            match keystore.heard().await {
                dht::Input::Persisted { batch } => {
                    let done = under_way.iter().position(|(sent, _)| *sent == batch).expect("it was under way");
                    groups += usize::from(done > 0);
                    for (_, changes) in under_way.drain(..=done) {
                        apply(&changes, &mut expected);
                    }
                }
                told => {
                    let (first, why) = (under_way[0].0, Refusal::Full);
                    assert_eq!(told, dht::Input::NotPersisted { batch: first, why }, "all before it was told");
                    break;
                }
            }
        }
        left.store(MENDED, Ordering::SeqCst);
    }
    assert!(groups > 0, "several batches went in one commit");
    // A sync that failed says nothing of what got through: the last group may be in the log all the same, until another is written.
    let changes = vec![put("after", "all")];
    keystore.persist(sent + 1, changes.clone());
    assert_eq!(keystore.heard().await, dht::Input::Persisted { batch: sent + 1 });
    apply(&changes, &mut expected);
    drop(keystore);
    assert_eq!(read(folder.path()).unwrap(), expected);
}

/// What happens to a file while nobody looks.
#[derive(Debug, Clone)]
enum Damage {
    Cut(usize),
    Flip(usize, u8),
    Fill(usize, usize, u8),
    Move(usize, usize, usize),
}

impl Damage {
    fn to(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        match *self {
            Damage::Cut(at) => bytes.truncate(at % len),
            Damage::Flip(at, bit) => bytes[at % len] ^= 1 << bit,
            Damage::Fill(at, length, with) => {
                let at = at % len;
                bytes[at..(at + length).min(len)].fill(with);
            }
            Damage::Move(from, to, length) => {
                let (from, to) = (from % len, to % len);
                let length = length.min(len - from).min(len - to);
                bytes.copy_within(from..from + length, to);
            }
        }
    }
}

/// Anywhere in the file, or in its first bytes, where everything else is found.
fn damage() -> impl Strategy<Value = Damage> {
    let place = || prop_oneof![0..2_000_000_usize, 0..400_usize, (0..40_usize).prop_map(|page| page * 4096)];
    prop_oneof![
        place().prop_map(Damage::Cut),
        (place(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (place(), 1..9_000_usize, any::<u8>()).prop_map(|(at, length, with)| Damage::Fill(at, length, with)),
        (place(), place(), 1..9_000_usize).prop_map(|(from, to, length)| Damage::Move(from, to, length)),
    ]
}

/// What the redb file alone holds.
fn read_redb(folder: &Path) -> Result<Kept, Trouble> {
    let mut held = Vec::new();
    Store::open(&Home::new(folder), None, |entry| held.push(entry))?;
    Ok(kept(held))
}

/// The redb file after some commits, and what was committed last and the time before.
fn sample() -> (Vec<u8>, Kept, Kept) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    let mut bound = Bound { salt: 5, applied: 0 };
    let mut store = Store::create(&home, bound).unwrap();
    let (mut before, mut last) = (Kept::new(), Kept::new());
    for commit in 0..30 {
        let changes: Vec<Change> = (0..10)
            .map(|number| match (commit * 7 + number * 3) % 50 {
                key if number == 9 => drop_of(&format!("k{key}")),
                key => put(&format!("k{key}"), &format!("{commit} {}", "x".repeat(key * 20))),
            })
            .collect();
        before.clone_from(&last);
        apply(&changes, &mut last);
        bound.applied += 1;
        let (group, mut rows) = (group(&changes), Rows::new());
        group.read(&mut rows).unwrap();
        store.commit(&rows, bound).unwrap();
    }
    drop(store);
    (fs::read(home.file()).unwrap(), last, before)
}

#[test]
fn a_damaged_file_never_panics_and_never_gives_a_wrong_value() {
    let (whole, last, before) = sample();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    let (mut refused, mut read_whole) = (0, 0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(600));
    let outcome = runner.run(&prop::collection::vec(damage(), 1..4), |damages| {
        let mut bytes = whole.clone();
        for damage in &damages {
            if !bytes.is_empty() {
                damage.to(&mut bytes);
            }
        }
        fs::write(&file, &bytes).unwrap();
        match read_redb(folder.path()) {
            // The one before is what a power failure in the middle of the last commit leaves: not to be told apart.
            Ok(held) => prop_assert!(held == last || held == before, "{held:?}"),
            Err(_) => prop_assert!(fs::read(&file).unwrap() == bytes, "a file that is refused stays as it is"),
        }
        Ok(())
    });
    for (at, bytes) in [(0, whole.clone()), (whole.len() / 2, whole)] {
        let cut = if at == 0 { bytes } else { bytes[..at].to_vec() };
        fs::write(&file, cut).unwrap();
        match read_redb(folder.path()) {
            Ok(held) => {
                assert_eq!(held, last);
                read_whole += 1;
            }
            Err(_) => refused += 1,
        }
    }
    outcome.unwrap();
    assert_eq!((read_whole, refused), (1, 1));
}

/// The older commit's slot with an order of 28, and the newer commit damaged: redb asked for a terabyte, and the node was gone.
#[test]
fn a_header_that_names_a_page_of_a_terabyte_is_refused() {
    let (whole, ..) = sample();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    for root in [72, 104, 200, 232] {
        let mut bytes = whole.clone();
        bytes[root + 7] = 28 << 3;
        bytes[4096..].fill(0x5A);
        fs::write(&file, &bytes).unwrap();
        assert!(matches!(read_redb(folder.path()), Err(Trouble::Broken(why)) if why.contains("larger than the file")));
    }
}
