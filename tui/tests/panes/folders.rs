//! Shared folders made by hand.

use p2pnet::{
    cluster::UnitState,
    model::{
        Model,
        files::{FilesFace, FolderRow, Has, Heat, HeatRow, PARTS},
    },
    network::{DigestGroup, FolderTrouble, NodeFolder, files::Uploaded},
};
use p2pnet_shared::{
    FilePath, NodeName, UnixMillis,
    api::{ConflictRow, FileRow, FilesReply},
    telemetry::{FolderCounts, FolderState},
    wire::folder::{FolderDigest, Root},
};

use super::fakes::{NOW, many_model};

const SAME: FolderDigest = FolderDigest(0x4f2a_91c0 << 96);
const OTHER: FolderDigest = FolderDigest(0x91c0_77aa << 96);

/// A network of the bootstrap and `peers` peers, whose folders all hold the same `files` files of 4 KiB.
pub(crate) fn folders_model(peers: u32, files: u64) -> Model {
    let mut model = many_model(peers);
    model.picture.files.folders = model
        .picture
        .nodes
        .iter()
        .map(|node| FolderRow { name: node.name.clone(), unit: node.state, folder: whole(files) })
        .collect();
    let counts = &mut model.picture.summary.files;
    (counts.agree, counts.folders, counts.is_union) = (peers + 1, peers + 1, true);
    (counts.paths, counts.bytes) = (files, files * 4_096);
    counts.groups = vec![group("4f2a91c0", peers + 1, files, 0)];
    (counts.union_ms_last, counts.union_ms_p99) = (Some(1_240), Some(3_410));
    (counts.uploads, counts.received_bytes, counts.wasted_bytes) = (if files > 0 { 40 } else { 0 }, 1_638_400, 8_192);
    let listed = (1..=files.min(60)).map(|number| row(&format!("photos/2025/{number:03}.jpg"), 4_096 * number, number));
    take(&mut model, listed.collect(), Vec::new());
    model.files.selected = None;
    model
}

fn group(digest: &str, nodes: u32, files: u64, lacking: u64) -> DigestGroup {
    DigestGroup { digest: Some(digest.into()), nodes, files, lacking, names: vec![NodeName::numbered(3)] }
}

fn whole(files: u64) -> NodeFolder {
    let counts = FolderCounts {
        state: FolderState::Idle,
        files,
        files_here: files,
        bytes: files * 4_096,
        bytes_here: files * 4_096,
        index: SAME,
        want: SAME,
        have: SAME,
        ..FolderCounts::default()
    };
    NodeFolder { counts, told: true, live: true, agrees: true, ..NodeFolder::default() }
}

fn row(path: &str, size: u64, minutes: u64) -> FileRow {
    let hash = Root::of(path.as_bytes());
    FileRow { path: path.parse().unwrap(), size, hash, modified: UnixMillis(NOW.0 - minutes * 60_000), holders: 1 }
}

/// The names as the bootstrap tells them, each on every node.
fn take(model: &mut Model, files: Vec<FileRow>, conflicts: Vec<ConflictRow>) {
    model.picture.files.live = vec![model.picture.summary.files.folders; files.len()];
    model.files.take(NodeName::numbered(1), FilesReply { files, conflicts, digest: SAME });
}

fn folder(model: &mut Model, number: u32) -> &mut FolderRow {
    let name = NodeName::numbered(number);
    model.picture.files.folders.iter_mut().find(|row| row.name == name).unwrap()
}

/// Bootstrap and three nodes get a film from one another; one of them looks at its folder yet, and one got wrong bytes.
pub(crate) fn syncing_model() -> Model {
    let mut model = folders_model(4, 12);
    let film: FilePath = "films/a long holiday in the mountains.mkv".parse().unwrap();
    let root = Root::of(b"film").short();
    let some = |map: u64, here, sources: &[(u32, u32)]| Has::Some {
        map,
        here,
        chunks: 256,
        sources: sources.iter().map(|(node, chunks)| (NodeName::numbered(*node), *chunks)).collect(),
    };
    let has = [
        (2, some(0xffff_0fff_0f00_000f, 130, &[(1, 71), (3, 40), (4, 19)])),
        (3, some(0x0000_0000_ffff_fff0, 104, &[(1, 104)])),
        (4, some(0, 2, &[])),
        (1, Has::All),
    ];
    let rows: Vec<HeatRow> =
        has.into_iter().map(|(number, has)| HeatRow { name: NodeName::numbered(number), live: true, has }).collect();
    let parts = (0..PARTS).map(|part| rows.iter().filter(|row| has_part(&row.has, part)).count() as u32).collect();
    model.picture.files.heat = Some(Heat { root, path: Some(film), chunks: Some(256), rows, parts });
    for (number, here, state, received, sent) in [
        (2, 130, FolderState::Syncing, 31_000_000, 12_000_000),
        (3, 104, FolderState::Syncing, 24_000_000, 9_000_000),
        (4, 2, FolderState::Scanning, 400_000, 0),
        (1, 256, FolderState::Idle, 0, 58_000_000),
    ] {
        let of = &mut folder(&mut model, number).folder;
        of.counts.state = state;
        (of.counts.files, of.counts.files_here) = (13, if here == 256 { 13 } else { 12 });
        of.counts.bytes += 256 << 20;
        of.counts.bytes_here += here << 20;
        of.counts.want = OTHER;
        of.counts.have = if here == 256 { OTHER } else { SAME };
        (of.received_per_second, of.sent_per_second) = (received, sent);
        of.agrees = here == 256;
        if state != FolderState::Idle {
            (of.counts.in_flight, of.counts.sources, of.counts.received_bytes) = (16, 3, here << 20);
        }
    }
    let liar = &mut folder(&mut model, 3).folder.counts;
    (liar.bad_chunks, liar.liar, liar.wasted_bytes) = (2, Some(NodeName::numbered(4)), 2 << 20);
    model.picture.files.folders[0].folder = NodeFolder { told: true, live: true, ..NodeFolder::default() };
    model.picture.files.folders[0].folder.counts.state = FolderState::NoFolder;
    let counts = &mut model.picture.summary.files;
    (counts.agree, counts.folders, counts.is_union, counts.paths) = (1, 4, false, 13);
    counts.bytes += 256 << 20;
    counts.groups = vec![group("4f2a91c0", 3, 12, 1), group("91c077aa", 1, 13, 0)];
    counts.groups.push(DigestGroup { digest: None, nodes: 1, files: 0, lacking: 0, names: vec![] });
    (counts.union_for_ms, counts.need_files, counts.need_bytes) = (Some(4_130), 3, 532 << 20);
    (counts.received_per_second, counts.sent_per_second, counts.bad_chunks) = (55_400_000, 55_400_000, 2);
    (counts.one_holder, counts.at_risk) = (1, 1);
    model.picture.files.live = vec![4; 12];
    model
}

fn has_part(has: &Has, part: usize) -> bool {
    match has {
        Has::All => true,
        Has::Some { map, .. } => map >> part & 1 == 1,
        Has::None => false,
    }
}

/// node2 is dead and node3 paused; a file that only they had is on nobody's disk, and an upload is lost.
pub(crate) fn lost_model() -> Model {
    let mut model = folders_model(4, 12);
    for (number, unit) in [(2, UnitState::Dead), (3, UnitState::Paused)] {
        let row = folder(&mut model, number);
        (row.unit, row.folder.live, row.folder.agrees) = (unit, false, false);
        let name = row.name.clone();
        model.picture.nodes.iter_mut().find(|node| node.name == name).unwrap().state = unit;
    }
    let full = folder(&mut model, 4);
    full.folder.counts.state = FolderState::Full;
    model.picture.files.folders.sort_by_key(|row| row.unit != UnitState::Dead);
    let counts = &mut model.picture.summary.files;
    (counts.agree, counts.folders) = (3, 3);
    counts.groups = vec![group("4f2a91c0", 3, 12, 0)];
    (counts.lost, counts.no_holder, counts.at_risk) = (1, 1, 2);
    let (path, by) = ("thesis/final.pdf".to_owned(), NodeName::numbered(2));
    counts.lost_paths = vec![Uploaded { path, by, holders: 2 }];
    counts.troubles = vec![FolderTrouble { node: NodeName::numbered(4), state: FolderState::Full }];
    model.picture.files.live = [vec![3; 11], vec![0]].concat();
    model
}

/// Two wrote the same file at once: both versions are everywhere, and the newer one has the name.
pub(crate) fn conflict_model() -> Model {
    let mut model = folders_model(3, 12);
    let copy = "notes/plan.conflict-node3-5e884898.txt";
    let files = vec![
        row("notes/a\u{1b}[2Jb.txt", 10, 1),
        row(copy, 2_048, 3),
        row("notes/plan.txt", 2_040, 2),
        row("日本語/資料.txt", 300_000, 90),
    ];
    let path = "notes/plan.txt".parse().unwrap();
    take(&mut model, files, vec![ConflictRow { path, copy: copy.parse().unwrap(), hash: Root::of(b"x") }]);
    model.picture.summary.files.conflicts = 1;
    model.picture.files.folders.iter_mut().for_each(|row| row.folder.counts.conflicts = 1);
    model.files.face = FilesFace::Files;
    model.files.selected = Some(copy.parse().unwrap());
    let rows =
        model.picture.files.folders.iter().map(|row| HeatRow { name: row.name.clone(), live: true, has: Has::All });
    let root = Root::of(copy.as_bytes()).short();
    let path = model.files.selected.clone();
    model.picture.files.heat = Some(Heat { root, path, chunks: None, rows: rows.collect(), parts: vec![4; PARTS] });
    model
}

/// A file on its way to a hundred nodes.
pub(crate) fn hundred_model() -> Model {
    let mut model = folders_model(100, 400);
    let rows: Vec<HeatRow> = (0..=100_u32)
        .map(|number| {
            let name = if number == 0 { NodeName::bootstrap() } else { NodeName::numbered(number) };
            let here = (number * 37) % 64;
            let has = match number {
                0..30 => {
                    let map = if here == 0 { 0 } else { (u64::MAX >> (64 - here)).rotate_left(number) };
                    Has::Some { map, here, chunks: 64, sources: vec![(NodeName::numbered(number / 3 + 40), here)] }
                }
                30..95 => Has::All,
                _ => Has::None,
            };
            HeatRow { name, live: number != 93, has }
        })
        .collect();
    let parts = (0..PARTS).map(|part| rows.iter().filter(|row| row.live && has_part(&row.has, part)).count() as u32);
    let parts = parts.collect();
    let file = model.files.listing.files[1].clone();
    model.files.selected = Some(file.path.clone());
    let (root, path) = (file.root.short(), Some(file.path));
    model.picture.files.heat = Some(Heat { root, path, chunks: Some(64), rows, parts });
    model
}
