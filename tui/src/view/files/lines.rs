//! What holds for the folder as a whole, in four lines: agreement, groups, the time to union, promises.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::size;
use crate::{
    model::Model,
    network::DigestGroup,
    view::{
        cells::{clip, count, duration, pad, row, width},
        theme::Role,
    },
};

/// Columns of a label.
const LABEL: usize = 8;
/// Groups that are shown; the rest are counted.
const GROUPS_MAX: usize = 6;

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    if area.width == 0 {
        return;
    }
    let columns = usize::from(area.width).saturating_sub(LABEL + 1);
    let files = &model.picture.summary.files;
    if files.folders == 0 && files.uploads == 0 {
        let text = "no node has told of a folder";
        return row(area, 0, Line::styled(format!(" {text}"), model.theme.style(Role::Muted)), buf);
    }
    let lines = [
        ("folders", folders(model)),
        ("on disk", groups(model)),
        ("union", union(model)),
        ("uploads", promises(model)),
    ];
    for (i, (label, parts)) in lines.into_iter().enumerate() {
        let label = Span::styled(format!(" {}", pad(label, LABEL, false, "")), model.theme.style(Role::Muted));
        row(area, i, Line::from([vec![label], fit(model, parts, columns)].concat()), buf);
    }
}

type Parts = Vec<(String, Role)>;

/// As many parts as fit, parted by dots; the last one that does not is cut.
fn fit(model: &Model, parts: Parts, columns: usize) -> Vec<Span<'static>> {
    let symbols = &model.theme.symbols;
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for (text, role) in parts {
        if !spans.is_empty() {
            spans.push(Span::styled(format!(" {} ", symbols.dot), model.theme.style(Role::Muted)));
            used += 3;
        }
        let text = clip(&text, columns.saturating_sub(used), symbols.ellipsis);
        used += width(&text);
        spans.push(Span::styled(text, model.theme.style(role)));
        if used >= columns {
            break;
        }
    }
    spans
}

/// A number that is good when it is zero.
fn zero(number: u64, text: String, role: Role) -> (String, Role) {
    (text, if number == 0 { Role::Muted } else { role })
}

fn folders(model: &Model) -> Parts {
    let files = &model.picture.summary.files;
    let role = if files.agree == files.folders { Role::Title } else { Role::Converging };
    let mut parts = vec![
        (format!("{} of {} agree", files.agree, files.folders), role),
        (format!("{} files, {}", count(files.paths), size(files.bytes)), Role::Text),
        zero(files.conflicts, format!("conflicts {}", count(files.conflicts)), Role::Warning),
    ];
    if let Some(trouble) = files.troubles.first() {
        let more = if files.troubles.len() > 1 { format!(" +{}", files.troubles.len() - 1) } else { String::new() };
        parts.insert(1, (format!("{} takes nothing{more}", trouble.node), Role::Dead));
    }
    parts
}

/// `97 × 4f2a`, and by how many files the others differ.
fn groups(model: &Model) -> Parts {
    let symbols = &model.theme.symbols;
    let times = if symbols.braille { "×" } else { "x" };
    let groups = &model.picture.summary.files.groups;
    let one = |(at, group): (usize, &DigestGroup)| {
        let digest = group.digest.as_ref().map_or(symbols.none, |digest| digest.get(..4).unwrap_or(digest));
        let lacks = if group.lacking > 0 { format!(" lack {}", count(group.lacking)) } else { String::new() };
        let who = match group.names.as_slice() {
            [one] if at > 0 && group.nodes == 1 => format!(" ({one})"),
            _ => String::new(),
        };
        let role = match group.digest {
            None => Role::Muted,
            Some(_) if at == 0 && group.lacking == 0 => Role::Text,
            Some(_) => Role::Converging,
        };
        (format!("{} {times} {digest}{lacks}{who}", group.nodes), role)
    };
    let mut parts: Parts = groups.iter().take(GROUPS_MAX).enumerate().map(one).collect();
    if groups.len() > GROUPS_MAX {
        parts.push((format!("{} more groups", groups.len() - GROUPS_MAX), Role::Converging));
    }
    parts
}

fn union(model: &Model) -> Parts {
    let files = &model.picture.summary.files;
    let none = model.theme.symbols.none;
    let show = |ms: Option<u64>| ms.map_or_else(|| none.to_owned(), duration);
    let mut parts = Vec::new();
    if let Some(ms) = files.union_for_ms {
        parts.push((format!("running {}", duration(ms)), Role::Converging));
        parts
            .push((format!("{} files, {} to come", count(files.need_files), size(files.need_bytes)), Role::Converging));
        parts.push((format!("{}/s", size(files.received_per_second)), Role::Path));
    }
    parts.push((format!("last {}", show(files.union_ms_last)), Role::Text));
    parts.push((format!("p99 {}", show(files.union_ms_p99)), Role::Muted));
    if files.received_bytes > 0 {
        let wasted = files.wasted_bytes as f64 * 100.0 / files.received_bytes as f64;
        parts.push((format!("wasted {wasted:.1} %"), Role::Muted));
    }
    if files.bad_chunks > 0 {
        parts.push((format!("bad chunks {}", count(files.bad_chunks)), Role::Warning));
    }
    parts
}

fn promises(model: &Model) -> Parts {
    let files = &model.picture.summary.files;
    let about = if files.estimated { "about " } else { "" };
    let mut parts = vec![
        (count(files.uploads), Role::Text),
        zero(files.at_risk, format!("at risk {}", count(files.at_risk)), Role::Warning),
        zero(files.lost, format!("lost {}", count(files.lost)), Role::Dead),
        zero(files.one_holder, format!("files on one node {about}{}", count(files.one_holder)), Role::Warning),
    ];
    if files.no_holder > 0 {
        parts.insert(3, (format!("files on none {about}{}", count(files.no_holder)), Role::Dead));
    }
    if let Some(first) = files.lost_paths.first() {
        parts.insert(3, (format!("{} of {}", first.path, first.by), Role::Dead));
    }
    parts
}
