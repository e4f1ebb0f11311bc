//! The shortest schedule that still fails: halves are left out first, then ever smaller parts, then single faults
//! (ddmin, Zeller 2002).

/// A part of `schedule` that `fails`, as short as was found within `tries` runs.
pub(crate) fn shrink<T: Clone>(schedule: &[T], mut tries: usize, mut fails: impl FnMut(&Vec<T>) -> bool) -> Vec<T> {
    let mut shortest = schedule.to_vec();
    let mut part = shortest.len().div_ceil(2);
    while part > 0 && !shortest.is_empty() {
        let mut from = 0;
        let mut shorter = false;
        while from < shortest.len() && tries > 0 {
            tries -= 1;
            let until = (from + part).min(shortest.len());
            let without: Vec<T> = shortest[..from].iter().chain(&shortest[until..]).cloned().collect();
            if fails(&without) {
                shortest = without;
                shorter = true;
            } else {
                from = until;
            }
        }
        if tries == 0 {
            break;
        }
        if part > 1 {
            part = part.div_ceil(2);
        } else if !shorter {
            break;
        }
    }
    shortest
}

#[test]
fn two_faults_that_fail_together_are_found_among_forty() {
    use crate::schedule::{Fault, Schedule};
    let schedule: Schedule = (0..40).map(|at| (at, Fault::Crash { node: at as usize })).collect();
    let mut runs = 0;
    let shortest = shrink(&schedule, 200, |tried| {
        runs += 1;
        let has = |at| tried.iter().any(|(when, _)| *when == at);
        has(7) && has(31)
    });
    assert_eq!(shortest.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [7, 31]);
    assert!(runs <= 60, "{runs} runs");
    assert_eq!(shrink(&schedule, 1, |_| true).len(), 20, "the number of runs is bounded");
    assert!(shrink(&schedule, 100, |_| true).is_empty());
}
