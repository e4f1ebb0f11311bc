//! What of the shared folder is on screen: every node's part, the files by name, and how far one file has come where.
//!
//! ```text
//! network ──a frame──▶ FilesPicture   each node's numbers, holders of the rows in sight, the heat map; one moment of it
//! a node ───GET /files─▶ Listing      names and sizes, asked for while the pane is in sight and when its digest changed
//! reader ───a key─────▶ FilesView     nodes or files, the selected file, the order
//! ```
//! Nodes tell hashes; names are known to whoever asks one of them. So the list of files is one node's word, and who holds
//! each of them is everybody's.
//!
//! Always holds: at most [`FILES_MAX`] names are kept, and the selected file is one of them or none.

use p2pnet_shared::{
    FilePath, NodeName, UnixMillis,
    api::{FileRow, FilesReply},
    wire::folder::{FolderDigest, Root},
};

mod take;
#[cfg(test)]
mod tests;

use crate::{cluster::UnitState, network::NodeFolder};

/// Names kept of a listing at most; what is left out is counted.
pub const FILES_MAX: usize = 50_000;
/// Rows whose holders are looked up: more than any screen has.
pub const ROWS_MAX: usize = 256;
/// Parts of a file that are told apart on its way.
pub const PARTS: usize = 64;

/// One moment of the folders.
#[derive(Debug, Clone, Default)]
pub struct FilesPicture {
    /// Every node's folder: trouble first, then as people count.
    pub folders: Vec<FolderRow>,
    /// Live nodes that have the file of each row, from the row at `rows_from` on.
    pub live: Vec<u32>,
    /// Which row of the listing is the first of them.
    pub rows_from: usize,
    /// One file, and how far it is where; `None` while none is selected and none is on its way.
    pub heat: Option<Heat>,
}

/// One node's folder.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderRow {
    /// Whose.
    pub name: NodeName,
    /// How the node is, by the engine's word.
    pub unit: UnitState,
    /// What it says of its folder.
    pub folder: NodeFolder,
}

/// One file on all nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Heat {
    /// Its contents, [`Root::short`].
    pub root: u64,
    /// Its name, where that is known.
    pub path: Option<FilePath>,
    /// Chunks it has, where one is on its way.
    pub chunks: Option<u32>,
    /// Each node with a folder: first those it is on its way to, then those who have it, then the others.
    pub rows: Vec<HeatRow>,
    /// Live nodes that have each part.
    pub parts: Vec<u32>,
}

/// How far a file is on one node.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatRow {
    /// Which.
    pub name: NodeName,
    /// Whether it runs.
    pub live: bool,
    /// How far.
    pub has: Has,
}

/// What a node has of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Has {
    /// All of it.
    All,
    /// Some chunks.
    Some {
        /// Which parts are whole, the first at the lowest bit.
        map: u64,
        /// Chunks that are here.
        here: u32,
        /// Chunks there are.
        chunks: u32,
        /// From whom they came, and how many.
        sources: Vec<(NodeName, u32)>,
    },
    /// Nothing.
    None,
}

/// Names and sizes by one node's word.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Who was asked.
    pub node: Option<NodeName>,
    /// What its folder showed.
    pub digest: FolderDigest,
    /// The files.
    pub files: Vec<FileLine>,
    /// Files beyond [`FILES_MAX`].
    pub left_out: usize,
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLine {
    /// Its path.
    pub path: FilePath,
    /// [`FilePath::hash64`].
    pub hash: u64,
    /// Bytes.
    pub size: u64,
    /// Of its contents.
    pub root: Root,
    /// When they were last written.
    pub modified: UnixMillis,
    /// The plain name, if it is a conflict copy.
    pub copy_of: Option<FilePath>,
}

/// What has the keys of the pane, and the room where there is little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FilesFace {
    /// The table of nodes.
    #[default]
    Nodes,
    /// The files and the heat map of one.
    Files,
}

/// What files are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FilesBy {
    /// As bytes compare.
    #[default]
    Path,
    /// The largest first.
    Size,
    /// The newest first.
    Modified,
}

impl FilesBy {
    /// In the order `s` goes through them, with the heading of the column.
    pub const ALL: [(FilesBy, &'static str); 3] =
        [(FilesBy::Path, "FILE"), (FilesBy::Size, "SIZE"), (FilesBy::Modified, "WRITTEN")];

    /// The heading of the column it sorts by.
    #[must_use]
    pub fn heading(self) -> &'static str {
        Self::ALL.iter().find(|(by, _)| *by == self).map_or("", |(_, heading)| heading)
    }
}

/// The pane as its reader set it up.
#[derive(Debug, Clone, Default)]
pub struct FilesView {
    /// What has the keys.
    pub face: FilesFace,
    /// The first row of the table of nodes.
    pub offset: usize,
    /// The names.
    pub listing: Listing,
    /// Whose listing is wanted, and of which digest, while the pane is in sight.
    pub wanted: Option<(NodeName, FolderDigest)>,
    /// Why the last request failed.
    pub error: Option<String>,
    /// What the files are sorted by.
    pub sort: FilesBy,
    /// The other way round.
    pub reversed: bool,
    /// The file that keys are about.
    pub selected: Option<FilePath>,
    /// The first row of the files.
    pub file_offset: usize,
}

impl FilesView {
    /// A node told its files.
    pub fn take(&mut self, node: NodeName, reply: FilesReply) {
        let copies: std::collections::HashMap<FilePath, FilePath> =
            reply.conflicts.into_iter().map(|conflict| (conflict.copy, conflict.path)).collect();
        let line = |row: FileRow| {
            let FileRow { path, size, hash: root, modified, .. } = row;
            let (hash, copy_of) = (path.hash64(), copies.get(&path).cloned());
            FileLine { path, hash, size, root, modified, copy_of }
        };
        let left_out = reply.files.len().saturating_sub(FILES_MAX);
        let files = reply.files.into_iter().take(FILES_MAX).map(line).collect();
        self.listing = Listing { node: Some(node), digest: reply.digest, files, left_out };
        self.error = None;
        self.arrange();
    }

    /// Sorts the files.
    pub fn arrange(&mut self) {
        let (sort, reversed) = (self.sort, self.reversed);
        self.listing.files.sort_by(|a, b| {
            let order = match sort {
                FilesBy::Path => a.path.cmp(&b.path),
                FilesBy::Size => b.size.cmp(&a.size),
                FilesBy::Modified => b.modified.cmp(&a.modified),
            };
            let order = if reversed { order.reverse() } else { order };
            order.then_with(|| a.path.cmp(&b.path))
        });
        if self.position().is_none() {
            self.selected = None;
        }
    }

    /// The next column to sort by.
    pub fn sort_next(&mut self) {
        let at = FilesBy::ALL.iter().position(|(by, _)| *by == self.sort).unwrap_or(0);
        (self.sort, self.reversed) = (FilesBy::ALL[(at + 1) % FilesBy::ALL.len()].0, false);
        self.arrange();
    }

    /// Which of the rows is selected.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.listing.files.iter().position(|file| file.path == *selected)
    }

    /// The selected file.
    #[must_use]
    pub fn file(&self) -> Option<&FileLine> {
        self.position().and_then(|at| self.listing.files.get(at))
    }

    /// Moves the selection by `by` rows, stopping at the ends; the first step selects the first row in sight.
    pub fn step(&mut self, by: isize) {
        let last = self.listing.files.len().saturating_sub(1);
        let to = self.position().map_or(self.file_offset.min(last), |at| at.saturating_add_signed(by).min(last));
        self.selected = self.listing.files.get(to).map(|file| file.path.clone());
    }

    /// Scrolls as little as needed to have the selected file among `height` rows.
    pub fn scroll_files(&mut self, height: usize) {
        let height = height.max(1);
        self.file_offset = self.file_offset.min(self.listing.files.len().saturating_sub(height));
        if let Some(at) = self.position() {
            self.file_offset = self.file_offset.clamp((at + 1).saturating_sub(height), at);
        }
    }
}

impl FilesPicture {
    /// Which of the rows of nodes is that node's.
    #[must_use]
    pub fn position(&self, name: Option<&NodeName>) -> Option<usize> {
        let name = name?;
        self.folders.iter().position(|row| row.name == *name)
    }

    /// The node `by` rows further than `name`, stopping at the ends.
    #[must_use]
    pub fn step(&self, name: Option<&NodeName>, by: isize) -> Option<NodeName> {
        let at = self.position(name).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(self.folders.len().saturating_sub(1));
        self.folders.get(to).map(|row| row.name.clone())
    }

    /// Live nodes that have the file of a row of the listing; `None` where that was not looked up.
    #[must_use]
    pub fn live(&self, row: usize) -> Option<u32> {
        self.live.get(row.checked_sub(self.rows_from)?).copied()
    }
}
