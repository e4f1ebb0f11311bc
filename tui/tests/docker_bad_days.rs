//! Bad days with a real engine: names that are taken, and an engine that goes away while one watches.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::{
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use support::{Lab, docker_available, text};
use terminal::Terminal;

const SOON: Duration = Duration::from_secs(30);
const ENGINE: &str = "/var/run/docker.sock";

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("the docker client runs");
    assert!(output.status.success(), "docker {}: {}", args.join(" "), text(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Removes a container of the test's own when dropped.
struct Foreign(String);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", &self.0]).output();
    }
}

#[test]
fn a_container_of_that_name_that_is_not_ours() {
    if !docker_available() {
        return;
    }
    let lab = Lab::new("docker", 12);
    lab.start(1); // imports the image
    lab.ok(&["stop-network"]);
    let name = format!("{}-node7", lab.network);
    let foreign = Foreign(docker(&["create", "--name", &name, "p2p-node:latest"]));

    let args = lab.start_args(8);
    let stderr = lab.fails(1, &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(stderr.contains(&name) && stderr.contains("--network"), "names it and a way out: {stderr}");
    let label = format!("label=p2pnet.network={}", lab.network);
    assert_eq!(docker(&["ps", "-aq", "--filter", &label]), "", "nothing was created");
    assert_eq!(docker(&["network", "ls", "-q", "--filter", &label]), "", "nothing was created");
    lab.run(&["stop-network"]);
    assert!(
        !docker(&["ps", "-aq", "--no-trunc", "--filter", &format!("id={}", foreign.0)]).is_empty(),
        "it is untouched"
    );
}

/// A socket between a client and the engine that can be cut and mended.
struct Wire {
    path: PathBuf,
    is_cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<UnixStream>>>,
}

impl Wire {
    fn to_engine(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket in the test's folder");
        let is_cut = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (cut, held) = (is_cut.clone(), open.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if cut.load(Ordering::SeqCst) {
                    continue; // dropping it closes it
                }
                let Ok(engine) = UnixStream::connect(ENGINE) else { continue };
                let ends = [(&client, &engine), (&engine, &client)];
                for (from, to) in ends.map(|(a, b)| (a.try_clone().unwrap(), b.try_clone().unwrap())) {
                    std::thread::spawn(move || {
                        let (mut from, mut to) = (from, to);
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
                held.lock().unwrap().extend([client, engine]);
            }
        });
        Self { path: path.to_owned(), is_cut, open }
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

#[test]
fn the_engine_goes_away_while_one_watches_and_comes_back() {
    if !docker_available() || !Path::new(ENGINE).exists() {
        return;
    }
    let lab = Lab::new("docker", 8);
    lab.start(3);
    let wire = Wire::to_engine(&lab.dir.path().join("engine.sock"));
    let host = format!("unix://{}", wire.path.display());
    let mut dashboard = Terminal::open_with(&lab, &[], &[("DOCKER_HOST", &host)], 160, 45);
    dashboard.wait_for("the network", SOON, |screen| screen.contains("✓ CONVERGED") && screen.contains("4 of 4 up"));

    wire.cut();
    dashboard.wait_for("that the engine is lost, and no verdict", SOON, |screen| {
        screen.contains("ENGINE LOST") && !screen.contains("✓ CONVERGED")
    });
    lab.ok(&["remove-node", "2"]); // by another way, unseen by this dashboard
    wire.mend();
    dashboard
        .wait_for("what happened meanwhile", SOON, |screen| screen.contains("LIVE") && screen.contains("3 of 4 up"));
    dashboard.wait_for("agreement", SOON, |screen| screen.contains("✓ CONVERGED"));
    dashboard.keys("Q");
    dashboard.wait_for("the question on quitting", SOON, |screen| screen.contains("leave the network running"));
    dashboard.keys("\r");
    assert!(dashboard.wait_end(SOON).success());
}
