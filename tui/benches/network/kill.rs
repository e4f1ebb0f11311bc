//! Killed → known dead by every survivor.

use p2pnet_shared::{NodeName, UnixMillis};

use crate::{
    bench::Bench,
    figure::Target,
    processes,
    running::{Running, WARM_UP, ms_between, now},
    support::Lab,
    survivors::{Spread, Survivors},
};

/// One kill: when survivors knew, and what the engine took for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Killed {
    /// From the moment the engine was asked.
    pub(crate) from_request: Spread,
    /// From the moment the last victim's process was gone, where this host sees it.
    pub(crate) from_end: Option<Spread>,
    /// From the request to that moment, milliseconds.
    pub(crate) engine_ms: Option<f64>,
}

/// First, median and last survivor, milliseconds, a value a run.
#[derive(Debug, Default)]
pub(crate) struct Times {
    first: Vec<f64>,
    median: Vec<f64>,
    last: Vec<f64>,
    /// What of it the engine took.
    engine: Vec<f64>,
}

impl Times {
    /// Adds a run.
    pub(crate) fn push(&mut self, spread: Spread, engine_ms: Option<f64>) {
        self.first.push(spread.first);
        self.median.push(spread.median);
        self.last.push(spread.last);
        self.engine.extend(engine_ms);
    }

    /// Prints the figures under `name`.
    pub(crate) fn print(&self, bench: &Bench, name: &str) {
        bench.print(&format!("{name}_first_survivor"), "ms", self.first.clone());
        bench.print(&format!("{name}_median_survivor"), "ms", self.median.clone());
        bench.print(&format!("{name}_last_survivor"), "ms", self.last.clone());
        bench.print(&format!("{name}_engine"), "ms", self.engine.clone());
    }

    /// Prints our times over `others`, run by run, under `name`, each beside `target`.
    pub(crate) fn print_over(&self, others: &Times, bench: &Bench, name: &str, target: Target) {
        for (which, ours, theirs) in [
            ("first", &self.first, &others.first),
            ("median", &self.median, &others.median),
            ("last", &self.last, &others.last),
        ] {
            let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
            bench.print_against(target, &format!("{name}_{which}_survivor_over_serf"), "ratio", ratios);
        }
    }
}

/// Of one kill, and of ten at once.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    /// Of one.
    pub(crate) one: Times,
    /// Of ten at once.
    pub(crate) ten: Times,
}

impl Kills {
    /// Lets a new network warm up, kills one node and, once all agree again, ten at once.
    pub(crate) async fn measure(&mut self, running: &mut Running, lab: &Lab, nodes: u32) {
        running.rest(&mut (), WARM_UP).await;
        let one = kill(running, lab, &[NodeName::numbered(nodes / 2)]).await;
        self.one.push(one.from_request, one.engine_ms);
        if nodes >= 20 {
            let ten: Vec<NodeName> = (1..=10).map(NodeName::numbered).collect();
            let ten = kill(running, lab, &ten).await;
            self.ten.push(ten.from_request, ten.engine_ms);
        }
    }

    /// Prints every figure.
    pub(crate) fn print(&self, bench: &Bench) {
        self.one.print(bench, "kill_one");
        self.ten.print(bench, "kill_ten");
    }
}

/// Kills `victims` at once and waits until every survivor knows and all agree again.
pub(crate) async fn kill(running: &mut Running, lab: &Lab, victims: &[NodeName]) -> Killed {
    let mut survivors = Survivors::new(victims, running.up());
    let end = processes::watch_end(lab, victims);
    let cluster = running.cluster.clone();
    // Stamped before the engine is asked, so that times are never flattered.
    let asked_at = now();
    let killed = cluster.stop_nodes(victims, p2pnet::verb::Signal::Kill);
    running.during("the engine kills", &mut survivors, killed).await.expect("nodes can be killed");
    running.until_seeing("every survivor knows", &mut survivors, |survivors, _, _| survivors.all_know()).await;
    let ended_at: Option<UnixMillis> = end.map(|end| end.join().expect("killed processes end"));
    let killed = Killed {
        from_request: survivors.spread_from(asked_at),
        from_end: ended_at.map(|at| survivors.spread_from(at)),
        engine_ms: ended_at.map(|at| ms_between(asked_at, at)),
    };
    running.until_agreed(&mut ()).await;
    killed
}
