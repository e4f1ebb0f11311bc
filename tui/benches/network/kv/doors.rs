//! Where a network's nodes take requests: a published port, or a container's own address.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use bollard::{Docker, query_parameters::ListContainersOptionsBuilder};
use p2pnet::cluster::{Role, UnitState};
use p2pnet_shared::NodeName;

use super::{
    http::{Gets, Puts},
    keys::Keys,
    load::{self, Load, Talk},
};
use crate::{running::Running, support::Lab};

/// What every node listens on in its container.
const PORT: u16 = 5000;

/// Nodes that are up, each with its address, in the order people count.
#[derive(Debug, Clone)]
pub(crate) struct Doors(Vec<(NodeName, SocketAddr)>);

impl Doors {
    /// One node alone.
    pub(crate) fn of(addr: SocketAddr) -> Self {
        Self(vec![(NodeName::numbered(1), addr)])
    }

    /// Their addresses on this host.
    ///
    /// # Panics
    /// When the engine does not answer, or nothing is published.
    pub(crate) async fn published(running: &Running) -> Self {
        let units = running.cluster.list().await.expect("the engine lists its units");
        let up = units.into_iter().filter(|unit| unit.role != Role::Gateway && unit.state == UnitState::Up);
        let doors: Vec<_> = up.filter_map(|unit| Some((unit.name, unit.address?))).collect();
        assert!(!doors.is_empty(), "no node has a port on this host");
        Self(doors)
    }

    /// Their containers' own addresses where there are containers and this host reaches them; else as published.
    pub(crate) async fn direct(lab: &Lab, running: &Running) -> Self {
        let published = Self::published(running).await;
        if lab.runtime != "docker" {
            return published;
        }
        let own = addresses(lab).await;
        let direct: Option<Vec<_>> =
            published.0.iter().map(|(name, _)| Some((name.clone(), *own.get(name.as_str())?))).collect();
        let Some(direct) = direct else { return published };
        let reached = tokio::net::TcpStream::connect(direct[0].1);
        match tokio::time::timeout(std::time::Duration::from_secs(2), reached).await {
            Ok(Ok(_)) => Self(direct),
            _ => {
                eprintln!(
                    "kv: this host does not reach the containers' own addresses: requests go through docker-proxy"
                );
                published
            }
        }
    }

    /// All but these.
    pub(crate) fn without(&self, nodes: &[NodeName]) -> Self {
        Self(self.0.iter().filter(|(name, _)| !nodes.contains(name)).cloned().collect())
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// One for each of `connections`: every node as often as any other, give or take one.
    pub(crate) fn lines(
        &self,
        connections: usize,
        mut talk: impl FnMut(usize) -> Box<dyn Talk>,
    ) -> Vec<(SocketAddr, Box<dyn Talk>)> {
        // With fewer connections than nodes they are spread over all of them.
        let at = |number: usize| {
            if connections < self.0.len() { number * self.0.len() / connections } else { number % self.0.len() }
        };
        (0..connections).map(|number| (self.0[at(number)].1, talk(number))).collect()
    }

    /// Puts every key once over 16 connections.
    ///
    /// # Panics
    /// When one is not acknowledged.
    pub(crate) fn fill(&self, keys: &Arc<Keys>, round: u32) {
        const LINES: usize = 16;
        let puts = |number| Box::new(Puts::new(keys.clone(), number, LINES, round, false)) as Box<dyn Talk>;
        let filled = load::run(Load::to_the_end(self.lines(LINES, puts)));
        assert!(filled.wrong == 0, "{} puts were not acknowledged: {:?}", filled.wrong, filled.complaints);
        assert_eq!(filled.right(), keys.count(), "every key was put once");
    }

    /// Gets every key once over 16 connections: how many did not give what was acknowledged.
    pub(crate) fn count_wrong(&self, keys: &Arc<Keys>) -> u64 {
        const LINES: usize = 16;
        let gets = |number| Box::new(Gets::rounds(keys.clone(), number, LINES, false)) as Box<dyn Talk>;
        let read = load::run(Load::to_the_end(self.lines(LINES, gets)));
        for complaint in &read.complaints {
            eprintln!("kv: {complaint}");
        }
        assert_eq!(read.right() as u64 + read.wrong, keys.count() as u64, "every key was read once");
        read.wrong
    }
}

/// Each container's own address, by the host name it has in its network.
async fn addresses(lab: &Lab) -> HashMap<String, SocketAddr> {
    let docker = Docker::connect_with_defaults().expect("the engine's socket");
    let docker = docker.negotiate_version().await.expect("the engine answers");
    let filters = HashMap::from([("label", vec![format!("p2pnet.network={}", lab.network)])]);
    let listed = docker.list_containers(Some(ListContainersOptionsBuilder::default().filters(&filters).build()));
    let mut addresses = HashMap::new();
    for container in listed.await.expect("the engine lists containers") {
        let name = container.names.into_iter().flatten().next().unwrap_or_default();
        let name = name.trim_start_matches('/');
        // Any network but the default one prefixes its containers' names.
        let name = name.strip_prefix(&format!("{}-", lab.network)).unwrap_or(name).to_owned();
        let networks = container.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let own = networks.into_values().find_map(|endpoint| endpoint.ip_address?.parse().ok());
        if let Some(ip) = own {
            addresses.insert(name, SocketAddr::new(ip, PORT));
        }
    }
    addresses
}
