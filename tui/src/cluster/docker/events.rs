//! What the engine tells without being asked: its stream of container events, read as happenings.

use std::collections::HashMap;

use bollard::{
    Docker,
    models::EventMessage,
    query_parameters::{EventsOptions, EventsOptionsBuilder},
};
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use p2pnet_shared::{NetworkName, UnixMillis};

use super::{NETWORK_LABEL, container, failure};
use crate::{
    cluster::{UnitState, engine::Happening, watch},
    failure::Failure,
};

/// Only what changes a unit's state, and only of this network: engines report every `exec` and health check otherwise.
const ACTIONS: [&str; 6] = ["create", "start", "die", "pause", "unpause", "destroy"];

fn options(network: &NetworkName) -> EventsOptionsBuilder {
    let filters = HashMap::from([
        ("type", vec!["container".to_owned()]),
        ("event", ACTIONS.map(str::to_owned).to_vec()),
        ("label", vec![format!("{NETWORK_LABEL}={network}")]),
    ]);
    EventsOptionsBuilder::default().filters(&filters)
}

/// The form engines take: seconds and a fraction.
fn stamp(at: UnixMillis) -> String {
    format!("{}.{:03}", at.0 / 1000, at.0 % 1000)
}

/// From now on. The engine replays what happens until the stream stands, so nothing falls into the gap.
pub(super) fn follow(docker: &Docker, network: &NetworkName) -> BoxStream<'static, Result<Happening, Failure>> {
    let options = options(network).since(&stamp(watch::now())).build();
    read(docker.clone(), network.clone(), options)
}

/// What the engine still remembers: the last few hundred events, of everything it runs.
pub(super) async fn recall(docker: &Docker, network: &NetworkName) -> Vec<Happening> {
    let options = options(network).since("1").until(&stamp(watch::now())).build();
    let remembered: Result<Vec<Happening>, Failure> =
        read(docker.clone(), network.clone(), options).try_collect().await;
    // Only how long ago something happened is lost without it.
    remembered.unwrap_or_default()
}

fn read(
    docker: Docker,
    network: NetworkName,
    options: EventsOptions,
) -> BoxStream<'static, Result<Happening, Failure>> {
    let happenings = async_stream(docker, options).filter_map(move |event| {
        let happening = match event {
            Ok(event) => happening(&network, event).map(Ok),
            Err(error) => Some(Err(failure("the engine's event stream broke", &error))),
        };
        async move { happening }
    });
    happenings.boxed()
}

/// The client's stream borrows the client; this one owns it.
fn async_stream(
    docker: Docker,
    options: EventsOptions,
) -> impl futures_util::Stream<Item = Result<EventMessage, bollard::errors::Error>> {
    futures_util::stream::once(async move { docker.events(Some(options)).boxed() }).flatten()
}

fn happening(network: &NetworkName, event: EventMessage) -> Option<Happening> {
    let attributes = event.actor?.attributes?;
    let (name, role) = container::identity(network, &attributes)?;
    let state = match event.action?.as_str() {
        "create" => Some(UnitState::Created),
        "start" | "unpause" => Some(UnitState::Up),
        "pause" => Some(UnitState::Paused),
        "die" => Some(container::ended(attributes.get("exitCode").and_then(|code| code.parse().ok()))),
        "destroy" => None,
        _ => return None,
    };
    let nanos = event.time_nano.or_else(|| event.time?.checked_mul(1_000_000_000))?;
    Some(Happening { name, role, state, at: UnixMillis(u64::try_from(nanos).ok()? / 1_000_000) })
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::{super::*, *};
    use crate::cluster::Role;

    fn event(action: &str, exit_code: Option<&str>) -> EventMessage {
        let mut attributes = HashMap::from(
            [(NETWORK_LABEL, "lab"), (NAME_LABEL, "node7"), (ROLE_LABEL, "node")]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        attributes.extend(exit_code.map(|code| ("exitCode".to_owned(), code.to_owned())));
        EventMessage {
            action: Some(action.to_owned()),
            actor: Some(EventActor { attributes: Some(attributes), ..Default::default() }),
            time_nano: Some(1_763_700_000_123_456_789),
            ..Default::default()
        }
    }

    #[test]
    fn events_are_read_as_states() {
        let network = "lab".parse().unwrap();
        for (event, state) in [
            (event("create", None), Some(UnitState::Created)),
            (event("start", None), Some(UnitState::Up)),
            (event("pause", None), Some(UnitState::Paused)),
            (event("unpause", None), Some(UnitState::Up)),
            (event("die", Some("137")), Some(UnitState::Dead)),
            (event("die", Some("0")), Some(UnitState::Left)),
            (event("die", Some("?")), Some(UnitState::Dead)),
            (event("destroy", None), None),
        ] {
            let happening = happening(&network, event).unwrap();
            assert_eq!(happening.state, state);
            assert_eq!((happening.name.as_str(), happening.role), ("node7", Role::Node));
            assert_eq!(happening.at, UnixMillis(1_763_700_000_123));
        }
    }

    #[test]
    fn what_is_not_about_our_units_is_passed_over() {
        assert_eq!(happening(&"other".parse().unwrap(), event("start", None)), None);
        assert_eq!(happening(&"lab".parse().unwrap(), event("exec_start: /bin/sh", None)), None);
        assert_eq!(happening(&"lab".parse().unwrap(), EventMessage::default()), None);
    }
}
