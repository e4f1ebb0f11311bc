//! Two files that belong together, and what becomes of them apart, damaged or of another age.

use super::{
    super::log::{self, Log},
    *,
};

/// Both files, with something in each, and what was there after each group of the log.
fn sample(folder: &Path) -> Vec<Kept> {
    let (mut files, _) = Files::open(Home::new(folder)).unwrap();
    let mut states = vec![Kept::new()];
    for number in 0..40 {
        if number == 20 {
            files.settle().unwrap();
            states.drain(..states.len() - 1);
        }
        let value = format!("{number} {}", "x".repeat(number * 9));
        let changes = [put(&format!("k{}", number % 11), &value), drop_of(&format!("k{}", (number + 3) % 11))];
        files.write(&mut group(&changes)).unwrap();
        let mut state = states[states.len() - 1].clone();
        apply(&changes, &mut state);
        states.push(state);
    }
    states
}

fn why(folder: &Path) -> String {
    let (_, _, held) = Keystore::open(Some(folder), &me());
    assert!(held.is_none());
    read(folder).unwrap_err().to_string()
}

#[test]
fn a_damaged_log_never_gives_a_wrong_value_and_only_its_end_can_be_lost() {
    let folder = tempfile::tempdir().unwrap();
    let states = sample(folder.path());
    let file = folder.path().join(log::FILE);
    let whole = fs::read(&file).unwrap();
    let counts = std::cell::Cell::new((0, 0, 0));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    let place = || prop_oneof![0..2_000_000_usize, 0..64_usize, 4_000..12_000_usize];
    let one = prop_oneof![
        place().prop_map(Damage::Cut),
        (place(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (place(), 1..9_000_usize, any::<u8>()).prop_map(|(at, length, with)| Damage::Fill(at, length, with)),
        (place(), place(), 1..9_000_usize).prop_map(|(from, to, length)| Damage::Move(from, to, length)),
    ];
    runner
        .run(&one, |damage| {
            let mut bytes = whole.clone();
            damage.to(&mut bytes);
            fs::write(&file, &bytes).unwrap();
            let (mut good, mut refused, mut shorter) = counts.get();
            match read(folder.path()) {
                Ok(held) => {
                    let found = states.iter().rposition(|state| *state == held);
                    prop_assert!(found.is_some(), "a state that never was");
                    let lost = states.len() - 1 - found.unwrap();
                    prop_assert!(lost <= 1 || matches!(damage, Damage::Fill(..) | Damage::Move(..)), "{lost} lost");
                    if lost == 0 { good += 1 } else { shorter += 1 }
                }
                Err(_) => {
                    refused += 1;
                    prop_assert!(fs::read(&file).unwrap() == bytes, "a file that is refused stays as it is");
                }
            }
            counts.set((good, refused, shorter));
            Ok(())
        })
        .unwrap();
    let (good, refused, _) = counts.get();
    assert!(good > 10 && refused > 10, "{counts:?}");
}

#[test]
fn a_group_in_the_middle_that_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let states = sample(folder.path());
    let file = folder.path().join(log::FILE);
    let mut bytes = fs::read(&file).unwrap();
    bytes[4096 + 40] ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert!(why(folder.path()).contains("others follow it"));
    // The same in what the redb file has long had is nothing: the log began anew.
    bytes[4096 + 40] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let (mut files, held) = Files::open(Home::new(folder.path())).unwrap();
    assert_eq!(kept(held), states[20]);
    files.settle().unwrap();
    drop(files);
    bytes[4096 + 40] ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert_eq!(read(folder.path()).unwrap(), states[20]);
}

#[test]
fn a_log_that_is_gone_cut_or_of_another_file_is_told_and_so_is_an_older_redb_file() {
    let [folder, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    sample(folder.path());
    sample(other.path());
    let (redb, log) = (folder.path().join(FILE), folder.path().join(log::FILE));
    let (redb_bytes, log_bytes) = (fs::read(&redb).unwrap(), fs::read(&log).unwrap());

    fs::copy(other.path().join(log::FILE), &log).unwrap();
    assert!(why(folder.path()).contains("belongs to another file"));
    fs::remove_file(&log).unwrap();
    assert!(why(folder.path()).contains("gone"));
    for (garbage, says) in
        [(&b""[..], "0 bytes"), (b"x", "1 bytes"), (&log_bytes[..5_000], "5000 bytes"), (&[7; 65_536], "none of ours")]
    {
        fs::write(&log, garbage).unwrap();
        assert!(why(folder.path()).contains(says), "{says}: {}", why(folder.path()));
    }
    fs::write(&log, &log_bytes).unwrap();

    // The log goes on after a redb file that is newer than the one that is put back.
    let (mut files, _) = Files::open(Home::new(folder.path())).unwrap();
    files.settle().unwrap();
    files.write(&mut group(&[put("late", "1")])).unwrap();
    files.settle().unwrap();
    files.write(&mut group(&[put("later", "1")])).unwrap();
    drop(files);
    fs::write(&redb, redb_bytes).unwrap();
    assert!(why(folder.path()).contains("older than the log"));
}

#[test]
fn without_the_redb_file_what_is_in_the_log_still_holds() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    fs::remove_file(folder.path().join(FILE)).unwrap();
    let expected = read(folder.path()).unwrap();
    assert!(!expected.is_empty());
    let (mut files, _) = Files::open(Home::new(folder.path())).unwrap();
    files.write(&mut group(&[put("more", "1")])).unwrap();
    drop(files);
    let mut held = read(folder.path()).unwrap();
    assert!(held.remove(&"more".parse().unwrap()).is_some());
    assert_eq!(held, expected);
}

#[test]
fn a_file_of_the_time_before_the_log_is_read_and_gets_one_with_the_first_write() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    let database = redb::Database::create(home.file()).unwrap();
    let write = database.begin_write().unwrap();
    let entries = redb::TableDefinition::<&str, &[u8]>::new("entries");
    let row = row::encode(&entry("old", "1"), Vec::new());
    write.open_table(entries).unwrap().insert("old", row.as_slice()).unwrap();
    let store = redb::TableDefinition::<&str, u64>::new("store");
    write.open_table(store).unwrap().insert("version", 1).unwrap();
    write.commit().unwrap();
    drop(database);

    let old = kept([entry("old", "1")]);
    assert_eq!(read(folder.path()).unwrap(), old);
    // A start that came no further than making a log.
    drop(Log::create(&home).unwrap());
    assert_eq!(read(folder.path()).unwrap(), old);
    let (mut files, _) = Files::open(home).unwrap();
    files.write(&mut group(&[put("new", "2")])).unwrap();
    drop(files);
    assert_eq!(read(folder.path()).unwrap(), kept([entry("old", "1"), entry("new", "2")]));
    fs::remove_file(folder.path().join(log::FILE)).unwrap();
    assert!(why(folder.path()).contains("gone"), "from now on it has one");
}

#[test]
fn a_log_is_never_longer_than_it_may_be_and_the_last_word_per_key_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut home = Home::new(folder.path());
    home.log_bytes = 100_000;
    let (mut files, _) = Files::open(home).unwrap();
    let mut expected = Kept::new();
    for number in 0..3_000 {
        let changes =
            [put(&format!("k{}", number % 5), &number.to_string()), drop_of(&format!("k{}", (number + 2) % 5))];
        files.write(&mut group(&changes)).unwrap();
        apply(&changes, &mut expected);
    }
    drop(files);
    let length = fs::metadata(folder.path().join(log::FILE)).unwrap().len();
    assert!((100_000..200_000).contains(&length), "{length}");
    assert_eq!(read(folder.path()).unwrap(), expected);
}

/// The log, too, is empty soon after the last write.
#[tokio::test]
async fn when_nothing_happens_everything_goes_to_the_redb_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut way, _) = open(folder.path());
    way.persist(1, vec![put("a", "1")]);
    persisted(&mut way, 1).await;
    let copy = tempfile::tempdir().unwrap();
    let begun = std::time::Instant::now();
    // The redb file alone has it: a log that is empty is as good.
    loop {
        fs::copy(folder.path().join(FILE), copy.path().join(FILE)).unwrap();
        if read_redb(copy.path()).is_ok_and(|held| held.len() == 1) {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "it is still in the log alone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
