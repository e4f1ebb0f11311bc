//! Serf, the membership tool people know, beside p2pnet: as many agents on the same machine, the same kills.
//!
//! In each round a p2pnet network is started, measured and removed, then a Serf cluster with as many members (profile
//! `local`, its fastest), because both at once would disturb one another. What is compared:
//!
//! ```text
//!            p2pnet                                            Serf
//! kill       before the engine is asked to kill containers     before the first SIGKILL
//! knows      the survivor's own stamp of the death             `EventMemberFailed` read from the agent's log
//! message    the origin's own stamp → the last node's          the origin's own log line → the last agent's
//! ```
//! Serf's log has whole seconds only, so a line is stamped when it is read, by one reader for all agents. The pipe adds a
//! millisecond or two to Serf's times; the engine's share (`kill_one_engine`) adds more to ours and is left in.

mod agents;

use std::time::Duration;

use agents::Agents;

use crate::{
    bench::Bench,
    debian,
    figure::Target,
    kill::{Kills, Times},
    running::WARM_UP,
};

/// Ours over Serf's, of first, median and last survivor.
const AT_MOST: Target = Target::Median(0.5);
/// How long a cluster is left alone between one kill and ten; ours is as soon as all agree.
const BETWEEN: Duration = Duration::from_secs(10);
/// How long its cost at rest is looked at.
const REST: Duration = Duration::from_secs(20);
/// Events sent in each round.
const EVENTS: usize = 5;

/// What Serf took, a value a round, an event or an agent.
#[derive(Debug, Default)]
struct Serf {
    one: Times,
    ten: Times,
    met_ms: Vec<f64>,
    events_ms: Vec<f64>,
    false_deaths: Vec<f64>,
    cpu_percent: Vec<f64>,
    rss_mib: Vec<f64>,
}

/// `serf`: rounds of ours and Serf's in turn.
pub(crate) fn measure(bench: &Bench) {
    let program = match debian::find("serf", "serf", "serf.io") {
        Ok(program) => program,
        Err(why) => {
            eprintln!("{why}");
            std::process::exit(1);
        }
    };
    let nodes = bench.nodes();
    let (mut ours, mut serf) = (Kills::default(), Serf::default());
    for run in 1..=bench.options.runs {
        eprintln!("serf: run {run} of {}, p2pnet", bench.options.runs);
        let (lab, mut running) = bench.network(nodes);
        bench.block_on(ours.measure(&mut running, &lab, nodes));
        drop(running);
        drop(lab);
        eprintln!("serf: run {run} of {}, Serf", bench.options.runs);
        // The bootstrap is a member like any other.
        bench.block_on(serf.round(&program, nodes as usize + 1));
    }
    ours.print(bench);
    serf.one.print(bench, "serf_kill_one");
    serf.ten.print(bench, "serf_kill_ten");
    ours.one.print_over(&serf.one, bench, "kill_one", AT_MOST);
    ours.ten.print_over(&serf.ten, bench, "kill_ten", AT_MOST);
    bench.print("serf_start_to_all_met", "ms", serf.met_ms);
    bench.print("serf_event_to_last_agent", "ms", serf.events_ms);
    bench.print("serf_false_deaths", "members", serf.false_deaths);
    bench.print("serf_cpu_per_agent_at_rest", "percent of a core", serf.cpu_percent);
    bench.print("serf_rss_per_agent_at_rest", "MiB", serf.rss_mib);
}

impl Serf {
    /// Starts `count` agents, lets them meet, and measures what there is to measure.
    async fn round(&mut self, program: &std::path::Path, count: usize) {
        let mut agents = Agents::start(program, count).await;
        self.met_ms.push(agents.all_met().await);
        tokio::time::sleep(WARM_UP).await;
        let (cpu, rss) = agents.cost(REST).await;
        self.cpu_percent.push(cpu);
        self.rss_mib.extend(rss);
        for number in 0..EVENTS {
            let origin = number * count / EVENTS;
            self.events_ms.push(agents.event(program, origin, &format!("apple{number}")).await);
        }
        self.one.push(agents.kill(&[count / 2]).await, None);
        if count > 20 {
            tokio::time::sleep(BETWEEN).await;
            let ten: Vec<usize> = (1..=10).collect();
            self.ten.push(agents.kill(&ten).await, None);
        }
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        self.false_deaths.push(agents.false_deaths() as f64);
    }
}
