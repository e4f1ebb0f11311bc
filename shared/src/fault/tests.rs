use super::*;

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn nodes(text: &str) -> NodeSet {
    text.parse().unwrap()
}

fn cut(from: &str, to: Option<&str>, one_way: bool) -> Fault {
    Fault::Cut(Cut::new(nodes(from), to.map(nodes), one_way).unwrap())
}

fn parsed(json: &str) -> Result<Fault, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn a_set_of_nodes_is_as_short_as_what_one_types() {
    let many: NodeSet = (1..=50).rev().map(NodeName::numbered).chain([NodeName::bootstrap()]).collect();
    assert_eq!((many.to_string().as_str(), many.len()), ("bootstrap 1-50", 51));
    for (given, printed) in [("", ""), ("3,1 2", "1-3"), ("node7", "7"), ("1-3 5-6 4", "1-6"), ("x-1 b 9", "b x-1 9")] {
        assert_eq!(nodes(given).to_string(), printed, "{given}");
        assert_eq!(nodes(printed), nodes(given));
    }
    for bad in ["3-1", "99999999", "-1", "a/b", &"1 ".repeat(NODES_TEXT_MAX_BYTES)] {
        assert!(bad.parse::<NodeSet>().is_err(), "{}", &bad[..2]);
    }
}

#[test]
fn sets_agree_with_their_members() {
    let (a, b) = (nodes("1-10 20-30 x"), nodes("5-6 9-22 x y"));
    for name in (0..40).map(NodeName::numbered).chain(["x", "y", "z", "node007", "bootstrap"].map(node)) {
        let (in_a, in_b) = (a.contains(&name), b.contains(&name));
        assert_eq!(a.common(&b).contains(&name), in_a && in_b, "{name}");
        assert_eq!(a.without(&b).contains(&name), in_a && !in_b, "{name}");
        assert_eq!(a.with(&b).contains(&name), in_a || in_b, "{name}");
    }
    assert!(!nodes("7").contains(&node("node007")), "another name");
    assert_eq!(nodes("1-5").without(&nodes("1-5")), NodeSet::default());
}

#[test]
fn a_cut_stops_what_goes_from_one_side_to_the_other_and_nothing_else() {
    let (a, b, c) = (node("node1"), node("node2"), node("node3"));
    let both = cut("1", Some("2"), false);
    assert!(both.cuts(Some(&a), Some(&b)) && both.cuts(Some(&b), Some(&a)));
    assert!(!both.cuts(Some(&a), Some(&c)) && !both.cuts(Some(&c), Some(&b)) && !both.cuts(Some(&a), None));
    let one_way = cut("1", Some("2"), true);
    assert!(one_way.cuts(Some(&a), Some(&b)) && !one_way.cuts(Some(&b), Some(&a)));
    assert!(both.concerns(&a) && both.concerns(&b) && !both.concerns(&c));
}

#[test]
fn a_cut_from_everybody_else_includes_whoever_has_no_name_yet() {
    let (a, b, c) = (node("node1"), node("node2"), node("node99"));
    let rest = cut("1-2", None, false);
    assert!(rest.cuts(Some(&a), Some(&c)) && rest.cuts(Some(&c), Some(&b)) && !rest.cuts(Some(&a), Some(&b)));
    assert!(rest.cuts(Some(&a), None) && rest.cuts(None, Some(&a)) && !rest.cuts(Some(&c), None));
    assert!(rest.concerns(&a) && rest.concerns(&c));
}

#[test]
fn loss_and_delay_are_at_whoever_sends_or_receives() {
    let (a, b, c) = (node("node1"), node("node2"), node("node3"));
    let loss = parsed(r#"{"loss":{"percent":30,"nodes":"1"}}"#).unwrap();
    let all = parsed(r#"{"loss":{"percent":30}}"#).unwrap();
    assert_eq!((loss.loss(&a, Some(&b)), loss.loss(&b, Some(&a)), loss.loss(&b, Some(&c))), (30, 30, 0));
    assert_eq!((loss.loss(&b, None), all.loss(&b, None)), (0, 30));
    let delay = parsed(r#"{"delay":{"ms":100,"jitter_ms":30,"nodes":"1"}}"#).unwrap();
    assert_eq!((delay.delay(&b, Some(&a)), delay.delay(&b, Some(&c))), ((100, 30), (0, 0)));
}

#[test]
fn faults_print_as_one_types_them() {
    for (json, long, short) in [
        (r#"{"cut":{"from":"1-50","to":"51-100"}}"#, "cut 1-50 | 51-100", "cut 50|50"),
        (r#"{"cut":{"from":"7","to":null,"one_way":true}}"#, "cut 7 oneway", "cut 1>rest"),
        (r#"{"loss":{"percent":30}}"#, "loss 30%", "loss 30%"),
        (r#"{"loss":{"percent":5,"nodes":"1-9"}}"#, "loss 5% 1-9", "loss 5% at 9"),
        (r#"{"delay":{"ms":100,"jitter_ms":30}}"#, "delay 100±30ms", "delay 100±30ms"),
        (r#"{"delay":{"ms":100,"nodes":"3"}}"#, "delay 100ms 3", "delay 100ms at 1"),
    ] {
        let fault = parsed(json).unwrap();
        assert_eq!((fault.to_string().as_str(), fault.short().as_str()), (long, short));
    }
}

#[test]
fn the_decoder_enforces_the_limits() {
    for (json, says) in [
        (r#"{"loss":{"percent":0}}"#, "from 1 to 100"),
        (r#"{"loss":{"percent":101}}"#, "from 1 to 100"),
        (r#"{"loss":{"percent":-1}}"#, "invalid value"),
        (r#"{"loss":{"percent":30,"node":"1"}}"#, "unknown field `node`"),
        (r#"{"delay":{"ms":60001}}"#, "at most 60000 ms"),
        (r#"{"cut":{"from":"1-5","to":"5-9"}}"#, "share `5`"),
        (r#"{"cut":{"from":""}}"#, "is empty"),
        (r#"{"cut":{"from":"5-1"}}"#, "runs backwards"),
        (r#"{"rain":{}}"#, "unknown variant `rain`"),
    ] {
        let error = parsed(json).unwrap_err();
        assert!(error.contains(says), "{json}: {error}");
    }
}

#[test]
fn a_fault_goes_through_a_frame() {
    let codec = crate::wire::Codec::new(&"lab".parse().unwrap(), None);
    for fault in
        [cut("1-5", None, true), cut("1", Some("bootstrap"), false), parsed(r#"{"loss":{"percent":1}}"#).unwrap()]
    {
        let active = ActiveFault { fault, since: UnixMillis(5), spared: nodes("3") };
        assert_eq!(codec.decode::<ActiveFault>(&codec.encode(&active)).unwrap(), active);
    }
}

#[test]
fn a_fault_has_no_hold_on_a_node_once_everybody_beyond_it_is_spared() {
    let (one, four) = (node("node1"), node("node4"));
    let whole = cut("1-3", Some("4-6"), false);
    assert!(whole.has_hold_on(&four, &nodes("1-2")) && !whole.has_hold_on(&four, &nodes("1-3")));
    assert!(whole.has_hold_on(&one, &nodes("1-3")) && !whole.has_hold_on(&one, &nodes("4-9")));
    assert!(!whole.has_hold_on(&node("node7"), &nodes("")), "never had a part in it");
    let rest = cut("1-3", None, false);
    assert!(rest.has_hold_on(&one, &nodes("4-9")) && !rest.has_hold_on(&four, &nodes("1-3")));
    let loss = parsed(r#"{"loss":{"percent":5,"nodes":"1-2"}}"#).unwrap();
    assert!(loss.has_hold_on(&one, &nodes("1-2")) && !loss.has_hold_on(&four, &nodes("1-2")));
}

#[test]
fn the_same_kind_on_the_same_nodes_takes_the_place() {
    let loss = |percent: u8| parsed(&format!(r#"{{"loss":{{"percent":{percent}}}}}"#)).unwrap();
    assert!(loss(10).replaces(&loss(30)));
    assert!(!loss(10).replaces(&parsed(r#"{"loss":{"percent":10,"nodes":"1"}}"#).unwrap()));
    assert!(!cut("1", Some("2"), false).replaces(&cut("1", Some("3"), false)));
}
