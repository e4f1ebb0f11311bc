//! A network of a test's own: a random name, random ports, folders that go away, and the real binary to drive it.
//!
//! Dropping a [`Lab`] removes everything it started, also when the test failed half-way.

#![allow(unreachable_pub, reason = "shared by several test programs")]
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use rand::RngExt;
use serde_json::Value;
use tempfile::TempDir;

/// One network under test.
pub struct Lab {
    /// Its name, `test-` and eight random digits.
    pub network: String,
    /// `docker` or `process`.
    pub runtime: &'static str,
    /// The first of its ports on the host.
    pub base_port: u16,
    /// Holds its folders and p2pnet's state.
    pub dir: TempDir,
}

impl Lab {
    /// A name, `ports` free ports and an empty folder; nothing runs yet.
    pub fn new(runtime: &'static str, ports: u16) -> Self {
        let network = format!("test-{:08x}", rand::rng().random::<u32>());
        Self { network, runtime, base_port: free_ports(ports), dir: TempDir::new().expect("a folder for the test") }
    }

    /// The binary, with this network's state folder in its environment and nothing else of the user's.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_p2pnet"));
        command.env("XDG_STATE_HOME", self.state_home()).env_remove("CLUSTER_SECRET").stdin(Stdio::null());
        command
    }

    /// Where p2pnet finds this network again: the test's own folder, or what a benchmark has set for itself as well.
    pub fn state_home(&self) -> PathBuf {
        std::env::var_os("P2PNET_LAB_HOME").map_or_else(|| self.dir.path().to_owned(), PathBuf::from)
    }

    /// Runs a verb on this network to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).args(["--network", &self.network]).output().expect("p2pnet runs")
    }

    /// Runs a verb that must succeed; its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "`p2pnet {}` failed:\n{}", args.join(" "), text(&output));
        String::from_utf8(output.stdout).expect("output is UTF-8")
    }

    /// Runs a verb that must fail with exit code `code`; its standard error, which has an `error:` and a `hint:` line.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "`p2pnet {}`:\n{}", args.join(" "), text(&output));
        let stderr = String::from_utf8(output.stderr).expect("output is UTF-8");
        for line in ["error: ", "hint: "] {
            assert!(stderr.lines().any(|l| l.starts_with(line)), "no `{line}` line in:\n{stderr}");
        }
        stderr
    }

    /// The arguments of `start-network` for `nodes` nodes.
    pub fn start_args(&self, nodes: u32) -> Vec<String> {
        let base_port = self.base_port.to_string();
        let nodes = nodes.to_string();
        ["start-network", "--runtime", self.runtime, "--base-port", &base_port, "--nodes", &nodes, "--wait", "240"]
            .map(str::to_owned)
            .to_vec()
    }

    /// Starts the bootstrap and `nodes` nodes and waits until all agree.
    pub fn start(&self, nodes: u32) {
        let args = self.start_args(nodes);
        self.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// `status --json`.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.ok(&["status", "--json"])).expect("status prints JSON")
    }

    /// `wait --for converged`.
    pub fn wait_converged(&self) {
        self.ok(&["wait", "--for", "converged", "--timeout", "90s"]);
    }

    /// Asserts that all of `up` nodes are up and agree, with no ghost and nobody missing.
    pub fn assert_agreed(&self, up: u64) {
        let status = self.status();
        assert_eq!(status["converged"], true, "{status:#}");
        assert_eq!(status["nodes"]["up"], up, "{status:#}");
        assert_eq!(status["members"]["agree"], up, "{status:#}");
        assert_eq!(status["members"]["ghosts"], 0, "{status:#}");
        assert_eq!(status["members"]["missing"], 0, "{status:#}");
    }

    /// The host URL of node number `number`.
    pub fn url(&self, number: u16, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.base_port + number)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.command().args(["stop-network", "--network", &self.network]).output();
    }
}

/// Both streams of a finished command, for a failure's message.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits until `holds` gives a value, trying every 50 ms.
///
/// # Panics
/// When it does not within `deadline`.
pub fn until<T>(what: &str, deadline: Duration, mut holds: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = holds() {
            return value;
        }
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The first of `count` ports in a row that are free for TCP and UDP on loopback, below the ephemeral range.
pub fn free_ports(count: u16) -> u16 {
    let free = |port: u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    };
    (0..200)
        .map(|_| rand::rng().random_range(10_000..32_000 - count))
        .find(|first| (*first..=*first + count).all(free))
        .expect("some ports are free")
}

/// Whether a Docker engine answers. Without one, says that the test is skipped; with `P2PNET_TEST_DOCKER=require` that
/// is a failure.
pub fn docker_available() -> bool {
    let output = Command::new(env!("CARGO_BIN_EXE_p2pnet")).args(["doctor", "--json"]).output().expect("p2pnet runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("doctor prints JSON");
    if report["engine"]["reachable"] == true {
        return true;
    }
    assert_ne!(
        std::env::var("P2PNET_TEST_DOCKER").as_deref(),
        Ok("require"),
        "P2PNET_TEST_DOCKER=require, and no engine answers: {report:#}"
    );
    eprintln!("skipped: no Docker engine answers ({})", report["engine"]["reason"]);
    false
}

/// Whether a folder exists and holds something.
pub fn holds_something(path: &Path) -> bool {
    path.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}
