//! The disk over real folders.

mod crash;
mod hostile;
mod looks;
mod places;
mod rows;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use p2pnet_shared::{
    FilePath,
    wire::folder::{Bytes, Root},
};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::folder::{Found, Place, Source, Stat, Trouble};

const PATIENCE: Duration = Duration::from_secs(30);
/// A time that no test happens at.
pub(in super::super) const MTIME: i64 = 1_234_567_890_123_456_789;

/// A disk and its folder.
pub(in super::super) struct Rig {
    pub(in super::super) disk: Option<Disk>,
    pub(in super::super) opened: Opened,
    told: UnboundedReceiver<(OrderId, Done)>,
    orders: OrderId,
    folder: TempDir,
}

impl Rig {
    pub(in super::super) fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap(), Room::default())
    }

    fn over(folder: TempDir, room: Room) -> Self {
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        let (disk, opened) =
            Disk::open_with(&folder.path().join("shared"), &"node1".parse().unwrap(), tell, Pool::default(), room)
                .unwrap();
        Self { disk: Some(disk), opened, told, orders: 0, folder }
    }

    /// Closes it in good order and opens it again.
    fn again(mut self) -> Self {
        let mut disk = self.disk.take().unwrap();
        disk.close();
        drop(disk);
        let Self { folder, .. } = self;
        Self::over(folder, Room::default())
    }

    pub(in super::super) fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }

    /// A path in the folder.
    pub(in super::super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("shared").join(path)
    }

    /// A path beside it, where nobody has any business.
    fn outside(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(in super::super) fn give(&mut self, what: Order) -> OrderId {
        self.orders += 1;
        self.disk().give(self.orders, what);
        self.orders
    }

    pub(in super::super) fn hear(&mut self) -> (OrderId, Done) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(told) = self.told.try_recv() {
                return told;
            }
            assert!(Instant::now() < until, "the disk says nothing");
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Gives an order and waits until it is done.
    pub(in super::super) fn ask(&mut self, what: Order) -> Done {
        let order = self.give(what);
        let (of, done) = self.hear();
        assert_eq!(of, order, "{done:?}");
        done
    }

    pub(in super::super) fn place(&mut self, place: Place) -> Result<Stat, Trouble> {
        match self.ask(Order::Place(place)) {
            Done::Placed(placed) => placed,
            other => panic!("{other:?}"),
        }
    }

    fn look(&mut self, path: &str) -> Found {
        match self.ask(Order::Look { path: at(path) }) {
            Done::Looked(Ok(found)) => found,
            other => panic!("{other:?}"),
        }
    }

    /// How the file there looks.
    fn stat(&mut self, path: &str) -> Stat {
        match self.look(path) {
            Found::File(stat) => stat,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn hash(&mut self, path: &str, stat: Stat) -> Result<(Root, Stat), Trouble> {
        match self.ask(Order::Hash { path: at(path), stat }) {
            Done::Hashed(hashed) => hashed,
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, contents: &[u8], from: usize, to: usize) -> Result<(), Trouble> {
        let bytes = Bytes::copy_from_slice(&contents[from..to]);
        let (root, size) = (Root::of(contents), contents.len() as u64);
        match self.ask(Order::Write { root, size, offset: from as u64, bytes }) {
            Done::Written(written) => written,
            other => panic!("{other:?}"),
        }
    }

    /// Everything there is, sorted, and how many names were left out.
    fn walk(&mut self) -> Result<(Vec<(FilePath, Stat)>, u32), Trouble> {
        let order = self.give(Order::Walk { beneath: None });
        let (mut all, mut left_out) = (Vec::new(), 0);
        loop {
            match self.hear() {
                (of, Done::Walked { files, skipped, is_last }) => {
                    assert!(of == order && files.len() <= 512);
                    all.extend(files);
                    left_out += skipped;
                    if is_last {
                        all.sort_by(|one, other| one.0.cmp(&other.0));
                        return Ok((all, left_out));
                    }
                }
                (_, Done::NotWalked(why)) => return Err(why),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Names in one of the folder's own folders.
    fn own(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(".p2pnet").join(folder)) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

pub(in super::super) fn at(path: &str) -> FilePath {
    path.parse().unwrap()
}

/// These contents are to be put where nothing is.
pub(in super::super) fn memory(path: &str, contents: &[u8]) -> Place {
    Place {
        path: at(path),
        over: None,
        source: Source::Memory(Bytes::copy_from_slice(contents)),
        root: Root::of(contents),
        size: contents.len() as u64,
        mtime_ns: MTIME,
        executable: false,
    }
}

/// Bytes that are nowhere alike.
fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}
