//! Killed → every key has three copies again; and that no key is lost and no read fails meanwhile.
//!
//! That all copies are back is taken from the nodes' own reports, which come twice a second at most; that nothing is lost
//! is not: afterwards every key is read through survivors and must have the value that was acknowledged. A reader goes
//! round and round through all keys all the while, through nodes that stay.
//!
//! ```text
//! asked to kill ──▶ first survivor declares it dead ──▶ … ──▶ every key is held three times by nodes that live
//!     └──────────── kv_repair_from_kill ────────────────────────────┘
//!                              └──── kv_repair_from_detection ──────┘
//! ```

use std::{
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use p2pnet::verb::Signal;
use p2pnet_shared::NodeName;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    copies::Copies,
    doors::Doors,
    http::Gets,
    keys::Keys,
    load::{self, Load, Outcome, Talk},
};
use crate::{
    bench::Bench,
    figure::Target,
    processes::kill_at_once,
    running::{Running, WARM_UP, ms_between, now},
    support::Lab,
    survivors::Survivors,
};

const KEYS: usize = 10_000;
/// From the first declaration of death to full replication, milliseconds.
const REPAIRED_WITHIN_MS: f64 = 15_000.0;
/// Reads a second while nodes die: every key every ten seconds, and time left for the nodes.
const READS_PER_SECOND: f64 = 1_000.0;
const READERS: usize = 8;
/// Killed one by one.
const THIRTY: usize = 30;

/// A network with keys in it.
struct Filled {
    lab: Lab,
    running: Running,
    doors: Doors,
    keys: Arc<Keys>,
    copies: Copies,
}

impl Filled {
    fn start(bench: &Bench) -> Self {
        let nodes = bench.nodes();
        let lab = bench.lab(nodes);
        let mut running = bench.start(&lab, nodes);
        let keys = Arc::new(Keys::new("repair", KEYS));
        let mut copies = Copies::of(keys.places());
        let doors = bench.block_on(async {
            let doors = Doors::direct(&lab, &running).await;
            running.rest(&mut copies, WARM_UP).await;
            let (to, filled) = (doors.clone(), keys.clone());
            let fill = tokio::task::spawn_blocking(move || to.fill(&filled, 1));
            running.during("all keys are put", &mut copies, fill).await.expect("every key is acknowledged");
            running.until_seeing("every key has its copies", &mut copies, |copies, _, _| copies.short() == 0).await;
            doors
        });
        Self { lab, running, doors, keys, copies }
    }

    /// Kills `victims` at once and waits until every key has its copies.
    async fn kill(&mut self, victims: &[NodeName], times: &mut Times) {
        let mut survivors = Survivors::new(victims, self.running.up());
        let cluster = self.running.cluster.clone();
        let asked_at = now();
        if !kill_at_once(&self.lab, victims) {
            let killed = cluster.stop_nodes(victims, Signal::Kill);
            let mut witnesses = (&mut survivors, &mut self.copies);
            self.running.during("the engine kills", &mut witnesses, killed).await.expect("nodes can be killed");
        }
        self.copies.bury(victims);
        let mut witnesses = (&mut survivors, &mut self.copies);
        let whole = |(survivors, copies): &(&mut Survivors, &mut Copies), _: &_, _| {
            survivors.somebody_knows() && copies.short() == 0
        };
        self.running.until_seeing("every key has its copies again", &mut witnesses, whole).await;
        let whole_at = now();
        self.running
            .until_seeing("every survivor knows", &mut witnesses, |(survivors, _), _, _| survivors.all_know())
            .await;
        let detected = survivors.spread_from(asked_at).first;
        let from_kill = ms_between(asked_at, whole_at);
        times.from_kill.push(from_kill);
        times.from_detection.push((from_kill - detected).max(0.0));
        times.detection.push(detected);
    }

    /// Reads all keys once through nodes that live: how many are not what was acknowledged.
    async fn lost(&mut self, dead: &[NodeName]) -> u64 {
        let (doors, keys) = (self.doors.without(dead), self.keys.clone());
        let read = tokio::task::spawn_blocking(move || doors.count_wrong(&keys));
        self.running.during("all keys are read", &mut self.copies, read).await.expect("it can be read")
    }

    /// Reads all keys round and round, through all but these.
    fn read_without(&self, dead: &[NodeName]) -> Reader {
        let (doors, keys, stop) = (self.doors.without(dead), self.keys.clone(), Arc::<AtomicBool>::default());
        let gets = |number| Box::new(Gets::rounds(keys.clone(), number, READERS, true)) as Box<dyn Talk>;
        let load = Load {
            talks: doors.lines(READERS, gets),
            pace: Some(READS_PER_SECOND),
            warm_up: Duration::ZERO,
            stretch: None,
            stop: stop.clone(),
        };
        Reader { thread: std::thread::spawn(move || load::run(load)), stop }
    }
}

/// Reads in the background.
struct Reader {
    thread: JoinHandle<Outcome>,
    stop: Arc<AtomicBool>,
}

impl Reader {
    async fn end(self, running: &mut Running, copies: &mut Copies) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join().expect("the reader ends"));
        let outcome = running.during("the reader ends", copies, ended).await.expect("the reader ends");
        for complaint in &outcome.complaints {
            eprintln!("kv: {complaint}");
        }
        outcome
    }
}

/// Milliseconds, a value a kill.
#[derive(Debug, Default)]
struct Times {
    from_kill: Vec<f64>,
    from_detection: Vec<f64>,
    detection: Vec<f64>,
}

impl Times {
    fn print(self, bench: &Bench, name: &str) {
        bench.print(&format!("{name}_from_kill"), "ms", self.from_kill);
        bench.print(&format!("{name}_detection"), "ms", self.detection);
        let target = Target::Median(REPAIRED_WITHIN_MS);
        bench.print_against(target, &format!("{name}_from_detection"), "ms", self.from_detection);
    }
}

/// What may never happen, and how long reads took while it did not; a value a stretch.
#[derive(Debug, Default)]
struct Damage {
    lost: Vec<f64>,
    failed: Vec<f64>,
    reads: Vec<f64>,
    p99_ms: Vec<f64>,
    longest_ms: Vec<f64>,
}

impl Damage {
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    fn push(&mut self, lost: u64, read: &Outcome) {
        self.lost.push(lost as f64);
        self.failed.push(read.wrong as f64);
        self.reads.push(read.right() as f64);
        self.p99_ms.push(read.percentile(99.0));
        self.longest_ms.push(read.percentile(100.0));
    }

    fn print(self, bench: &Bench, name: &str) {
        bench.print_against(Target::Every(0.0), &format!("{name}_keys_lost"), "keys", self.lost);
        bench.print_against(Target::Every(0.0), &format!("{name}_reads_failed"), "answers", self.failed);
        bench.print(&format!("{name}_reads"), "answers", self.reads);
        bench.print(&format!("{name}_read_p99"), "ms", self.p99_ms);
        bench.print(&format!("{name}_read_longest"), "ms", self.longest_ms);
    }
}

/// `repair`: one killed, as often as there are runs; then as often the two that have the most keys in common, at once.
pub(crate) fn measure(bench: &Bench) {
    let mut filled = Filled::start(bench);
    let (mut one, mut two, mut damage_one, mut damage_two) =
        (Times::default(), Times::default(), Damage::default(), Damage::default());
    let mut dead = Vec::new();
    bench.block_on(async {
        for run in 1..=bench.options.runs {
            eprintln!("kv repair: run {run} of {}", bench.options.runs);
            let victim = NodeName::numbered(run * bench.nodes() / (bench.options.runs + 1));
            if !dead.contains(&victim) {
                filled.round(vec![victim], &mut dead, &mut one, &mut damage_one).await;
            }
            let pair = filled.copies.closest_pair().expect("there are keys");
            filled.round(pair.to_vec(), &mut dead, &mut two, &mut damage_two).await;
        }
    });
    one.print(bench, "kv_repair_one");
    damage_one.print(bench, "kv_repair_one");
    two.print(bench, "kv_repair_two");
    damage_two.print(bench, "kv_repair_two");
}

impl Filled {
    /// Kills, waits for the repair, and reads all the while and afterwards.
    async fn round(
        &mut self,
        victims: Vec<NodeName>,
        dead: &mut Vec<NodeName>,
        times: &mut Times,
        damage: &mut Damage,
    ) {
        dead.extend(victims.iter().cloned());
        let reader = self.read_without(dead);
        self.kill(&victims, times).await;
        let read = reader.end(&mut self.running, &mut self.copies).await;
        damage.push(self.lost(dead).await, &read);
    }
}

/// `thirty`: killed one by one, each as soon as every key has its copies again.
pub(crate) fn measure_thirty(bench: &Bench) {
    let mut filled = Filled::start(bench);
    let mut victims: Vec<NodeName> = (1..=bench.nodes()).map(NodeName::numbered).collect();
    victims.shuffle(&mut StdRng::seed_from_u64(7));
    victims.truncate(THIRTY.min(victims.len() / 3));
    let (mut times, mut damage) = (Times::default(), Damage::default());
    bench.block_on(async {
        let reader = filled.read_without(&victims);
        for (number, victim) in victims.iter().enumerate() {
            eprintln!("kv thirty: {} of {}", number + 1, victims.len());
            filled.kill(std::slice::from_ref(victim), &mut times).await;
        }
        let read = reader.end(&mut filled.running, &mut filled.copies).await;
        let lost = filled.lost(&victims).await;
        damage.push(lost, &read);
    });
    times.print(bench, "kv_thirty");
    damage.print(bench, "kv_thirty");
}
