//! Room for a network in the host's kernel: raises the neighbour table where it is too small.
//!
//! Where p2pnet may write the limit itself it does. It is seldom root, though, and whoever may start containers may start
//! one in the host's network that writes it: for a moment a container of our own image runs `p2pnet raise-limits`, without
//! any capability, and is removed. The table stays raised until the next boot: it costs nothing while it is empty,
//! and lowering it could hurt whoever else came to need it.

use bollard::{
    Docker,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        CreateContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
        WaitContainerOptions,
    },
};
use futures_util::{StreamExt, TryStreamExt};
use p2pnet_shared::NetworkName;

use super::{cause, container::container_name};
use crate::{cluster::limits, failure::Failure};

/// Makes room for `nodes` nodes. Does nothing where there is enough, or where the limit cannot be read: then the engine is
/// not on this kernel.
pub(super) async fn make(docker: &Docker, image: &str, network: &NetworkName, nodes: u64) -> Result<(), Failure> {
    let limit = limits::neighbours(nodes);
    if limit.is_met() {
        return Ok(());
    }
    let needed = limit.needed;
    if limits::raise_neighbours(needed).is_ok() {
        return Ok(());
    }
    raise(docker, image, network, needed).await.map_err(|why| {
        let current = limit.current.unwrap_or_default();
        let error = format!(
            "the host's neighbour table holds {current} entries, {nodes} nodes need {needed}, and it could not be raised: {why}"
        );
        Failure::new(error).hint(format!("raise it with `{}`, or start up to 30 nodes with `--nodes 30`", limit.mend))
    })
}

async fn raise(docker: &Docker, image: &str, network: &NetworkName, entries: u64) -> Result<(), String> {
    let name = container_name(network, &"limits".parse().expect("`limits` is a valid name"));
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["raise-limits".to_owned(), entries.to_string()]),
        user: Some("0:0".to_owned()),
        host_config: Some(HostConfig {
            network_mode: Some("host".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            // The engine makes `/proc/sys` read-only unless told otherwise; its files let root write, capable or not.
            readonly_paths: Some(Vec::new()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let made = docker.create_container(Some(options), body).await.map_err(|error| cause(&error))?;
    let ended = run_to_end(docker, &made.id).await;
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    let removed = docker.remove_container(&made.id, Some(options)).await.map_err(|error| cause(&error));
    ended.and(removed)
}

async fn run_to_end(docker: &Docker, id: &str) -> Result<(), String> {
    docker.start_container(id, None::<StartContainerOptions>).await.map_err(|error| cause(&error))?;
    // An exit code other than 0 comes as an error.
    let ended: Result<Vec<_>, _> = docker.wait_container(id, None::<WaitContainerOptions>).try_collect().await;
    match ended {
        Ok(_) => Ok(()),
        Err(error) => {
            let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("5").build();
            let mut lines = docker.logs(id, Some(options));
            let mut words = String::new();
            while let Some(Ok(line)) = lines.next().await {
                words.push_str(String::from_utf8_lossy(&line.into_bytes()).trim());
            }
            Err(if words.is_empty() { cause(&error) } else { words })
        }
    }
}
