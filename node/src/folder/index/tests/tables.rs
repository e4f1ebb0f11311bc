//! Histories with their outcome: the examples of the design, and what users of others reported.

use super::*;

#[test]
fn the_same_file_on_two_nodes_is_one_version_and_the_newest_time_is_shown() {
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new(2);
        for node in order {
            world.write(node, "f", "same");
            world.scan(node, How::First);
        }
        let newest = world.replicas[order[1]].disk[&path("f")].stat.mtime_ns;
        world.sync(0, 1);
        world.check(&[("f", "same")]);
        assert_eq!(world.replicas[0].index.entry(&path("f")).unwrap().siblings.len(), 1);
        assert_eq!(world.replicas[0].index.counts().conflicts, 0);
        for replica in &world.replicas {
            assert_eq!(replica.disk[&path("f")].stat.mtime_ns, newest);
        }
    }
}

#[test]
fn different_files_found_under_one_name_are_both_kept_and_the_newer_has_the_name() {
    let mut world = World::new(3);
    for (node, text) in ["old", "new", "new"].into_iter().enumerate() {
        world.write(node, "f.txt", text);
        world.scan(node, How::First);
    }
    world.sync_all();
    let name = copy("f", "first", "old", ".txt");
    world.check(&[(&name, "old"), ("f.txt", "new")]);
    assert_eq!(world.replicas[2].index.counts().conflicts, 1);
}

/// Two nodes that both have `f`, and then each edit it.
fn edited_twice() -> (World, String) {
    let mut world = World::new(2);
    world.put(0, "f", "base");
    world.sync(0, 1);
    world.put(0, "f", "by a");
    world.at(1).skew = HOUR;
    world.put(1, "f", "by b");
    world.sync(0, 1);
    let name = copy("f", "node1", "by a", "");
    world.check(&[("f", "by b"), (&name, "by a")]);
    (world, name)
}

#[test]
fn of_two_edits_both_are_kept_and_saving_again_keeps_the_copy_until_it_is_deleted() {
    let (mut world, name) = edited_twice();
    world.put(1, "f", "by b again");
    world.sync(0, 1);
    world.check(&[("f", "by b again"), (&name, "by a")]);
    world.del(0, &name);
    world.sync(0, 1);
    world.check(&[("f", "by b again")]);
    assert_eq!(world.replicas[0].index.entry(&path("f")).unwrap().siblings.len(), 1);
}

#[test]
fn an_edited_copy_is_an_ordinary_file_of_its_name() {
    let (mut world, name) = edited_twice();
    world.put(0, &name, "resolved");
    world.sync(0, 1);
    world.check(&[("f", "by b"), (&name, "resolved")]);
    assert_eq!(world.replicas[1].index.counts().conflicts, 0);
    world.del(1, &name);
    world.sync(0, 1);
    world.check(&[("f", "by b")]);
}

#[test]
fn a_copy_whose_time_is_changed_stays_a_copy() {
    let (mut world, name) = edited_twice();
    world.touch(0, &name);
    world.sync(0, 1);
    world.check(&[("f", "by b"), (&name, "by a")]);
    assert_eq!(world.replicas[1].index.counts().conflicts, 1);
}

#[test]
fn deleting_a_file_that_has_copies_keeps_them_as_ordinary_files() {
    let (mut world, name) = edited_twice();
    world.del(0, "f");
    world.sync(0, 1);
    world.check(&[(&name, "by a")]);
    assert_eq!(world.replicas[1].index.counts().conflicts, 0);
    world.del(1, &name);
    world.sync(0, 1);
    world.check(&[]);
}

#[test]
fn two_nodes_that_delete_it_at_once_make_the_same_ordinary_files() {
    let (mut world, name) = edited_twice();
    world.del(0, "f");
    world.del(1, "f");
    world.sync(0, 1);
    world.check(&[(&name, "by a")]);
    assert_eq!(world.replicas[0].index.entry(&path(&name)).unwrap().siblings.len(), 1);
}

#[test]
fn deleting_and_editing_a_copy_at_once_keeps_the_edit() {
    let (mut world, name) = edited_twice();
    world.del(0, "f");
    world.put(1, &name, "edited");
    world.sync(0, 1);
    world.check(&[(&name, "edited")]);
}

#[test]
fn an_edit_survives_a_deletion_that_had_not_seen_it_and_none_that_had() {
    for skew in [-HOUR, HOUR] {
        let mut world = World::new(2);
        world.put(0, "f", "base");
        world.sync(0, 1);
        world.at(1).skew = skew;
        world.put(0, "f", "edit");
        world.del(1, "f");
        world.sync(0, 1);
        world.check(&[("f", "edit")]);
        world.del(1, "f");
        world.sync(0, 1);
        world.check(&[]);
        assert_eq!(world.replicas[0].index.counts().tombstones, 1);
    }
}

#[test]
fn created_again_after_a_deletion_it_stands_against_any_older_copy() {
    let mut world = World::new(3);
    world.put(0, "f", "old");
    world.sync_all();
    world.at(1).skew = -HOUR;
    world.del(1, "f");
    world.put(1, "f", "new");
    world.sync(0, 1);
    world.sync(0, 2);
    world.sync_all();
    world.check(&[("f", "new")]);
}

#[test]
fn created_again_with_the_contents_it_had_it_is_there_again() {
    let mut world = World::new(2);
    world.put(0, "f", "old");
    world.sync(0, 1);
    world.del(0, "f");
    world.put(0, "f", "old");
    world.sync(0, 1);
    world.check(&[("f", "old")]);
}

#[test]
fn deleted_stays_deleted_when_a_node_returns_that_was_away() {
    let mut world = World::new(3);
    world.put(2, "f", "x");
    world.sync_all();
    world.save(2);
    world.at(0).skew = -HOUR;
    world.del(0, "f");
    world.sync(0, 1);
    world.restart(2);
    world.sync(1, 2);
    world.sync_all();
    world.check(&[]);
}

#[test]
fn a_node_that_lost_its_index_brings_nothing_back() {
    let mut world = World::new(2);
    for name in ["deleted", "edited", "same"] {
        world.put(0, name, &format!("{name} v1"));
    }
    world.sync(0, 1);
    world.del(0, "deleted");
    world.put(0, "edited", "edited v2");
    world.put(0, "edited", "edited v3");
    world.restart(1); // nothing was saved
    world.sync(0, 1);
    world.check(&[("edited", "edited v3"), ("same", "same v1")]);
}

#[test]
fn a_file_placed_just_before_a_crash_is_no_edit() {
    let mut world = World::new(3);
    world.put(0, "f", "v1");
    world.sync_all();
    world.save(1);
    world.put(0, "f", "v2");
    world.sync(0, 1); // placed, and node 1 dies before its index knows
    world.put(0, "f", "v3");
    world.restart(1);
    world.sync_all();
    world.check(&[("f", "v3")]);
}

#[test]
fn what_was_placed_just_before_a_crash_is_what_was_edited_then() {
    for is_deleted in [false, true] {
        let mut world = World::new(2);
        world.put(0, "f.x", "mine");
        world.put(1, "f.x", "theirs");
        world.tell(1, 0);
        world.save(0); // "theirs" is to be placed over "mine", and that is to be a copy
        world.sync(0, 1);
        let name = copy("f", "node1", "mine", ".x");
        world.check(&[(&name, "mine"), ("f.x", "theirs")]);
        if is_deleted {
            world.at(0).disk.remove(&path("f.x"));
        } else {
            world.write(0, "f.x", "edited");
        }
        world.restart(0);
        world.sync_all();
        assert!(world.files(1).contains(&(name, "mine".to_owned())), "{:?}", world.files(1));
        assert!(is_deleted || world.files(1).contains(&("f.x".to_owned(), "edited".to_owned())));
    }
}

#[test]
fn what_was_placed_just_before_a_crash_was_edited_then_also_if_the_former_is_to_be_there_again() {
    let mut world = World::new(2);
    world.put(0, "f.x", "mine");
    world.put(1, "f.x", "theirs");
    world.tell(1, 0);
    world.tell(0, 1);
    world.save(0);
    let stale = world.at(0).rows["f.x"].clone();
    world.act(0);
    world.save(0);
    // "theirs" was placed over "mine" and its copy; of the first no row was written.
    world.at(0).rows.insert("f.x".to_owned(), stale);
    // The other one deletes "theirs", and has not got the copy: "mine" is to be there now.
    world.del(1, "f.x");
    world.write(0, "f.x", "edited");
    let how = world.boot(0);
    world.tell(1, 0);
    world.scan(0, how);
    world.sync_all();
    let texts: Vec<String> = world.files(1).into_iter().map(|(_, text)| text).collect();
    assert!(texts.contains(&"mine".to_owned()) && texts.contains(&"edited".to_owned()), "{:?}", world.files(1));
}

#[test]
fn an_edit_while_its_node_was_off_is_an_edit_even_back_to_what_it_was() {
    for text in ["v3", "v1"] {
        let mut world = World::new(2);
        world.put(0, "f", "v1");
        world.sync_all();
        world.put(0, "f", "v2");
        world.sync_all();
        world.save(1);
        world.write(1, "f", text);
        world.restart(1);
        world.sync_all();
        world.check(&[("f", text)]);
    }
}

#[test]
fn one_writer_makes_no_copies_whatever_clocks_and_times_say() {
    let mut world = World::new(3);
    world.put(0, "f", "0");
    world.sync_all();
    for round in 1..40_u32 {
        world.at(0).skew = if round % 3 == 0 { -HOUR } else { HOUR };
        world.at(1).skew = if round % 2 == 0 { HOUR } else { -HOUR };
        world.put(0, "f", &format!("{}", round / 2));
        if round % 5 == 0 {
            world.sync(0, 1);
            world.touch(1, "f");
        }
        world.sync(1, 2);
        world.sync(0, 1);
        world.touch(2, "f");
    }
    world.sync_all();
    world.check(&[("f", "19")]);
    assert_eq!(world.replicas[1].index.counts().conflicts, 0);
}

#[test]
fn an_older_file_copied_over_a_newer_one_is_an_edit() {
    let mut world = World::new(2);
    world.put(0, "f", "new");
    world.sync(0, 1);
    world.write(1, "f", "older");
    world.at(1).disk.get_mut(&path("f")).unwrap().stat.mtime_ns = 1_000_000_000;
    world.look(1, &path("f"), How::Scan);
    world.sync(0, 1);
    world.check(&[("f", "older")]);
}

#[test]
fn what_is_saved_while_something_newer_is_on_its_way_is_kept_beside_it() {
    let mut world = World::new(2);
    world.put(0, "f", "base");
    world.sync(0, 1);
    world.put(0, "f", "theirs");
    world.tell(0, 1); // known at 1, not fetched
    world.put(1, "f", "mine");
    world.sync(0, 1);
    let name = copy("f", "node1", "theirs", "");
    world.check(&[("f", "mine"), (&name, "theirs")]);
}

#[test]
fn what_nobody_has_looked_at_is_not_replaced() {
    let mut world = World::new(2);
    world.put(0, "f", "theirs");
    world.write(1, "f", "mine, not looked at");
    world.sync_all();
    let name = copy("f", "node1", "theirs", "");
    world.check(&[("f", "mine, not looked at"), (&name, "theirs")]);
}

#[test]
fn found_as_it_should_be_it_is_taken_as_it_is() {
    let mut world = World::new(2);
    world.put(0, "f", "same");
    world.tell(0, 1);
    world.put(1, "f", "same");
    assert_eq!(world.replicas[0].index.digests().index, world.replicas[1].index.digests().index);
    world.sync(0, 1);
    world.check(&[("f", "same")]);
}

#[test]
fn a_renamed_file_is_made_from_what_is_here() {
    let mut world = World::new(2);
    world.put(0, "a/f", "x");
    world.sync(0, 1);
    world.del(0, "a/f");
    world.put(0, "b", "x");
    world.tell(0, 1);
    let index = &mut world.at(1).index;
    assert_eq!(index.plan(&path("a/f")), Action::After(path("b")));
    assert!(matches!(index.plan(&path("b")), Action::Get { over: None, .. }));
    assert_eq!(index.locate(&root("x")).unwrap().0, path("a/f"));
    world.sync(0, 1);
    world.check(&[("b", "x")]);
}

#[test]
fn files_that_swapped_names_do_not_wait_for_each_other() {
    let mut world = World::new(2);
    world.put(0, "a", "x");
    world.put(0, "b", "y");
    world.put(0, "c", "z");
    world.sync(0, 1);
    for (name, text) in [("a", "y"), ("b", "z"), ("c", "x")] {
        world.put(0, name, text);
    }
    world.sync(0, 1);
    world.check(&[("a", "y"), ("b", "z"), ("c", "x")]);
}

#[test]
fn a_file_becomes_a_folder_and_a_folder_a_file() {
    let mut world = World::new(2);
    world.put(0, "d", "x");
    world.sync(0, 1);
    world.del(0, "d");
    world.put(0, "d/e/f", "x");
    world.sync(0, 1);
    world.check(&[("d/e/f", "x")]);
    world.del(1, "d/e/f");
    world.put(1, "d", "y");
    world.sync(0, 1);
    world.check(&[("d", "y")]);
}

#[test]
fn a_file_and_a_folder_of_one_name_are_both_kept_and_the_folder_has_it() {
    let mut world = World::new(2);
    world.put(0, "d.x", "file");
    world.put(1, "d.x/f", "inside");
    world.sync(0, 1);
    let name = copy("d", "node1", "file", ".x");
    world.check(&[(&name, "file"), ("d.x/f", "inside")]);
    // The folder goes, and the file has its name again.
    world.del(1, "d.x/f");
    world.sync(0, 1);
    world.check(&[("d.x", "file")]);
    // And once more, and the copy is deleted.
    world.put(1, "e/f", "inside");
    world.put(0, "e", "file");
    world.sync(0, 1);
    world.del(0, &copy("e", "node1", "file", ""));
    world.del(1, "e/f");
    world.sync(0, 1);
    world.check(&[("d.x", "file")]);
}

#[test]
fn a_copys_name_that_is_taken_gives_it_a_longer_one() {
    let (mut world, name) = edited_twice();
    world.put(0, &name, "resolved");
    world.sync(0, 1);
    // The same version comes up once more.
    world.put(0, "f", "by a");
    world.put(1, "f", "by b 2");
    world.sync(0, 1);
    let longer = format!("f.conflict-node1-{}", &root("by a").to_string()[..16]);
    world.check(&[("f", "by b 2"), (&name, "resolved"), (&longer, "by a")]);
    world.del(1, &name);
    world.sync(0, 1);
    world.check(&[("f", "by b 2"), (&name, "by a")]);
}

#[test]
fn a_copys_name_may_be_a_folder() {
    let mut world = World::new(3);
    world.put(2, &format!("{}/in", copy("f", "node1", "by a", "")), "inside");
    world.put(0, "f", "by a");
    world.put(1, "f", "by b");
    world.sync_all();
    let longer = format!("f.conflict-node1-{}", &root("by a").to_string()[..16]);
    let inside = format!("{}/in", copy("f", "node1", "by a", ""));
    world.check(&[("f", "by b"), (&inside, "inside"), (&longer, "by a")]);
}

#[test]
fn a_copy_found_by_a_node_that_lost_its_index_goes_when_it_is_deleted() {
    let (mut world, name) = edited_twice();
    world.restart(1);
    world.sync(0, 1);
    world.check(&[("f", "by b"), (&name, "by a")]);
    world.del(1, &name);
    world.sync(0, 1);
    world.check(&[("f", "by b")]);
}

#[test]
fn fifty_writers_at_once_lose_nothing() {
    let mut world = World::new(50);
    for node in 0..50 {
        world.put(node, "f", &format!("by {node}"));
    }
    for _ in 0..2 {
        (1..50).for_each(|other| {
            world.tell(0, other);
            world.tell(other, 0);
        });
    }
    (0..50).for_each(|node| world.act(node));
    (0..50).for_each(|node| assert_eq!(world.files(node).len(), 50));
}

#[test]
fn uploads_and_deletions_by_http_are_those_of_what_is_shown() {
    use crate::folder::local::Unfit;
    let (mut world, name) = edited_twice();
    let wall = world.wall(0);
    let index = &mut world.at(0).index;
    index.upload(&path("d/f"), root("up"), 2, wall).unwrap();
    assert_eq!(index.upload(&path("d"), root("up"), 2, wall), Err(Unfit::IsFolder));
    assert_eq!(index.upload(&path("f/g"), root("up"), 2, wall), Err(Unfit::UnderFile));
    assert!(matches!(index.plan(&path("d/f")), Action::Get { over: None, .. }));
    assert!(index.delete(&path("d/f"), wall));
    assert!(!index.delete(&path("d/f"), wall));
    assert!(index.delete(&path("f"), wall));
    world.sync(0, 1);
    world.check(&[(&name, "by a")]);
}

#[test]
fn long_names_are_shortened_where_a_character_ends() {
    let long = format!("{}.txt", "ü".repeat(125));
    assert_eq!(long.len(), 254);
    let deep = format!("{}/{}", vec!["d".repeat(200); 5].join("/"), "n".repeat(19));
    assert_eq!(deep.len(), 1_024);
    for name in [long.as_str(), &deep, ".bashrc", "no extension", "a.tar.gz", "trailing.", &"e".repeat(255)] {
        let mut world = World::new(2);
        world.put(0, name, "by a");
        world.put(1, name, "by b");
        world.sync(0, 1);
        let files = world.files(0);
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(files.contains(&(name.to_owned(), "by b".to_owned())));
        assert!(files.iter().any(|(name, text)| name.contains(".conflict-node1-") && text == "by a"), "{files:?}");
    }
}

#[test]
fn case_twins_normal_forms_and_empty_files_are_files_like_others() {
    let mut world = World::new(2);
    let files = [("F", ""), ("\u{e9}", "composed"), ("e\u{301}", "decomposed"), ("f", "")];
    for (at, (name, text)) in files.into_iter().enumerate() {
        world.put(at % 2, name, text);
    }
    world.sync(0, 1);
    let mut sorted = files.to_vec();
    sorted.sort();
    world.check(&sorted);
    world.del(0, "f");
    world.sync(0, 1);
    assert_eq!(world.files(1).len(), 3);
}

#[test]
fn a_deletion_of_long_ago_is_forgotten_and_not_taken_in_again() {
    let mut world = World::new(2);
    world.put(0, "f", "x");
    world.del(0, "f");
    world.sync(0, 1);
    let later = START + Config::default().tombstone_life.0 + 60_000;
    let entry = world.replicas[0].index.entry(&path("f")).unwrap().clone();
    let index = &mut world.at(0).index;
    assert_eq!(index.expire(START + 60_000), 0);
    assert_eq!(index.expire(later), 1);
    assert_eq!((index.counts().entries, index.counts().tombstones), (0, 0));
    assert_eq!(index.digests(), super::super::Digests::default());
    assert!(index.join(&entry, later).refused);
    index.take_rows(1).iter().for_each(|row| assert_eq!(row.value, None));
}

#[test]
fn a_full_index_takes_no_new_path_and_still_hears_of_those_it_has() {
    let config = Config { entries_max: 2, ..Config::default() };
    let mut world = World::with(2, &config);
    world.put(0, "a", "1");
    world.put(0, "b", "1");
    world.sync(0, 1);
    let stat = world.stat(0, "1");
    let wall = world.wall(0);
    assert_eq!(world.at(0).index.found(&path("c"), stat, root("1"), How::Watch, wall), Meaning::Refused);
    assert_eq!(world.replicas[0].index.counts().refused, 1);
    world.put(0, "a", "2");
    world.sync(0, 1);
    world.check(&[("a", "2"), ("b", "1")]);
}

#[test]
fn damaged_rows_are_refused_and_others_restore_all_that_was_known() {
    let (mut world, name) = edited_twice();
    world.put(0, "gone", "x");
    world.del(0, "gone");
    world.save(0);
    let before = world.replicas[0].index.digests();
    let counts = world.replicas[0].index.counts();
    world.restart(0);
    let index = &mut world.at(0).index;
    assert_eq!(index.digests(), before);
    assert_eq!(index.counts(), counts);
    assert!(index.known(&path(&name)).is_some());
    assert!(index.take_rows(9).is_empty());
    for (key, value) in [("x", Some(vec![7, 7, 7])), ("../x", Some(vec![0, 0])), ("x", None), ("x", Some(Vec::new()))] {
        assert!(index.restore(&Row { key: key.into(), value }).is_err());
    }
    // A row of one path under the key of another.
    let row = world.replicas[0].rows["f"].clone();
    assert!(world.at(0).index.restore(&Row { key: "other".into(), ..row }).is_err());
    assert_eq!(world.replicas[0].index.digests(), before);
}
