use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use p2pnet_shared::NetworkName;

use super::{
    super::engine::{Action, Found, Held},
    *,
};
use crate::cluster::{Push, Settings};

/// An engine with one node, that can be switched off and tells what it is told to tell.
#[derive(Debug)]
struct Pretend {
    answers: AtomicBool,
    events: Mutex<Option<mpsc::UnboundedReceiver<Result<Happening, Failure>>>>,
}

fn node() -> NodeName {
    NodeName::numbered(1)
}

#[async_trait]
impl Engine for Pretend {
    fn kind(&self) -> &'static str {
        "pretend"
    }
    fn describe(&self) -> String {
        "pretend".to_owned()
    }
    async fn find(&self, _network: &NetworkName) -> Result<Option<Found>, Failure> {
        Ok(None)
    }
    async fn list(&self, _plan: &Plan) -> Result<Vec<Held>, Failure> {
        if !self.answers.load(Ordering::SeqCst) {
            return Err(Failure::new("gone"));
        }
        let unit = Unit { name: node(), role: Role::Node, state: UnitState::Up, address: None, since: None };
        Ok(vec![Held { unit, handle: String::new() }])
    }
    async fn preflight(&self, _plan: &Plan, _drafts: &[Draft]) -> Result<(), Failure> {
        Ok(())
    }
    async fn prepare(&self, _plan: &Plan, _binary: &Path) -> Result<String, Failure> {
        Ok(String::new())
    }
    async fn make_room(&self, _plan: &Plan, _nodes: u64) -> Result<(), Failure> {
        Ok(())
    }

    async fn create(&self, _plan: &Plan, _draft: &Draft) -> Result<(), Failure> {
        Ok(())
    }
    async fn act(&self, _plan: &Plan, _held: &Held, _action: Action) -> Result<(), Failure> {
        Ok(())
    }
    async fn last_words(&self, _plan: &Plan, _held: &Held) -> Option<String> {
        None
    }
    async fn release(&self, _plan: &Plan) -> Result<(), Failure> {
        Ok(())
    }
    async fn recall(&self, _plan: &Plan) -> Vec<Happening> {
        vec![happening(Some(UnitState::Up), UnixMillis(42))]
    }
    fn changes(&self, _plan: &Plan) -> BoxStream<'static, Result<Happening, Failure>> {
        let Some(events) = self.events.lock().unwrap().take() else { return futures_util::stream::pending().boxed() };
        futures_util::stream::unfold(events, |mut events| async { Some((events.recv().await?, events)) }).boxed()
    }
}

fn happening(state: Option<UnitState>, at: UnixMillis) -> Happening {
    Happening { name: node(), role: Role::Node, state, at }
}

fn watched() -> (Arc<Pretend>, mpsc::UnboundedSender<Result<Happening, Failure>>, Watcher) {
    let (tell, events) = mpsc::unbounded_channel();
    let engine = Arc::new(Pretend { answers: AtomicBool::new(true), events: Mutex::new(Some(events)) });
    let settings = Settings {
        network: "lab".parse().unwrap(),
        base_port: 8000,
        bind: [127, 0, 0, 1].into(),
        data: "/nowhere".into(),
        publish: true,
        secret: None,
        push: Push::default(),
        vnodes: None,
        egress: None,
    };
    let plan = Plan { settings, token: String::new(), program: String::new() };
    let watcher = watch(vec![engine.clone()], plan);
    (engine, tell, watcher)
}

async fn next(watcher: &mut Watcher) -> Truth {
    tokio::time::timeout(Duration::from_secs(20), watcher.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_list_comes_first_and_knows_since_when() {
    let (_engine, _tell, mut watcher) = watched();
    let Truth::Listed(units) = next(&mut watcher).await else { panic!("no list") };
    assert_eq!(units[0].since, Some(UnixMillis(42)), "remembered by the engine");
}

#[tokio::test]
async fn what_happened_before_the_list_is_not_told_again() {
    let (_engine, tell, mut watcher) = watched();
    assert!(matches!(next(&mut watcher).await, Truth::Listed(_)));
    tell.send(Ok(happening(Some(UnitState::Dead), UnixMillis(1)))).unwrap();
    let at = UnixMillis(now().0 + 1000);
    tell.send(Ok(happening(Some(UnitState::Paused), at))).unwrap();
    let Truth::Changed(unit) = next(&mut watcher).await else { panic!("no change") };
    assert_eq!((unit.state, unit.since), (UnitState::Paused, Some(at)));
    tell.send(Ok(happening(None, at))).unwrap();
    assert_eq!(next(&mut watcher).await, Truth::Removed(node()));
    tell.send(Ok(happening(Some(UnitState::Created), at))).unwrap();
    let Truth::Changed(unit) = next(&mut watcher).await else { panic!("no change") };
    assert_eq!(unit.address, Some("127.0.0.1:8001".parse().unwrap()), "known before a list has it");
}

#[tokio::test]
async fn a_lost_engine_is_told_and_a_list_follows_its_return() {
    let (engine, tell, mut watcher) = watched();
    assert!(matches!(next(&mut watcher).await, Truth::Listed(_)));
    engine.answers.store(false, Ordering::SeqCst);
    tell.send(Err(Failure::new("the stream broke"))).unwrap();
    assert_eq!(next(&mut watcher).await, Truth::EngineLost("the stream broke".to_owned()));
    engine.answers.store(true, Ordering::SeqCst);
    assert_eq!(next(&mut watcher).await, Truth::EngineBack);
    assert!(matches!(next(&mut watcher).await, Truth::Listed(_)));
}
