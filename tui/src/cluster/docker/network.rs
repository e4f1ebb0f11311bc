//! The network the containers share: a bridge with a subnet that nobody else uses.
//!
//! The subnet is chosen, never fixed: an address range that overlaps a VPN or another network would cut the host off from
//! it. One of ours that is left from before is used again, also because engines sometimes will not let go of one.

use std::{collections::HashMap, fs, net::Ipv4Addr};

use bollard::{
    Docker,
    errors::Error,
    models::{Ipam, IpamConfig, Network, NetworkCreateRequest},
    query_parameters::{InspectNetworkOptions, ListNetworksOptions, ListNetworksOptionsBuilder},
};
use std::time::Duration;

use super::{NETWORK_LABEL, SETTINGS_LABEL, cause, container, failure};
use crate::{cluster::engine::Plan, failure::Failure};

/// 4,094 hosts: four times what a bridge can hold, so addresses of the dead are not used again at once.
const PREFIX: u8 = 20;

/// How often another subnet is tried when somebody else takes ours between the look and the making.
const SUBNET_TRIES: usize = 16;

/// How often a removal is tried. Engines let go of the last endpoint up to a second late.
const REMOVAL_TRIES: u32 = 8;
const REMOVAL_PAUSE: Duration = Duration::from_millis(250);

/// A range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subnet {
    first: u32,
    prefix: u8,
}

impl Subnet {
    fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let subnet = Self { first: address.to_bits(), prefix: prefix.min(32) };
        Self { first: subnet.first & subnet.mask(), ..subnet }
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        Some(Self::new(address.parse().ok()?, prefix.parse().ok().filter(|prefix| *prefix <= 32)?))
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    fn overlaps(self, other: Self) -> bool {
        let mask = self.mask() & other.mask();
        self.first & mask == other.first & mask
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.first), self.prefix)
    }
}

/// Private ranges, least used first: what companies and home routers number their own networks with comes last.
fn candidates() -> impl Iterator<Item = Subnet> {
    let within = |address: Ipv4Addr, prefix: u8| {
        let whole = Subnet::new(address, prefix);
        (0..1u32 << (PREFIX - prefix))
            .map(move |i| Subnet { first: whole.first + (i << (32 - PREFIX)), prefix: PREFIX })
    };
    within(Ipv4Addr::new(10, 192, 0, 0), 10)
        .chain(within(Ipv4Addr::new(172, 18, 0, 0), 15))
        .chain(within(Ipv4Addr::new(172, 20, 0, 0), 14))
        .chain(within(Ipv4Addr::new(192, 168, 0, 0), 16))
        .chain(within(Ipv4Addr::new(10, 0, 0, 0), 9))
}

/// Subnets free of everything in `taken`. `turn` spreads simultaneous starts over different ones.
fn free(taken: &[Subnet], turn: usize) -> Vec<Subnet> {
    let mut free: Vec<Subnet> =
        candidates().filter(|subnet| !taken.iter().any(|taken| taken.overlaps(*subnet))).take(256).collect();
    if !free.is_empty() {
        let turn = turn % free.len();
        free.rotate_left(turn);
    }
    free
}

/// The destinations in `/proc/net/route`, the default route aside.
fn routes(table: &str) -> Vec<Subnet> {
    let route = |line: &str| {
        let mut fields = line.split_whitespace();
        let destination = u32::from_str_radix(fields.nth(1)?, 16).ok()?.swap_bytes();
        let mask = u32::from_str_radix(fields.nth(5)?, 16).ok()?.swap_bytes();
        let prefix = u8::try_from(mask.leading_ones()).ok()?;
        (prefix > 0).then(|| Subnet::new(Ipv4Addr::from_bits(destination), prefix))
    };
    table.lines().skip(1).filter_map(route).collect()
}

fn subnets_of(network: &Network) -> Vec<Subnet> {
    let configs = network.ipam.iter().flat_map(|ipam| ipam.config.iter().flatten());
    configs.filter_map(|config| Subnet::parse(config.subnet.as_deref()?)).collect()
}

/// Networks of ours with this name: one, or none. Two when two starts raced.
pub(super) async fn ours(docker: &Docker, name: &str) -> Result<Vec<Network>, Failure> {
    let filters = HashMap::from([("label", vec![format!("{NETWORK_LABEL}={name}")])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let networks = docker.list_networks(Some(options)).await;
    let mut networks = networks.map_err(|e| failure("could not list networks", &e))?;
    networks.retain(|network| network.name.as_deref() == Some(name));
    networks.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(networks)
}

/// Whether the name is taken by a network that is not ours.
pub(super) async fn check_name(docker: &Docker, name: &str) -> Result<(), Failure> {
    let networks = docker.list_networks(None::<ListNetworksOptions>).await;
    let networks = networks.map_err(|e| failure("could not list networks", &e))?;
    let is_ours = |network: &Network| network.labels.iter().any(|labels| labels.contains_key(NETWORK_LABEL));
    match networks.iter().find(|network| network.name.as_deref() == Some(name) && !is_ours(network)) {
        None => Ok(()),
        Some(_) => Err(Failure::new(format!("the engine has a network `{name}` that was not made by p2pnet"))
            .hint(format!("choose another `--network NAME`, or remove it with `docker network rm {name}`"))),
    }
}

/// Makes the network, unless it is there.
pub(super) async fn ensure(docker: &Docker, plan: &Plan) -> Result<(), Failure> {
    let name = plan.settings.network.as_str();
    if !ours(docker, name).await?.is_empty() {
        return Ok(());
    }
    let existing = docker.list_networks(None::<ListNetworksOptions>).await;
    let existing = existing.map_err(|e| failure("could not list networks", &e))?;
    let mut taken: Vec<Subnet> = existing.iter().flat_map(subnets_of).collect();
    taken.extend(routes(&fs::read_to_string("/proc/net/route").unwrap_or_default()));
    let turn =
        blake3::hash(name.as_bytes()).as_bytes()[..4].iter().fold(0, |turn, byte| turn << 8 | usize::from(*byte));
    let mut refused = "no free private subnet is left".to_owned();
    for subnet in free(&taken, turn).into_iter().take(SUBNET_TRIES) {
        match docker.create_network(request(plan, subnet)).await {
            Ok(made) => return keep_first(docker, name, &made.id).await,
            // Somebody was quicker: with this subnet, or with this very network.
            Err(error) if !ours(docker, name).await?.is_empty() => {
                tracing::debug!("network `{name}` was made meanwhile: {}", cause(&error));
                return Ok(());
            }
            Err(error) => refused = cause(&error),
        }
    }
    Err(Failure::new(format!("could not create network `{name}`: {refused}"))
        .hint("remove networks nobody uses with `docker network prune`"))
}

/// Engines allow two networks of one name. When two starts raced, both keep the one that sorts first.
async fn keep_first(docker: &Docker, name: &str, made: &str) -> Result<(), Failure> {
    let first = ours(docker, name).await?.into_iter().next().and_then(|network| network.id);
    if first.is_some_and(|first| first != made) {
        docker.remove_network(made).await.map_err(|e| failure(&format!("could not remove network {made}"), &e))?;
    }
    Ok(())
}

fn request(plan: &Plan, subnet: Subnet) -> NetworkCreateRequest {
    let name = plan.settings.network.to_string();
    NetworkCreateRequest {
        name: name.clone(),
        driver: Some("bridge".to_owned()),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig { subnet: Some(subnet.to_string()), ..Default::default() }]),
            ..Default::default()
        }),
        labels: Some(HashMap::from([
            (NETWORK_LABEL.to_owned(), name),
            (SETTINGS_LABEL.to_owned(), container::settings_label(plan)),
        ])),
        ..Default::default()
    }
}

/// Removes the network. One that is gone already is fine.
pub(super) async fn remove(docker: &Docker, name: &str) -> Result<(), Failure> {
    let mut why = String::new();
    for attempt in 0..REMOVAL_TRIES {
        if attempt > 0 {
            tokio::time::sleep(REMOVAL_PAUSE * attempt).await;
        }
        let there = ours(docker, name).await?;
        if there.is_empty() {
            return Ok(());
        }
        for id in there.iter().filter_map(|network| network.id.as_deref()) {
            match docker.remove_network(id).await {
                Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
                Err(error) => why = cause(&error),
            }
        }
    }
    if ours(docker, name).await?.is_empty() {
        return Ok(());
    }
    let guests = guests(docker, name).await;
    if !guests.is_empty() {
        let names = guests.join(" ");
        return Err(Failure::new(format!(
            "network `{name}` is still used by containers that p2pnet did not make: {names}"
        ))
        .hint(format!("remove them with `docker rm -f {names}`, then stop the network again")));
    }
    Err(Failure::new(format!("every container is gone, but the engine will not remove network `{name}`: {why}"))
        .hint("the next start uses it again; restarting the engine (`sudo systemctl restart docker`) lets it go"))
}

/// Who is attached to the network: somebody may have joined it with `docker run --network`.
async fn guests(docker: &Docker, name: &str) -> Vec<String> {
    let found = docker.inspect_network(name, None::<InspectNetworkOptions>).await;
    let guests = found.ok().and_then(|network| network.containers).unwrap_or_default();
    let mut names: Vec<String> = guests.into_values().filter_map(|guest| guest.name).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet::parse(text).unwrap()
    }

    #[test]
    fn overlaps_are_seen_whichever_is_larger() {
        for (a, b, overlap) in [
            ("10.0.0.0/8", "10.200.16.0/20", true),
            ("10.200.16.0/20", "10.200.31.255/32", true),
            ("10.200.16.0/20", "10.200.32.0/20", false),
            ("0.0.0.0/0", "192.168.0.0/16", true),
            ("172.17.0.0/16", "172.18.0.0/16", false),
        ] {
            assert_eq!(subnet(a).overlaps(subnet(b)), overlap, "{a} and {b}");
            assert_eq!(subnet(b).overlaps(subnet(a)), overlap, "{b} and {a}");
        }
        assert_eq!(subnet("10.1.2.3/20").to_string(), "10.1.0.0/20");
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "fd00::/64", "x/8"] {
            assert_eq!(Subnet::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_chosen_subnet_is_free_private_and_large_enough() {
        let taken = [subnet("10.192.0.0/10"), subnet("172.16.0.0/12")];
        let free = free(&taken, 7);
        assert!(!free.is_empty());
        for chosen in free {
            assert!(Ipv4Addr::from_bits(chosen.first).is_private(), "{chosen}");
            assert!(!taken.iter().any(|taken| taken.overlaps(chosen)), "{chosen}");
            assert_eq!(chosen.prefix, PREFIX);
        }
        assert!(super::free(&[subnet("0.0.0.0/0")], 3).is_empty());
    }

    #[test]
    fn the_kernels_routes_are_read_and_the_default_route_is_not() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(routes(table), [subnet("172.17.0.0/16")]);
        assert!(routes("garbage\nmore garbage\n").is_empty());
    }
}
