//! foca beside ours: the same wire, the same seeds, the same schedules. What was chosen in its favour is in
//! `tests/sim/rival.rs`.

use std::time::Instant;

use serde_json::json;

use crate::{
    Options,
    figure::{print, quantile, spread},
    overload::{self, Harm},
    rival::{Preset, Rival},
    schedule::{Step, World},
};

const IDLE_S: u64 = 60;
/// How late the overloaded member is, milliseconds: the schedule that was asked for first, then worse ones.
const LATE_MS: [(u64, u64); 5] = [(500, 3_000), (2_000, 6_000), (3_000, 9_000), (5_000, 12_000), (8_000, 16_000)];

/// Prints `detection` and `idle` of foca, and `overload` of both.
pub(crate) fn measure(options: &Options) {
    for kills in [1, 10] {
        detection(options, kills);
    }
    idle(options);
    for late_ms in LATE_MS {
        for socket_first in [false, true] {
            one_overloaded(options, late_ms, socket_first);
        }
    }
}

fn settled(options: &Options, seed: u64, preset: Preset) -> Rival {
    let mut rival = Rival::new(seed, options.nodes, preset);
    rival.wire.conditions.latency_us = options.latency_us_min..=options.latency_us_max;
    rival.start_many(options.nodes, 20 * options.nodes as u64);
    assert!(rival.run_until_all_agree(300_000).is_some(), "foca's nodes find one another");
    rival.run_for(30_000);
    rival
}

fn detection(options: &Options, kills: usize) {
    let began = Instant::now();
    let (mut all, mut first, mut median, mut last) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for seed in 1..=options.seeds {
        let mut rival = settled(options, seed, Preset::Lan);
        let since = rival.now();
        let victims: Vec<_> = rival.running().into_iter().skip(1).step_by(7).take(kills).collect();
        for victim in &victims {
            rival.take(&Step::Kill(*victim));
        }
        assert!(rival.run_until_all_agree(120_000).is_some(), "foca's survivors agree");
        let mut times: Vec<u64> = victims.iter().flat_map(|victim| rival.detection(*victim, since)).collect();
        times.sort_unstable();
        first.push(times[0]);
        median.push(quantile(&times, 0.5));
        last.push(times[times.len() - 1]);
        all.extend(times);
    }
    print(json!({
        "figure": "detection", "series": "foca", "unit": "ms", "nodes": options.nodes, "kills": kills,
        "survivors": spread(all), "first": spread(first), "median": spread(median), "last": spread(last),
        "wall_s": began.elapsed().as_secs_f64(),
    }));
}

fn idle(options: &Options) {
    let mut bytes = Vec::new();
    for seed in 1..=options.seeds {
        let mut rival = settled(options, seed, Preset::Lan);
        rival.bytes_sent = 0;
        rival.run_for(IDLE_S * 1_000);
        bytes.push(rival.bytes_sent / IDLE_S / options.nodes as u64);
    }
    print(json!({
        "figure": "idle", "series": "foca", "unit": "B/s per node", "nodes": options.nodes, "udp_payload": spread(bytes),
    }));
}

/// Sums over the seeds of what one overloaded member does in a minute.
fn one_overloaded(options: &Options, late_ms: (u64, u64), socket_first: bool) {
    let mut sums = [Harm::default(); 3];
    for seed in 1..=options.seeds {
        let mut network = options.settled_with_care(seed, options.nodes);
        network.socket_first = socket_first;
        let [lan, simple] = [Preset::Lan, Preset::Simple].map(|preset| {
            let mut rival = settled(options, seed, preset);
            rival.socket_first = socket_first;
            overload::focas(&mut rival, late_ms)
        });
        let harms = [overload::ours(&mut network, late_ms), lan, simple];
        for (sum, harm) in sums.iter_mut().zip(harms) {
            sum.accusations += harm.accusations;
            sum.healthy_deaths += harm.healthy_deaths;
            sum.deaths += harm.deaths;
        }
    }
    for (series, sum) in ["ours", "foca", "foca simple"].into_iter().zip(sums) {
        print(json!({
            "figure": "overload", "series": series, "nodes": options.nodes, "late_ms": [late_ms.0, late_ms.1],
            "for_s": overload::FOR_MS / 1_000, "runs": options.seeds,
            "after_a_stall": if socket_first { "socket first" } else { "timers first" },
            "false_accusations": sum.accusations, "false_deaths": sum.deaths,
            "false_deaths_of_healthy_members": sum.healthy_deaths,
        }));
    }
}
