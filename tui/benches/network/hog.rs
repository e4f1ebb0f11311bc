//! Deaths declared while every core is hogged, and while nothing happens at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    bench::Bench,
    figure::Target,
    journal::Journal,
    processes::{cores, cpu_seconds, host_ticks, node_pids, rss_mib},
    running::{Running, WARM_UP},
};

/// Looked on after the stretch, so that an accusation that began in it has run out.
const AFTERMATH: Duration = Duration::from_secs(20);

/// What a stretch came to, a value a run.
#[derive(Debug, Default)]
pub(crate) struct Stretches {
    false_deaths: Vec<f64>,
    declarations: Vec<f64>,
    suspicions: Vec<f64>,
    refutations: Vec<f64>,
    restarts: Vec<f64>,
    timer_late_ms: Vec<f64>,
    health: Vec<f64>,
}

impl Stretches {
    /// Adds a run and tells the story of each false death on standard error.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    pub(crate) fn push(&mut self, journal: &Journal) {
        eprint!("{}", journal.stories());
        self.false_deaths.push(journal.false_deaths() as f64);
        self.declarations.push(journal.declarations() as f64);
        self.suspicions.push(journal.suspicions() as f64);
        self.refutations.push(journal.refutations() as f64);
        self.restarts.push(journal.restarts() as f64);
        self.timer_late_ms.push(journal.timer_late_ms() as f64);
        self.health.push(f64::from(journal.health()));
    }

    /// Prints every figure under `name`; deaths of `whom` may not be.
    pub(crate) fn print(self, bench: &Bench, name: &str, whom: &str) {
        bench.print_against(Target::Every(0.0), &format!("{name}_false_deaths{whom}"), "members", self.false_deaths);
        bench.print(&format!("{name}_false_death_declarations{whom}"), "reports", self.declarations);
        bench.print(&format!("{name}_suspicions{whom}"), "accusations", self.suspicions);
        bench.print(&format!("{name}_refutations{whom}"), "accusations", self.refutations);
        bench.print(&format!("{name}_timer_late_max"), "ms", self.timer_late_ms);
        bench.print(&format!("{name}_health_max"), "0 to 7", self.health);
        bench.print(&format!("{name}_telemetry_restarts"), "links", self.restarts);
    }
}

/// Two busy threads a core, at the priority everything has. They end when this is dropped.
struct Hogs {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    fn start() -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let busy = |end: Arc<AtomicBool>| {
            move || {
                while !end.load(Ordering::Relaxed) {
                    std::hint::black_box((0..1_000_u64).fold(1, |a, b| a ^ b.rotate_left(7)));
                }
            }
        };
        let threads = (0..2 * cores()).map(|_| std::thread::spawn(busy(end.clone()))).collect();
        Self { end, threads }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// `hog`: every core is busy with something else for a minute.
pub(crate) fn measure(bench: &Bench) {
    let (_lab, mut running) = bench.network(bench.nodes());
    let (mut stretches, mut agreement, mut hogged) = (Stretches::default(), Vec::new(), Vec::new());
    let mut idle = Vec::new();
    let own_cpu = || cpu_seconds(std::process::id()).expect("this process is there");
    bench.block_on(async {
        running.rest(&mut (), WARM_UP).await;
        for run in 1..=bench.options.runs {
            eprintln!("hog: run {run} of {}", bench.options.runs);
            let mut journal = Journal::new(running.up());
            let (began, before, host) = (Instant::now(), own_cpu(), host_ticks());
            let hogs = Hogs::start();
            running.rest(&mut journal, bench.stretch(60)).await;
            drop(hogs);
            let after = host_ticks();
            idle.push((after.0 - host.0) / (after.1 - host.1) * 100.0);
            hogged.push((own_cpu() - before) / began.elapsed().as_secs_f64() * 100.0);
            agreement.push(agree(&mut running, &mut journal).await);
            stretches.push(&journal);
        }
    });
    stretches.print(bench, "hog", "");
    bench.print("hog_end_to_agreement", "ms", agreement);
    // That the cores were hogged is measured, not assumed: by us, or by whoever else was at work.
    bench.print("hog_cpu_taken", "percent of a core", hogged);
    bench.print("hog_host_idle", "percent of all cores", idle);
}

/// Waits for agreement, and looks on for a while; how long agreement took, milliseconds.
pub(crate) async fn agree(running: &mut Running, journal: &mut Journal) -> f64 {
    let ended = Instant::now();
    running.until_agreed(journal).await;
    let took = ended.elapsed().as_secs_f64() * 1_000.0;
    running.rest(journal, AFTERMATH).await;
    running.until_agreed(journal).await;
    took
}

/// `idle`: nothing happens for some minutes.
pub(crate) fn measure_idle(bench: &Bench) {
    let (lab, mut running) = bench.network(bench.nodes());
    let stretch = Duration::from_secs_f64(bench.options.minutes * 60.0);
    let mut stretches = Stretches::default();
    bench.block_on(running.rest(&mut (), WARM_UP));
    let pids = node_pids(&lab);
    let cpu = || pids.values().filter_map(|pid| cpu_seconds(*pid)).sum::<f64>();
    let (before, began) = (cpu(), Instant::now());
    let mut journal = Journal::new(running.up());
    bench.block_on(running.rest(&mut journal, stretch));
    let share = (cpu() - before) / began.elapsed().as_secs_f64() * 100.0;
    bench.block_on(running.until_agreed(&mut journal));
    stretches.push(&journal);
    stretches.print(bench, "idle", "");
    if pids.is_empty() {
        return;
    }
    bench.print("idle_cpu_all", "percent of a core", vec![share]);
    let nodes = pids.iter().filter(|(name, _)| *name != "gateway");
    bench.print("idle_rss_per_node", "MiB", nodes.filter_map(|(_, pid)| rss_mib(*pid)).collect());
}
