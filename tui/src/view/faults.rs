//! What is wrong on purpose: each fault, who obeys it, for how long, and who does not although it should.

use p2pnet_shared::fault::NodeSet;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    cells::{age, clip, count, frame, pad, row},
    theme::Role,
};
use crate::{
    cluster::UnitState,
    model::{Model, pane::Pane},
    network::FaultState,
};

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = &model.theme;
    let faults = all(model);
    let title = match faults.len() {
        0 => "none".to_owned(),
        many => format!("{many} now {} H heals", theme.symbols.dot),
    };
    let lost = model.picture.nodes.iter().filter_map(|node| node.load.as_ref()).map(|load| load.lost_to_faults).sum();
    let footer = if lost == 0 { String::new() } else { format!("{} datagrams lost to faults", count(lost)) };
    let inner = frame(model, Pane::Faults, &title, &footer, area, buf);
    if faults.is_empty() {
        for (i, text) in [
            "nothing is wrong on purpose",
            ":cut 1-50 | 51-100    nobody of one side reaches the other",
            ":cut 7                node7 from everybody else",
            ":loss 30%             three of ten datagrams are lost",
            ":delay 100ms 30ms     whatever is sent is late",
        ]
        .into_iter()
        .enumerate()
        {
            row(inner, i + 1, Line::styled(format!("  {text}"), theme.style(Role::Muted)), buf);
        }
        return;
    }
    let columns = usize::from(inner.width);
    let wide = columns.saturating_sub(38).clamp(12, 60);
    let heading = format!("   {}{:>7}{:>9}  NOT ON", pad("FAULT", wide, false, ""), "NODES", "FOR");
    row(inner, 0, Line::styled(heading, theme.style(Role::Muted)), buf);
    for (i, fault) in faults.iter().take(usize::from(inner.height).saturating_sub(1)).enumerate() {
        row(inner, i + 1, line(model, fault, wide, columns), buf);
    }
}

/// Faults that nodes obey, and what is paused as one more.
fn all(model: &Model) -> Vec<FaultState> {
    let mut faults = model.picture.summary.faults.clone();
    let paused = || model.picture.nodes.iter().filter(|node| node.state == UnitState::Paused);
    let since = paused().filter_map(|node| node.since).min();
    let names: NodeSet = paused().map(|node| &node.name).collect();
    if !names.is_empty() {
        faults.push(FaultState {
            fault: format!("pause {names}"),
            kind: "pause",
            short: String::new(),
            nodes: u32::try_from(names.len()).unwrap_or(u32::MAX),
            not_on: Vec::new(),
            for_ms: since.map_or(0, |since| model.picture.at.since(since)),
        });
    }
    faults
}

fn line(model: &Model, fault: &FaultState, wide: usize, columns: usize) -> Line<'static> {
    let theme = &model.theme;
    let symbols = &theme.symbols;
    let glyph = if fault.kind == "pause" { symbols.paused } else { symbols.warning };
    let text = if symbols.braille { fault.fault.clone() } else { fault.fault.replace('±', "+-") };
    let missing = match fault.not_on.as_slice() {
        [] => String::new(),
        names => {
            let set: NodeSet = names.iter().collect();
            clip(&set.to_string(), columns.saturating_sub(wide + 22), symbols.ellipsis)
        }
    };
    Line::from(vec![
        Span::styled(format!(" {glyph} "), theme.style(Role::Warning)),
        Span::styled(pad(&text, wide, false, symbols.ellipsis), theme.style(Role::Title)),
        Span::raw(pad(&fault.nodes.to_string(), 7, true, "")),
        Span::raw(pad(&age(fault.for_ms), 9, true, "")),
        Span::styled(format!("  {missing}"), theme.style(Role::Dead)),
    ])
}

/// `cut 50|50, loss 30%`: what nobody should have to wonder about, for the top lines.
pub(super) fn in_short(model: &Model) -> String {
    let short: Vec<&str> = model.picture.summary.faults.iter().map(|fault| fault.short.as_str()).collect();
    let text = short.join(", ");
    if model.theme.symbols.braille { text } else { text.replace('±', "+-") }
}
