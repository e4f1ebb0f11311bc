//! The data folder: who this node is, kept over restarts.
//!
//! One file, `identity.json`, holds the UUID and the last epoch. The epoch of a life is the wall clock's time or one more
//! than the last, whichever is larger, so that a later life of the same node always has the larger epoch, also when the
//! clock went back. It is on disk before anybody hears of it.
//!
//! Always holds: the file is the old one or the new one, never half of either (written beside, synced, renamed, folder
//! synced); and two nodes never share a folder, because each holds a lock on it while it lives.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use p2pnet_shared::{Epoch, UnixMillis};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::DataFolder;

const IDENTITY: &str = "identity.json";
/// Longest identity file, bytes: ours has about 80.
const IDENTITY_MAX_BYTES: u64 = 4 * 1024;

/// Who this node is in this life.
#[derive(Debug)]
pub(super) struct Identity {
    /// Kept over restarts.
    pub(super) id: Uuid,
    /// This life.
    pub(super) epoch: Epoch,
    /// The folder; `None` when the identity is kept in memory only.
    pub(super) folder: Option<PathBuf>,
    /// Held while the node lives; `None` when the identity is kept in memory only.
    _lock: Option<File>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    id: Uuid,
    epoch: Epoch,
}

/// Why the data folder cannot be used. Nothing in it has been changed.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It cannot be created or written.
    #[error("data folder `{path}` is not writable: {source}")]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another node lives in it.
    #[error("data folder `{path}` is used by another node that is running")]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// The identity file is not one.
    #[error("`{path}` does not hold a node's identity: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl DiskError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            DiskError::Unwritable { path, .. } => {
                format!(
                    "give it to this user (`chown $(id -u) {}`) or choose another with `--data DIR`",
                    path.display()
                )
            }
            DiskError::Taken { .. } => "stop that node, or give this one its own folder with `--data DIR`".to_owned(),
            DiskError::Damaged { path, .. } => {
                format!("move it away (`mv {0} {0}.damaged`) and the node starts as a new one", path.display())
            }
        }
    }
}

/// Who we are: as kept in the folder, with a new epoch that is already on disk again.
pub(super) fn open(folder: &DataFolder, now: UnixMillis) -> Result<Identity, DiskError> {
    let path = match folder {
        DataFolder::Required(path) => path,
        DataFolder::IfPresent(path) if path.is_dir() => path,
        DataFolder::IfPresent(_) | DataFolder::Memory => {
            return Ok(Identity { id: Uuid::new_v4(), epoch: Epoch(now.0), folder: None, _lock: None });
        }
    };
    let unwritable = |source| DiskError::Unwritable { path: path.clone(), source };
    fs::create_dir_all(path).map_err(unwritable)?;
    let lock = File::create(path.join("lock")).map_err(unwritable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(DiskError::Taken { path: path.clone() }),
        Err(fs::TryLockError::Error(source)) => return Err(unwritable(source)),
    }
    let kept = read(&path.join(IDENTITY))?;
    let (id, epoch) = match kept {
        None => (Uuid::new_v4(), Epoch(now.0)),
        Some(kept) => (kept.id, Epoch(now.0.max(kept.epoch.0.saturating_add(1)))),
    };
    write(path, &Kept { id, epoch }).map_err(unwritable)?;
    Ok(Identity { id, epoch, folder: Some(path.clone()), _lock: Some(lock) })
}

fn read(path: &Path) -> Result<Option<Kept>, DiskError> {
    let damaged = |why: String| DiskError::Damaged { path: path.to_owned(), why };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(damaged(error.to_string())),
        Ok(metadata) if metadata.len() > IDENTITY_MAX_BYTES => return Err(damaged("it is too long".to_owned())),
        Ok(_) => {}
    }
    let text = fs::read_to_string(path).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_str(&text).map(Some).map_err(|error| damaged(error.to_string()))
}

fn write(folder: &Path, kept: &Kept) -> io::Result<()> {
    let beside = folder.join("identity.json.new");
    let mut file = File::create(&beside)?;
    file.write_all(serde_json::to_string(kept)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(IDENTITY))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(folder: &tempfile::TempDir) -> DataFolder {
        DataFolder::Required(folder.path().join("data"))
    }

    #[test]
    fn a_restarted_node_keeps_its_id_and_gets_a_larger_epoch_though_the_clock_went_back() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(&required(&folder), UnixMillis(1_000)).unwrap();
        let (id, epoch) = (first.id, first.epoch);
        drop(first);
        let second = open(&required(&folder), UnixMillis(400)).unwrap();
        assert_eq!((epoch, second.id, second.epoch), (Epoch(1_000), id, Epoch(1_001)));
        drop(second);
        assert_eq!(open(&required(&folder), UnixMillis(5_000)).unwrap().epoch, Epoch(5_000));
    }

    #[test]
    fn two_nodes_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _first = open(&required(&folder), UnixMillis(1)).unwrap();
        assert!(matches!(open(&required(&folder), UnixMillis(1)), Err(DiskError::Taken { .. })));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(IDENTITY);
        for garbage in ["{\"id\":7", "{\"id\":\"x\",\"epoch\":-1}", &"x".repeat(10_000)] {
            fs::write(&file, garbage).unwrap();
            let error = open(&DataFolder::Required(folder.path().to_owned()), UnixMillis(1)).unwrap_err();
            assert!(matches!(error, DiskError::Damaged { .. }), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), garbage);
        }
    }

    #[test]
    fn a_path_that_is_no_folder_is_unwritable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = open(&DataFolder::Required(file.join("below")), UnixMillis(1)).unwrap_err();
        assert!(matches!(error, DiskError::Unwritable { .. }) && error.hint().contains("--data"), "{error}");
    }

    #[test]
    fn the_default_folder_is_not_created() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent");
        assert!(open(&DataFolder::IfPresent(absent.clone()), UnixMillis(1)).is_ok());
        assert!(!absent.exists());
    }
}
