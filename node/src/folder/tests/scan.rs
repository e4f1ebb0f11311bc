//! What is looked at, and when.

use p2pnet_shared::FilePath;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

use super::path;
use crate::{
    folder::{Config, Effect, Order, OrderId, Stat, orders::Orders, scan::Scan},
    time::Millis,
};

struct Bench {
    scan: Scan,
    orders: Orders,
    open: Vec<(OrderId, Order)>,
    rng: Xoshiro256PlusPlus,
}

impl Bench {
    fn new() -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(1);
        Self { scan: Scan::default(), orders: Orders::default(), open: Vec::new(), rng }
    }

    fn pump(&mut self, now: u64) {
        let mut effects = Vec::new();
        self.scan.pump(Millis(now), &mut self.orders, &mut effects);
        for effect in effects {
            let Effect::Disk { order, what } = effect else { panic!("{effect:?}") };
            self.open.push((order, what));
        }
    }

    fn walked(&mut self, files: &[(FilePath, Stat)], is_known: bool) {
        self.scan.walked(files.to_vec(), 0, |_, _| is_known, &mut self.rng, &self.orders);
    }

    /// The paths of what is with the disk now.
    fn paths(&self) -> Vec<FilePath> {
        let path = |(_, what): &(OrderId, Order)| match what {
            Order::Look { path } | Order::Hash { path, .. } => Some(path.clone()),
            _ => None,
        };
        self.open.iter().filter_map(path).collect()
    }
}

fn files(count: u64, size: u64) -> Vec<(FilePath, Stat)> {
    let stat = |inode| Stat { inode, size, mtime_ns: 1, ctime_ns: 1, executable: false };
    (0..count).map(|number| (path(&format!("{number}")), stat(number))).collect()
}

#[test]
fn a_touched_path_is_looked_at_once_it_is_left_alone() {
    let mut bench = Bench::new();
    for at in 0..10 {
        bench.scan.touch(path("a"), Millis(at * 100 + 300));
        bench.pump(at * 100);
    }
    bench.pump(1_199);
    assert!(bench.open.is_empty());
    assert_eq!(bench.scan.next_due(), Some(Millis(1_200)));
    bench.pump(1_200);
    assert_eq!(bench.open.len(), 1);
    assert!(bench.scan.is_touched(&path("a")));
    // Touched again while it is looked at: once more, after it.
    bench.scan.touch(path("a"), Millis(1_201));
    bench.pump(1_201);
    assert_eq!(bench.open.len(), 1, "never two at once");
    bench.orders.take(bench.open[0].0);
    bench.scan.close(&path("a"));
    assert!(bench.scan.is_open(&path("a")) && bench.scan.freed(&path("a")));
    bench.pump(1_202);
    assert_eq!(bench.open.len(), 2);
}

#[test]
fn the_disk_has_a_bounded_number_of_files_and_bytes_to_hash() {
    for (size, expected) in [(10, 32), (16 * 1024 * 1024, 4), (1 << 40, 1)] {
        let mut bench = Bench::new();
        bench.scan.start(Millis(0));
        bench.pump(0);
        bench.walked(&files(100, size), false);
        bench.pump(1);
        assert_eq!(bench.paths().len(), expected, "files of {size} bytes");
        // Each that is done makes room for the next, all in the same moment.
        let mut done = 1;
        while done < bench.open.len() {
            bench.orders.take(bench.open[done].0);
            let at = bench.paths()[done - 1].clone();
            bench.scan.close(&at);
            bench.pump(1);
            done += 1;
        }
        assert_eq!(done, 101);
        assert!(!bench.scan.is_looking());
    }
}

#[test]
fn a_walk_is_over_for_who_waits_when_all_it_found_is_known() {
    let mut bench = Bench::new();
    bench.scan.rescan(7);
    bench.pump(0);
    // Asked during the walk: it may be past what is meant.
    bench.scan.rescan(8);
    bench.walked(&files(3, 1), false);
    let unseen = bench.scan.unseen().unwrap();
    assert!(unseen.has(&path("x")) && !unseen.has(&path("2")));
    bench.orders.take(bench.open[0].0);
    bench.scan.concluded(Millis(5), &Config::default(), &mut bench.rng);
    bench.pump(5);
    assert!(bench.scan.take_complete().is_none());
    for number in 0..3 {
        bench.scan.close(&path(&format!("{number}")));
    }
    assert_eq!(bench.scan.take_complete(), Some(vec![7]));
    assert_eq!(bench.scan.take_complete(), None);
    let walks = bench.open.iter().filter(|(_, what)| matches!(what, Order::Walk { .. })).count();
    assert_eq!(walks, 2, "the second has begun at once");
    // It fails: who waits is told, and another is due soon.
    assert_eq!(bench.scan.failed(Millis(10)), vec![8]);
    assert_eq!(bench.scan.next_due(), Some(Millis(2_010)));
}

#[test]
fn one_of_a_hundred_known_files_is_hashed_all_the_same() {
    let mut bench = Bench::new();
    let mut hashed = 0;
    for _ in 0..20 {
        bench.scan = Scan::default();
        bench.scan.start(Millis(0));
        bench.pump(0);
        bench.walked(&files(1_000, 1), true);
        hashed += bench.scan.pending();
        bench.open.drain(..).for_each(|(order, _)| drop(bench.orders.take(order)));
    }
    assert!((120..280).contains(&hashed), "{hashed} of 20,000");
}

#[test]
fn more_touches_than_can_settle_are_a_look_at_everything() {
    let mut bench = Bench::new();
    for number in 0..60_000 {
        bench.scan.touch(path(&format!("{number}")), Millis(300));
    }
    bench.pump(1);
    assert!(matches!(bench.open[..], [(_, Order::Walk { beneath: None })]));
}
