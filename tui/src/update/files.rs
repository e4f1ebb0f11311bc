//! The files pane: whose names are asked for, what came, and what stays in sight.
//!
//! One node with a folder is asked, the selected one if it can be, while the pane is in sight, and again whenever what it
//! shows has another digest. A listing that came stays until another does.

use p2pnet_shared::{NodeName, api::FilesReply, telemetry::FolderState, wire::folder::FolderDigest};

use super::layout;
use crate::{
    message::Command,
    model::{Model, files::FilesFace, files::FolderRow, pane::Pane},
    view::files::Plan,
};

/// The pane's parts, if it is in sight.
fn plan(model: &Model) -> Option<Plan> {
    layout(model).area(Pane::Files).map(|area| Plan::of_frame(area, model.files.face))
}

/// How many rows of what has the keys are in sight.
pub(super) fn rows(model: &Model) -> usize {
    let rows = plan(model).map_or(0, |plan| match model.files.face {
        FilesFace::Nodes => plan.node_rows(),
        FilesFace::Files => plan.file_rows(),
    });
    rows.max(1)
}

/// A node told its files, or did not.
pub(super) fn on_files(model: &mut Model, node: NodeName, result: Result<FilesReply, String>) {
    if model.files.wanted.as_ref().is_none_or(|(wanted, _)| *wanted != node) {
        return;
    }
    match result {
        Ok(reply) => {
            model.files.take(node, reply);
            if model.frozen.is_none() {
                model.picture.files.look_at(&model.network, &model.files);
            }
        }
        Err(error) => model.files.error = Some(error),
    }
}

/// Names are asked for only while they are on screen, and anew when the node asked shows something else.
pub(super) fn watch(model: &mut Model) -> Option<Command> {
    let visible = plan(model).is_some() && model.runtime.is_some();
    let can = |row: &&FolderRow| row.folder.live && row.folder.told && row.folder.counts.state != FolderState::NoFolder;
    let able = || model.picture.files.folders.iter().filter(can);
    let asked = model.files.wanted.as_ref().map(|(node, _)| node);
    // Who is selected, or who was asked before, or who has most.
    let node = able().find(|row| Some(&row.name) == model.nodes.selected.as_ref());
    let node = node.or_else(|| able().find(|row| Some(&row.name) == asked));
    let node = node.or_else(|| able().max_by_key(|row| row.folder.counts.files_here));
    let wanted: Option<(NodeName, FolderDigest)> =
        node.filter(|_| visible).map(|row| (row.name.clone(), row.folder.counts.want));
    if wanted == model.files.wanted {
        return None;
    }
    model.files.error = None;
    model.files.wanted.clone_from(&wanted);
    Some(Command::WatchFiles(wanted))
}

/// The selected rows stay on screen, and what is known of the files in sight is looked up.
pub(super) fn keep_in_sight(model: &mut Model) {
    let Some(plan) = plan(model) else { return };
    let files = &model.picture.files;
    let (rows, last) = (plan.node_rows(), files.folders.len());
    model.files.offset = model.files.offset.min(last.saturating_sub(rows));
    if let Some(at) = files.position(model.nodes.selected.as_ref()).filter(|_| rows > 0) {
        model.files.offset = model.files.offset.clamp((at + 1).saturating_sub(rows), at);
    }
    if plan.file_rows() > 0 {
        model.files.scroll_files(plan.file_rows());
    }
    let shown = model.files.file().map(|file| file.root.short());
    let is_shown = shown.is_none_or(|root| files.heat.as_ref().is_some_and(|heat| heat.root == root));
    if files.rows_from != model.files.file_offset || !is_shown {
        model.picture.files.look_at(&model.network, &model.files);
    }
}
