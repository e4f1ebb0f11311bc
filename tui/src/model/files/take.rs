//! The copy of the folders that the panes draw, taken from what is known of them.

use p2pnet_shared::{UnixMillis, telemetry::FolderState};

use super::{FilesPicture, FilesView, FolderRow, Has, Heat, HeatRow, PARTS, ROWS_MAX};
use crate::{cluster::UnitState, network::Network};

impl FilesPicture {
    /// Copies what is known of the folders, and of the files in sight.
    pub fn take(&mut self, network: &Network, now: UnixMillis, view: &FilesView) {
        self.folders.clear();
        self.folders.extend(network.nodes().map(|node| FolderRow {
            name: node.name.clone(),
            unit: node.state,
            folder: network.node_folder(&node.name, now).unwrap_or_default(),
        }));
        // Nodes come in the order people count, and the sort keeps it among equals.
        self.folders.sort_by_key(trouble);
        self.look_at(network, view);
    }

    /// Copies who has the files in sight, and how far the selected one is.
    pub fn look_at(&mut self, network: &Network, view: &FilesView) {
        self.rows_from = view.file_offset;
        let shown = view.listing.files.iter().skip(view.file_offset).take(ROWS_MAX);
        self.live = shown.map(|file| network.live_holders(file.hash, file.root.short())).collect();
        let largest = || {
            let all = self.folders.iter().filter(|row| row.folder.live).flat_map(|row| &row.folder.progress);
            all.filter(|file| file.here < file.chunks).max_by_key(|file| (file.chunks, file.root)).map(|file| file.root)
        };
        let root = view.file().map(|file| file.root.short()).or_else(largest);
        self.heat = root.map(|root| self.heat(network, view, root));
    }

    fn heat(&self, network: &Network, view: &FilesView, root: u64) -> Heat {
        let holders = network.file_holders(root);
        let path = view.file().filter(|file| file.root.short() == root);
        let path = path.or_else(|| view.listing.files.iter().find(|file| file.root.short() == root));
        let path = path.map(|file| file.path.clone());
        let mut chunks = None;
        let mut rows: Vec<HeatRow> = Vec::new();
        for row in self.folders.iter().filter(|row| row.folder.told && row.folder.counts.state != FolderState::NoFolder)
        {
            let whole =
                [&holders.live, &holders.paused, &holders.down].into_iter().any(|list| list.contains(&row.name));
            let on_its_way = row.folder.progress.iter().find(|file| file.root == root);
            let has = match on_its_way {
                _ if whole => Has::All,
                Some(file) => {
                    chunks = chunks.max(Some(file.chunks));
                    let (map, here, chunks) = (file.map, file.here, file.chunks);
                    Has::Some { map, here, chunks, sources: file.sources.clone() }
                }
                None => Has::None,
            };
            rows.push(HeatRow { name: row.name.clone(), live: row.folder.live, has });
        }
        rows.sort_by_key(|row| match row.has {
            Has::Some { .. } => 0,
            Has::All => 1,
            Has::None => 2,
        });
        let live = |part: usize| {
            let has = |row: &&HeatRow| match &row.has {
                Has::All => true,
                Has::Some { map, .. } => map >> part & 1 == 1,
                Has::None => false,
            };
            rows.iter().filter(|row| row.live).filter(has).count() as u32
        };
        let parts = (0..PARTS).map(live).collect();
        Heat { root, path, chunks, rows, parts }
    }
}

/// What a reader wants to see first.
fn trouble(row: &FolderRow) -> u8 {
    match (row.unit, row.folder.counts.state) {
        (UnitState::Dead, _) => 0,
        (UnitState::Paused, _) => 1,
        (UnitState::Left, _) => 9,
        (UnitState::Created, _) => 7,
        (UnitState::Up, _) if !row.folder.told => 6,
        (UnitState::Up, FolderState::Broken) => 2,
        (UnitState::Up, FolderState::Full) => 3,
        (UnitState::Up, FolderState::Stalled) => 4,
        (UnitState::Up, FolderState::NoFolder) => 8,
        (UnitState::Up, FolderState::Scanning | FolderState::Syncing) => 5,
        (UnitState::Up, FolderState::Idle) if !row.folder.agrees => 5,
        (UnitState::Up, FolderState::Idle) => 6,
    }
}
