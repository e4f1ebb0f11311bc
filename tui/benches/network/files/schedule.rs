//! Ten bad minutes on local processes: the trial that the tests have at four nodes, at as many as are asked for. An outside walker that
//! hashes folders decides.

#[path = "../../../tests/support/folder_trial.rs"]
mod folder_trial;

use folder_trial::{Report, Size, Trial};

use crate::{
    bench::Bench,
    figure::{Figure, Target},
};

/// Chance repeats, the machine's own timing does not.
const SEED: u64 = 507;

/// `schedule`, once: another seed is `P2PNET_SEED`.
///
/// # Panics
/// When folders do not become equal in time, when anything is lost or torn, or a conflict copy is missing or one too many.
pub(super) fn measure(bench: &Bench) {
    let nodes = bench.nodes();
    let seed = std::env::var("P2PNET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    eprintln!("files: ten bad minutes at {nodes} nodes, P2PNET_SEED={seed}");
    let lab = bench.lab_usually_in("process", nodes);
    drop(bench.start(&lab, nodes));
    let report = Trial::new(&lab, Size::schedule(nodes), seed).run();
    print(&report, nodes, lab.runtime);
    let violations = report.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[expect(clippy::cast_precision_loss, reason = "counts of thousands")]
fn print(report: &Report, nodes: u32, runtime: &str) {
    for (act, seconds) in &report.unions {
        let name = format!("schedule_union_after_{}", act.replace(' ', "_"));
        Figure::new(name, "s", vec![*seconds], nodes, runtime).print();
    }
    let count = |name: &str, number: f64, target: Option<Target>| {
        let figure = Figure::new(format!("schedule_{name}"), "count", vec![number], nodes, runtime);
        target.into_iter().fold(figure, Figure::against).print();
    };
    count("acts", report.unions.len() as f64, None);
    count("reads", report.reads as f64, None);
    count("reads_torn", report.torn.0 as f64, Some(Target::Every(0.0)));
    count("conflict_copies_expected", report.copies.1 as f64, None);
    count("conflict_copies_found", report.copies.0 as f64, Some(Target::Every(report.copies.1 as f64)));
    count("uploads_acknowledged", (report.acknowledged.0 + report.acknowledged.1) as f64, None);
    count("uploads_kept", report.kept as f64, None);
    count("uploads_lost", report.lost() as f64, Some(Target::Every(0.0)));
}
