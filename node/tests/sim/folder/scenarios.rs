//! One story each.

use p2pnet_node::folder::{Answer, Request};
use p2pnet_shared::{FilePath, wire::folder::Root};

use super::{
    campaign::{all_equal, config, difference},
    disk::Health,
    world::{Id, World},
};
use crate::with_seeds;

const PATIENCE_MS: u64 = 60_000;

fn path(path: &str) -> FilePath {
    path.parse().expect("a path")
}

/// `nodes` nodes that run, with equal folders.
fn world(seed: u64, nodes: usize) -> World {
    let mut world = World::new(seed, nodes, config());
    (0..nodes).for_each(|at| world.start(at));
    union(&mut world);
    world
}

fn union(world: &mut World) {
    // What somebody just did is not noticed at once.
    world.run_for(1_000);
    assert!(world.run_until(PATIENCE_MS, all_equal), "no union: {}", difference(world));
}

fn names(world: &World, at: Id) -> Vec<String> {
    world.nodes[at].disk.files.keys().map(ToString::to_string).collect()
}

#[test]
fn the_same_file_at_fifty_nodes_is_one_version() {
    with_seeds("folder::scenarios::the_same_file_at_fifty_nodes_is_one_version", &[1], |seed| {
        let mut world = World::new(seed, 50, config());
        for at in 0..50 {
            world.edit(at, &path("readme.md"), b"the same".to_vec());
            world.edit(at, &path("mine"), format!("of node {}", at % 5).into_bytes());
        }
        (0..50).for_each(|at| world.start(at));
        union(&mut world);
        let names = names(&world, 0);
        assert_eq!(names.iter().filter(|name| name.starts_with("readme")).count(), 1, "{names:?}");
        assert_eq!(
            names.iter().filter(|name| name.starts_with("mine")).count(),
            5,
            "five contents, five names: {names:?}"
        );
    });
}

#[test]
fn both_sides_of_a_cut_keep_what_they_wrote() {
    with_seeds("folder::scenarios::both_sides_of_a_cut_keep_what_they_wrote", &[1, 2, 3], |seed| {
        let mut world = world(seed, 6);
        world.edit(0, &path("a.txt"), b"before".to_vec());
        world.edit(0, &path("gone"), b"to be deleted".to_vec());
        union(&mut world);
        world.cut(&[0, 1, 2]);
        world.run_for(5_000);
        world.edit(0, &path("a.txt"), b"left".to_vec());
        world.delete(1, &path("gone"));
        // An hour ahead, and written first: it keeps the name all the same, and nothing is lost.
        world.nodes[4].skew_ms = 3_600_000;
        world.edit(4, &path("a.txt"), b"right".to_vec());
        world.run_for(10_000);
        world.heal();
        union(&mut world);
        let names = names(&world, 0);
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.iter().any(|name| name.starts_with("a.conflict-") && name.ends_with(".txt")), "{names:?}");
        // Somebody looks at both and saves: nothing else happens to the copy until it is deleted.
        world.edit(2, &path("a.txt"), b"merged".to_vec());
        union(&mut world);
        let copy = path(names.iter().find(|name| name.contains("conflict")).expect("there is one"));
        world.delete(5, &copy);
        union(&mut world);
        assert_eq!(self::names(&world, 3), ["a.txt"]);
        assert_eq!(world.nodes[3].disk.files[&path("a.txt")].root(), Root::of(b"merged"));
    });
}

#[test]
fn a_folder_that_is_not_mounted_deletes_nothing() {
    with_seeds("folder::scenarios::a_folder_that_is_not_mounted_deletes_nothing", &[1, 2], |seed| {
        let mut world = world(seed, 3);
        for number in 0..20 {
            world.edit(0, &path(&format!("f{number}")), format!("{number}").into_bytes());
        }
        union(&mut world);
        world.set_health(1, Health::Unmounted);
        world.run_for(60_000);
        assert_eq!(names(&world, 0).len(), 20);
        world.set_health(1, Health::Good);
        union(&mut world);
        assert_eq!(names(&world, 2).len(), 20);
    });
}

#[test]
fn what_was_deleted_stays_so_when_an_old_node_returns() {
    with_seeds("folder::scenarios::what_was_deleted_stays_so_when_an_old_node_returns", &[1, 2], |seed| {
        let mut world = world(seed, 4);
        for name in ["kept", "deleted", "deleted and made anew"] {
            world.edit(0, &path(name), name.as_bytes().to_vec());
        }
        union(&mut world);
        world.crash(3);
        world.delete(0, &path("deleted"));
        world.delete(0, &path("deleted and made anew"));
        world.run_for(5_000);
        world.edit(1, &path("deleted and made anew"), b"anew".to_vec());
        world.run_for(5_000);
        // Once with its index, once without.
        if seed == 2 {
            world.forget(3);
        }
        world.start(3);
        union(&mut world);
        assert_eq!(names(&world, 3), ["deleted and made anew", "kept"]);
        assert_eq!(world.nodes[3].disk.files[&path("deleted and made anew")].root(), Root::of(b"anew"));
    });
}

#[test]
fn an_upload_is_acknowledged_when_two_have_it_and_survives_either() {
    with_seeds(
        "folder::scenarios::an_upload_is_acknowledged_when_two_have_it_and_survives_either",
        &[1, 2, 3],
        |seed| {
            let mut world = world(seed, 5);
            let (contents, upload) = (vec![seed as u8; 3_000], 9_999);
            let (root, size) = (Root::of(&contents), contents.len() as u64);
            world.nodes[2].disk.receive(upload, contents);
            let asked = world.ask(2, Request::Upload { path: path("up"), upload, root, size });
            assert!(world.run_until(3_000, |world| world.answers.contains_key(&(2, asked))));
            assert!(matches!(world.answers[&(2, asked)], Answer::Uploaded { holders: 2.. }), "{:?}", world.answers);
            let holders: Vec<Id> = (0..5).filter(|at| world.nodes[*at].disk.files.contains_key(&path("up"))).collect();
            assert!(holders.len() >= 2, "{holders:?}");
            world.crash(2);
            world.destroy(2);
            union(&mut world);
            assert_eq!(names(&world, 0), ["up"]);
        },
    );
}

#[test]
fn a_full_disk_keeps_what_it_has_and_gets_the_rest_when_there_is_room() {
    with_seeds(
        "folder::scenarios::a_full_disk_keeps_what_it_has_and_gets_the_rest_when_there_is_room",
        &[1, 2],
        |seed| {
            let mut world = world(seed, 3);
            world.edit(0, &path("old"), b"old".to_vec());
            union(&mut world);
            world.set_health(2, Health::Full);
            for number in 0..30 {
                world.edit(0, &path(&format!("new{number}")), vec![number; 40_000]);
            }
            world.edit(1, &path("old"), b"newer".to_vec());
            world.run_for(20_000);
            assert_eq!(names(&world, 2), ["old"], "and it is what it was");
            assert_eq!(names(&world, 1).len(), 31);
            world.set_health(2, Health::Good);
            union(&mut world);
            assert_eq!(names(&world, 2).len(), 31);
        },
    );
}

/// Two nodes; `p` was saved by the first while the second made a folder of that name: it is shown as a copy, whose name is given.
fn copy_beside_a_folder(seed: u64) -> (World, FilePath) {
    let mut world = world(seed, 2);
    world.cut(&[0]);
    world.run_for(5_000);
    world.edit(0, &path("p"), b"plain".to_vec());
    world.edit(1, &path("p/in"), b"in the folder".to_vec());
    world.run_for(2_000);
    world.heal();
    union(&mut world);
    let copy = names(&world, 0).into_iter().find(|name| name.starts_with("p.conflict-")).expect("there is one");
    (world, path(&copy))
}

/// What a node's watch does not tell it.
fn unnoticed(world: &mut World, at: Id, act: impl FnOnce(&mut World)) {
    world.nodes[at].watches = false;
    act(world);
    world.nodes[at].watches = true;
}

fn is_anywhere(world: &World, contents: &[u8]) -> bool {
    world.nodes.iter().all(|node| node.disk.roots().contains(&Root::of(contents)))
}

#[test]
fn a_copy_that_is_moved_back_to_a_folders_name_is_not_lost() {
    with_seeds("folder::scenarios::a_copy_that_is_moved_back_to_a_folders_name_is_not_lost", &[1, 2, 3], |seed| {
        let (mut world, copy) = copy_beside_a_folder(seed);
        world.delete(0, &copy);
        world.edit(0, &path("p"), b"plain".to_vec());
        union(&mut world);
        assert!(is_anywhere(&world, b"plain"), "{:?}", names(&world, 1));
    });
}

#[test]
fn a_file_that_is_moved_to_a_folders_name_is_not_lost() {
    with_seeds("folder::scenarios::a_file_that_is_moved_to_a_folders_name_is_not_lost", &[1, 2, 3], |seed| {
        let mut world = world(seed, 2);
        world.edit(0, &path("x"), b"moved".to_vec());
        world.edit(1, &path("p/in"), b"in the folder".to_vec());
        union(&mut world);
        // Nobody but the two ends of the move is there, and the one it left is looked at last.
        world.crash(1);
        world.destroy(1);
        unnoticed(&mut world, 0, |world| world.delete(0, &path("x")));
        world.edit(0, &path("p"), b"moved".to_vec());
        world.run_for(3_000);
        world.start(1);
        union(&mut world);
        assert!(is_anywhere(&world, b"moved"), "{:?}", names(&world, 1));
    });
}

#[test]
fn a_copy_is_deleted_though_the_plain_name_was_to_be_made_from_it() {
    with_seeds(
        "folder::scenarios::a_copy_is_deleted_though_the_plain_name_was_to_be_made_from_it",
        &[1, 2, 3],
        |seed| {
            let (mut world, copy) = copy_beside_a_folder(seed);
            unnoticed(&mut world, 0, |world| world.delete(0, &copy));
            world.delete(0, &path("p/in"));
            union(&mut world);
            assert_eq!(names(&world, 1), Vec::<String>::new());
        },
    );
}

#[test]
fn all_files_kept_for_another_go_once_it_is_there() {
    with_seeds("folder::scenarios::all_files_kept_for_another_go_once_it_is_there", &[1, 2, 3], |seed| {
        let mut world = world(seed, 2);
        for name in ["a", "b"] {
            world.edit(0, &path(name), b"the same".to_vec());
        }
        union(&mut world);
        for name in ["a", "b"] {
            world.delete(0, &path(name));
        }
        world.edit(0, &path("c"), b"the same".to_vec());
        union(&mut world);
        assert_eq!(names(&world, 1), ["c"]);
    });
}

#[test]
fn what_is_looked_at_in_a_new_life_is_no_longer_doubted() {
    with_seeds("folder::scenarios::what_is_looked_at_in_a_new_life_is_no_longer_doubted", &[1, 2, 3], |seed| {
        let mut world = world(seed, 2);
        world.cut(&[0]);
        world.run_for(5_000);
        world.edit(1, &path("f"), b"mine".to_vec());
        world.run_for(2_000);
        world.crash(1);
        world.start(1);
        world.run_for(2_000);
        unnoticed(&mut world, 1, |world| world.delete(1, &path("f")));
        world.edit(0, &path("f"), b"theirs".to_vec());
        world.run_for(500);
        world.heal();
        union(&mut world);
        assert_eq!(names(&world, 1), ["f"]);
        assert_eq!(world.nodes[1].disk.files[&path("f")].root(), Root::of(b"theirs"));
    });
}

#[test]
fn others_hear_of_a_write_that_a_new_life_will_know_of() {
    with_seeds("folder::scenarios::others_hear_of_a_write_that_a_new_life_will_know_of", &[1, 2, 3, 4], |seed| {
        let mut world = world(seed, 2);
        world.edit(0, &path("f"), b"first".to_vec());
        while world.counts(1).expect("it runs").files == 0 {
            world.run_for(1);
        }
        world.crash(0);
        world.edit(0, &path("f"), b"second".to_vec());
        world.start(0);
        union(&mut world);
        assert!(is_anywhere(&world, b"second"), "{:?}", names(&world, 1));
    });
}
