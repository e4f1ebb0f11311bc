//! What a user sends, on its way into a file of the folder's own.
//!
//! Bytes are collected to blocks of 128 KiB; a block goes to the disk's thread, is hashed and written there and comes back, so that
//! a sender is as fast as the disk and one block is all that is held of each. It is synced when it is placed.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use p2pnet_shared::wire::folder::Root;
use tokio::sync::oneshot;

use super::{
    beneath::trouble_of,
    home::{Home, Own},
    line::Line,
};
use crate::folder::Trouble;

/// Bytes that are collected before they are written.
const BLOCK_BYTES: usize = 128 * 1024;

/// A file that is being received. Dropped before it is finished it is removed.
#[derive(Debug)]
pub(in crate::runtime) struct Upload {
    line: Arc<Line>,
    number: u64,
    /// `None` while a block is on its way, and after an error.
    file: Option<Receiving>,
    block: Vec<u8>,
}

/// A file that was received whole. It stays until it is placed, forgotten ([`super::Disk::forget`]) or the node starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) struct Received {
    /// Its number, for [`crate::folder::Source::Upload`].
    pub(in crate::runtime) upload: u64,
    /// Its hash.
    pub(in crate::runtime) root: Root,
    /// Its size, bytes.
    pub(in crate::runtime) size: u64,
}

/// The file, wherever the block is.
#[derive(Debug)]
pub(super) struct Receiving {
    home: Arc<Home>,
    number: u64,
    file: File,
    hasher: Box<blake3::Hasher>,
    size: u64,
    is_finished: bool,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if !self.is_finished {
            self.home.remove(Own::Uploads, &self.number.to_string());
        }
    }
}

/// Some of it, to be written.
#[derive(Debug)]
pub(super) struct Block {
    file: Receiving,
    bytes: Vec<u8>,
    back: oneshot::Sender<Result<(Receiving, Vec<u8>), Trouble>>,
}

impl Block {
    /// Writes it, on the disk's thread.
    pub(super) fn write(mut self) {
        let file = &mut self.file;
        let written = file.home.is_there().and_then(|()| file.home.has_room(self.bytes.len() as u64)).and_then(|()| {
            file.file.write_all_at(&self.bytes, file.size).map_err(|error| trouble_of(&error))?;
            file.hasher.update(&self.bytes);
            file.size += self.bytes.len() as u64;
            Ok(())
        });
        self.bytes.clear();
        let _ = self.back.send(written.map(|()| (self.file, self.bytes)));
    }
}

impl Upload {
    pub(super) fn begin(home: &Arc<Home>, line: &Arc<Line>) -> io::Result<Self> {
        let number = home.number();
        let file = home.create(Own::Uploads, &number.to_string())?;
        let file = Receiving { home: home.clone(), number, file, hasher: Box::default(), size: 0, is_finished: false };
        Ok(Self { line: line.clone(), number, file: Some(file), block: Vec::new() })
    }

    /// Takes some bytes more; waits until there is room for them.
    ///
    /// # Errors
    /// [`Trouble::Full`], [`Trouble::Broken`] or [`Trouble::NoFolder`]: the upload is over, and its file removed.
    pub(in crate::runtime) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// It is whole.
    ///
    /// # Errors
    /// As for [`Upload::write`].
    pub(in crate::runtime) async fn finish(mut self) -> Result<Received, Trouble> {
        self.flush().await?;
        let mut file = self.file.take().ok_or(Trouble::Broken)?;
        let received =
            Received { upload: self.number, root: Root(*file.hasher.finalize().as_bytes()), size: file.size };
        file.home
            .received
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(self.number, (received.root, received.size));
        file.is_finished = true;
        Ok(received)
    }

    async fn flush(&mut self) -> Result<(), Trouble> {
        let file = self.file.take().ok_or(Trouble::Broken)?;
        if self.block.is_empty() {
            self.file = Some(file);
            return Ok(());
        }
        let (back, written) = oneshot::channel();
        let block = Block { file, bytes: std::mem::take(&mut self.block), back };
        self.line.give_block(block).map_err(|_| Trouble::Broken)?;
        let (file, bytes) = written.await.map_err(|_| Trouble::Broken)??;
        (self.file, self.block) = (Some(file), bytes);
        Ok(())
    }
}
