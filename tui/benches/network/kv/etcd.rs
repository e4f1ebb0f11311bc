//! A three-member etcd on loopback: three processes, their data on the same disk as ours, synced as etcd does by default.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{free_ports, until};

const MEMBERS: u16 = 3;
/// To elect a leader.
const PATIENCE: Duration = Duration::from_secs(60);

/// The members; dropping them ends them.
pub(crate) struct Etcd {
    children: Vec<Child>,
    clients: Vec<SocketAddr>,
    _data: TempDir,
}

impl Etcd {
    /// Starts three members and waits until each has a leader.
    pub(crate) fn start(program: &Path) -> Self {
        let data = TempDir::new().expect("a folder for etcd");
        let first = free_ports(2 * MEMBERS);
        let client = |member: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, first + 2 * member));
        let peer = |member: u16| format!("http://127.0.0.1:{}", first + 2 * member + 1);
        let cluster: Vec<String> = (0..MEMBERS).map(|member| format!("m{member}={}", peer(member))).collect();
        let start = |member: u16| {
            let name = format!("m{member}");
            let url = format!("http://{}", client(member));
            Command::new(program)
                .args(["--name", &name, "--initial-cluster", &cluster.join(","), "--log-level", "error"])
                .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
                .args(["--listen-peer-urls", &peer(member), "--initial-advertise-peer-urls", &peer(member)])
                .arg("--data-dir")
                .arg(data.path().join(&name))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("etcd runs")
        };
        let children = (0..MEMBERS).map(start).collect();
        let etcd = Self { children, clients: (0..MEMBERS).map(client).collect(), _data: data };
        until("etcd has a leader", PATIENCE, || etcd.leader());
        etcd
    }

    /// Where its members take requests.
    pub(crate) fn members(&self) -> &[SocketAddr] {
        &self.clients
    }

    /// Which of them leads; `None` while one of them does not answer, or none leads.
    pub(crate) fn leader(&self) -> Option<SocketAddr> {
        let statuses: Option<Vec<Value>> = self.clients.iter().map(|client| status(*client)).collect();
        let statuses = statuses?;
        let mut pairs = self.clients.iter().zip(&statuses);
        let leads = |status: &Value| {
            status["leader"] == status["header"]["member_id"]
                && status["leader"] != Value::Null
                && statuses.iter().all(|other| other["leader"] == status["leader"])
        };
        pairs.find(|(_, status)| leads(status)).map(|(client, _)| *client)
    }
}

impl Etcd {
    /// Entries in its log, each of which is on the disks of two members at least: a put is one.
    pub(crate) fn log_length(&self) -> usize {
        let status = status(self.clients[0]).expect("a member that runs says how it is");
        status["raftIndex"].as_str().and_then(|index| index.parse().ok()).expect("a log has a length")
    }
}

/// What a member says of itself, over its JSON gateway.
fn status(client: SocketAddr) -> Option<Value> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect_timeout(&client, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let body = json!({}).to_string();
    let head =
        "POST /v3/maintenance/status HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Type: application/json";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(&answer[answer.find('{')?..=answer.rfind('}')?]).ok()
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
