//! A server that does nothing, in a process of its own: what axum and the kernel carry on one thread, and so what a node
//! could at most serve. The same process model as a node's: a current-thread runtime, connections kept.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
};

/// In the environment of a process that is to be one.
const EMPTY: &str = "P2PNET_BENCH_EMPTY_SERVER";

/// Serves until killed, if this process was started for it.
pub(crate) fn serve_if_asked() {
    if std::env::var_os(EMPTY).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        println!("{}", listener.local_addr().expect("it listens"));
        let router = axum::Router::new().route("/", axum::routing::get(async || ""));
        axum::serve(listener, router).await.expect("it serves");
    });
}

/// The server; dropping it ends it.
pub(crate) struct Empty {
    child: Child,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
}

impl Empty {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .env(EMPTY, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut line).expect("it says where it listens");
        let addr = line.trim().parse().expect("an address");
        Self { child, addr }
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
