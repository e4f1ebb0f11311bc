//! Finding the engine: every place one may listen, in the order people expect, and what came of each try.
//!
//! ```text
//! DOCKER_HOST ─▶ DOCKER_CONTEXT ─▶ currentContext of config.json     said by the user: that one or none
//!      └─ otherwise, the first that answers:
//!         /var/run/docker.sock ─▶ Docker Desktop ─▶ rootless docker ─▶ podman
//! ```
//! bollard itself knows DOCKER_HOST and the default socket only.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::cause;
use crate::failure::Failure;

/// An engine answers `/version` in milliseconds, or something else listens there.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// An engine that answered.
#[derive(Debug, Clone)]
pub(super) struct Connected {
    pub(super) client: bollard::Docker,
    pub(super) host: String,
    pub(super) version: String,
    pub(super) api: String,
}

/// Where an engine may be, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    source: String,
    host: String,
}

/// What the search depends on, so that it can be tested.
struct Surroundings<'a> {
    variable: &'a (dyn Fn(&str) -> Option<String> + Sync),
    home: Option<PathBuf>,
    uid: u32,
}

/// The first engine that answers.
pub(super) async fn connect() -> Result<Connected, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let surroundings = Surroundings {
        home: variable("HOME").map(PathBuf::from),
        variable: &variable,
        uid: rustix::process::getuid().as_raw(),
    };
    let candidates = candidates(&surroundings).map_err(|why| refusal(&[why]))?;
    let mut tries = Vec::new();
    for Candidate { source, host } in candidates {
        match attempt(&host).await {
            Ok(connected) => return Ok(connected),
            Err(why) => tries.push(format!("{host} ({source}): {why}")),
        }
    }
    Err(refusal(&tries))
}

fn refusal(tries: &[String]) -> Failure {
    let error = format!("no container engine answers; tried {}", tries.join("; "));
    let hint = if tries.iter().any(|line| line.contains("ermission denied")) {
        "you may not use the engine's socket: `sudo usermod -aG docker $USER`, then log in again; or use `--runtime process`"
    } else {
        "start Docker, or name its socket in DOCKER_HOST, or run without containers: `--runtime process`"
    };
    Failure::new(error).hint(hint)
}

async fn attempt(host: &str) -> Result<Connected, String> {
    if let Some(path) = host.strip_prefix("unix://")
        && let Err(error) = fs::metadata(path)
    {
        return Err(match error.kind() {
            std::io::ErrorKind::NotFound => "no such socket".to_owned(),
            _ => error.to_string(),
        });
    }
    if !["unix://", "tcp://", "http://"].iter().any(|scheme| host.starts_with(scheme)) {
        return Err("only unix:// and tcp:// are supported".to_owned());
    }
    let client = bollard::Docker::connect_with_host(host).map_err(|error| cause(&error))?;
    let versions = async {
        let client = client.negotiate_version().await?;
        let version = client.version().await?;
        Ok::<_, bollard::errors::Error>((client, version))
    };
    let (client, version) = tokio::time::timeout(ANSWER_DEADLINE, versions)
        .await
        .map_err(|_| "no answer within 5 s".to_owned())?
        .map_err(|error| cause(&error))?;
    Ok(Connected {
        client,
        host: host.to_owned(),
        version: version.version.unwrap_or_else(|| "of unknown version".to_owned()),
        api: version.api_version.unwrap_or_else(|| "unknown".to_owned()),
    })
}

fn candidates(around: &Surroundings<'_>) -> Result<Vec<Candidate>, String> {
    let variable = around.variable;
    let one = |source: &str, host: String| Ok(vec![Candidate { source: source.to_owned(), host }]);
    if let Some(host) = variable("DOCKER_HOST") {
        return one("DOCKER_HOST", host);
    }
    let config = variable("DOCKER_CONFIG").map(PathBuf::from).or(around.home.as_ref().map(|home| home.join(".docker")));
    let context = variable("DOCKER_CONTEXT").map(|name| ("DOCKER_CONTEXT", name));
    let context = context.or_else(|| Some(("currentContext", current_context(config.as_deref()?)?)));
    if let Some((source, name)) = context.filter(|(_, name)| name != "default") {
        let host = config.as_deref().and_then(|config| context_host(config, &name));
        let host = host.ok_or_else(|| format!("context `{name}` ({source}): it is not known here"))?;
        return one(&format!("{source} `{name}`"), host);
    }
    Ok(well_known(around))
}

/// Where engines listen when nobody says otherwise.
fn well_known(around: &Surroundings<'_>) -> Vec<Candidate> {
    let in_home = |path: &str| around.home.as_ref().map(|home| home.join(path));
    let run = (around.variable)("XDG_RUNTIME_DIR")
        .map_or_else(|| PathBuf::from(format!("/run/user/{}", around.uid)), PathBuf::from);
    let places = [
        ("default", Some(PathBuf::from("/var/run/docker.sock"))),
        ("Docker Desktop", in_home(".docker/desktop/docker.sock")),
        ("Docker Desktop", in_home(".docker/run/docker.sock")),
        ("rootless docker", Some(run.join("docker.sock"))),
        ("rootless podman", Some(run.join("podman/podman.sock"))),
        ("podman", Some(PathBuf::from("/run/podman/podman.sock"))),
    ];
    let known = places.into_iter().filter_map(|(source, path)| Some((source, path?)));
    known
        .map(|(source, path)| Candidate { source: source.to_owned(), host: format!("unix://{}", path.display()) })
        .collect()
}

fn current_context(config: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(rename = "currentContext")]
        current_context: Option<String>,
    }
    let text = fs::read_to_string(config.join("config.json")).ok()?;
    serde_json::from_str::<Config>(&text).ok()?.current_context.filter(|name| !name.is_empty())
}

/// Contexts live in folders named by a hash of their name; the name is in the file.
fn context_host(config: &Path, wanted: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Meta {
        name: String,
        endpoints: Endpoints,
    }
    #[derive(Deserialize)]
    struct Endpoints {
        docker: Endpoint,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Endpoint {
        host: String,
    }
    fs::read_dir(config.join("contexts/meta")).ok()?.flatten().find_map(|entry| {
        let text = fs::read_to_string(entry.path().join("meta.json")).ok()?;
        let meta: Meta = serde_json::from_str(&text).ok()?;
        (meta.name == wanted).then_some(meta.endpoints.docker.host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(variables: &[(&str, &str)], home: &Path) -> Result<Vec<String>, String> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let around = Surroundings { variable: &variable, home: Some(home.to_owned()), uid: 1000 };
        Ok(candidates(&around)?.into_iter().map(|candidate| candidate.host).collect())
    }

    #[test]
    fn what_the_user_names_is_tried_alone() {
        let home = tempfile::tempdir().unwrap();
        let said = [("DOCKER_HOST", "tcp://10.0.0.1:2375"), ("DOCKER_CONTEXT", "lab")];
        assert_eq!(hosts(&said, home.path()).unwrap(), ["tcp://10.0.0.1:2375"]);
    }

    #[test]
    fn contexts_are_found_by_name() {
        let home = tempfile::tempdir().unwrap();
        let meta = home.path().join(".docker/contexts/meta/abc");
        fs::create_dir_all(&meta).unwrap();
        let text =
            r#"{"Name":"lab","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///lab.sock","SkipTLSVerify":false}}}"#;
        fs::write(meta.join("meta.json"), text).unwrap();
        assert_eq!(hosts(&[("DOCKER_CONTEXT", "lab")], home.path()).unwrap(), ["unix:///lab.sock"]);
        assert!(hosts(&[("DOCKER_CONTEXT", "home")], home.path()).unwrap_err().contains("`home`"));

        fs::write(home.path().join(".docker/config.json"), r#"{"auths":{},"currentContext":"lab"}"#).unwrap();
        assert_eq!(hosts(&[], home.path()).unwrap(), ["unix:///lab.sock"]);
        assert_eq!(hosts(&[("DOCKER_CONTEXT", "default")], home.path()).unwrap()[0], "unix:///var/run/docker.sock");
    }

    #[test]
    fn every_usual_place_is_tried_when_nobody_says_otherwise() {
        let home = tempfile::tempdir().unwrap();
        let tried = hosts(&[], home.path()).unwrap();
        assert_eq!(tried[0], "unix:///var/run/docker.sock");
        assert!(tried.contains(&"unix:///run/user/1000/podman/podman.sock".to_owned()));
        assert_eq!(tried.len(), 6);
    }

    #[tokio::test]
    async fn each_try_says_why_it_failed() {
        let missing = attempt("unix:///nowhere/docker.sock").await.unwrap_err();
        assert_eq!(missing, "no such socket");
        assert!(attempt("ssh://host").await.unwrap_err().contains("only unix://"));
    }
}
