//! Two stores on 127.0.0.1 with real connections between them, and nothing else of a node.

use std::time::Duration;

use p2pnet_shared::{
    Key,
    ring::RingDigest,
    wire::dht::{Message, Packet},
};
use tokio::{io::AsyncReadExt, net::TcpListener, sync::Semaphore, task::JoinSet};

use p2pnet_shared::wire::dht::Entry;

use super::*;
use crate::{
    dht,
    runtime::{faults::Faults, hub::Owner, keys::Keys, keystore::Keystore, pool::Pool},
};

const DEADLINE: Duration = Duration::from_secs(20);

struct House {
    keys: Owner<Keys>,
    addr: SocketAddr,
    faults: Faults,
    _tasks: JoinSet<()>,
}

fn name(number: u32) -> NodeName {
    NodeName::numbered(number)
}

async fn house(number: u32, epoch: u64, change: impl FnOnce(&mut Limits)) -> House {
    let mut limits = Limits::default();
    change(&mut limits);
    let faults = Faults::none(name(number));
    let wiring = Wiring {
        kind: STORE,
        scratch: Scratch::new(),
        pool: Pool::default(),
        me: Hello { name: name(number), epoch: Epoch(epoch) },
        codec: Codec::new(&"lab".parse().unwrap(), None),
        limits: Arc::new(limits),
        counters: Arc::default(),
        faults: faults.watch(),
        clock: Clock::start(),
    };
    let state = dht::State::new(name(number), Epoch(epoch), dht::Config::default(), 1, Vec::new());
    let (keystore, ..) = Keystore::open(None, &name(number));
    let keys = Keys::new(wiring, state, keystore);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(keys.clone().drive());
    let (places, at_door) = (Arc::new(Semaphore::new(8)), keys.clone());
    tasks.spawn(async move {
        let mut greeted = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let (keys, permit) = (at_door.clone(), places.clone().try_acquire_owned().unwrap());
            greeted.spawn(async move {
                let mut preface = [0; PEER_PREFACE.len()];
                stream.read_exact(&mut preface).await.unwrap();
                assert_eq!(preface, PEER_PREFACE);
                line::greet(keys, stream, permit).await;
            });
        }
    });
    House { keys: Owner(keys), addr, faults, _tasks: tasks }
}

impl House {
    fn counters(&self) -> &Traffic {
        self.keys.wiring().traffic()
    }

    /// Sends some packets to `peer`, answers to nothing that was asked, so that there is no answer to them; says how many
    /// were taken.
    fn send(&self, peer: u32, count: u64, key: &Key) -> usize {
        let entry = Some(Entry { key: key.clone(), versions: Vec::new() });
        let held = |call| Message::Held { call, entry: entry.clone(), sure: false, ring: RingDigest(0) };
        let packet = |call| Packet { clock: 1, message: held(call) };
        (0..count).filter(|call| self.keys.send_now(&name(peer), &packet(*call))).count()
    }
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(waiting, what).await;
}

async fn timeout(waiting: impl Future<Output = ()>, what: &str) {
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "not in time: {what}");
}

fn key(length: usize) -> Key {
    "k".repeat(length).parse().unwrap()
}

/// Node 1 and node 2, who know of one another.
async fn pair(change: impl Fn(&mut Limits)) -> (House, House) {
    let (one, two) = (house(1, 5, &change).await, house(2, 7, &change).await);
    one.keys.member_up(&name(2), two.addr, Epoch(7));
    two.keys.member_up(&name(1), one.addr, Epoch(5));
    (one, two)
}

#[tokio::test]
async fn many_packets_both_ways_share_one_connection() {
    let (one, two) = pair(|_| ()).await;
    assert_eq!(one.send(2, 500, &key(1_000)), 500);
    until("they arrive", || two.counters().packets_in.get() == 500).await;
    assert_eq!(two.send(1, 300, &key(7)), 300);
    until("the answers arrive", || one.counters().packets_in.get() == 300).await;
    assert_eq!((one.keys.connections(), two.keys.connections()), (1, 1));
    assert_eq!((one.counters().dialled.get(), two.counters().dialled.get()), (1, 0));
}

#[tokio::test]
async fn dials_that_cross_do_no_harm() {
    let (one, two) = pair(|_| ()).await;
    assert_eq!((one.send(2, 9, &key(1)), two.send(1, 9, &key(1))), (9, 9));
    until("all arrive", || one.counters().packets_in.get() == 9 && two.counters().packets_in.get() == 9).await;
    assert!(one.keys.connections() <= 2);
}

#[tokio::test]
async fn who_is_unknown_or_not_there_is_not_reached() {
    let (one, two) = pair(|_| ()).await;
    assert_eq!(one.send(9, 1, &key(1)), 0, "nobody knows where");
    drop(two);
    one.send(2, 1, &key(1));
    until("the dial fails", || one.counters().failed.get() == 1).await;
    assert_eq!(one.keys.unreachable(), [name(2)]);
}

#[tokio::test]
async fn an_idle_connection_ends_with_a_goodbye_that_alarms_nobody() {
    let (one, two) = pair(|limits| limits.peer_idle = Duration::from_millis(100)).await;
    one.send(2, 1, &key(1));
    until("it is up", || two.counters().packets_in.get() == 1).await;
    until("it ends", || one.keys.is_unconnected() && two.keys.is_unconnected()).await;
    assert!(one.keys.unreachable().is_empty() && two.keys.unreachable().is_empty());
    one.send(2, 1, &key(1));
    until("another is dialled", || two.counters().packets_in.get() == 2).await;
}

#[tokio::test]
async fn a_connection_that_breaks_is_told() {
    let (one, two) = pair(|_| ()).await;
    one.send(2, 1, &key(1));
    until("it is up", || two.counters().packets_in.get() == 1).await;
    drop(two);
    until("the end is noticed", || one.keys.is_unconnected()).await;
    assert_eq!(one.keys.unreachable(), [name(2)]);
}

#[tokio::test]
async fn an_earlier_life_is_dead() {
    let (one, two) = pair(|_| ()).await;
    // One knows of a later life of two than the one that answers there, and than the one that dials.
    one.keys.member_up(&name(2), two.addr, Epoch(8));
    one.send(2, 1, &key(1));
    until("the dial fails", || one.counters().failed.get() == 1).await;
    two.send(1, 1, &key(1));
    until("the other is refused", || one.counters().refused.get() == 1).await;
    assert_eq!(one.counters().packets_in.get() + two.counters().packets_in.get(), 0);
}

#[tokio::test]
async fn a_later_life_ends_the_connections_to_the_earlier() {
    let (one, two) = pair(|_| ()).await;
    one.send(2, 1, &key(1));
    until("it is up", || two.counters().packets_in.get() == 1).await;
    one.keys.member_up(&name(2), two.addr, Epoch(9));
    assert!(one.keys.is_unconnected());
    assert_eq!(one.keys.unreachable(), [name(2)]);
}

#[tokio::test]
async fn a_queue_that_is_full_closes_its_connection() {
    let (one, _two) = pair(|limits| limits.peer_queue_bytes = 10_000).await;
    assert_eq!(one.send(2, 9, &key(1_000)), 9);
    assert_eq!(one.send(2, 1, &key(1_000)), 0, "no room for a tenth");
    assert_eq!(one.counters().overflowed.get(), 1);
    assert_eq!(one.send(2, 1, &key(1_000)), 1, "there is a new one");
}

#[tokio::test]
async fn a_cut_holds_packets_back_until_it_is_healed() {
    let (mut one, two) = pair(|_| ()).await;
    one.send(2, 1, &key(1));
    until("it is up", || two.counters().packets_in.get() == 1).await;
    let cut: p2pnet_shared::fault::Fault = serde_json::from_str(r#"{"cut":{"from":"1","to":"2"}}"#).unwrap();
    one.faults.obey(cut);
    one.send(2, 5, &key(1));
    // The other way is cut as well, but only here: what arrives is not read.
    two.send(1, 5, &key(1));
    let later = tokio::time::timeout(Duration::from_millis(300), async {
        until("never", || two.counters().packets_in.get() > 1 || one.counters().packets_in.get() > 0).await;
    });
    assert!(later.await.is_err(), "something came through");
    one.faults.heal();
    until("all arrive", || two.counters().packets_in.get() == 6 && one.counters().packets_in.get() == 5).await;
    assert!(one.keys.unreachable().is_empty() && two.keys.unreachable().is_empty());
}
