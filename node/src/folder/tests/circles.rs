//! Files that wait for each other, where each is the last of its kind: whoever moved them is dead, and nobody else has them.

use std::collections::BTreeMap;

use p2pnet_shared::{
    FilePath,
    wire::folder::{Message, Root},
};

use super::{network::Net, node, path, union::bytes};
use crate::folder::{Config, Input};

/// What is at which path, before and after its user moved things.
type Tree = Vec<(FilePath, Vec<u8>)>;

fn tree(files: &Tree) -> BTreeMap<FilePath, Root> {
    files.iter().map(|(path, bytes)| (path.clone(), Root::of(bytes))).collect()
}

/// Two nodes with the same files; the first one's user moves them, tells the second of all of it at once, and is gone for good.
fn moved(seed: u64, before: &Tree, after: &Tree) -> Net {
    let mut net = Net::new(2, seed, Config::default());
    before.iter().for_each(|(path, bytes)| net.write(1, path, bytes.clone()));
    net.unite(10_000);
    net.cut(&[node(2)], true);
    net.disk_ms = 40;
    for (path, _) in before.iter().filter(|(path, _)| !after.iter().any(|(other, _)| other == path)) {
        net.remove(1, path);
    }
    after.iter().for_each(|(path, bytes)| net.write(1, path, bytes.clone()));
    net.run(3_000);
    let index = &net.state(1).index;
    let paths = (0..=u8::MAX).flat_map(|bucket| index.listing(bucket).collect::<Vec<_>>());
    let entries = paths.filter_map(|(path, _)| index.by_hash(path).cloned()).collect();
    net.feed(&node(2), Input::Received { from: node(1), message: Message::Push { entries } });
    assert_eq!(net.state(2).counts().index, net.state(1).counts().index);
    net.crash(&node(1));
    net
}

/// So many files whose contents each move on to the next name.
fn circle(files: u32) -> (Tree, Tree) {
    let name = |number: u32| path(&format!("f{:02}", number % files));
    let at = |shift: u32| (0..files).map(|number| (name(number + shift), bytes(number, 3_000))).collect();
    (at(0), at(1))
}

fn survives(seed: u64, (before, after): &(Tree, Tree)) {
    let mut net = moved(seed, before, after);
    let took = net.until(20_000, |net| net.nodes[&node(2)].disk.tree() == tree(after));
    assert!(took.is_some(), "{}", net.describe());
    net.run(5_000);
    let disk = net.disk(2);
    assert_eq!(disk.tree(), tree(after));
    assert!(disk.asides.is_empty(), "nothing stays aside");
}

/// The same, with a crash of the last one alive at every moment.
fn survives_crashes(files: &(Tree, Tree)) {
    for at in (0..600).step_by(9) {
        let (before, after) = files;
        let mut net = moved(at, before, after);
        net.run(at);
        net.crash(&node(2));
        net.run(50);
        net.start(&node(2));
        // What it was told and had not written down when it crashed, nobody can tell it again.
        let is_whole = |tree_now: &BTreeMap<FilePath, Root>| *tree_now == tree(after) || *tree_now == tree(before);
        net.run(15_000);
        let took = net.until(20_000, |net| is_whole(&net.nodes[&node(2)].disk.tree()));
        assert!(took.is_some(), "crash after {at} ms: {}", net.describe());
        assert!(at < 200 || net.disk(2).tree() == tree(after), "crash after {at} ms: {}", net.describe());
    }
}

#[test]
fn a_swap_of_the_last_two_of_their_kind_loses_neither() {
    survives(1, &circle(2));
    survives_crashes(&circle(2));
}

#[test]
fn a_circle_of_three_loses_nothing() {
    survives(2, &circle(3));
    survives_crashes(&circle(3));
}

#[test]
fn a_circle_longer_than_is_followed_goes_on() {
    survives(3, &circle(80));
}

#[test]
fn a_file_moved_into_a_folder_of_its_own_name_is_not_lost() {
    let before = vec![(path("d"), bytes(1, 400_000)), (path("e/f"), bytes(2, 3_000))];
    let after = vec![(path("d/inside"), bytes(1, 400_000)), (path("e"), bytes(2, 3_000))];
    survives(4, &(before.clone(), after.clone()));
    survives_crashes(&(before, after));
}

#[test]
fn copies_in_a_folder_that_waits_to_become_a_file_of_the_same_do_not_wait_for_ever() {
    let same = || bytes(7, 3_000);
    let before = vec![(path("d/a"), same()), (path("d/b"), same()), (path("d/c/e"), same())];
    survives(5, &(before, vec![(path("d"), same())]));
}

#[test]
fn files_of_which_there_are_copies_elsewhere_go_round_too() {
    let files = |a: u32, b: u32, c: u32| {
        let twice = |name: &str| (path(name), bytes(9, 3_000));
        let all = [("a", a), ("b", b), ("c", c)].map(|(name, number)| (path(name), bytes(number, 3_000)));
        all.into_iter().chain([twice("x"), twice("y")]).collect::<Tree>()
    };
    survives(6, &(files(1, 2, 9), files(9, 1, 2)));
}
