//! Ours: a bootstrap and nodes as local processes, one folder each.

use std::path::PathBuf;

use p2pnet::cluster::Role;

use super::union::Runner;
use crate::{bench::Bench, running::Running, support::Lab};

/// A network of ours; dropping it removes it.
pub(super) struct Ours {
    lab: Lab,
    running: Running,
}

impl Ours {
    /// Starts `nodes` nodes, the bootstrap among them, and waits until they agree.
    pub(super) fn start(bench: &Bench, nodes: usize) -> Self {
        Self::start_with(bench, nodes, &[])
    }

    /// The same with more arguments to `start-network`.
    pub(super) fn start_with(bench: &Bench, nodes: usize, more: &[&str]) -> Self {
        let others = u32::try_from(nodes - 1).expect("a hundred nodes");
        let lab = bench.lab_usually_in("process", others);
        let running = bench.start_with(&lab, others, more);
        Self { lab, running }
    }

    /// Its network.
    pub(super) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The folders of all its nodes, the bootstrap's first.
    pub(super) fn folders_of_all(&self) -> Vec<PathBuf> {
        let network = self.lab.state_home().join("p2pnet").join(&self.lab.network);
        let name = |node: usize| if node == 0 { "bootstrap".to_owned() } else { format!("node{node}") };
        (0..self.running.up().len()).map(|node| network.join(name(node)).join("sync")).collect()
    }

    /// Lets these nodes look at their folders, all at once; returns when they have.
    ///
    /// # Panics
    /// When one does not answer.
    pub(super) fn rescan(&self, bench: &Bench, urls: &[String]) {
        bench.block_on(async {
            let client = reqwest::Client::new();
            let all = urls.iter().map(|url| client.post(format!("{url}/rescan")).send());
            for answer in futures_util::future::join_all(all).await {
                let answer = answer.expect("a node answers");
                assert!(answer.status().is_success(), "{answer:?}");
            }
        });
    }

    /// Where each node takes requests, in the order of the folders.
    ///
    /// # Panics
    /// When the engine does not answer, or a node is not published.
    pub(super) fn urls(&self, bench: &Bench) -> Vec<String> {
        let units = bench.block_on(self.running.cluster.list()).expect("the engine lists its units");
        let nodes = units.into_iter().filter(|unit| unit.role != Role::Gateway);
        let mut urls: Vec<_> = nodes.map(|unit| (unit.name, unit.address.expect("a node has a port"))).collect();
        urls.sort_by(|(one, _), (other, _)| one.display_order().cmp(&other.display_order()));
        urls.into_iter().map(|(_, address)| format!("http://{address}")).collect()
    }
}

impl Runner for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn folders(&self) -> Vec<PathBuf> {
        self.folders_of_all()
    }

    fn go(&mut self, bench: &Bench) {
        self.rescan(bench, &self.urls(bench));
    }
}
