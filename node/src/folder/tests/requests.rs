//! What users ask for over HTTP.

use p2pnet_shared::{telemetry::FolderEvent, wire::folder::Root};

use super::{network::Net, node, path, union::bytes};
use crate::folder::{Answer, Config, Listed, Request, Trouble};

fn net(nodes: u32, seed: u64) -> Net {
    Net::new(nodes, seed, Config::default())
}

#[test]
fn an_upload_is_acknowledged_when_enough_have_it_on_disk() {
    let mut net = net(4, 1);
    let id = net.upload(2, &path("docs/a"), "uploaded");
    let Answer::Uploaded { holders } = net.answer(id) else { panic!("{:?}", net.answers) };
    assert!(holders >= 2);
    let have = net.nodes.values().filter(|node| node.disk.files.contains_key(&path("docs/a"))).count();
    assert!(have >= 2, "{have} disks have it");
    net.unite(5_000);
    let event = FolderEvent::Uploaded { path: path("docs/a"), root: Root::of(b"uploaded"), holders };
    assert!(net.nodes[&node(2)].events.contains(&event));
}

#[test]
fn an_upload_nobody_else_can_confirm_is_answered_when_patience_ends() {
    let mut net = net(3, 2);
    net.cut(&[node(1)], false);
    let begin = net.now;
    let id = net.upload(1, &path("a"), "alone");
    assert_eq!(net.answer(id), Answer::Uploaded { holders: 1 });
    assert!((2_000..2_100).contains(&(net.answers[&id].0 - begin)));
    let mut alone = Net::new(1, 3, Config::default());
    let begin = alone.now;
    let id = alone.upload(1, &path("a"), "alone");
    assert_eq!(alone.answer(id), Answer::Uploaded { holders: 1 });
    assert!(alone.answers[&id].0 - begin < 100, "there is nobody to wait for");
}

#[test]
fn an_upload_replaces_what_is_known_and_is_no_conflict() {
    let mut net = net(3, 4);
    for round in 0..6 {
        let via = round % 3 + 1;
        let id = net.upload(via, &path("a"), format!("round {round}"));
        assert!(matches!(net.answer(id), Answer::Uploaded { holders: 2.. }));
        // At once again, through a node that may not have it on disk yet, but knows of it.
        net.until(1_000, |net| net.state((via % 3) + 1).counts().want == net.state(via).counts().want).unwrap();
    }
    net.unite(5_000);
    assert_eq!(net.tree().into_iter().collect::<Vec<_>>(), [(path("a"), Root::of(b"round 5"))]);
    assert_eq!(net.state(1).counts().conflicts, 0);
}

#[test]
fn an_upload_to_a_disk_that_fails_changes_nothing() {
    let mut net = net(2, 5);
    for why in [Trouble::Full, Trouble::Broken] {
        net.disk(1).refuses = Some(why);
        let id = net.upload(1, &path("a"), "x");
        assert_eq!(net.answer(id), Answer::Failed(why));
    }
    net.disk(1).refuses = None;
    net.write(1, &path("folder/file"), "y");
    net.unite(5_000);
    let id = net.upload(1, &path("folder"), "x");
    assert_eq!(net.answer(id), Answer::Failed(Trouble::Refused));
    net.disk(1).is_gone = true;
    net.run(100);
    let id = net.upload(1, &path("b"), "x");
    assert_eq!(net.answer(id), Answer::Failed(Trouble::NoFolder));
    net.disk(1).is_gone = false;
    net.unite(10_000);
    assert_eq!(net.tree().into_keys().collect::<Vec<_>>(), [path("folder/file")]);
}

#[test]
fn an_upload_replaces_a_file_that_changed_unseen_only_once_it_is_known() {
    let mut net = net(2, 6);
    net.write(1, &path("a"), "first");
    net.unite(5_000);
    net.nodes.get_mut(&node(1)).unwrap().watches = false;
    net.write(1, &path("a"), "edited, nobody saw it");
    let id = net.upload(1, &path("a"), "uploaded");
    assert!(matches!(net.answer(id), Answer::Uploaded { .. }));
    net.unite(5_000);
    // As a program on this node would; but not blindly: everybody knows that it was replaced.
    let found = |event: &FolderEvent| matches!(event, FolderEvent::Changed { root: Some(root), .. } if *root == Root::of(b"edited, nobody saw it"));
    assert!(net.nodes[&node(1)].events.iter().any(found));
    assert_eq!(net.tree()[&path("a")], Root::of(b"uploaded"));
}

#[test]
fn a_file_that_is_not_here_is_fetched_for_who_opens_it() {
    let mut net = net(3, 7);
    net.write(1, &path("large"), bytes(1, 900_000));
    net.until(5_000, |net| net.state(3).counts().files == 1).unwrap();
    let id = net.ask(3, Request::Open { path: path("large") });
    let Answer::Open { path: at, stat, root } = net.answer(id) else { panic!("{:?}", net.answers) };
    assert_eq!((at, stat.size, root), (path("large"), 900_000, Root::of(&bytes(1, 900_000))));
    assert_eq!(net.disk(3).files[&path("large")].stat, stat);
    let id = net.ask(3, Request::Open { path: path("nothing") });
    assert_eq!(net.answer(id), Answer::Missing);
}

#[test]
fn a_file_nobody_gives_is_late() {
    let mut config = Config::default();
    config.download_patience.0 = 3_000;
    let mut net = Net::new(3, 8, config);
    net.write(1, &path("large"), bytes(1, 900_000));
    net.until(5_000, |net| net.state(3).counts().files == 1).unwrap();
    net.crash(&node(1));
    let begin = net.now;
    let id = net.ask(3, Request::Open { path: path("large") });
    assert_eq!(net.answer(id), Answer::Late);
    assert!((3_000..3_100).contains(&(net.answers[&id].0 - begin)));
}

#[test]
fn a_deleted_file_is_gone_everywhere_and_was_remembered_first() {
    let mut net = net(3, 9);
    net.write(1, &path("a"), "x");
    net.unite(5_000);
    let id = net.ask(2, Request::Delete { path: path("a") });
    assert_eq!(net.answer(id), Answer::Deleted);
    // Whatever happens to it now, it knows.
    net.crash(&node(2));
    net.start(&node(2));
    net.unite(10_000);
    assert!(net.tree().is_empty());
    let id = net.ask(1, Request::Delete { path: path("a") });
    assert_eq!(net.answer(id), Answer::Missing);
}

#[test]
fn a_list_says_how_many_have_each_file() {
    let mut net = net(5, 10);
    net.write(1, &path("all"), "x");
    net.unite(5_000);
    net.disk(2).refuses = Some(Trouble::Full);
    net.disk(3).refuses = Some(Trouble::Full);
    net.write(1, &path("some"), "y");
    net.until(5_000, |net| net.nodes[&node(4)].disk.files.len() + net.nodes[&node(5)].disk.files.len() == 4).unwrap();
    net.run(100);
    let begin = net.now;
    let id = net.ask(2, Request::List);
    let Answer::Listed { files, digest } = net.answer(id) else { panic!("{:?}", net.answers) };
    let holders: Vec<(&str, u32)> =
        files.iter().map(|Listed { path, holders, .. }| (path.as_str(), *holders)).collect();
    assert_eq!(holders, [("all", 5), ("some", 3)]);
    assert_eq!(digest, net.state(1).counts().want);
    assert!(net.answers[&id].0 - begin < 100);
    // Who is silent is not waited for.
    net.cut(&[node(5)], false);
    let begin = net.now;
    let id = net.ask(1, Request::List);
    let Answer::Listed { files, .. } = net.answer(id) else { panic!("{:?}", net.answers) };
    assert_eq!(files[0].holders, 4);
    assert!((1_000..1_050).contains(&(net.answers[&id].0 - begin)));
}

#[test]
fn a_rescan_is_answered_when_all_it_found_is_known() {
    let mut net = net(2, 11);
    net.nodes.get_mut(&node(1)).unwrap().watches = false;
    for file in 0..100 {
        net.write(1, &path(&format!("{file}")), bytes(file, 100));
    }
    let id = net.ask(1, Request::Rescan);
    assert_eq!(net.answer(id), Answer::Rescanned);
    assert_eq!(net.state(1).counts().files_here, 100);
    net.disk(1).is_gone = true;
    let id = net.ask(1, Request::Rescan);
    assert_eq!(net.answer(id), Answer::Failed(Trouble::NoFolder));
}

#[test]
fn more_questions_than_can_wait_are_refused_at_once() {
    let mut net = net(2, 12);
    net.disk(1).refuses = Some(Trouble::Full);
    net.write(2, &path("a"), bytes(1, 900_000));
    net.until(5_000, |net| net.state(1).counts().files == 1).unwrap();
    let ids: Vec<u64> = (0..1_100).map(|_| net.ask(1, Request::Open { path: path("a") })).collect();
    let refused =
        ids.iter().filter(|id| net.answers.get(id).is_some_and(|(_, answer)| *answer == Answer::Late)).count();
    assert_eq!(refused, 76);
    net.disk(1).refuses = None;
    net.until(40_000, |net| net.unanswered() == 0).unwrap();
    let open = |id: &&u64| matches!(net.answers[id].1, Answer::Open { .. });
    assert_eq!(ids.iter().filter(open).count(), 1_024);
}
