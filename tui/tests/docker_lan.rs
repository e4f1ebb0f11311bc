//! Discovery among real containers that nobody told of one another, on a bridge where another network runs.
//!
//! The engine is asked to start them as `docker run --network … p2p-node` would, and they are judged by their own HTTP.

#![allow(clippy::disallowed_methods, reason = "tests wait for the real world")]

mod support;

use std::{collections::HashMap, time::Duration};

use bollard::{
    Docker,
    models::{ContainerCreateBody, HostConfig, PortBinding},
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder},
};
use serde_json::Value;
use support::{Lab, docker_available, until};

/// How long finding one another may take: a beacon is sent every second, and the machine may be busy.
const SOON: Duration = Duration::from_secs(30);

/// Containers beside those of a lab, on its bridge and of its image; dropped, they are gone.
struct Guests<'a> {
    lab: &'a Lab,
    runtime: tokio::runtime::Runtime,
    docker: Docker,
    image: String,
    names: Vec<String>,
}

impl<'a> Guests<'a> {
    fn of(lab: &'a Lab) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let docker = Docker::connect_with_defaults().expect("the engine's socket");
        let bootstrap = format!("{}-bootstrap", lab.network);
        let bootstrap = runtime.block_on(docker.inspect_container(&bootstrap, None)).expect("the lab's bootstrap");
        let image = bootstrap.image.expect("a container has an image");
        Self { lab, runtime, docker, image, names: Vec::new() }
    }

    /// Starts `name` as a node of `network` that is told of nobody. Its port on the host is the lab's number `number`.
    fn start(&mut self, name: &str, network: &str, number: u16) {
        let port = (self.lab.base_port + number).to_string();
        let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(port) };
        let host_config = HostConfig {
            network_mode: Some(self.lab.network.clone()),
            port_bindings: Some(HashMap::from([("5000/tcp".to_owned(), Some(vec![binding]))])),
            ..Default::default()
        };
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            hostname: Some(name.to_owned()),
            env: Some(vec![format!("NODE_NAME={name}"), format!("NETWORK={network}")]),
            host_config: Some(host_config),
            ..Default::default()
        };
        let container = format!("{}-guest-{name}", self.lab.network);
        let options = CreateContainerOptionsBuilder::default().name(&container).build();
        self.names.push(container.clone());
        let (docker, runtime) = (&self.docker, &self.runtime);
        runtime.block_on(docker.create_container(Some(options), body)).expect("a container is made");
        runtime.block_on(docker.start_container(&container, None)).expect("it starts");
    }

    /// Whom the node at port `number` of the lab believes alive, itself left out, in order.
    fn peers(&self, number: u16) -> Option<Vec<String>> {
        let url = self.lab.url(number, "/members");
        let members: Value = self.runtime.block_on(async { reqwest::get(url).await.ok()?.json().await.ok() })?;
        let live = members["members"].as_array()?.iter().filter(|member| member["status"] == "alive");
        let mut names: Vec<String> = live.filter_map(|member| member["name"].as_str().map(str::to_owned)).collect();
        names.sort();
        Some(names)
    }

    fn wait_for_peers(&self, number: u16, wanted: &[&str]) {
        until(&format!("number {number} sees {wanted:?}"), SOON, || {
            self.peers(number).filter(|peers| peers == wanted).map(drop)
        });
    }
}

impl Drop for Guests<'_> {
    fn drop(&mut self) {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        for name in &self.names {
            let _ = self.runtime.block_on(self.docker.remove_container(name, Some(options.clone())));
        }
    }
}

#[test]
fn containers_that_were_told_of_nobody_find_their_own_network_on_a_shared_bridge() {
    if !docker_available() {
        return;
    }
    let lab = Lab::new("docker", 10);
    lab.start(1);
    let mut guests = Guests::of(&lab);
    let other = format!("{}-other", lab.network);
    for (number, name) in [(3, "alpha"), (4, "beta"), (5, "gamma")] {
        guests.start(name, &other, number);
    }
    guests.wait_for_peers(3, &["beta", "gamma"]);
    guests.wait_for_peers(4, &["alpha", "gamma"]);
    guests.wait_for_peers(5, &["alpha", "beta"]);

    // One more is of the network whose bridge this is: its bootstrap, which was told of nobody either, is found.
    guests.start("delta", &lab.network, 6);
    guests.wait_for_peers(6, &["bootstrap", "node1"]);
    guests.wait_for_peers(0, &["delta", "node1"]);
    // All of them hear each other's beacons, and the two networks stay two.
    guests.wait_for_peers(3, &["beta", "gamma"]);
    guests.wait_for_peers(1, &["bootstrap", "delta"]);
    drop(guests);
    lab.ok(&["stop-network"]);
}
