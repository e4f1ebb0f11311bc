//! The table of nodes: what each folder is doing, has, lacks, gets and gives.

use p2pnet_shared::wire::folder::FolderDigest;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{size, state};
use crate::{
    cluster::UnitState,
    model::{Model, files::FolderRow},
    view::{
        cells::{count, row},
        table::{Shape, fitting, headings, left, right, rows},
        theme::Role,
    },
};

/// One column.
struct Column {
    shape: Shape,
    text: fn(&Model, &FolderRow) -> String,
}

const COLUMNS: [Column; 11] = [
    Column { shape: left("NODE", 10, 0), text: |_, row| row.name.to_string() },
    Column { shape: left("STATE", 11, 0), text: |model, row| state(&model.theme, row).1.into() },
    Column { shape: right("FILES", 11, 0), text: files },
    Column { shape: right("BYTES", 9, 3), text: |_, row| size(row.folder.counts.bytes_here) },
    Column { shape: right("LACKS", 9, 5), text: lacks },
    Column { shape: right("FLIGHT", 6, 6), text: flight },
    Column { shape: right("IN/S", 9, 1), text: |_, row| rate(row.folder.received_per_second) },
    Column { shape: right("OUT/S", 9, 4), text: |_, row| rate(row.folder.sent_per_second) },
    Column { shape: right("WASTE", 5, 7), text: wasted },
    Column { shape: right("BAD", 10, 8), text: bad },
    Column { shape: left("DIGEST", 10, 2), text: digests },
];

/// Glyph and blanks before the first column.
const MARKS: usize = 3;

/// Which row of how many is selected.
pub(super) fn place(model: &Model) -> String {
    let files = &model.picture.files;
    let at = files.position(model.nodes.selected.as_ref()).map_or(0, |at| at + 1);
    format!("{at}/{}", files.folders.len())
}

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let folders = &model.picture.files.folders;
    let columns = fitting(&COLUMNS, area.width, MARKS, " ", |column| &column.shape);
    row(area, 0, headings(&model.theme, MARKS, " ", columns.iter().map(|column| (&column.shape, false))), buf);
    if folders.is_empty() {
        return row(area, 2, Line::styled("   no nodes yet", model.theme.style(Role::Muted)), buf);
    }
    let selected = model.nodes.selected.as_ref();
    let shown = folders.iter().skip(model.files.offset);
    let lines = shown.map(|folder| (line(model, folder, &columns), selected == Some(&folder.name)));
    rows(&model.theme, area, lines, buf);
}

fn line(model: &Model, folder: &FolderRow, columns: &[&Column]) -> Line<'static> {
    let theme = &model.theme;
    let (glyph, _, role) = state(theme, folder);
    let runs = folder.unit == UnitState::Up;
    let mut spans = vec![Span::styled(format!(" {glyph} "), theme.style(role))];
    for column in columns {
        let is_named = matches!(column.shape.heading, "NODE" | "STATE");
        let text = if is_named || (folder.folder.told && has_folder(folder)) {
            (column.text)(model, folder)
        } else {
            theme.symbols.none.to_owned()
        };
        let counts = &folder.folder.counts;
        let style = match column.shape.heading {
            "NODE" | "STATE" => theme.style(role),
            _ if !runs => theme.style(Role::Muted),
            "FILES" | "LACKS" | "DIGEST" if counts.have != counts.want => theme.style(Role::Converging),
            "IN/S" | "OUT/S" if text != "0" => theme.style(Role::Path),
            "BAD" if counts.bad_chunks > 0 => theme.style(Role::Warning),
            _ => theme.style(Role::Text),
        };
        spans.push(Span::styled(column.shape.cell(&text, theme.symbols.ellipsis), style));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

fn has_folder(row: &FolderRow) -> bool {
    row.folder.counts.state != p2pnet_shared::telemetry::FolderState::NoFolder
}

/// `398/400`, or `400`; with the conflict copies among them.
fn files(_: &Model, row: &FolderRow) -> String {
    let counts = &row.folder.counts;
    let conflicts = if counts.conflicts > 0 { format!(" !{}", counts.conflicts) } else { String::new() };
    if counts.files_here == counts.files {
        return format!("{}{conflicts}", count(counts.files));
    }
    format!("{}/{}{conflicts}", counts.files_here, counts.files)
}

fn lacks(_: &Model, row: &FolderRow) -> String {
    let counts = &row.folder.counts;
    match counts.bytes.saturating_sub(counts.bytes_here) {
        0 => "0".to_owned(),
        bytes => size(bytes),
    }
}

/// Chunks asked for, and of how many nodes.
fn flight(_: &Model, row: &FolderRow) -> String {
    let counts = &row.folder.counts;
    if counts.in_flight == 0 { "0".to_owned() } else { format!("{}<{}", counts.in_flight, counts.sources) }
}

fn rate(bytes: u64) -> String {
    if bytes == 0 { "0".to_owned() } else { size(bytes) }
}

fn wasted(_: &Model, row: &FolderRow) -> String {
    let counts = &row.folder.counts;
    if counts.received_bytes == 0 {
        return "0%".to_owned();
    }
    format!("{:.1}%", counts.wasted_bytes as f64 * 100.0 / counts.received_bytes as f64)
}

/// Wrong chunks, and of whom the last came.
fn bad(_: &Model, row: &FolderRow) -> String {
    let counts = &row.folder.counts;
    match &counts.liar {
        Some(liar) if counts.bad_chunks > 0 => format!("{} {liar}", counts.bad_chunks),
        _ => counts.bad_chunks.to_string(),
    }
}

/// What is on its disk, and what is to be there if that is something else.
fn digests(model: &Model, row: &FolderRow) -> String {
    let counts = &row.folder.counts;
    let four = |digest: FolderDigest| format!("{digest}").chars().take(4).collect::<String>();
    if counts.have == counts.want {
        return four(counts.have);
    }
    format!("{}{}{}", four(counts.have), model.theme.symbols.arrow, four(counts.want))
}
