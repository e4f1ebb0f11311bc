//! The same containers without p2pnet: bare `create` and `start` calls, eight in flight, nobody waited for.
//!
//! What to create is read off the running network's own containers, so that image, command, environment, ports, folders
//! and limits are the same to the letter.

use std::{collections::HashMap, time::Instant};

use bollard::{
    Docker,
    models::{ContainerCreateBody, NetworkCreateRequest},
    query_parameters::{CreateContainerOptionsBuilder, ListContainersOptionsBuilder},
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::support::Lab;

/// What `docker run`'s users would keep in flight, and what p2pnet does.
const IN_FLIGHT: usize = 8;

/// Every container of a network, ready to be made again.
pub(crate) struct Bare {
    docker: Docker,
    network: String,
    bodies: Vec<(String, ContainerCreateBody)>,
}

/// Reads the containers of `lab`'s network.
///
/// # Panics
/// When the engine does not answer; the network runs, so it does.
pub(crate) async fn read(lab: &Lab) -> Bare {
    let docker = Docker::connect_with_defaults().expect("the engine's socket");
    let docker = docker.negotiate_version().await.expect("the engine answers");
    let filters = HashMap::from([("label", vec![format!("p2pnet.network={}", lab.network)])]);
    let listed = docker.list_containers(Some(ListContainersOptionsBuilder::default().filters(&filters).build()));
    let mut bodies = Vec::new();
    for container in listed.await.expect("the engine lists containers") {
        let id = container.id.expect("a container has an id");
        let found = docker.inspect_container(&id, None).await.expect("the container is there");
        let name = found.name.clone().expect("a container has a name").trim_start_matches('/').to_owned();
        let mut body = serde_json::to_value(found.config.expect("a config")).expect("JSON");
        let host_name = body["Hostname"].clone();
        body["HostConfig"] = serde_json::to_value(found.host_config.expect("a host config")).expect("JSON");
        let mut endpoints = serde_json::Map::new();
        endpoints.insert(lab.network.clone(), json!({"Aliases": [host_name]}));
        body["NetworkingConfig"] = json!({"EndpointsConfig": Value::Object(endpoints)});
        bodies.push((name, serde_json::from_value(body).expect("what was made can be made again")));
    }
    Bare { docker, network: lab.network.clone(), bodies }
}

impl Bare {
    /// Makes and starts them all, in milliseconds. `p2pnet stop-network` removes them: they carry the network's labels.
    pub(crate) async fn create_and_start(&self) -> f64 {
        let started = Instant::now();
        let network = NetworkCreateRequest {
            name: self.network.clone(),
            driver: Some("bridge".to_owned()),
            labels: Some(HashMap::from([("p2pnet.network".to_owned(), self.network.clone())])),
            ..Default::default()
        };
        self.docker.create_network(network).await.expect("a network can be made");
        stream::iter(&self.bodies)
            .for_each_concurrent(IN_FLIGHT, async |(name, body)| {
                let options = CreateContainerOptionsBuilder::default().name(name).build();
                self.docker.create_container(Some(options), body.clone()).await.expect("a container can be made");
            })
            .await;
        stream::iter(&self.bodies)
            .for_each_concurrent(IN_FLIGHT, async |(name, _)| {
                self.docker.start_container(name, None).await.expect("a container can be started");
            })
            .await;
        started.elapsed().as_secs_f64() * 1000.0
    }
}
