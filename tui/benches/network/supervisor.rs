//! Whatever happens to a measurement, nothing of it stays: Ctrl-C, a panic, even a kill.
//!
//! ```text
//! cargo bench ──▶ this program ──▶ this program again, in a process group of its own: measures
//!                  │ waits            ├─▶ p2pnet verbs, Serf agents, the simulator: same group
//!                  │                  └─▶ writes down each network before it is made
//!                  └─ when it ended, or we are told to: kills the group, removes every network written down,
//!                     then the folder in which all of it kept its files
//! ```
//! Threads that hog the processor end with their process.

use std::{
    fs::OpenOptions,
    io::Write,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

/// Names the folder in the environment of whoever measures; `tests/support` looks for it as well.
const LAB_HOME: &str = "P2PNET_LAB_HOME";
/// In it, the networks that were begun, one a line.
const NETWORKS: &str = "networks";

/// Whether this process is the one that measures.
pub(crate) fn is_supervised() -> bool {
    std::env::var_os(LAB_HOME).is_some()
}

/// Writes down that `network` is about to be made.
pub(crate) fn write_down(network: &str) {
    let home = std::env::var_os(LAB_HOME).expect("whoever measures is supervised");
    let path = Path::new(&home).join(NETWORKS);
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the benchmark's folder");
    writeln!(file, "{network}").expect("the benchmark's folder takes a line");
}

/// Runs this program again to measure, waits for its end and removes what it left. The exit code to end with.
pub(crate) fn supervise() -> u8 {
    // Networks of local processes are found by a file in the state folder: ours and that of the p2pnet we start are the
    // same, and not the user's.
    let home = tempfile::tempdir().expect("a folder for the benchmark");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let code = runtime.block_on(run(home.path()));
    sweep(home.path());
    code
}

async fn run(home: &Path) -> u8 {
    // Before anything is started, so that no signal finds us unprepared.
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be watched");
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be watched");
    let mut hang_up = signal(SignalKind::hangup()).expect("signals can be watched");
    let mut child = tokio::process::Command::new(std::env::current_exe().expect("this program"))
        .args(std::env::args_os().skip(1))
        .envs([("XDG_STATE_HOME", home), ("TMPDIR", home), (LAB_HOME, home)])
        .process_group(0)
        .spawn()
        .expect("this program runs");
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it has just been started");
    let told = |code: u8| {
        eprintln!("removing what was started");
        code
    };
    let code = tokio::select! {
        status = child.wait() => status.map_or(1, code_of),
        _ = interrupt.recv() => told(130),
        _ = terminate.recv() => told(143),
        _ = hang_up.recv() => told(129),
    };
    // Nobody left in it is no error.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
    code
}

fn code_of(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Removes the networks that are still there.
fn sweep(home: &Path) {
    let networks = std::fs::read_to_string(home.join(NETWORKS)).unwrap_or_default();
    for network in networks.lines() {
        let stopped = Command::new(env!("CARGO_BIN_EXE_p2pnet"))
            .args(["stop-network", "--network", network])
            .env("XDG_STATE_HOME", home)
            .stdin(Stdio::null())
            .output();
        match stopped {
            Ok(output) if output.status.success() => eprint!("{}", String::from_utf8_lossy(&output.stdout)),
            // It went in good order.
            Ok(output) if String::from_utf8_lossy(&output.stderr).contains("no network") => {}
            Ok(output) => eprint!("{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("error: network `{network}` was not removed: {error}"),
        }
    }
}
