use p2pnet_shared::{UnixMillis, fault::Cut};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::mpsc, time::timeout};

use super::*;

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn fault(json: &str) -> Fault {
    serde_json::from_str(json).unwrap()
}

fn faults(me: &str, set: &[&str]) -> Faults {
    let faults = Faults::none(node(me));
    for json in set {
        faults.carry_out(FaultOrder::Set(fault(json)), UnixMillis(1)).unwrap();
    }
    faults
}

const CUT: &str = r#"{"cut":{"from":"1-3","to":"4-6"}}"#;
const LOSS: &str = r#"{"loss":{"percent":30}}"#;
const DELAY: &str = r#"{"delay":{"ms":100,"jitter_ms":30}}"#;

#[test]
fn the_same_fault_again_is_one_fault_and_another_loss_takes_its_place() {
    let faults = faults("node1", &[CUT, LOSS, CUT, r#"{"loss":{"percent":10}}"#]);
    let texts: Vec<String> = faults.list().iter().map(|active| active.fault.to_string()).collect();
    assert_eq!(texts, ["cut 1-3 | 4-6", "loss 10%"]);
}

#[test]
fn more_faults_than_the_limit_are_refused_and_nothing_changes() {
    let faults = faults("node1", &[]);
    for other in 0..FAULTS_MAX {
        let cut = Cut::new("1".parse().unwrap(), Some(format!("{}", other + 2).parse().unwrap()), false).unwrap();
        faults.carry_out(FaultOrder::Set(Fault::Cut(cut)), UnixMillis(1)).unwrap();
    }
    assert_eq!(faults.carry_out(FaultOrder::Set(fault(LOSS)), UnixMillis(1)), Err(FaultRefused::TooMany));
    assert_eq!(faults.count(), FAULTS_MAX);
}

#[test]
fn a_node_without_a_part_in_a_fault_says_so() {
    let faults = faults("node9", &[]);
    let refused = faults.carry_out(FaultOrder::Set(fault(CUT)), UnixMillis(1)).unwrap_err();
    assert_eq!(refused.to_string(), "this fault has no part for `node9`; send it to the nodes it names");
}

#[test]
fn whoever_is_spared_is_reached_again_and_a_fault_without_hold_is_gone() {
    let faults = faults("node1", &[CUT]);
    let cut = |peer: &str| faults.rules.borrow().cuts_out(Some(&node(peer)));
    assert!(cut("node4") && cut("node5") && !cut("node2"));
    faults.carry_out(FaultOrder::Spare("4".parse().unwrap()), UnixMillis(2)).unwrap();
    assert!(!cut("node4") && cut("node5"));
    faults.carry_out(FaultOrder::Spare("5-6".parse().unwrap()), UnixMillis(2)).unwrap();
    assert_eq!(faults.count(), 0);
}

#[test]
fn the_worst_loss_and_the_longest_delay_count() {
    let faults = faults("node1", &[LOSS, r#"{"loss":{"percent":50,"nodes":"2"}}"#, DELAY]);
    let rules = faults.rules.borrow();
    assert_eq!((rules.loss(Some(&node("node2"))), rules.loss(Some(&node("node3"))), rules.loss(None)), (50, 30, 30));
    let mut rng = StdRng::seed_from_u64(1);
    let delays: Vec<u128> = (0..200).map(|_| rules.delay(None, &mut rng).as_millis()).collect();
    assert!(delays.iter().all(|ms| (70..=130).contains(ms)), "{delays:?}");
    assert!(delays.iter().any(|ms| *ms < 80) && delays.iter().any(|ms| *ms > 120));
}

#[test]
fn on_a_stream_loss_is_delay() {
    let faults = faults("node1", &[LOSS]);
    let rules = faults.rules.borrow();
    let mut rng = StdRng::seed_from_u64(7);
    let travels: Vec<u128> = (0..2_000).map(|_| rules.travel(None, &mut rng).as_millis()).collect();
    let share = |ms: u128| travels.iter().filter(|travel| **travel == ms).count() * 100 / travels.len();
    assert!((67..=73).contains(&share(0)), "{} % at once", share(0));
    assert!((18..=24).contains(&share(200)), "{} % after one resend", share(200));
    assert!((4..=8).contains(&share(600)), "{} % after two", share(600));
}

#[test]
fn held_datagrams_come_out_when_due_and_no_more_are_held_than_the_limit() {
    let mut faults = faults("node1", &[]);
    let to: SocketAddr = "127.0.0.1:9".parse().unwrap();
    assert!(faults.hold(Millis(20), to, vec![2]) && faults.hold(Millis(10), to, vec![1]));
    assert_eq!(faults.due(Millis(9)), None);
    assert_eq!(faults.due(Millis(25)), Some((to, vec![1])));
    assert_eq!(faults.due(Millis(25)), Some((to, vec![2])));
    assert!((0..HELD_MAX).all(|_| faults.hold(Millis(1), to, Vec::new())));
    assert!(!faults.hold(Millis(1), to, Vec::new()));
}

#[tokio::test]
async fn a_delayed_link_keeps_order_and_has_many_frames_on_their_way() {
    let faults = faults("node1", &[DELAY]);
    let mut pace = Pace::new(faults.watch(), node("node2"), 64, Duration::from_secs(1));
    let (queue, mut frames) = mpsc::channel(64);
    for number in 0..32_u8 {
        queue.try_send(vec![number]).unwrap();
    }
    drop(queue);
    let (began, mut arrived) = (std::time::Instant::now(), Vec::new());
    while let Some(frame) = timeout(Duration::from_secs(20), pace.next(&mut frames)).await.unwrap() {
        arrived.push(frame[0]);
    }
    assert_eq!(arrived, (0..32).collect::<Vec<_>>());
    // One after another they would take 32 times 100 ms.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(70) && took < Duration::from_millis(1_600), "{took:?}");
}

#[tokio::test]
async fn a_cut_link_stands_still_until_it_is_healed() {
    let faults = faults("node1", &[CUT]);
    let mut pace = Pace::new(faults.watch(), node("node4"), 64, Duration::from_secs(1));
    let (queue, mut frames) = mpsc::channel(64);
    queue.try_send(vec![7]).unwrap();
    assert!(timeout(Duration::from_millis(50), pace.next(&mut frames)).await.is_err(), "nothing gets through");
    faults.carry_out(FaultOrder::Heal, UnixMillis(2)).unwrap();
    assert_eq!(timeout(Duration::from_secs(5), pace.next(&mut frames)).await.unwrap(), Some(vec![7]));
}

#[tokio::test]
async fn a_link_that_is_closed_while_it_is_cut_gives_up() {
    let faults = faults("node1", &[CUT]);
    let mut pace = Pace::new(faults.watch(), node("node4"), 64, Duration::from_millis(50));
    let (queue, mut frames) = mpsc::channel(64);
    queue.try_send(vec![7]).unwrap();
    drop(queue);
    assert_eq!(timeout(Duration::from_secs(5), pace.next(&mut frames)).await.unwrap(), None);
}
