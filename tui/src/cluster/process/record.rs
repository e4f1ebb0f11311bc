//! The file beside the processes: what a network of them is, and which processes they are.
//!
//! `<data>/<network>/network.json`, written whole to another file and renamed, under a lock, so two p2pnets at once
//! neither lose each other's entries nor read half a file. A data folder other than the default one is found again by its
//! signpost, a file in the default one that holds its path.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use p2pnet_shared::{NetworkName, NodeName, UnixMillis};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::proc::Life;
use crate::{
    cluster::{Role, Settings, default_data_dir, engine::Plan, folders},
    failure::Failure,
};

const FILE: &str = "network.json";
const LOCK: &str = "network.lock";

/// What the file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) plan: Plan,
    /// Where the gateway listens.
    pub(super) gateway: SocketAddr,
    pub(super) units: BTreeMap<NodeName, Entry>,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) role: Role,
    /// Its last life; `None` before the first.
    pub(super) life: Option<Life>,
    /// Since when it is as it is.
    pub(super) since: Option<UnixMillis>,
    /// It was asked politely to end.
    pub(super) asked_to_leave: bool,
    /// How it ended, once that was seen.
    pub(super) ended: Option<Ended>,
}

/// How a unit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ended {
    Left,
    Died,
}

fn failed(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("could not {what} `{}`: {error}", path.display()))
        .hint("the folder must be writable; `--data DIR` chooses another")
}

/// The record in `dir`, if there is one.
pub(super) fn read(dir: &Path) -> Result<Option<Record>, Failure> {
    let path = dir.join(FILE);
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
            failed("understand", &path, &error)
                .hint("another version of p2pnet may have written it; end its processes and remove the file")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path, &error)),
    }
}

/// The record of the network of that name, wherever its data folder is.
pub(super) fn find(network: &NetworkName) -> Result<Option<Record>, Failure> {
    let elsewhere = fs::read_to_string(folders::signpost(network)).ok().map(|path| PathBuf::from(path.trim_end()));
    for data in elsewhere.into_iter().chain([default_data_dir()]) {
        let found = read(&data.join(network.as_str()))?;
        if let Some(record) = found.filter(|record| record.plan.settings.network == *network) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// Changes the record while nobody else does. What `change` refuses is not written.
pub(super) fn update<T>(
    settings: &Settings,
    change: impl FnOnce(&mut Option<Record>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let dir = folders::network_dir(settings);
    let path = dir.join(LOCK);
    // The lock goes with the file's closing, also when we are killed.
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(|error| failed("lock", &path, &error))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed("lock", &path, &error))?;
    let mut record = read(&dir)?;
    let answer = change(&mut record)?;
    if let Some(record) = &record {
        write(&dir.join(FILE), &serde_json::to_vec(record).expect("a record is plain data"))?;
    }
    Ok(answer)
}

/// Changes one unit's entry.
pub(super) fn update_unit<T>(
    settings: &Settings,
    name: &NodeName,
    change: impl FnOnce(&Record, &mut Entry) -> Result<T, Failure>,
) -> Result<T, Failure> {
    update(settings, |record| {
        let gone = || Failure::new(format!("`{name}` is no longer part of network `{}`", settings.network));
        let record = record.as_mut().ok_or_else(gone)?;
        let mut entry = record.units.get(name).cloned().ok_or_else(gone)?;
        let answer = change(record, &mut entry)?;
        record.units.insert(name.clone(), entry);
        Ok(answer)
    })
}

/// The file holds the secret, so it is the owner's alone.
fn write(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    let beside = path.with_extension("json.new");
    let written = File::options().create(true).truncate(true).write(true).mode(0o600).open(&beside);
    let written = written.and_then(|mut file| file.write_all(contents)).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| failed("write", path, &error))
}

/// Leaves the sign that leads to a data folder which is not the default one.
pub(super) fn put_signpost(settings: &Settings) -> Result<(), Failure> {
    if settings.data == default_data_dir() {
        return Ok(());
    }
    let path = folders::signpost(&settings.network);
    let written =
        fs::create_dir_all(default_data_dir()).and_then(|()| fs::write(&path, settings.data.display().to_string()));
    written.map_err(|error| failed("write", &path, &error))
}

/// Removes the record and what belongs to it.
pub(super) fn remove(settings: &Settings) -> Result<(), Failure> {
    let dir = folders::network_dir(settings);
    for path in [dir.join(FILE), dir.join(LOCK), folders::signpost(&settings.network)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path, &error)),
            _ => {}
        }
    }
    // Stays when other networks have something in it.
    let _ = fs::remove_dir(default_data_dir());
    Ok(())
}
