//! A cluster of Serf agents on loopback: one process and one address an agent, and what their logs say.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rand::RngExt;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    processes::{cpu_seconds, rss_mib},
    survivors::Spread,
};

/// For all agents to meet, all survivors to know, all agents to hear of an event. Seen here: 56 s for the first.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is looked whether something has come true; times are those of the log lines.
const LOOK: Duration = Duration::from_millis(50);

/// What one line of a log says, and when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    agent: usize,
    at: Instant,
    said: Said,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Runs,
    Joined(usize),
    Failed(usize),
    Event(String),
}

/// The agents that were started; dropping them kills them.
#[derive(Debug)]
pub(super) struct Agents {
    children: Vec<Child>,
    /// The second number of their addresses, 127.x.y.z.
    net: u8,
    lines: Arc<Mutex<Vec<Line>>>,
    last_started: Instant,
    killed: BTreeSet<usize>,
}

impl Agents {
    /// Starts `count` agents; each joins the first one and tries again every second until it has.
    pub(super) async fn start(program: &Path, count: usize) -> Self {
        let net = rand::rng().random_range(64..=250);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut agents =
            Self { children: Vec::new(), net, lines, last_started: Instant::now(), killed: BTreeSet::new() };
        agents.add(program);
        agents.until("the first agent runs", |lines| lines.iter().any(|line| line.said == Said::Runs)).await;
        for _ in 1..count {
            agents.add(program);
        }
        agents.last_started = Instant::now();
        agents
    }

    fn add(&mut self, program: &Path) {
        let agent = self.children.len();
        let mut child = Command::new(program)
            .args(["agent", "-profile=local", "-log-level=info", "-retry-interval=1s"])
            .arg(format!("-node=s{agent}"))
            .arg(format!("-bind={}:7946", self.address(agent)))
            .arg(format!("-rpc-addr={}:7373", self.address(agent)))
            .args((agent > 0).then(|| format!("-retry-join={}:7946", self.address(0))))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("serf runs");
        let mut log = BufReader::new(child.stdout.take().expect("its log is piped")).lines();
        let lines = self.lines.clone();
        // The runtime has one thread beside the main one: a single reader for all logs.
        tokio::spawn(async move {
            while let Ok(Some(text)) = log.next_line().await {
                let at = Instant::now();
                if let Some(said) = parse(&text) {
                    lines.lock().unwrap().push(Line { agent, at, said });
                }
            }
        });
        self.children.push(child);
    }

    fn address(&self, agent: usize) -> String {
        format!("127.{}.{}.{}", self.net, agent / 250, agent % 250 + 1)
    }

    /// Waits until every agent has met every other: milliseconds from the start of the last to the last meeting.
    pub(super) async fn all_met(&self) -> f64 {
        let count = self.children.len();
        let met = move |lines: &[Line]| {
            let mut known = vec![BTreeSet::new(); count];
            let mut last = None;
            for line in lines {
                if let Said::Joined(member) = line.said
                    && known[line.agent].insert(member)
                {
                    last = last.max(Some(line.at));
                }
            }
            last.filter(|_| known.iter().all(|known| known.len() == count))
        };
        let last = self.until_some("all agents have met", met).await;
        ms(self.last_started, last)
    }

    /// Processor time of all agents over `rest`, percent of a core an agent, and the memory of each, MiB.
    pub(super) async fn cost(&self, rest: Duration) -> (f64, Vec<f64>) {
        let pids: Vec<u32> = self.children.iter().filter_map(Child::id).collect();
        let cpu = || pids.iter().filter_map(|pid| cpu_seconds(*pid)).sum::<f64>();
        let (began, before) = (Instant::now(), cpu());
        tokio::time::sleep(rest).await;
        let seconds = (cpu() - before) / began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a thousand agents")]
        let percent = seconds * 100.0 / pids.len() as f64;
        (percent, pids.iter().filter_map(|pid| rss_mib(*pid)).collect())
    }

    /// Lets `origin` send a user event; milliseconds from its own log line to the last agent's.
    pub(super) async fn event(&self, program: &Path, origin: usize, name: &str) -> f64 {
        let sent = Command::new(program)
            .args(["event", "-coalesce=false"])
            .arg(format!("-rpc-addr={}:7373", self.address(origin)))
            .arg(name)
            .stdout(Stdio::null())
            .status();
        assert!(sent.await.expect("serf runs").success(), "agent {origin} did not take the event");
        let everybody: BTreeSet<usize> = self.survivors();
        let heard = move |lines: &[Line]| {
            let heard = lines.iter().filter(|line| matches!(&line.said, Said::Event(event) if event == name));
            let first = heard.clone().filter(|line| line.agent == origin).map(|line| line.at).min()?;
            let who: BTreeSet<usize> = heard.clone().map(|line| line.agent).collect();
            (who == everybody).then(|| (first, heard.map(|line| line.at).max().unwrap_or(first)))
        };
        let (first, last) = self.until_some("every agent heard of the event", heard).await;
        ms(first, last)
    }

    /// Kills `victims` at once and waits until every survivor has declared every one of them failed.
    pub(super) async fn kill(&mut self, victims: &[usize]) -> Spread {
        let began = Instant::now();
        for victim in victims {
            self.children[*victim].start_kill().expect("our own child can be killed");
        }
        self.killed.extend(victims);
        let survivors = self.survivors();
        let know = |lines: &[Line]| {
            let mut times = Vec::new();
            for survivor in &survivors {
                let mut known = None;
                for victim in victims {
                    let failed = |line: &&Line| {
                        line.agent == *survivor && line.at >= began && line.said == Said::Failed(*victim)
                    };
                    known = known.max(Some(lines.iter().find(failed)?.at));
                }
                times.push(ms(began, known?));
            }
            Some(times)
        };
        Spread::of(&self.until_some("every survivor knows", know).await)
    }

    /// Agents that nobody killed and somebody declared failed.
    pub(super) fn false_deaths(&self) -> usize {
        let lines = self.lines.lock().unwrap();
        let failed =
            lines.iter().filter_map(|line| if let Said::Failed(member) = line.said { Some(member) } else { None });
        failed.filter(|member| !self.killed.contains(member)).collect::<BTreeSet<_>>().len()
    }

    fn survivors(&self) -> BTreeSet<usize> {
        (0..self.children.len()).filter(|agent| !self.killed.contains(agent)).collect()
    }

    async fn until(&self, what: &str, holds: impl Fn(&[Line]) -> bool) {
        self.until_some(what, |lines| holds(lines).then_some(())).await;
    }

    /// Looks at the lines until they give a value.
    ///
    /// # Panics
    /// When they do not in time.
    async fn until_some<T>(&self, what: &str, find: impl Fn(&[Line]) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            // Cloned, so that readers never wait while we look.
            let lines = self.lines.lock().unwrap().clone();
            if let Some(found) = find(&lines) {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn ms(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1_000.0
}

/// What a line of an agent's log says, if it is one that matters.
fn parse(line: &str) -> Option<Said> {
    if line.contains("Serf agent running!") {
        return Some(Said::Runs);
    }
    if let Some((_, event)) = line.split_once("agent: Received event: user-event: ") {
        return Some(Said::Event(event.trim().to_owned()));
    }
    let member = |names: &str| names.split_whitespace().next()?.strip_prefix('s')?.parse().ok();
    if let Some((_, names)) = line.split_once("serf: EventMemberJoin: ") {
        return member(names).map(Said::Joined);
    }
    let (_, names) = line.split_once("serf: EventMemberFailed: ")?;
    member(names).map(Said::Failed)
}
