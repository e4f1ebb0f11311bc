//! The store on trial, as users see it: clients put, get and delete through nodes at random while nodes are killed, frozen,
//! restarted and cut off, and the ledger judges what they were told.
//!
//! ```text
//! clients ──requests──▶ nodes        every request and answer, with its times ──▶ History ──▶ ledger::check
//! Trial   ──verbs─────▶ p2pnet       kill, pause, cut …; each when the last is repaired
//! ```
//! A trial is a seed and a length: as many blows as the length says, drawn from the seed. Trials run in ascending length
//! on one network, so that the first to fail is the shortest. Its seed is printed with the command that repeats it; chance
//! repeats, the machine's own timing does not.
//!
//! What is promised away while it lasts: a cut may hide the other side's writes, and after all nodes were killed at once
//! those that come first may not know what the others hold. Nothing else.

#![allow(unreachable_pub, dead_code, reason = "shared by two test programs")]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    ledger::{self, Cut, Gap, History, Kind, Op, Outcome, Time, Violation},
    support::{Lab, until},
};

/// Clients at once.
const CLIENTS: usize = 8;
/// Keys of a trial: few enough that writes meet.
const KEYS: usize = 24;
/// Longer than a node takes to say that too few copies were reached.
const PATIENCE: Duration = Duration::from_secs(6);
/// A client thinks so long between two requests, milliseconds, at most.
const THINK_MS: u64 = 80;
/// Of the trials that run unless another is asked for.
const SEED: u64 = 464;
/// The age from which on every node accuses.
const AGE: Duration = Duration::from_secs(12);
/// A write of which its user was told nothing certain may still happen for so long: a node's own deadline.
const LATENESS: Time = 4_000_000;

/// Something bad that happens to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// One is killed, and started again when the others have repaired.
    Kill,
    /// One says goodbye and comes back.
    Restart,
    /// One is frozen for a while.
    Pause,
    /// Two at once, while nobody writes, and started again when the others have repaired.
    KillTwo,
    /// Half of the nodes are cut off from the others for a while.
    Cut,
    /// All at once, in the middle of everything.
    KillAll,
}

/// Acknowledged before each blow, and after the last.
const WRITES_BETWEEN: usize = 50;
/// By then everything that nodes hold has been told.
const TOLD_WITHIN: Duration = Duration::from_millis(1_500);
/// Requests told of with what is wrong: so much before and after.
const AROUND: Time = 3_000_000;
/// How long a pause and a cut last. Meanwhile clients go on.
const FROZEN: Duration = Duration::from_secs(5);
const CUT: Duration = Duration::from_secs(12);

/// What clients and trial share.
struct Shared {
    began: Instant,
    names: Vec<String>,
    base_port: u16,
    /// Those that cannot answer, because they were killed.
    killed: Mutex<BTreeSet<String>>,
    nobody_writes: AtomicBool,
    /// Puts and deletes that are under way.
    writing: AtomicUsize,
    over: AtomicBool,
    history: Mutex<History>,
}

impl Shared {
    fn now(&self) -> Time {
        u64::try_from(self.began.elapsed().as_micros()).expect("not that long")
    }

    fn url(&self, node: usize, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", usize::from(self.base_port) + node)
    }

    /// Notes a request as it begins; its number.
    fn begin(&self, client: usize, node: usize, key: &str, kind: Kind) -> usize {
        let op = Op {
            client,
            node: self.names[node].clone(),
            key: key.to_owned(),
            kind,
            outcome: Outcome::Unknown,
            invoked: self.now(),
            completed: None,
        };
        let mut history = self.history.lock().unwrap();
        history.ops.push(op);
        history.ops.len() - 1
    }

    fn end(&self, op: usize, outcome: Option<Outcome>) {
        let now = self.now();
        if let Some(outcome) = outcome {
            let mut history = self.history.lock().unwrap();
            history.ops[op].outcome = outcome;
            history.ops[op].completed = Some(now);
        }
    }

    /// One request from its beginning to its end.
    async fn request(&self, http: &reqwest::Client, client: usize, node: usize, key: &str, kind: Kind) {
        let path = format!("/kv/{key}");
        let request = match &kind {
            Kind::Put(value) => http.post(self.url(node, "/kv")).json(&json!({"key": key, "value": value})),
            Kind::Delete => http.delete(self.url(node, &path)),
            Kind::Get => http.get(self.url(node, &path)),
        };
        let op = self.begin(client, node, key, kind.clone());
        let outcome = match request.send().await {
            Ok(answer) => {
                let status = answer.status();
                answer.json::<Value>().await.ok().map(|body| outcome(&kind, status, &body))
            }
            // Nobody listens there: it cannot have happened.
            Err(error) if error.is_connect() => Some(Outcome::Failed),
            Err(_) => None,
        };
        self.end(op, outcome);
    }
}

/// What an answer says.
///
/// # Panics
/// When no store should answer so.
fn outcome(kind: &Kind, status: StatusCode, body: &Value) -> Outcome {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text was put: {body}")).to_owned();
    match (kind, status) {
        (Kind::Get, StatusCode::OK) => match body["siblings"].as_array() {
            Some(siblings) => Outcome::Seen(siblings.iter().map(text).collect()),
            None => Outcome::Seen(vec![text(&body["value"])]),
        },
        (Kind::Get | Kind::Delete, StatusCode::NOT_FOUND) => Outcome::Missing,
        (Kind::Put(_) | Kind::Delete, StatusCode::OK) => Outcome::Acknowledged,
        (_, StatusCode::SERVICE_UNAVAILABLE) => Outcome::Unknown,
        _ => panic!("{kind:?} was answered with {status}: {body}"),
    }
}

fn is_written(op: &Op) -> bool {
    op.kind != Kind::Get && op.outcome == Outcome::Acknowledged
}

async fn client(shared: Arc<Shared>, trial: u64, number: usize) {
    let mut chance = StdRng::seed_from_u64(trial << 16 | number as u64);
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("sockets");
    let mut serial = 0;
    while !shared.over.load(Ordering::SeqCst) {
        let node = chance.random_range(0..shared.names.len());
        let key = format!("{trial}-{:02}", chance.random_range(0..KEYS));
        let kind = match chance.random_range(0..10) {
            _ if shared.nobody_writes.load(Ordering::SeqCst) => Kind::Get,
            0..=3 => {
                serial += 1;
                Kind::Put(format!("c{number}-{serial}"))
            }
            4 => Kind::Delete,
            _ => Kind::Get,
        };
        if !shared.killed.lock().unwrap().contains(&shared.names[node]) {
            let writes = usize::from(kind != Kind::Get);
            shared.writing.fetch_add(writes, Ordering::SeqCst);
            shared.request(&http, number, node, &key, kind).await;
            shared.writing.fetch_sub(writes, Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..THINK_MS))).await;
    }
}

/// One trial on a network that runs.
pub struct Trial<'a> {
    lab: &'a Lab,
    chance: StdRng,
    shared: Arc<Shared>,
    clients: Option<JoinHandle<()>>,
    seed: u64,
    repairs: Vec<Repair>,
}

/// From a kill until all copies were back.
struct Repair {
    from: Time,
    to: Time,
    victims: BTreeSet<String>,
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }
}

impl<'a> Trial<'a> {
    /// Clients begin on `lab`, which runs the bootstrap and `nodes` nodes.
    pub fn begin(lab: &'a Lab, nodes: usize, seed: u64) -> Self {
        let names = std::iter::once("bootstrap".to_owned()).chain((1..=nodes).map(|number| format!("node{number}")));
        let shared = Arc::new(Shared {
            began: Instant::now(),
            names: names.collect(),
            base_port: lab.base_port,
            killed: Mutex::default(),
            nobody_writes: AtomicBool::new(false),
            writing: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            history: Mutex::new(History { lateness: LATENESS, ..History::default() }),
        });
        let theirs = shared.clone();
        let clients = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let clients = (0..CLIENTS).map(|number| client(theirs.clone(), seed, number));
            runtime.block_on(futures_util::future::join_all(clients));
        });
        Self { lab, chance: StdRng::seed_from_u64(seed), shared, clients: Some(clients), seed, repairs: Vec::new() }
    }

    /// Nobody accuses in the first ten seconds of its life, so in a network as young as that nobody is declared dead, and a
    /// get that cannot be certain without the dead waits for them longer than its deadline. The promise is about deaths that
    /// are declared.
    fn wait_until_of_age(&self) {
        let url = self.lab.url(0, "/status");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let age = || async { reqwest::get(&url).await.ok()?.json::<Value>().await.ok()?["uptime_ms"].as_u64() };
        // Of a bootstrap that is paused or has gone nothing is asked: then the trial is older than that.
        until("the network is of age", AGE * 3, || {
            let age = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(1), age()).await });
            age.ok().flatten().is_none_or(|age| u128::from(age) >= AGE.as_millis()).then_some(())
        });
    }

    /// A blow happens, and is over when this returns.
    pub fn suffer(&mut self, blow: Blow) {
        self.wait_until_of_age();
        self.wait_for_writes();
        eprintln!("  {:>6.1} s  {blow:?}", self.shared.began.elapsed().as_secs_f64());
        match blow {
            Blow::Kill => self.kill(1),
            Blow::KillTwo => self.kill_two(),
            Blow::Restart => {
                let name = self.pick(1).remove(0);
                self.lab.ok(&["restart-node", &name]);
            }
            Blow::Pause => {
                let name = self.pick(1).remove(0);
                self.lab.ok(&["pause-node", &name]);
                std::thread::sleep(FROZEN);
                self.lab.ok(&["resume-node", &name]);
            }
            Blow::Cut => self.cut(),
            Blow::KillAll => self.kill_all(),
        }
        self.wait_until_whole();
    }

    /// Waits until all agree and every key has its copies. Nobody writes meanwhile: a key that is being written has not all
    /// of its copies, and cannot be told from one that lacks them.
    fn wait_until_whole(&self) {
        let before = self.shared.nobody_writes.swap(true, Ordering::SeqCst);
        self.lab.wait_converged();
        self.shared.nobody_writes.store(before, Ordering::SeqCst);
    }

    /// Waits until clients have written something more: a blow to idle nodes proves nothing.
    fn wait_for_writes(&self) {
        let count = || self.shared.history.lock().unwrap().ops.iter().filter(|op| is_written(op)).count();
        let enough = count() + WRITES_BETWEEN;
        until("clients have written", Duration::from_secs(30), || (count() >= enough).then_some(()));
    }

    /// Different nodes, by chance.
    fn pick(&mut self, count: usize) -> Vec<String> {
        let mut names = self.shared.names.clone();
        names.shuffle(&mut self.chance);
        names.truncate(count);
        names
    }

    /// Until the others have repaired every read through them is to be answered.
    fn kill(&mut self, count: usize) {
        let victims = self.pick(count);
        let from = self.shared.now();
        self.stop(&victims);
        if count == 1 {
            self.wait_for_writes();
        }
        self.wait_until_whole();
        self.repairs.push(Repair { from, to: self.shared.now(), victims: victims.iter().cloned().collect() });
        self.start(&victims);
    }

    fn stop(&self, victims: &[String]) {
        self.shared.killed.lock().unwrap().extend(victims.iter().cloned());
        let mut args = vec!["remove-node", "--signal", "KILL"];
        args.extend(victims.iter().map(String::as_str));
        self.lab.ok(&args);
    }

    fn start(&self, victims: &[String]) {
        let mut args = vec!["restart-node"];
        args.extend(victims.iter().map(String::as_str));
        self.lab.ok(&args);
        self.shared.killed.lock().unwrap().clear();
    }

    /// What was acknowledged a moment ago is on two disks only; so nobody writes until every key has its three copies.
    fn kill_two(&mut self) {
        self.shared.nobody_writes.store(true, Ordering::SeqCst);
        until("what was asked before is over", PATIENCE * 2, || {
            (self.shared.writing.load(Ordering::SeqCst) == 0).then_some(())
        });
        // What a node holds it tells twice a second at most, and `wait` knows no more than it is told: of a write of just now it
        // cannot say yet that copies are missing.
        std::thread::sleep(TOLD_WITHIN);
        self.wait_until_whole();
        self.kill(2);
        self.shared.nobody_writes.store(false, Ordering::SeqCst);
    }

    fn cut(&mut self) {
        let side = self.pick(self.shared.names.len() / 2);
        let others: Vec<&String> = self.shared.names.iter().filter(|name| !side.contains(*name)).collect();
        let words = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let blind_from = self.shared.now();
        self.lab.ok(&["fault", "cut", &format!("{} | {}", words(side.iter().collect()), words(others))]);
        let from = self.shared.now();
        std::thread::sleep(CUT);
        let to = self.shared.now();
        self.lab.ok(&["heal"]);
        self.wait_until_whole();
        let mut history = self.shared.history.lock().unwrap();
        history.cuts.push(Cut { side: side.into_iter().collect(), from, to });
        history.gaps.push(Gap::Blind { nodes: None, key: None, from: blind_from, to: self.shared.now() });
    }

    fn kill_all(&mut self) {
        let all = self.shared.names.clone();
        let from = self.shared.now();
        self.stop(&all);
        self.start(&all);
        self.wait_until_whole();
        let mut history = self.shared.history.lock().unwrap();
        history.gaps.push(Gap::Blind { nodes: None, key: None, from, to: self.shared.now() });
    }

    /// Clients end; when all is whole every key is read through every node. Everything that was wrong, in words.
    pub fn judge(mut self) -> Result<String, String> {
        self.wait_for_writes();
        self.shared.over.store(true, Ordering::SeqCst);
        self.clients.take().expect("they run").join().expect("clients end");
        self.lab.wait_converged();
        let calm = self.shared.now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("sockets");
            for key in 0..KEYS {
                let key = format!("{}-{key:02}", self.seed);
                let nodes = 0..self.shared.names.len();
                let gets = nodes.map(|node| self.shared.request(&http, CLIENTS, node, &key, Kind::Get));
                futures_util::future::join_all(gets).await;
            }
        });
        let history = self.shared.history.lock().unwrap();
        let mut violations = ledger::check(&history);
        violations.extend(ledger::check_end(&history, &self.shared.names, calm));
        for Repair { from, to, victims } in &self.repairs {
            let unanswered = ledger::check_answered(&history, *from, *to, |kind| *kind == Kind::Get);
            // Nobody was there to answer what went through the victims themselves.
            let through_others =
                |violation: &Violation| violation.ops.iter().all(|op| !victims.contains(&history.ops[*op].node));
            violations.extend(unanswered.into_iter().filter(through_others));
        }
        let ops = history.ops.iter().filter(|op| op.invoked < calm);
        let writes = ops.clone().filter(|op| is_written(op)).count();
        let open = ops.clone().filter(|op| op.outcome == Outcome::Unknown).count();
        let said = format!("{} requests, {writes} writes acknowledged, {open} left open", ops.count());
        if violations.is_empty() {
            return Ok(said);
        }
        if let Some(violation) = violations.iter().min_by_key(|violation| violation.ops.len()) {
            tell(&history, violation);
        }
        Err(format!("{said}; {}", ledger::summary(&violations)))
    }
}

/// What was asked of the key of a violation around the requests that show it.
fn tell(history: &History, violation: &Violation) {
    let shown: Vec<Time> = violation.ops.iter().map(|op| history.ops[*op].invoked).collect();
    let (Some(first), Some(last)) = (shown.iter().min(), shown.iter().max()) else { return };
    let around = first.saturating_sub(AROUND)..=last + AROUND;
    eprintln!("requests for `{}` around what is wrong:", violation.key);
    let ops = history.ops.iter().filter(|op| op.key == violation.key);
    ops.filter(|op| around.contains(&op.invoked) || op.completed.is_some_and(|at| around.contains(&at)))
        .for_each(|op| eprintln!("  {op}"));
}

/// Trials in ascending length on `lab`: `lengths` blows each, of `kinds`, so that every kind has its turn; the last ends
/// with all nodes killed at once.
///
/// # Panics
/// With the shortest that failed, and how to repeat it.
pub fn run(lab: &Lab, nodes: usize, test: &str, lengths: &[usize], kinds: &[Blow]) {
    let asked = std::env::var("P2PNET_SEED").ok().map(|seed| seed.parse::<u64>().expect("P2PNET_SEED is a number"));
    // The same every time unless asked: what happens then is up to real clocks all the same.
    let seed = asked.unwrap_or(SEED);
    let mut kinds = kinds.to_vec();
    kinds.shuffle(&mut StdRng::seed_from_u64(seed));
    let mut next = kinds.iter().cycle();
    for (number, length) in lengths.iter().enumerate() {
        let mut blows: Vec<Blow> = next.by_ref().take(*length).copied().collect();
        if number + 1 == lengths.len() {
            blows.push(Blow::KillAll);
        }
        eprintln!("seed {seed}, trial {number}: {blows:?}");
        let mut trial = Trial::begin(lab, nodes, seed * 100 + number as u64);
        blows.iter().for_each(|blow| trial.suffer(*blow));
        match trial.judge() {
            Ok(said) => eprintln!("seed {seed}, trial {number}: {said}, nothing wrong"),
            Err(wrong) => panic!(
                "the shortest that fails is trial {number} of seed {seed}, {blows:?}: {wrong}\nagain with: \
                 P2PNET_SEED={seed} cargo test --workspace --test {test} -- --nocapture"
            ),
        }
    }
}
