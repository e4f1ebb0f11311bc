//! `p2pnet doctor`: what this host allows, what a network needs, and the command that mends it.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use serde::Serialize;

use crate::{
    cluster::{self, Limit, MOST_NODES},
    failure::Failure,
};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `open files`, `ports`, `container engine`.
    pub name: String,
    /// Whether it is as needed.
    pub is_fine: bool,
    /// What was found.
    pub current: String,
    /// What is needed.
    pub needed: String,
    /// The command or the advice that mends it; `None` when there is nothing to mend.
    pub mend: Option<String>,
}

/// All that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The engine that answers, or why none does.
    pub engine: Result<String, String>,
    /// In the order in which they matter.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether a network of the size that was asked about should run here. Without an engine it still can, as processes.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.findings.iter().all(|finding| finding.is_fine)
    }

    /// One JSON document: `{"fine", "engine": {"reachable", "reason"}, "findings": […]}`.
    #[must_use]
    pub fn document(&self) -> serde_json::Value {
        let (Ok(reason) | Err(reason)) = &self.engine;
        let engine = serde_json::json!({"reachable": self.engine.is_ok(), "reason": reason});
        serde_json::json!({"fine": self.is_fine(), "engine": engine, "findings": self.findings})
    }

    /// As people read it, one finding a line with its remedy below.
    #[must_use]
    pub fn as_text(&self) -> String {
        let width = self.findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for Finding { name, is_fine, current, needed, mend } in &self.findings {
            let verdict = if *is_fine { "ok  " } else { "FAIL" };
            let _ = writeln!(text, "{verdict}  {name:width$}  {current} (needed: {needed})");
            if let Some(mend) = mend {
                let _ = writeln!(text, "      {:width$}  mend: {mend}", "");
            }
        }
        text
    }
}

/// Looks at everything a network of `nodes` nodes needs. Changes nothing.
pub async fn examine(nodes: u32, base_port: u16, bind: IpAddr, data: &Path) -> Report {
    let answer = cluster::examine_docker().await;
    let reached = answer.clone().map_err(|failure| failure.error);
    let mut findings = vec![engine(answer), size(nodes)];
    findings.push(ports(nodes, base_port, bind));
    findings.push(folder(data));
    findings.extend(cluster::host_limits(nodes).iter().map(limit));
    Report { engine: reached, findings }
}

fn engine(answer: Result<String, Failure>) -> Finding {
    let (is_fine, current, mend) = match answer {
        Ok(describe) => (true, describe, None),
        Err(failure) => (false, failure.error, failure.hint),
    };
    let needed = "an engine that answers; without one, nodes run as local processes".to_owned();
    Finding { name: "container engine".to_owned(), is_fine, current, needed, mend }
}

fn size(nodes: u32) -> Finding {
    let is_fine = (1..=MOST_NODES).contains(&nodes);
    Finding {
        name: "bridge ports".to_owned(),
        is_fine,
        current: "1023 on one Linux bridge".to_owned(),
        needed: format!("{}: the nodes, the bootstrap and the gateway", u64::from(nodes) + 2),
        mend: (!is_fine).then(|| format!("ask for 1 to {MOST_NODES} nodes with `--nodes N`")),
    }
}

fn ports(nodes: u32, base_port: u16, bind: IpAddr) -> Finding {
    let published = if nodes <= cluster::PUBLISH_UP_TO { nodes } else { 0 };
    let last = u32::from(base_port) + published;
    let taken = (u32::from(base_port)..=last).find_map(|port| match u16::try_from(port) {
        Ok(port) => cluster::port_trouble(SocketAddr::new(bind, port)),
        Err(_) => Some(format!("port {port} does not exist")),
    });
    Finding {
        name: "ports".to_owned(),
        is_fine: taken.is_none(),
        mend: taken.as_ref().map(|_| "stop that (`p2pnet stop-network`), or choose `--base-port 8000`".to_owned()),
        current: taken.unwrap_or_else(|| "all free".to_owned()),
        needed: format!("{base_port} to {last} on {bind}"),
    }
}

fn folder(data: &Path) -> Finding {
    let trouble = cluster::folder_trouble(data);
    Finding {
        name: "data folder".to_owned(),
        is_fine: trouble.is_none(),
        mend: trouble.as_ref().and_then(|failure| failure.hint.clone()),
        current: trouble.map_or_else(|| format!("{} can be written", data.display()), |failure| failure.error),
        needed: "writable".to_owned(),
    }
}

fn limit(limit: &Limit) -> Finding {
    let is_fine = limit.is_met();
    Finding {
        name: limit.name.to_owned(),
        is_fine,
        current: limit.current.map_or_else(|| "unknown".to_owned(), |current| current.to_string()),
        needed: if is_fine { limit.needed.to_string() } else { format!("{}, or {}", limit.needed, limit.otherwise) },
        mend: (!is_fine).then(|| limit.mend.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_printed_with_what_mends_it() {
        let short = Limit {
            name: "open files",
            current: Some(256),
            needed: 1024,
            mend: "ulimit -n 1024".to_owned(),
            otherwise: "connections are refused",
        };
        let report = Report {
            engine: Ok(String::new()),
            findings: vec![limit(&short), limit(&Limit { current: Some(4096), ..short.clone() })],
        };
        assert!(!report.is_fine());
        let text = report.as_text();
        assert!(text.contains("FAIL  open files  256 (needed: 1024, or connections are refused)\n"), "{text}");
        assert!(text.contains("mend: ulimit -n 1024\n"), "{text}");
        assert!(text.contains("ok    open files  4096 (needed: 1024)\n"), "{text}");
    }

    #[test]
    fn a_taken_port_and_an_impossible_size_are_found() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = held.local_addr().unwrap();
        assert!(!ports(1, addr.port(), addr.ip()).is_fine);
        assert!(size(100).is_fine);
        assert!(!size(0).is_fine && !size(MOST_NODES + 1).is_fine);
    }
}
