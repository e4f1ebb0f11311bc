//! Who has what, by reports made by hand and by chance; uploads by every way they can go.

use p2pnet_shared::{FilePath, wire::folder::Root};
use proptest::prelude::*;

use super::{
    uploads::{Fate, UPLOADS_MAX, Uploads},
    *,
};

fn file(path: u64, root: u64) -> HeldFile {
    HeldFile { path, root: Some(root) }
}

fn gone(path: u64) -> HeldFile {
    HeldFile { path, root: None }
}

/// `nodes` live nodes that hold `files`.
fn of(nodes: usize, files: &[HeldFile]) -> Holdings {
    let mut holdings = Holdings::default();
    for slot in 0..nodes {
        holdings.stand(slot, Standing::Live);
        holdings.take(slot, files, false, |_, gone| panic!("{gone:?}"));
    }
    holdings.check();
    holdings
}

fn hold(holdings: &mut Holdings, slot: usize, file: HeldFile) -> Vec<GivenUp> {
    let mut all = Vec::new();
    holdings.take(slot, &[file], true, |_, gone| all.push(gone));
    holdings.check();
    all
}

#[test]
fn files_are_counted_by_their_live_holders() {
    let mut holdings = of(3, &[file(1, 10), file(2, 20)]);
    hold(&mut holdings, 0, file(3, 30));
    let counts = holdings.counts();
    assert_eq!((counts.paths, counts.none, counts.one, counts.two), (3, 0, 1, 0));
    holdings.stand(0, Standing::Paused);
    let counts = holdings.counts();
    assert_eq!((counts.none, counts.one, counts.two), (1, 0, 2));
    assert_eq!(holdings.holders_of(30), Holders { paused: vec![0], ..Holders::default() });
    holdings.stand(0, Standing::Live);
    holdings.forget(1);
    assert_eq!((holdings.live_at(1, 10), holdings.live_with(10), holdings.live_at(1, 20)), (2, 2, 0));
    holdings.check();
}

#[test]
fn a_new_version_is_the_current_one_however_few_have_it() {
    let mut holdings = of(3, &[file(1, 10)]);
    assert_eq!(hold(&mut holdings, 0, file(1, 11)), [GivenUp { path: 1, root: 10, now: Some(11) }]);
    assert_eq!(holdings.counts().one, 1, "the new one has one holder");
    hold(&mut holdings, 1, file(1, 11));
    assert_eq!(holdings.counts().two, 1);
    hold(&mut holdings, 2, file(1, 11));
    assert_eq!(holdings.at(1).collect::<Vec<_>>(), [(11, 3)], "nobody has the old one");
    assert_eq!(hold(&mut holdings, 2, gone(1)), [GivenUp { path: 1, root: 11, now: None }]);
    assert_eq!(hold(&mut holdings, 2, gone(1)), []);
}

/// Seen on screen: a file deleted while a node was down counted as one that nobody has.
#[test]
fn a_deleted_file_is_forgotten_also_where_its_holder_is_down() {
    let mut holdings = of(3, &[file(1, 10), file(2, 20)]);
    holdings.stand(2, Standing::Down);
    hold(&mut holdings, 0, gone(1));
    assert_eq!((holdings.counts().paths, holdings.counts().one), (2, 1), "one has it still");
    hold(&mut holdings, 1, gone(1));
    let counts = holdings.counts();
    assert_eq!((counts.paths, counts.none), (1, 0));
    holdings.stand(0, Standing::Down);
    holdings.stand(1, Standing::Down);
    assert_eq!(holdings.counts().none, 1, "the end of its holders deletes nothing");
}

#[test]
fn in_a_history_most_decide() {
    let mut holdings = of(2, &[file(1, 10)]);
    for slot in 2..6 {
        holdings.stand(slot, Standing::Live);
        holdings.take(slot, &[file(1, 11)], false, |_, _| {});
    }
    assert_eq!(holdings.counts().two, 0, "two have the other one, but that is not the current one");
    (2..6).for_each(|slot| holdings.forget(slot));
    assert_eq!(holdings.counts().two, 1);
    holdings.check();
}

#[test]
fn what_a_node_does_not_repeat_it_has_no_more() {
    let mut holdings = of(2, &[file(1, 10), file(2, 20)]);
    holdings.anew(UnixMillis(1_000), 0, true);
    holdings.take(0, &[file(1, 10)], false, |_, _| {});
    let mut given_up = Vec::new();
    holdings.tick(UnixMillis(2_999), |_, gone| given_up.push(gone));
    assert_eq!((given_up.len(), holdings.live_at(2, 20)), (0, 2), "it may still repeat it");
    holdings.tick(UnixMillis(3_000), |_, gone| given_up.push(gone));
    assert_eq!(given_up, [GivenUp { path: 2, root: 20, now: None }]);
    assert_eq!((holdings.live_at(1, 10), holdings.live_at(2, 20)), (2, 1));
    holdings.anew(UnixMillis(9_000), 1, false);
    assert_eq!(holdings.live_at(2, 20), 0, "another life has only what it says");
    holdings.check();
}

#[test]
fn the_same_contents_under_two_names_are_one_holder() {
    let mut holdings = of(1, &[file(1, 10), file(2, 10)]);
    assert_eq!((holdings.live_with(10), holdings.live_at(1, 10)), (1, 1));
    hold(&mut holdings, 0, gone(1));
    assert_eq!(holdings.live_with(10), 1, "moved and still there");
}

#[test]
fn what_there_is_no_room_for_is_sampled_and_seen_to_be() {
    let mut holdings = Holdings::default();
    holdings.stand(0, Standing::Live);
    let files: Vec<HeldFile> = (0..VERSIONS_MAX as u64 + 1_000).map(|path| file(path * 3 + 1, path)).collect();
    holdings.take(0, &files, false, |_, gone| panic!("{gone:?}"));
    let counts = holdings.counts();
    assert_eq!(counts.level, 1);
    assert!(counts.paths.abs_diff(files.len() as u64) < 1_000 && counts.one == counts.paths, "{counts:?}");
    // Who is told of the sample alone sees that it is one.
    let sample: Vec<HeldFile> = holdings.of(0).collect();
    assert!(sample.len() <= VERSIONS_MAX);
    assert_eq!(of(1, &sample).counts(), counts);
    assert_eq!(of(1, &files[..1_000]).counts().level, 0);
}

/// Not a promise but a figure: printed with `--nocapture`.
#[test]
fn a_hundred_nodes_with_ten_thousand_files() {
    let mut holdings = of(0, &[]);
    let files: Vec<HeldFile> =
        (0..10_000_u64).map(|path| file(path.wrapping_mul(0x9E37_79B9_7F4A_7C15), path)).collect();
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let start = std::time::Instant::now();
    for slot in 0..100 {
        holdings.stand(slot, Standing::Live);
        holdings.take(slot, &files, false, |_, _| {});
    }
    let taken = start.elapsed();
    assert_eq!(holdings.counts(), HolderCounts { paths: 10_000, ..HolderCounts::default() });
    println!("taken in {taken:?}, counted in {:?}", start.elapsed() - taken);
}

proptest! {
    #[test]
    fn running_numbers_never_drift(
        steps in proptest::collection::vec((0..4_usize, 0..7_u8, 0..6_u64, proptest::option::of(0..3_u64)), 0..80)
    ) {
        let mut holdings = Holdings::default();
        for (now, (slot, step, path, root)) in (1..).zip(steps) {
            let now = UnixMillis(now * 500);
            match step {
                0 => _ = holdings.stand(slot, Standing::Live),
                1 => _ = holdings.stand(slot, Standing::Down),
                2 => _ = holdings.stand(slot, Standing::Paused),
                3 => holdings.anew(now, slot, path > 2),
                _ => holdings.take(slot, &[HeldFile { path, root }], path % 2 == 0, |_, _| {}),
            }
            holdings.tick(now, |_, _| {});
            holdings.check();
        }
    }
}

fn path() -> FilePath {
    "docs/report.txt".parse().unwrap()
}

fn root(number: u8) -> Root {
    Root([number; 32])
}

/// Three live nodes; the first two have `root(1)` at the path, and acknowledged it at 10 s.
fn uploaded() -> (Holdings, Uploads) {
    let mut holdings = of(3, &[]);
    for slot in 0..2 {
        hold(&mut holdings, slot, file(path().hash64(), root(1).short()));
    }
    let mut uploads = Uploads::default();
    uploads.add(&holdings, (path(), root(1), 2), UnixMillis(10_000), 0, true);
    (holdings, uploads)
}

fn fates(holdings: &Holdings, uploads: &Uploads) -> Vec<Fate> {
    uploads.judged(holdings).map(|(_, fate)| fate).collect()
}

#[test]
fn an_upload_is_held_at_risk_lost_and_back_with_its_holders() {
    let (mut holdings, uploads) = uploaded();
    assert_eq!(fates(&holdings, &uploads), [Fate::Held(2)]);
    holdings.stand(1, Standing::Down);
    assert_eq!(fates(&holdings, &uploads), [Fate::Held(1)]);
    holdings.stand(0, Standing::Paused);
    assert_eq!(fates(&holdings, &uploads), [Fate::Waits]);
    holdings.stand(0, Standing::Down);
    assert_eq!(fates(&holdings, &uploads), [Fate::Lost]);
    holdings.stand(1, Standing::Live);
    assert_eq!(fates(&holdings, &uploads), [Fate::Held(1)]);
    holdings.anew(UnixMillis(1), 1, false);
    assert_eq!(fates(&holdings, &uploads), [Fate::Lost], "a disk that was wiped has nothing");
}

#[test]
fn an_upload_that_was_replaced_or_deleted_is_not_lost() {
    let at = path().hash64();
    let (mut holdings, mut uploads) = uploaded();
    for slot in 0..2 {
        hold(&mut holdings, slot, file(at, root(2).short()));
    }
    assert_eq!(fates(&holdings, &uploads), [Fate::Replaced], "somebody has something newer there");
    assert!(uploads.standing(&holdings, 0).is_empty());
    uploads.sweep(&holdings);
    assert_eq!(uploads.len(), 0);

    let (mut holdings, mut uploads) = uploaded();
    holdings.take(0, &[gone(at)], true, |_, gone| uploads.given_up(gone));
    assert_eq!(fates(&holdings, &uploads), [Fate::Held(1)]);
    holdings.take(1, &[gone(at)], true, |_, gone| uploads.given_up(gone));
    assert_eq!(fates(&holdings, &uploads), [Fate::Replaced], "its own holders say that it is gone");

    // Word of what replaced it came first.
    let mut uploads = Uploads::default();
    uploads.changed(at, Some(root(2).short()), UnixMillis(10_500));
    uploads.add(&holdings, (path(), root(1), 2), UnixMillis(10_000), 0, true);
    assert_eq!(fates(&holdings, &uploads), [Fate::Replaced]);
    uploads.add(&holdings, (path(), root(1), 2), UnixMillis(11_000), 0, true);
    assert_eq!(fates(&holdings, &uploads), [Fate::Lost], "uploaded once more afterwards");

    let (mut holdings, mut uploads) = uploaded();
    uploads.changed(at, None, UnixMillis(9_000));
    uploads.changed(at, Some(root(1).short()), UnixMillis(11_000));
    (0..2).for_each(|slot| _ = holdings.stand(slot, Standing::Down));
    assert_eq!(fates(&holdings, &uploads), [Fate::Lost], "changed before, or to the same");
    uploads.changed(at, None, UnixMillis(11_000));
    assert_eq!(fates(&holdings, &uploads), [Fate::Replaced], "changed afterwards");
}

#[test]
fn what_was_there_before_replaces_nothing() {
    let at = path().hash64();
    let mut holdings = of(3, &[file(at, 7)]);
    hold(&mut holdings, 0, file(at, root(1).short()));
    let mut uploads = Uploads::default();
    uploads.add(&holdings, (path(), root(1), 1), UnixMillis(10_000), 0, true);
    holdings.stand(0, Standing::Down);
    assert_eq!(fates(&holdings, &uploads), [Fate::Lost], "the others show what it had replaced");
    // A newcomer cannot know what was there first: what is there at the end of the history was.
    let mut late = Uploads::default();
    late.begin_history();
    late.add(&holdings, (path(), root(1), 1), UnixMillis(10_000), 0, false);
    late.caught_up(&holdings);
    assert_eq!(fates(&holdings, &late), [Fate::Lost]);
    late.begin_history();
    late.caught_up(&holdings);
    assert_eq!(late.len(), 0, "a later history does not tell of it");
}

#[test]
fn a_conflict_copy_holds_an_upload_under_another_name() {
    let (mut holdings, uploads) = uploaded();
    let copy = "docs/report.conflict-node1-01010101.txt".parse::<FilePath>().unwrap();
    for slot in 0..3 {
        hold(&mut holdings, slot, file(path().hash64(), root(2).short()));
        hold(&mut holdings, slot, file(copy.hash64(), root(1).short()));
    }
    assert_eq!(fates(&holdings, &uploads), [Fate::Held(3)]);
}

#[test]
fn the_oldest_of_too_many_uploads_is_forgotten() {
    let holdings = of(1, &[]);
    let mut uploads = Uploads::default();
    for number in 0..=UPLOADS_MAX as u64 {
        let path = format!("f{number}").parse().unwrap();
        uploads.add(&holdings, (path, root(1), 1), UnixMillis(number), 0, true);
    }
    assert_eq!(uploads.len(), UPLOADS_MAX);
    assert!(uploads.judged(&holdings).all(|(upload, _)| upload.at > UnixMillis(0)));
}
