//! Reading a file of the folder for whoever downloads it.
//!
//! The file is opened once and read through that descriptor only, so a file that is put in its place meanwhile changes nothing; one
//! that is written in place is noticed, and the download breaks off rather than give bytes of two files. Reading is done on the
//! runtime's threads for blocking work, one piece of [`PIECE_BYTES`] at a time for each download, when the one before it is gone.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    sync::Arc,
};

use bytes::Bytes;
use p2pnet_shared::FilePath;

use super::Folder;
use crate::folder::{Stat, Trouble};

/// Bytes read at once, and held for each download.
const PIECE_BYTES: u64 = 128 * 1024;

/// A file that is open and looks as it should.
#[derive(Debug)]
pub(in crate::runtime) struct Opened {
    file: Arc<File>,
    stat: Stat,
}

impl Folder {
    /// Opens a file that is to look like this.
    ///
    /// # Errors
    /// [`Trouble::Changed`] if it looks otherwise or is not there any more.
    pub(in crate::runtime) async fn open_file(&self, path: FilePath, stat: Stat) -> Result<Opened, Trouble> {
        let home = self.0.home.clone();
        let open = move || home.beneath().file(path.as_str());
        match tokio::task::spawn_blocking(open).await {
            Ok(Ok((file, found))) if found == stat => Ok(Opened { file: Arc::new(file), stat }),
            Ok(Ok(_) | Err(_)) => Err(Trouble::Changed),
            Err(_) => Err(Trouble::Broken),
        }
    }
}

/// Some bytes of a file, piece by piece.
#[derive(Debug)]
pub(in crate::runtime) struct Pieces {
    opened: Opened,
    rest: Range<u64>,
}

impl Pieces {
    pub(in crate::runtime) fn new(opened: Opened, range: Range<u64>) -> Self {
        Self { opened, rest: range }
    }

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    /// It cannot be read, or was written to meanwhile.
    pub(in crate::runtime) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.rest.is_empty() {
            return None;
        }
        let (start, end) = (self.rest.start, self.rest.end.min(self.rest.start + PIECE_BYTES));
        let (file, stat) = (self.opened.file.clone(), self.opened.stat);
        let read = tokio::task::spawn_blocking(move || read(&file, stat, start..end)).await;
        self.rest.start = end;
        Some(read.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

fn read(file: &File, stat: Stat, range: Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, range.start)?;
    // A name that is taken from it (a rename over it, a removal) changes its ctime and no byte.
    let now = file.metadata()?;
    let mtime_ns = now.mtime().saturating_mul(1_000_000_000).saturating_add(now.mtime_nsec());
    if (now.len(), mtime_ns) != (stat.size, stat.mtime_ns) {
        return Err(io::Error::other("the file was written to while it was sent"));
    }
    Ok(bytes.into())
}
