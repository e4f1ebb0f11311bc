//! Where nodes keep things, and what p2pnet may delete.
//!
//! ```text
//! <data>/<network>/.p2pnet          the marker: without it the folder is somebody else's
//!                  node7/sync       shared files, `/sync` inside a container
//!                  node7/data       what the node must not forget, `/data` inside a container
//!                  network.json     processes only: settings, pids
//! ```
//! p2pnet makes every folder itself: one made by the engine would belong to root. It deletes only inside a folder that
//! carries the marker, only the names it makes, and follows no symbolic link.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use p2pnet_shared::{NetworkName, NodeName};

use super::Settings;
use crate::failure::Failure;

/// The file that says a folder is ours.
const MARKER: &str = ".p2pnet";

/// `$XDG_STATE_HOME/p2pnet`, or `~/.local/state/p2pnet`; without a home, a folder of this user among the temporary ones.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local/state")))
        .unwrap_or_else(|| std::env::temp_dir().join(format!("p2pnet-{}", rustix::process::getuid().as_raw())))
        .join("p2pnet")
}

/// The folder of a network.
pub(crate) fn network_dir(settings: &Settings) -> PathBuf {
    settings.data.join(settings.network.as_str())
}

/// The folder of a node.
pub(crate) fn node_dir(settings: &Settings, name: &NodeName) -> PathBuf {
    network_dir(settings).join(name.as_str())
}

/// Whether the network's folder could be made or is ours already. Changes nothing that stays.
pub(crate) fn check(settings: &Settings) -> Result<(), Failure> {
    let dir = network_dir(settings);
    match fs::symlink_metadata(&dir) {
        Ok(found) if !found.is_dir() => Err(foreign(&dir, "is no folder")),
        Ok(_) if is_ours(&dir) || is_empty(&dir) => check_writable(&dir),
        Ok(_) => Err(foreign(&dir, "was not made by p2pnet and is not empty")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => check_data(&settings.data),
        Err(error) => Err(unusable(&dir, &error)),
    }
}

/// Whether folders could be made in `data`, which need not be there yet.
pub(crate) fn check_data(data: &Path) -> Result<(), Failure> {
    check_writable(data.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/")))
}

fn foreign(dir: &Path, why: &str) -> Failure {
    Failure::new(format!("could not use `{}` for the nodes' folders: it {why}", dir.display()))
        .hint("choose another place with `--data DIR`, or move that away")
}

fn unusable(dir: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("could not use `{}` for the nodes' folders: {error}", dir.display()))
        .hint("choose a place you may write to with `--data DIR`")
}

/// Asks the file system rather than the permission bits: it may be mounted read-only or be full.
fn check_writable(dir: &Path) -> Result<(), Failure> {
    let probe = dir.join(format!(".p2pnet-probe-{}", std::process::id()));
    let tried = fs::OpenOptions::new().write(true).create_new(true).open(&probe).and_then(|_| fs::remove_file(&probe));
    tried.map_err(|error| unusable(dir, &error))
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

fn is_ours(dir: &Path) -> bool {
    fs::symlink_metadata(dir.join(MARKER)).is_ok_and(|marker| marker.is_file())
}

/// The user whose folders and nodes these are: whoever calls, under sudo whoever called sudo.
pub(crate) fn caller() -> (u32, u32) {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let id = |name: &str| std::env::var(name).ok().and_then(|id| id.parse().ok());
    match (uid, id("SUDO_UID"), id("SUDO_GID")) {
        (0, Some(uid), Some(gid)) => (uid, gid),
        _ => (uid, gid),
    }
}

/// Makes one folder and those above it; it belongs to the caller also when sudo made it.
fn make(dir: &Path) -> io::Result<()> {
    let above: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    for dir in above.into_iter().rev() {
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let (uid, gid) = caller();
        if uid != rustix::process::getuid().as_raw() {
            std::os::unix::fs::chown(dir, Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

/// Makes the network's folder and its marker.
pub(crate) fn make_network(settings: &Settings) -> Result<(), Failure> {
    let dir = network_dir(settings);
    let made = make(&dir).and_then(|()| {
        let text = format!("p2pnet made this folder for network `{}` and removes it with it\n", settings.network);
        fs::write(dir.join(MARKER), text)
    });
    made.map_err(|error| unusable(&dir, &error))
}

/// Makes a node's folders, if they are not there from before.
pub(crate) fn make_node(settings: &Settings, name: &NodeName) -> Result<(), Failure> {
    let dir = node_dir(settings, name);
    for part in ["sync", "data"] {
        make(&dir.join(part)).map_err(|error| unusable(&dir, &error))?;
    }
    Ok(())
}

/// Removes a network's folder with everything p2pnet made in it. What its user put beside stays, and with it the folder.
pub(crate) fn remove(settings: &Settings) -> Result<(), Failure> {
    let dir = network_dir(settings);
    let linked = fs::symlink_metadata(&dir).map_or(true, |found| !found.is_dir());
    if linked || !is_ours(&dir) {
        return Ok(());
    }
    let failed = |error: io::Error| {
        Failure::new(format!("could not remove the nodes' folders in `{}`: {error}", dir.display()))
            .hint(format!("the network itself is gone; remove them with `sudo rm -r {}`", dir.display()))
    };
    for entry in fs::read_dir(&dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() && is_node_folder(&entry.file_name()) {
            fs::remove_dir_all(entry.path()).map_err(failed)?;
        }
    }
    fs::remove_file(dir.join(MARKER)).map_err(failed)?;
    // These two fail when something else is inside, and then they must.
    let _ = fs::remove_dir(&dir);
    let _ = fs::remove_dir(&settings.data);
    Ok(())
}

fn is_node_folder(name: &std::ffi::OsStr) -> bool {
    let name = name.to_str().and_then(|name| name.parse::<NodeName>().ok());
    name.is_some_and(|name| name.number().is_some() || name == NodeName::bootstrap() || name.as_str() == "gateway")
}

/// Where a network of processes with another data folder than the default one is looked up by its name.
pub(crate) fn signpost(network: &NetworkName) -> PathBuf {
    default_data_dir().join(format!("{network}.at"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(data: &Path) -> Settings {
        Settings {
            network: "n".parse().unwrap(),
            base_port: 5000,
            bind: [127, 0, 0, 1].into(),
            data: data.to_owned(),
            publish: true,
            secret: None,
            push: crate::cluster::Push::default(),
            vnodes: None,
            egress: None,
        }
    }

    #[test]
    fn what_we_made_goes_and_what_the_user_put_beside_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let settings = settings(&scratch.path().join("data"));
        check(&settings).unwrap();
        make_network(&settings).unwrap();
        make_node(&settings, &NodeName::numbered(7)).unwrap();
        fs::write(node_dir(&settings, &NodeName::numbered(7)).join("sync/a"), "a").unwrap();
        let notes = network_dir(&settings).join("notes");
        fs::create_dir(&notes).unwrap();
        check(&settings).unwrap();

        remove(&settings).unwrap();
        assert!(notes.exists());
        assert!(!node_dir(&settings, &NodeName::numbered(7)).exists());

        fs::remove_dir(&notes).unwrap();
        make_network(&settings).unwrap();
        remove(&settings).unwrap();
        assert!(!settings.data.exists(), "an empty data folder goes too");
    }

    #[test]
    fn a_folder_without_our_marker_is_refused_and_never_deleted() {
        let scratch = tempfile::tempdir().unwrap();
        let settings = settings(scratch.path());
        let theirs = network_dir(&settings).join("node1/thesis");
        fs::create_dir_all(&theirs).unwrap();
        let failure = check(&settings).unwrap_err();
        assert!(failure.error.contains("not made by p2pnet"), "{failure}");
        assert!(failure.hint.unwrap().contains("--data"));
        remove(&settings).unwrap();
        assert!(theirs.exists());
    }

    #[test]
    fn a_link_in_place_of_the_folder_is_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let real = settings(&scratch.path().join("real"));
        make_network(&real).unwrap();
        make_node(&real, &NodeName::numbered(1)).unwrap();
        let linked = settings(&scratch.path().join("linked"));
        fs::create_dir(&linked.data).unwrap();
        std::os::unix::fs::symlink(network_dir(&real), network_dir(&linked)).unwrap();
        assert!(check(&linked).is_err());
        remove(&linked).unwrap();
        assert!(node_dir(&real, &NodeName::numbered(1)).exists());
    }
}
