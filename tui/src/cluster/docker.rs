//! One container a node, through the engine's API. The only place that knows bollard.
//!
//! ```text
//! room.rs      room in the host's kernel
//! connect.rs   which socket          image.rs   the running executable as an image     container.rs  a unit <-> a container
//!                                    network.rs bridge, subnet chosen free             events.rs     events <-> happenings
//! ```
//! Two things of the client to know: it opens a connection per request and caps nothing, so callers bound what they have in
//! flight; and up to 0.21 it asks in the engine's own API version whatever was negotiated, so every field may be missing
//! and is read as such.

mod connect;
mod container;
mod events;
mod image;
mod network;
mod room;

use std::{collections::HashMap, path::Path, time::Duration};

use async_trait::async_trait;
use bollard::{
    errors::Error,
    models::ContainerSummary,
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
        ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
        RestartContainerOptionsBuilder, StartContainerOptions,
    },
};
use futures_util::{StreamExt, stream::BoxStream};
use p2pnet_shared::NetworkName;
use tokio::sync::OnceCell;

use super::{
    UnitState,
    engine::{Action, Draft, Engine, Found, Happening, Held, Plan},
    ports,
};
use crate::{failure::Failure, verb::Signal};

use container::Security;

const NETWORK_LABEL: &str = "p2pnet.network";
const NAME_LABEL: &str = "p2pnet.name";
const ROLE_LABEL: &str = "p2pnet.role";
const SETTINGS_LABEL: &str = "p2pnet.settings";

/// How long a node that is restarted has to say goodbye.
const GOODBYE_SECONDS: i32 = 5;

/// A removal that somebody else began is waited for this long.
const REMOVAL_DEADLINE: Duration = Duration::from_secs(20);
const REMOVAL_LOOK: Duration = Duration::from_millis(100);

/// An engine that answered.
#[derive(Debug)]
pub(super) struct Docker {
    connected: connect::Connected,
    security: OnceCell<Security>,
}

/// An error with everything behind it, on one line: the outermost alone says no more than `client error (Connect)`.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(Error::DockerResponseServerError { message, .. }) = error.downcast_ref::<Error>() {
        return message.trim().to_owned();
    }
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = inner.source();
    }
    words
}

fn failure(what: &str, error: &Error) -> Failure {
    Failure::new(format!("{what}: {}", cause(error)))
}

/// What the engine said no with.
fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

impl Docker {
    pub(super) async fn connect() -> Result<Self, Failure> {
        Ok(Self { connected: connect::connect().await?, security: OnceCell::new() })
    }

    fn client(&self) -> &bollard::Docker {
        &self.connected.client
    }

    async fn containers(&self, filters: HashMap<&str, Vec<String>>) -> Result<Vec<ContainerSummary>, Failure> {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = self.client().list_containers(Some(options)).await;
        listed.map_err(|error| failure(&format!("{} does not list its containers", self.describe()), &error))
    }

    fn of_network(network: &NetworkName) -> HashMap<&'static str, Vec<String>> {
        HashMap::from([("label", vec![format!("{NETWORK_LABEL}={network}")])])
    }

    /// Asked once: it does not change while an engine runs.
    async fn security(&self) -> Result<Security, Failure> {
        let ask = || async {
            let info = self.client().info().await.map_err(|e| failure("the engine does not describe itself", &e))?;
            let options = info.security_options.unwrap_or_default();
            let has = |name: &str| options.iter().any(|option| option.contains(name));
            Ok(Security { rootless: has("name=rootless"), selinux: has("name=selinux") })
        };
        self.security.get_or_try_init(ask).await.copied()
    }

    /// Whether the engine runs on this host, so that its ports are our ports.
    fn is_local(&self) -> bool {
        self.connected.host.starts_with("unix://")
    }

    async fn secret_of(&self, container: &str) -> Result<Option<String>, Failure> {
        let found = self.client().inspect_container(container, None::<InspectContainerOptions>).await;
        let found = found.map_err(|error| failure("could not read the network's secret", &error))?;
        Ok(found.config.and_then(|config| container::secret_in(&config.env?)))
    }

    fn check_names(plan: &Plan, drafts: &[Draft], all: &[ContainerSummary]) -> Result<(), Failure> {
        let network = &plan.settings.network;
        let taken: HashMap<&str, &ContainerSummary> = all
            .iter()
            .flat_map(|container| container.names.iter().flatten().map(move |name| (name.as_str(), container)))
            .collect();
        for draft in drafts {
            let name = container::container_name(network, &draft.name);
            let Some(container) = taken.get(format!("/{name}").as_str()) else { continue };
            let image = container.image.as_deref().unwrap_or("an unknown image");
            return Err(Failure::new(format!(
                "could not create container `{name}`: a container of that name, made from {image}, is not part of this network"
            ))
            .hint(format!(
                "remove it with `docker rm -f {name}`, or choose another `--network NAME`: its containers are named NAME-{}",
                draft.name
            )));
        }
        Ok(())
    }

    fn check_ports(&self, plan: &Plan, drafts: &[Draft], all: &[ContainerSummary]) -> Result<(), Failure> {
        let publisher = |port: u16| {
            let publishes = |container: &&ContainerSummary| {
                container.ports.iter().flatten().any(|open| open.public_port == Some(port))
            };
            all.iter().find(publishes)?.names.as_ref()?.first().map(|name| name.trim_start_matches('/').to_owned())
        };
        for draft in drafts {
            let Some(address) = draft.address(&plan.settings) else { continue };
            let name = container::container_name(&plan.settings.network, &draft.name);
            let trouble = match publisher(address.port()) {
                Some(owner) => Some(format!("port {} is already in use by container `{owner}`", address.port())),
                None if self.is_local() => {
                    let bound = std::net::SocketAddr::new(plan.settings.bind, address.port());
                    ports::trouble(bound, ports::Wanted::ByEngine)
                }
                None => None,
            };
            if let Some(trouble) = trouble {
                return Err(Failure::new(format!("could not start container `{name}`: {trouble}")).hint(PORT_HINT));
            }
        }
        Ok(())
    }

    async fn start(&self, id: &str) -> Result<(), Failure> {
        self.client().start_container(id, None::<StartContainerOptions>).await.map_err(|error| {
            let failure = failure("the engine refused", &error);
            let words = failure.error.as_str();
            if words.contains("port is already allocated") || words.contains("address already in use") {
                failure.hint(PORT_HINT)
            } else {
                failure.hint("`p2pnet doctor` shows what the host lacks; starting again makes what is missing")
            }
        })
    }

    async fn kill(&self, id: &str, signal: Signal) -> Result<(), Failure> {
        let signal = match signal {
            Signal::Kill => "SIGKILL",
            Signal::Term => "SIGTERM",
        };
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.client().kill_container(id, Some(options)).await {
            // 409: it ended by itself between the list and now.
            Err(error) if status(&error) != Some(409) => Err(failure("the engine refused", &error)),
            _ => Ok(()),
        }
    }

    async fn restart(&self, held: &Held) -> Result<(), Failure> {
        match held.unit.state {
            UnitState::Created | UnitState::Dead | UnitState::Left => return self.start(&held.handle).await,
            UnitState::Paused => self.resume(&held.handle).await?,
            UnitState::Up => {}
        }
        let options = RestartContainerOptionsBuilder::default().t(GOODBYE_SECONDS).build();
        let restarted = self.client().restart_container(&held.handle, Some(options)).await;
        restarted.map_err(|error| failure("the engine refused", &error))
    }

    async fn resume(&self, id: &str) -> Result<(), Failure> {
        self.client().unpause_container(id).await.map_err(|error| failure("the engine refused", &error))
    }

    async fn remove(&self, id: &str) -> Result<(), Failure> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.client().remove_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if status(&error) == Some(404) => Ok(()),
            // Somebody else is removing it: done when it is gone.
            Err(error) if status(&error) == Some(409) => self.wait_until_gone(id, &error).await,
            Err(error) => Err(failure("the engine refused", &error)),
        }
    }

    async fn wait_until_gone(&self, id: &str, why: &Error) -> Result<(), Failure> {
        let gone = async {
            loop {
                let found = self.client().inspect_container(id, None::<InspectContainerOptions>).await;
                if found.is_err_and(|error| status(&error) == Some(404)) {
                    return;
                }
                tokio::time::sleep(REMOVAL_LOOK).await;
            }
        };
        tokio::time::timeout(REMOVAL_DEADLINE, gone).await.map_err(|_| failure("the engine refused", why))
    }
}

const PORT_HINT: &str =
    "another network may be running; stop it with `p2pnet stop-network` or choose ports with `--base-port 8000`";

#[async_trait]
impl Engine for Docker {
    fn kind(&self) -> &'static str {
        "docker"
    }

    fn describe(&self) -> String {
        let connect::Connected { host, version, api, .. } = &self.connected;
        format!("docker {host} · engine {version} · API {api}")
    }

    async fn find(&self, network: &NetworkName) -> Result<Option<Found>, Failure> {
        let containers = self.containers(Self::of_network(network)).await?;
        let networks = network::ours(self.client(), network.as_str()).await?;
        let label = |labels: Option<&HashMap<String, String>>| {
            labels?.get(SETTINGS_LABEL).and_then(|label| container::parse_settings_label(label))
        };
        // The gateway's label is as young as the containers; the network may be left from an earlier start.
        let plan = containers
            .iter()
            .find_map(|container| label(container.labels.as_ref()))
            .or_else(|| networks.iter().find_map(|network| label(network.labels.as_ref())));
        let Some((mut plan, sealed)) = plan else { return Ok(None) };
        if let Some(container) = containers.first() {
            plan.program = container.image_id.clone().unwrap_or_default();
            if let Some(id) = container.id.as_deref().filter(|_| sealed) {
                plan.settings.secret = self.secret_of(id).await?;
            }
        }
        Ok(Some(Found { plan, is_empty: containers.is_empty() }))
    }

    async fn list(&self, plan: &Plan) -> Result<Vec<Held>, Failure> {
        let containers = self.containers(Self::of_network(&plan.settings.network)).await?;
        Ok(containers.into_iter().filter_map(|container| container::held(&plan.settings, container)).collect())
    }

    async fn preflight(&self, plan: &Plan, drafts: &[Draft]) -> Result<(), Failure> {
        let all = self.containers(HashMap::new()).await?;
        Self::check_names(plan, drafts, &all)?;
        network::check_name(self.client(), plan.settings.network.as_str()).await?;
        self.check_ports(plan, drafts, &all)
    }

    async fn prepare(&self, plan: &Plan, binary: &Path) -> Result<String, Failure> {
        let program = match plan.program.as_str() {
            // A network that grows goes on with the image it began with.
            image if image.starts_with("sha256:") => image.to_owned(),
            _ => image::ensure(self.client(), binary).await?,
        };
        network::ensure(self.client(), plan).await?;
        self.security().await?;
        Ok(program)
    }

    async fn make_room(&self, plan: &Plan, nodes: u64) -> Result<(), Failure> {
        if self.is_local() {
            room::make(self.client(), &plan.program, &plan.settings.network, nodes).await?;
        }
        Ok(())
    }

    async fn create(&self, plan: &Plan, draft: &Draft) -> Result<(), Failure> {
        let name = container::container_name(&plan.settings.network, &draft.name);
        let body = container::body(plan, draft, self.security().await?);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        match self.client().create_container(Some(options), body).await {
            Ok(_) => Ok(()),
            // The name is taken: fine if it is by another start of this very network.
            Err(error) if status(&error) == Some(409) => {
                let there = self.list(plan).await?;
                let ours = there.iter().any(|held| held.unit.name == draft.name);
                if ours { Ok(()) } else { Err(failure("the engine refused", &error)) }
            }
            Err(error) => Err(failure("the engine refused", &error)),
        }
    }

    async fn act(&self, _plan: &Plan, held: &Held, action: Action) -> Result<(), Failure> {
        let id = held.handle.as_str();
        match action {
            Action::Start => self.start(id).await,
            Action::End(signal) => self.kill(id, signal).await,
            Action::Restart => self.restart(held).await,
            Action::Pause => {
                self.client().pause_container(id).await.map_err(|error| failure("the engine refused", &error))
            }
            Action::Resume => self.resume(id).await,
            Action::Remove => self.remove(id).await,
        }
    }

    async fn last_words(&self, _plan: &Plan, held: &Held) -> Option<String> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("5").build();
        let mut lines = self.client().logs(&held.handle, Some(options));
        let mut words = String::new();
        while let Some(Ok(line)) = lines.next().await {
            words.push_str(&String::from_utf8_lossy(&line.into_bytes()));
        }
        Some(words.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|words| !words.is_empty())
    }

    async fn release(&self, plan: &Plan) -> Result<(), Failure> {
        network::remove(self.client(), plan.settings.network.as_str()).await
    }

    async fn recall(&self, plan: &Plan) -> Vec<Happening> {
        events::recall(self.client(), &plan.settings.network).await
    }

    fn changes(&self, plan: &Plan) -> BoxStream<'static, Result<Happening, Failure>> {
        events::follow(self.client(), &plan.settings.network)
    }
}
