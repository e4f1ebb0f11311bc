//! The judge can fail: a wrong step of an engine is seen.

use p2pnet_shared::wire::folder::Root;

use super::{
    campaign::{all_equal, config, judge},
    world::World,
};

/// Two nodes with one file each, equal and at rest.
fn at_rest() -> World {
    let mut world = World::new(1, 2, config());
    world.users.owned.insert("b".parse().unwrap(), (1, None));
    world.edit(0, &"a".parse().unwrap(), b"one".to_vec());
    world.edit(1, &"b".parse().unwrap(), b"two".to_vec());
    (0..2).for_each(|at| world.start(at));
    assert!(world.run_until(30_000, all_equal));
    judge(&world);
    world
}

/// What the engine would have done, had it removed this.
fn remove(world: &mut World, at: usize, name: &str) {
    let path = name.parse().unwrap();
    let file = world.nodes[at].disk.files.remove(&path);
    world.users.engine_changed(at, &path, file.as_ref(), None);
}

#[test]
#[should_panic(expected = "took the last copy")]
fn the_last_copy_is_missed() {
    let mut world = at_rest();
    remove(&mut world, 0, "a");
    assert!(world.users.lost.is_empty(), "there is another");
    remove(&mut world, 1, "a");
    judge(&world);
}

#[test]
fn a_difference_between_folders_is_seen() {
    let mut world = at_rest();
    remove(&mut world, 1, "a");
    assert!(!all_equal(&world));
}

#[test]
#[should_panic(expected = "is not what it wrote last")]
fn what_a_single_writer_wrote_is_expected_under_its_name() {
    let mut world = at_rest();
    world.users.owned.get_mut("b").unwrap().1 = Some(Root::of(b"three"));
    judge(&world);
}

#[test]
#[should_panic(expected = "and a conflict copy")]
fn a_copy_of_what_has_one_writer_is_seen() {
    let mut world = at_rest();
    let (path, now) = ("b.conflict-first-12345678".parse().unwrap(), world.wall_ns(0));
    world.nodes[0].disk.put(&path, b"two".to_vec(), now, now);
    judge(&world);
}

#[test]
#[should_panic(expected = "and is gone")]
fn contents_that_nobody_replaced_are_missed() {
    let mut world = at_rest();
    world.users.written.insert(Root::of(b"elsewhere"), "c".parse().unwrap());
    judge(&world);
}
