//! One overloaded member in a hundred, for a minute: whom do the others, and it, take for dead? Ours and foca's.

use crate::{
    network::Network,
    rival::Rival,
    schedule::{Fault, play, steps},
    wire::NodeId,
};

/// Who is overloaded.
pub(crate) const OVERLOADED: NodeId = 7;
/// For how long, milliseconds.
pub(crate) const FOR_MS: u64 = 60_000;

/// What came of it, each observer's announcements counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Harm {
    /// Members of whom some node said that they do not answer.
    pub(crate) accusations: u64,
    /// Deaths announced of members that ran well.
    pub(crate) healthy_deaths: u64,
    /// Deaths announced of members that ran, the overloaded one included.
    pub(crate) deaths: u64,
}

fn schedule(late_ms: (u64, u64)) -> Vec<(u64, Fault)> {
    vec![(0, Fault::Stall { nodes: vec![OVERLOADED], late_ms, for_ms: FOR_MS })]
}

/// To ours, when its timers and datagrams are late by so many milliseconds again and again.
pub(crate) fn ours(network: &mut Network, late_ms: (u64, u64)) -> Harm {
    let (since, accused) = (network.now(), network.watcher.trace.accusations());
    let end = play(network, &steps(&schedule(late_ms), since, network.nodes.len()));
    network.run_to(end.max(since + FOR_MS) + 1_000);
    let deaths = network.watcher.deaths.iter().filter(|death| death.at >= since && death.existed);
    let healthy = deaths.clone().filter(|death| death.member != OVERLOADED).count();
    Harm {
        accusations: network.watcher.trace.accusations() - accused,
        healthy_deaths: healthy as u64,
        deaths: deaths.count() as u64,
    }
}

/// To foca's, the same.
pub(crate) fn focas(rival: &mut Rival, late_ms: (u64, u64)) -> Harm {
    use crate::schedule::World;
    let (since, accused) = (rival.now(), rival.accusations);
    let end = play(rival, &steps(&schedule(late_ms), since, rival.running().len()));
    rival.run_to(end.max(since + FOR_MS) + 1_000);
    let deaths = rival.deaths.iter().filter(|death| death.at >= since && death.existed);
    let healthy = deaths.clone().filter(|death| death.member != OVERLOADED).count();
    Harm { accusations: rival.accusations - accused, healthy_deaths: healthy as u64, deaths: deaths.count() as u64 }
}
