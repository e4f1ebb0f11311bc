//! Syncthing as a yardstick: one instance an address on loopback, each knowing all others, no discovery, relay or upload of
//! anything; its watch is off and it is told to scan, as ours is. What it syncs to disk stays as it comes.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rand::RngExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::union::Runner;
use crate::{bench::Bench, support::until};

const KEY: &str = "bench";
const PORT: u16 = 22_000;
const GUI_PORT: u16 = 8_384;
/// To start, to meet all others: a first dial can take five seconds, and is tried again after as long.
const PATIENCE: Duration = Duration::from_secs(90);

/// The instances; dropping them ends them.
pub(super) struct Syncthing {
    children: Vec<Child>,
    home: TempDir,
    /// The second number of their addresses, 127.x.0.y.
    net: u8,
    nodes: usize,
}

impl Syncthing {
    /// Starts `nodes` instances and waits until each is connected to every other.
    ///
    /// # Panics
    /// When they do not start, or do not meet.
    pub(super) fn start(program: &Path, nodes: usize) -> Self {
        let home = TempDir::new().expect("a folder for Syncthing");
        let net = rand::rng().random_range(64..=250);
        let mut all = Self { children: Vec::new(), home, net, nodes };
        let ids: Vec<String> = (0..nodes).map(|node| all.generate(program, node)).collect();
        for node in 0..nodes {
            all.configure(node, &ids);
        }
        for node in 0..nodes {
            let child = Command::new(program)
                .args(["serve", "--no-browser", "--logfile=-"])
                .arg(format!("--home={}", all.config(node).display()))
                .arg(format!("--gui-address={}:{GUI_PORT}", all.address(node)))
                .arg(format!("--gui-apikey={KEY}"))
                .envs([("STNORESTART", "1"), ("STNOUPGRADE", "1"), ("HOME", "/nonexistent")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            all.children.push(child.expect("syncthing runs"));
        }
        until("Syncthing's instances are connected", PATIENCE, || all.are_connected().then_some(()));
        until("Syncthing's folders are looked at", PATIENCE, || all.are_idle().then_some(()));
        all
    }

    fn address(&self, node: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, self.net, 0, u8::try_from(node + 2).expect("a few nodes"))
    }

    fn config(&self, node: usize) -> PathBuf {
        self.home.path().join(format!("home-{node}"))
    }

    fn folder(&self, node: usize) -> PathBuf {
        self.home.path().join(node.to_string())
    }

    fn generate(&self, program: &Path, node: usize) -> String {
        std::fs::create_dir_all(self.folder(node)).expect("a folder can be made");
        let home = format!("--home={}", self.config(node).display());
        let run = |args: &[&str]| {
            let output = Command::new(program).args(args).arg(&home).env("HOME", "/nonexistent").output();
            let output = output.expect("syncthing runs");
            assert!(output.status.success(), "syncthing {args:?}: {}", crate::support::text(&output));
            String::from_utf8(output.stdout).expect("an id is text").trim().to_owned()
        };
        run(&["generate", "--no-default-folder", "--skip-port-probing"]);
        run(&["serve", "--device-id"])
    }

    /// Writes the configuration of one instance; what is not said is Syncthing's default.
    fn configure(&self, node: usize, ids: &[String]) {
        let device = |other: usize| {
            format!(
                "<device id=\"{}\" name=\"n{other}\" compression=\"never\"><address>tcp://{}:{PORT}</address></device>",
                ids[other],
                self.address(other)
            )
        };
        let devices: String = (0..self.nodes).map(device).collect();
        let members: String = ids.iter().map(|id| format!("<device id=\"{id}\"></device>")).collect();
        let config = format!(
            "<configuration version=\"36\">\
             <folder id=\"lab\" label=\"lab\" path=\"{folder}\" type=\"sendreceive\" rescanIntervalS=\"0\" \
             fsWatcherEnabled=\"false\" autoNormalize=\"false\">{members}<minDiskFree unit=\"%\">0</minDiskFree>\
             <maxConflicts>-1</maxConflicts><order>random</order><weakHashThresholdPct>101</weakHashThresholdPct>\
             <maxConcurrentWrites>16</maxConcurrentWrites><disableFsync>false</disableFsync>\
             <caseSensitiveFS>true</caseSensitiveFS></folder>{devices}\
             <gui enabled=\"true\" tls=\"false\"><address>{address}:{GUI_PORT}</address><apikey>{KEY}</apikey></gui>\
             <options><listenAddress>tcp://{address}:{PORT}</listenAddress>\
             <globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>\
             <relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><urAccepted>-1</urAccepted>\
             <crashReportingEnabled>false</crashReportingEnabled><autoUpgradeIntervalH>0</autoUpgradeIntervalH>\
             <releasesURL></releasesURL><startBrowser>false</startBrowser><reconnectionIntervalS>5</reconnectionIntervalS>\
             <setLowPriority>false</setLowPriority><minHomeDiskFree unit=\"%\">0</minHomeDiskFree>\
             <progressUpdateIntervalS>1</progressUpdateIntervalS></options></configuration>",
            folder = self.folder(node).display(),
            address = self.address(node),
        );
        std::fs::write(self.config(node).join("config.xml"), config).expect("a configuration can be written");
    }

    /// Asks an instance; `None` while it does not answer.
    fn ask(&self, method: &str, node: usize, path: &str, timeout: Duration) -> Option<Value> {
        use std::io::{Read, Write};
        let address = (self.address(node), GUI_PORT).into();
        let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(timeout)).ok()?;
        let head = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\nX-API-Key: {KEY}\r\n\r\n", address);
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        if !head.contains(" 200 ") {
            return None;
        }
        Some(if body.trim().is_empty() { json!({}) } else { serde_json::from_str(body).ok()? })
    }

    fn are_connected(&self) -> bool {
        (0..self.nodes).all(|node| {
            let answer = self.ask("GET", node, "/rest/system/connections", Duration::from_secs(2));
            let up = |connections: &Value| {
                let all = connections["connections"].as_object()?;
                Some(all.values().filter(|one| one["connected"] == true).count())
            };
            answer.as_ref().and_then(up) == Some(self.nodes - 1)
        })
    }

    /// A folder that is being looked at for the first time refuses to be looked at again.
    fn are_idle(&self) -> bool {
        (0..self.nodes).all(|node| {
            let answer = self.ask("GET", node, "/rest/db/status?folder=lab", Duration::from_secs(2));
            answer.is_some_and(|status| status["state"] == "idle")
        })
    }
}

impl Runner for Syncthing {
    fn name(&self) -> &'static str {
        "syncthing"
    }

    fn folders(&self) -> Vec<PathBuf> {
        (0..self.nodes).map(|node| self.folder(node)).collect()
    }

    fn go(&mut self, _: &Bench) {
        std::thread::scope(|scope| {
            for node in 0..self.nodes {
                let this = &*self;
                scope.spawn(move || {
                    // It refuses now and then; asked again it looks.
                    until("Syncthing looks at its folder", PATIENCE, || {
                        this.ask("POST", node, "/rest/db/scan?folder=lab&next=86400", PATIENCE)
                    });
                });
            }
        });
    }
}

impl Drop for Syncthing {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
