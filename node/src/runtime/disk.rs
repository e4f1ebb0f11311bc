//! What a node keeps over restarts: its UUID and the number of its last life.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use p2pnet_shared::{Epoch, UnixMillis};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const FILE: &str = "identity.json";

/// What is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptIdentity {
    /// Made at the first start.
    pub(super) id: Uuid,
    /// The life that wrote this.
    pub(super) epoch: Epoch,
}

impl KeptIdentity {
    /// An identity for a node that keeps none.
    #[must_use]
    pub(super) fn fresh(now: UnixMillis) -> Self {
        Self { id: Uuid::new_v4(), epoch: Epoch(now.0) }
    }

    /// Begins a new life in `folder`: the UUID found there or a new one, and an epoch above every earlier one. Written, and
    /// on disk, before this returns, so that no life is ever counted twice.
    ///
    /// # Errors
    /// When the folder cannot be made, read or written, or holds an identity that cannot be understood; it is left as it
    /// was then.
    pub(super) fn begin_life(folder: &Path, now: UnixMillis) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(FILE);
        let mut identity = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self { id: Uuid::new_v4(), epoch: Epoch(0) },
            Err(error) => return Err(error),
        };
        identity.epoch = Epoch(now.0.max(identity.epoch.0.saturating_add(1)));
        let temporary = folder.join(format!("{FILE}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&identity)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(folder)?.sync_all()?;
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuid_stays_and_the_epoch_rises_also_when_the_clock_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let first = KeptIdentity::begin_life(folder.path(), UnixMillis(1_000)).unwrap();
        let second = KeptIdentity::begin_life(folder.path(), UnixMillis(500)).unwrap();
        let third = KeptIdentity::begin_life(folder.path(), UnixMillis(5_000)).unwrap();
        assert_eq!((first.id, first.id), (second.id, third.id));
        assert_eq!([first.epoch, second.epoch, third.epoch], [Epoch(1_000), Epoch(1_001), Epoch(5_000)]);
    }

    #[test]
    fn a_damaged_identity_is_an_error_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(KeptIdentity::begin_life(folder.path(), UnixMillis(1)).is_err());
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), "{");
    }
}
