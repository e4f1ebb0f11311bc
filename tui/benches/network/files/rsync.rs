//! rsync as a yardstick: a daemon over each folder, and every node copies from every other that has files, all nodes at once, one
//! source after another. Whoever runs it knows who has what, which ours finds out.

use std::{
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::union::Runner;
use crate::{
    bench::Bench,
    support::{free_ports, until},
};

/// To start.
const PATIENCE: Duration = Duration::from_secs(10);

/// The daemons; dropping them ends them.
pub(super) struct Rsync {
    program: PathBuf,
    children: Vec<Child>,
    home: TempDir,
    first_port: u16,
    nodes: usize,
}

impl Rsync {
    /// Starts a daemon for each of `nodes` folders.
    ///
    /// # Panics
    /// When they do not start.
    pub(super) fn start(program: &Path, nodes: usize) -> Self {
        let count = u16::try_from(nodes).expect("a few nodes");
        let home = TempDir::new().expect("a folder for rsync");
        let mut all =
            Self { program: program.to_owned(), children: Vec::new(), home, first_port: free_ports(count), nodes };
        for node in 0..nodes {
            std::fs::create_dir(all.folder(node)).expect("a folder can be made");
            let config = all.home.path().join(format!("{node}.conf"));
            // Unless told so, a daemon of root's gives up its rights, and may not look into the benchmark's own folder.
            let user = if rustix::process::getuid().is_root() { "uid = 0\ngid = 0\n" } else { "" };
            let path = all.folder(node);
            let text = format!(
                "use chroot = no\nreverse lookup = no\n{user}[lab]\npath = {}\nread only = yes\n",
                path.display()
            );
            std::fs::write(&config, text).expect("a configuration can be written");
            let child = Command::new(program)
                .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
                .arg(format!("--port={}", all.port(node)))
                .arg(format!("--config={}", config.display()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            all.children.push(child.expect("rsync runs"));
        }
        for node in 0..nodes {
            let address = (Ipv4Addr::LOCALHOST, all.port(node));
            until("rsync's daemon answers", PATIENCE, || TcpStream::connect(address).ok());
        }
        all
    }

    fn port(&self, node: usize) -> u16 {
        self.first_port + u16::try_from(node).expect("a few nodes")
    }

    fn folder(&self, node: usize) -> PathBuf {
        self.home.path().join(node.to_string())
    }
}

impl Runner for Rsync {
    fn name(&self) -> &'static str {
        "rsync"
    }

    fn folders(&self) -> Vec<PathBuf> {
        (0..self.nodes).map(|node| self.folder(node)).collect()
    }

    fn go(&mut self, _: &Bench) {
        // What each had before anything was copied: nobody copies what has itself been copied.
        let own = |node: usize| -> Vec<String> {
            let entries = std::fs::read_dir(self.folder(node)).expect("a folder");
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("our own names")).collect()
        };
        let own: Vec<Vec<String>> = (0..self.nodes).map(own).collect();
        std::thread::scope(|scope| {
            for to in 0..self.nodes {
                let (this, own) = (&*self, &own);
                scope.spawn(move || {
                    for from in (0..this.nodes).filter(|from| *from != to && !own[*from].is_empty()) {
                        let source = |name: &String| format!("rsync://127.0.0.1:{}/lab/{name}", this.port(from));
                        let status = Command::new(&this.program)
                            .args(["--archive", "--whole-file", "--fsync"])
                            .args(own[from].iter().map(source))
                            .arg(this.folder(to))
                            .stdin(Stdio::null())
                            .status();
                        assert!(status.expect("rsync runs").success(), "rsync from {from} to {to} failed");
                    }
                });
            }
        });
    }
}

impl Drop for Rsync {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
