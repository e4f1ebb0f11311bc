use p2pnet_shared::FilePath;
use serde_json::json;

use super::*;
use crate::verb::{FaultOrder, FileAct, FileOrder, Target};

fn verb(line: &str) -> Verb {
    match read(line) {
        Ok(Request::Verb(verb)) => verb,
        other => panic!("{line}: {other:?}"),
    }
}

fn nodes(text: &str) -> Selector {
    text.parse().unwrap()
}

fn cut(from: &str, to: Option<&str>, one_way: bool) -> Verb {
    Verb::Fault(FaultOrder::Cut { from: nodes(from), to: to.map(nodes), one_way })
}

fn loss(at: &str) -> Verb {
    let percent = p2pnet_shared::fault::Percent::try_from(30).unwrap();
    Verb::Fault(FaultOrder::Loss { percent, nodes: Some(nodes(at)) })
}

fn key(key: &str, act: KeyAct, via: Option<u32>) -> Verb {
    Verb::Key(KeyOrder { key: key.parse().unwrap(), via: via.map(NodeName::numbered), act })
}

fn put(name: &str, value: serde_json::Value, via: Option<u32>) -> Verb {
    key(name, KeyAct::Put(value), via)
}

#[test]
fn files_are_shared_fetched_listed_and_deleted() {
    let order = |via: Option<u32>, act| Verb::File(FileOrder { via: via.map(NodeName::numbered), act });
    let path = |path: &str| path.parse::<FilePath>().unwrap();
    let upload = |from: &str, to: &str| FileAct::Upload { from: from.into(), to: path(to) };
    let download = |from: &str, to: &str| FileAct::Download { path: path(from), to: Target::File(to.into()) };
    let table = [
        ("upload /tmp/a.jpg", order(None, upload("/tmp/a.jpg", "a.jpg"))),
        ("upload \"my photo.jpg\" photos/1.jpg --via 7", order(Some(7), upload("my photo.jpg", "photos/1.jpg"))),
        ("download photos/1.jpg", order(None, download("photos/1.jpg", "1.jpg"))),
        ("download photos/1.jpg /tmp/x --via node7", order(Some(7), download("photos/1.jpg", "/tmp/x"))),
        ("files", order(None, FileAct::List)),
        ("files --via=7", order(Some(7), FileAct::List)),
        ("delete-file photos/1.jpg", order(None, FileAct::Delete(path("photos/1.jpg")))),
    ];
    for (line, wanted) in table {
        assert_eq!(verb(line), wanted, "{line}");
    }
    for line in [
        "upload",
        "upload a b c",
        "upload /",
        "upload a ../b",
        "download",
        "download /etc/passwd",
        "files 7",
        "delete-file",
        "delete-file a b",
        "upload a --via",
    ] {
        assert!(read(line).is_err(), "{line}");
    }
}

#[test]
fn every_verb_in_its_long_and_short_form() {
    use Signal::{Kill, Term};
    let (node4, node9) = (NodeName::numbered(4), NodeName::numbered(9));
    let say = |from: &NodeName, text: &str| Verb::Broadcast { from: from.clone(), text: text.into() };
    let tell = |text: &str| Verb::Direct { from: node4.clone(), to: node9.clone(), text: text.into() };
    let table = [
        ("add 5", Verb::Add(5)),
        ("add-nodes 5", Verb::Add(5)),
        ("kill 7", Verb::Stop(nodes("7"), Kill)),
        ("  kill   7  ", Verb::Stop(nodes("7"), Kill)),
        ("kill 30% seed 7", Verb::Stop(nodes("30% seed 7"), Kill)),
        ("kill 20-30", Verb::Stop(nodes("20-30"), Kill)),
        ("kill bootstrap", Verb::Stop(nodes("bootstrap"), Kill)),
        ("remove-node 9 10", Verb::Stop(nodes("9 10"), Kill)),
        ("remove-node 9 --signal TERM", Verb::Stop(nodes("9"), Term)),
        ("remove-node 9 --signal=kill", Verb::Stop(nodes("9"), Kill)),
        ("kill 9 sig T".replace(" T", " TERM").leak(), Verb::Stop(nodes("9"), Term)),
        ("down 3", Verb::Stop(nodes("3"), Term)),
        ("stop 3", Verb::Stop(nodes("3"), Term)),
        ("pause 3", Verb::Pause(nodes("3"))),
        ("pause-node 3", Verb::Pause(nodes("3"))),
        ("resume 3", Verb::Resume(nodes("3"))),
        ("resume-node 3", Verb::Resume(nodes("3"))),
        ("restart 9", Verb::Restart(nodes("9"))),
        ("restart-node 9", Verb::Restart(nodes("9"))),
        ("send node4 \"hello\"", say(&node4, "hello")),
        ("send 4 hello all of you", say(&node4, "hello all of you")),
        ("send node4 \"hi\" to node9", tell("hi")),
        ("send 4 hi there to 9", tell("hi there")),
        ("send 4 \"go to node9\"", say(&node4, "go to node9")),
        (r#"send 4 "say \"hi\"""#, say(&node4, r#"say "hi""#)),
        ("send 4 'it is' to 9", tell("it is")),
        ("send-message 4 apple", say(&node4, "apple")),
        ("send-message 4 apple to 9", say(&node4, "apple to 9")),
        ("send bootstrap hi", say(&NodeName::bootstrap(), "hi")),
        ("fault", Verb::Faults),
        ("heal", Verb::Heal(None)),
        ("heal 7 9", Verb::Heal(Some(nodes("7 9")))),
        ("cut 1-50 | 51-100", cut("1-50", Some("51-100"), false)),
        ("cut 1-50|51-100 oneway", cut("1-50", Some("51-100"), true)),
        ("fault cut 7", cut("7", None, false)),
        ("loss 30% 1-9", loss("1-9")),
        ("fault loss 30 1-9", loss("1-9")),
        ("fault pause 3", Verb::Pause(nodes("3"))),
        ("put k v", put("k", json!("v"), None)),
        ("put k 5", put("k", json!(5), None)),
        (r#"put k "5""#, put("k", json!("5"), None)),
        ("put k '5'", put("k", json!(5), None)),
        (r#"put k "a\nb \"c\"""#, put("k", json!("a\nb \"c\""), None)),
        ("put k it's green, and  sour", put("k", json!("it's green, and  sour"), None)),
        (r#"put "my key" {"a": "b c", "d": [1, 2]} --via 7"#, put("my key", json!({"a": "b c", "d": [1, 2]}), Some(7))),
        (r#"put k '{"a": 1}' --via=node7"#, put("k", json!({"a": 1}), Some(7))),
        (r#"put k "--via" "#, put("k", json!("--via"), None)),
        ("put k ключ ", put("k", json!("ключ"), None)),
        ("get a/b", key("a/b", KeyAct::Get, None)),
        ("get 'a b' --via 3", key("a b", KeyAct::Get, Some(3))),
        ("delete k", key("k", KeyAct::Delete, None)),
        ("del k", key("k", KeyAct::Delete, None)),
        ("owner k --via 3", key("k", KeyAct::Owner, Some(3))),
        ("messages 8", Verb::Messages(NodeName::numbered(8))),
        ("get-messages node8", Verb::Messages(NodeName::numbered(8))),
    ];
    for (line, wanted) in table {
        assert_eq!(verb(line), wanted, "{line}");
    }
}

#[test]
fn what_is_about_the_dashboard() {
    assert_eq!(read("help"), Ok(Request::Help));
    assert_eq!(read("quit"), Ok(Request::Quit));
    assert_eq!(read("stop-network"), Ok(Request::StopNetwork { keep_data: false }));
    assert_eq!(read("down"), Ok(Request::StopNetwork { keep_data: false }));
    assert_eq!(read("stop-network --keep-data"), Ok(Request::StopNetwork { keep_data: true }));
}

#[test]
fn a_wrong_word_is_pointed_at() {
    let table = [
        ("kil 7", 0..3, "did you mean `kill`?"),
        ("frobnicate", 0..10, "no verb `frobnicate`"),
        ("", 0..0, "here goes a verb"),
        ("kill", 4..4, "here goes nodes"),
        ("kill !!", 5..7, "!!"),
        ("kill 7 --signal HUP", 16..19, "no signal"),
        ("kill 7 --signal", 15..15, "KILL or TERM"),
        ("kill 7 --force", 7..14, "--force"),
        ("add", 3..3, "how many"),
        ("add five", 4..8, "no number"),
        ("add 0", 4..5, "1 to 1000"),
        ("add 99999999999999999999", 4..24, "1 to 1000"),
        ("add 5 6", 6..7, "nothing is expected"),
        ("send 4", 6..6, "what to say"),
        ("send 4 \"\"", 7..9, "nothing to say"),
        ("send 4 \"hi", 7..10, "not closed"),
        ("send 4 \"hi\" you", 12..15, "nothing is expected"),
        ("send 4 hi to !", 13..14, "no node"),
        ("messages", 8..8, "a node"),
        ("messages 1 2", 11..12, "nothing is expected"),
        ("put", 3..3, "a key"),
        ("put k", 5..5, "a value"),
        ("put k --via 7", 13..13, "a value"),
        ("put k v --via", 13..13, "the node"),
        ("put k v --via !", 14..15, "no node"),
        ("put k v --via=!", 8..15, "no node"),
        ("put \"\" v", 4..6, "at least one"),
        ("put k \"v", 6..8, "not closed"),
        ("get", 3..3, "a key"),
        ("get a b", 6..7, "quotes"),
        ("owner --via 7", 13..13, "a key"),
        ("stop-network now", 13..16, "nothing is expected"),
        ("quit now", 5..8, "nothing is expected"),
    ];
    for (line, at, says) in table {
        let error = read(line).unwrap_err();
        assert_eq!(error.at, at, "{line}: {}", error.text);
        assert!(error.text.contains(says), "{line}: {}", error.text);
    }
}

#[test]
fn a_message_has_a_size() {
    let line = format!("send 4 \"{}\"", "x".repeat(TEXT_MAX_BYTES + 1));
    assert!(read(&line).unwrap_err().text.contains("8192"));
}

#[test]
fn any_line_is_read_or_refused() {
    proptest::proptest!(|(line in "\\PC{0,60}")| { let _ = read(&line); });
}
