//! A unit as a container: what it is made of, what it is labelled with, and how a list's lines are read.
//!
//! Not root, nothing writable but the two folders, no capability, no way to gain one; bounded memory and pids. CPU is shared
//! by weight and never cut off by a quota: a quota freezes a node for most of every tenth of a second, and the others would
//! call it dead. No health check, no restart policy: what dies stays dead, that is what we watch.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use bollard::models::{
    ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum, EndpointSettings, HostConfig,
    HostConfigLogConfig, Mount, MountType, NetworkingConfig, PortBinding,
};
use p2pnet_shared::{NetworkName, NodeName};
use serde::{Deserialize, Serialize};

use super::{NAME_LABEL, NETWORK_LABEL, ROLE_LABEL, SETTINGS_LABEL};
use crate::cluster::{
    MEMORY, Role, Settings, Unit, UnitState,
    engine::{Draft, Held, Plan},
    folders,
};

/// The network whose containers have no prefix to their names.
const PLAIN_NETWORK: &str = "p2p_network";

/// The port a unit listens on inside its container.
const PORT: u16 = 5000;

/// A node rests at 6 MB; this is what it may grow to while it moves files, page cache included.
const NODE_MEMORY_BYTES: i64 = 256 << 20;
/// The gateway holds the histories of a thousand nodes.
const GATEWAY_MEMORY_BYTES: i64 = 1 << 30;
/// Threads, mostly those that wait for the disk.
const PIDS: i64 = 256;
/// Weights, of 1024 by default: what shows the network stays live while the nodes are busy.
const NODE_CPU_WEIGHT: i64 = 512;
const GATEWAY_CPU_WEIGHT: i64 = 2048;

/// What the engine does differently from the default one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Security {
    /// Its root is this user: root inside a container is the caller outside.
    pub(super) rootless: bool,
    /// SELinux keeps containers from the caller's folders.
    pub(super) selinux: bool,
}

/// What a network's label holds: the plan without what must not be read off a label.
#[derive(Debug, Serialize, Deserialize)]
struct SettingsLabel {
    settings: Settings,
    token: String,
    /// There is a secret; it is in the containers' environment.
    sealed: bool,
}

/// The plan as a label.
pub(super) fn settings_label(plan: &Plan) -> String {
    let settings = Settings { secret: None, ..plan.settings.clone() };
    let label = SettingsLabel { settings, token: plan.token.clone(), sealed: plan.settings.secret.is_some() };
    serde_json::to_string(&label).expect("settings are plain data")
}

/// A label as a plan, and whether a secret belongs to it.
pub(super) fn parse_settings_label(label: &str) -> Option<(Plan, bool)> {
    let SettingsLabel { settings, token, sealed } = serde_json::from_str(label).ok()?;
    Some((Plan { settings, token, program: String::new() }, sealed))
}

/// `node7`, or `NETWORK-node7` on any but the default network.
pub(super) fn container_name(network: &NetworkName, name: &NodeName) -> String {
    if network.as_str() == PLAIN_NETWORK { name.to_string() } else { format!("{network}-{name}") }
}

/// Everything the engine needs to make the unit.
pub(super) fn body(plan: &Plan, draft: &Draft, security: Security) -> ContainerCreateBody {
    let settings = &plan.settings;
    let network = settings.network.to_string();
    let endpoint = EndpointSettings { aliases: Some(vec![draft.name.to_string()]), ..Default::default() };
    let command = if draft.role == Role::Gateway { "gateway" } else { "node" };
    ContainerCreateBody {
        hostname: Some(draft.name.to_string()),
        image: Some(plan.program.clone()),
        cmd: Some(vec![command.to_owned()]),
        env: Some(environment(plan, draft)),
        labels: Some(labels(plan, draft)),
        user: Some(user(security)),
        exposed_ports: Some(vec![format!("{PORT}/tcp")]),
        host_config: Some(host_config(settings, draft, security)),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(network, endpoint)])) }),
        ..Default::default()
    }
}

fn environment(plan: &Plan, draft: &Draft) -> Vec<String> {
    let settings = &plan.settings;
    let mut env = vec![format!("NETWORK={}", settings.network), format!("PORT={PORT}")];
    match draft.role {
        Role::Gateway => env.push(format!("GATEWAY_TOKEN={}", plan.token)),
        Role::Bootstrap | Role::Node => {
            env.push(format!("NODE_NAME={}", draft.name));
            env.push(format!("GATEWAY=gateway:{PORT}"));
            env.push(format!("PUSH={}", settings.push.as_str()));
            env.push(format!("VNODES={}", settings.vnodes()));
            env.extend(["DATA_DIR=/data".to_owned(), "SYNC_DIR=/sync".to_owned()]);
            env.extend(settings.egress.map(|bytes| format!("EGRESS={bytes}")));
            env.extend(MEMORY.map(|(name, value)| format!("{name}={value}")));
        }
    }
    if draft.role == Role::Node {
        env.push(format!("BOOTSTRAP=http://bootstrap:{PORT}"));
    }
    env.extend(settings.secret.as_ref().map(|secret| format!("{SECRET}={secret}")));
    env
}

/// The variable that carries the secret.
const SECRET: &str = "CLUSTER_SECRET";

/// The secret among a container's environment.
pub(super) fn secret_in(env: &[String]) -> Option<String> {
    env.iter().find_map(|line| line.strip_prefix(SECRET)?.strip_prefix('=').map(str::to_owned))
}

fn labels(plan: &Plan, draft: &Draft) -> HashMap<String, String> {
    let role = match draft.role {
        Role::Bootstrap => "bootstrap",
        Role::Node => "node",
        Role::Gateway => "gateway",
    };
    let mut labels = HashMap::from([
        (NETWORK_LABEL.to_owned(), plan.settings.network.to_string()),
        (NAME_LABEL.to_owned(), draft.name.to_string()),
        (ROLE_LABEL.to_owned(), role.to_owned()),
    ]);
    if draft.role == Role::Gateway {
        labels.insert(SETTINGS_LABEL.to_owned(), settings_label(plan));
    }
    labels
}

/// The caller, so that what a node writes is the caller's. Under sudo that is who called sudo.
fn user(security: Security) -> String {
    if security.rootless {
        return "0:0".to_owned();
    }
    let (uid, gid) = folders::caller();
    format!("{uid}:{gid}")
}

fn host_config(settings: &Settings, draft: &Draft, security: Security) -> HostConfig {
    let is_gateway = draft.role == Role::Gateway;
    let memory = if is_gateway { GATEWAY_MEMORY_BYTES } else { NODE_MEMORY_BYTES };
    let mut security_opt = vec!["no-new-privileges".to_owned()];
    if security.selinux {
        security_opt.push("label=disable".to_owned());
    }
    HostConfig {
        network_mode: Some(settings.network.to_string()),
        port_bindings: published(settings, draft)
            .map(|binding| HashMap::from([(format!("{PORT}/tcp"), Some(vec![binding]))])),
        mounts: (!is_gateway).then(|| mounts(settings, draft)),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(security_opt),
        memory: Some(memory),
        memory_swap: Some(memory),
        pids_limit: Some(PIDS),
        cpu_shares: Some(if is_gateway { GATEWAY_CPU_WEIGHT } else { NODE_CPU_WEIGHT }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("local".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), "1m".to_owned()),
                ("max-file".to_owned(), "2".to_owned()),
            ])),
        }),
        init: Some(false),
        ipc_mode: Some("none".to_owned()),
        ..Default::default()
    }
}

/// The gateway's port is the engine's to choose, and always on loopback; a node's follows from its number.
fn published(settings: &Settings, draft: &Draft) -> Option<PortBinding> {
    let (ip, port) = match draft.role {
        Role::Gateway => (IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        Role::Bootstrap | Role::Node => (settings.bind, draft.address(settings)?.port()),
    };
    Some(PortBinding { host_ip: Some(ip.to_string()), host_port: Some(port.to_string()) })
}

fn mounts(settings: &Settings, draft: &Draft) -> Vec<Mount> {
    let folder = folders::node_dir(settings, &draft.name);
    let mount = |part: &str| Mount {
        typ: Some(MountType::BIND),
        source: Some(folder.join(part).display().to_string()),
        target: Some(format!("/{part}")),
        ..Default::default()
    };
    vec![mount("data"), mount("sync")]
}

/// A line of the list as a unit; `None` for what is not ours or has labels we did not write.
pub(super) fn held(settings: &Settings, container: ContainerSummary) -> Option<Held> {
    let labels = container.labels?;
    let (name, role) = identity(&settings.network, &labels)?;
    let draft = Draft { name: name.clone(), role };
    let open = container.ports.iter().flatten().find(|port| port.private_port == PORT && port.public_port.is_some());
    let address = open.and_then(|open| {
        let ip = open.ip.as_deref().and_then(|ip| ip.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Some(SocketAddr::new(reachable(ip), open.public_port?))
    });
    let unit = Unit {
        name,
        role,
        state: state(container.state?, container.status.as_deref().unwrap_or_default()),
        address: address.or_else(|| draft.address(settings)),
        since: None,
    };
    Some(Held { unit, handle: container.id? })
}

/// From this host, `0.0.0.0` is reached on loopback.
fn reachable(ip: IpAddr) -> IpAddr {
    if ip.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip }
}

/// Who a container is, by its labels.
pub(super) fn identity(network: &NetworkName, labels: &HashMap<String, String>) -> Option<(NodeName, Role)> {
    if labels.get(NETWORK_LABEL)? != network.as_str() {
        return None;
    }
    let role = match labels.get(ROLE_LABEL)?.as_str() {
        "bootstrap" => Role::Bootstrap,
        "node" => Role::Node,
        "gateway" => Role::Gateway,
        _ => return None,
    };
    Some((labels.get(NAME_LABEL)?.parse().ok()?, role))
}

/// How a container is. Only the status text of a list has the exit code: `Exited (137) 5 seconds ago`.
fn state(state: ContainerSummaryStateEnum, status: &str) -> UnitState {
    use ContainerSummaryStateEnum as Engine;
    match state {
        Engine::EMPTY | Engine::CREATED => UnitState::Created,
        Engine::RUNNING | Engine::RESTARTING => UnitState::Up,
        Engine::PAUSED => UnitState::Paused,
        Engine::EXITED => ended(exit_code(status)),
        Engine::REMOVING | Engine::DEAD | Engine::STOPPING => UnitState::Dead,
    }
}

/// Exit code 0 is a goodbye; everything else, also what is not known, is a death.
pub(super) fn ended(exit_code: Option<i64>) -> UnitState {
    if exit_code == Some(0) { UnitState::Left } else { UnitState::Dead }
}

fn exit_code(status: &str) -> Option<i64> {
    status.strip_prefix("Exited (")?.split_once(')')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::engine::Draft;

    fn plan(network: &str) -> Plan {
        let settings = Settings {
            network: network.parse().unwrap(),
            base_port: 8000,
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            data: "/tmp/x".into(),
            publish: true,
            secret: Some("hush".to_owned()),
            push: crate::cluster::Push::Flood,
            vnodes: Some(32),
            egress: Some(6_000_000),
        };
        Plan { settings, token: "t0k".to_owned(), program: "sha256:1".to_owned() }
    }

    #[test]
    fn a_plan_survives_its_label_and_the_secret_is_not_in_it() {
        let plan = plan("lab");
        let label = settings_label(&plan);
        assert!(!label.contains("hush"), "{label}");
        let (found, sealed) = parse_settings_label(&label).unwrap();
        assert!(sealed);
        assert_eq!(found.settings, Settings { secret: None, ..plan.settings.clone() });
        assert_eq!(found.token, "t0k");
        let env = environment(&plan, &Draft::node(1));
        assert_eq!(secret_in(&env).as_deref(), Some("hush"));
        let later = environment(&Plan { settings: found.settings, ..plan.clone() }, &Draft::node(101));
        for line in ["PUSH=flood", "VNODES=32", "EGRESS=6000000", "MALLOC_ARENA_MAX=1"] {
            assert!(
                env.contains(&line.to_owned()) && later.contains(&line.to_owned()),
                "{line} also of nodes added later"
            );
        }
        assert!(parse_settings_label("{}").is_none());
    }

    #[test]
    fn a_label_from_before_there_was_a_choice_means_64_vnodes() {
        let label = settings_label(&plan("lab")).replace(",\"vnodes\":32", "");
        assert!(!label.contains("vnodes"));
        let (found, _) = parse_settings_label(&label).unwrap();
        assert_eq!(found.settings.vnodes(), 64);
        assert!(environment(&found, &Draft::bootstrap()).contains(&"VNODES=64".to_owned()));
    }

    #[test]
    fn names_are_prefixed_on_every_network_but_the_default_one() {
        let node = NodeName::numbered(7);
        assert_eq!(container_name(&"p2p_network".parse().unwrap(), &node), "node7");
        assert_eq!(container_name(&"lab".parse().unwrap(), &node), "lab-node7");
        let body = body(&plan("lab"), &Draft::node(7), Security::default());
        assert_eq!(body.hostname.as_deref(), Some("node7"), "inside, a host is always node7");
        let endpoints = body.networking_config.unwrap().endpoints_config.unwrap();
        assert_eq!(endpoints["lab"].aliases.as_deref(), Some(&["node7".to_owned()][..]));
    }

    #[test]
    fn a_container_can_do_nothing_but_its_work() {
        let host = body(&plan("lab"), &Draft::node(7), Security::default()).host_config.unwrap();
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert!(host.memory.is_some() && host.pids_limit.is_some());
        assert_eq!((host.cpu_quota, host.nano_cpus, host.restart_policy), (None, None, None));
        let binding = host.port_bindings.unwrap()["5000/tcp"].clone().unwrap().remove(0);
        assert_eq!((binding.host_ip.unwrap(), binding.host_port.unwrap()), ("0.0.0.0".to_owned(), "8007".to_owned()));
    }

    #[test]
    fn the_bootstrap_has_no_bootstrap_and_the_gateway_no_folders() {
        let bootstrap = environment(&plan("lab"), &Draft::bootstrap());
        assert!(!bootstrap.iter().any(|line| line.starts_with("BOOTSTRAP=")));
        let gateway = body(&plan("lab"), &Draft::gateway(), Security::default());
        assert_eq!(gateway.cmd, Some(vec!["gateway".to_owned()]));
        let host = gateway.host_config.unwrap();
        assert_eq!(host.mounts, None);
        let binding = host.port_bindings.unwrap()["5000/tcp"].clone().unwrap().remove(0);
        assert_eq!((binding.host_ip.unwrap(), binding.host_port.unwrap()), ("127.0.0.1".to_owned(), "0".to_owned()));
    }

    #[test]
    fn a_lists_status_tells_leaving_from_dying() {
        use ContainerSummaryStateEnum as Engine;
        for (engine, status, expected) in [
            (Engine::CREATED, "Created", UnitState::Created),
            (Engine::RUNNING, "Up 5 seconds", UnitState::Up),
            (Engine::PAUSED, "Up 5 seconds (Paused)", UnitState::Paused),
            (Engine::EXITED, "Exited (0) 2 minutes ago", UnitState::Left),
            (Engine::EXITED, "Exited (137) 2 minutes ago", UnitState::Dead),
            (Engine::EXITED, "Exited (", UnitState::Dead),
            (Engine::DEAD, "Dead", UnitState::Dead),
        ] {
            assert_eq!(state(engine, status), expected, "{status}");
        }
    }

    #[test]
    fn a_line_of_the_list_is_read_and_a_stranger_is_not_ours() {
        let plan = plan("lab");
        let labels = labels(&plan, &Draft::node(7));
        let line = ContainerSummary {
            id: Some("abc".to_owned()),
            labels: Some(labels),
            state: Some(ContainerSummaryStateEnum::EXITED),
            status: Some("Exited (137) 1 second ago".to_owned()),
            ..Default::default()
        };
        let unit = held(&plan.settings, line.clone()).unwrap().unit;
        assert_eq!((unit.name.as_str(), unit.state), ("node7", UnitState::Dead));
        assert_eq!(unit.address, Some("127.0.0.1:8007".parse().unwrap()), "known also while it is down");
        let other = Settings { network: "other".parse().unwrap(), ..plan.settings };
        assert!(held(&other, line).is_none());
    }
}
