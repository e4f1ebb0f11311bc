//! What the machine is doing: processor time from `/proc/stat`, memory from `/proc/meminfo`. Elsewhere than on Linux the
//! screen shows a dash.

use std::time::Duration;

use tokio::sync::mpsc::Sender;

use crate::{message::Message, model::HostLoad};

/// Between two looks. Default 2 s: the kernel counts in hundredths, and shorter spans jump about.
const EVERY: Duration = Duration::from_secs(2);

/// Measures until nobody listens.
pub(super) async fn measure(outbox: Sender<Message>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut before: Option<(u64, u64)> = None;
    loop {
        ticks.tick().await;
        let stat = std::fs::read_to_string("/proc/stat").ok().as_deref().and_then(cpu_times);
        let memory = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(memory_bytes);
        let (Some(stat), Some((total, available))) = (stat, memory) else { return };
        if let Some(percent) = before.replace(stat).and_then(|before| busy_percent(before, stat)) {
            let load = HostLoad {
                cpu_percent: percent,
                memory_used_bytes: total.saturating_sub(available),
                memory_total_bytes: total,
            };
            if outbox.send(Message::HostMeasured(load)).await.is_err() {
                return;
            }
        }
    }
}

/// Busy and all processor time since boot, in the kernel's ticks. Guest time is counted in user time already.
fn cpu_times(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line.split_whitespace().take(8).map(|time| time.parse().ok()).collect::<Option<_>>()?;
    let idle = times.get(3)? + times.get(4)?;
    let all: u64 = times.iter().sum();
    Some((all.checked_sub(idle)?, all))
}

fn busy_percent(before: (u64, u64), after: (u64, u64)) -> Option<f32> {
    let busy = after.0.checked_sub(before.0)?;
    let all = after.1.checked_sub(before.1).filter(|all| *all > 0)?;
    Some(busy as f32 * 100.0 / all as f32)
}

/// Total and available memory.
fn memory_bytes(meminfo: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let stat = "cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 1 1 1 1";
        assert_eq!(cpu_times(stat), Some((150, 1_000)));
        assert_eq!(busy_percent((150, 1_000), (250, 1_200)), Some(50.0));
        assert_eq!(busy_percent((150, 1_000), (150, 1_000)), None);
        let meminfo = "MemTotal:        8000 kB\nMemFree:  100 kB\nMemAvailable:    3000 kB\n";
        assert_eq!(memory_bytes(meminfo), Some((8_192_000, 3_072_000)));
        assert_eq!((cpu_times("nonsense"), memory_bytes("")), (None, None));
    }
}
