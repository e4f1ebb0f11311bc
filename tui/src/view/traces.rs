//! Broadcasts, newest first: what was said, how many have it, how long and how far it went; the selected one unfolded
//! shows the way it took to each node.

use p2pnet_shared::{NodeName, wire::broadcast::Via};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    cells::{clip, duration, frame, pad, restyle, row},
    theme::Role,
};
use crate::{
    cluster::UnitState,
    model::{Model, pane::Pane},
    network::{Arrival, Mode, Trace},
};

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let symbols = &model.theme.symbols;
    let traces = &model.picture.traces;
    let summary = &model.picture.summary;
    let mode = summary.overlay.mode.map(|mode| if mode == Mode::Tree { "tree" } else { "flood" });
    let words = mode.map_or_else(String::new, |mode| format!(" {} {mode} {}", symbols.dot, summary.overlay_words()));
    let title = format!("{} shown {} Enter unfolds{words}", traces.len(), symbols.dot);
    let footer =
        model.picture.traces.get(model.trace_position()).map_or_else(String::new, |trace| trace.id.to_string());
    let inner = frame(model, Pane::Traces, &title, &footer, area, buf);
    list(model, inner, buf);
}

/// The broadcasts that fit, the unfolded one with every path.
pub(super) fn list(model: &Model, area: Rect, buf: &mut Buffer) {
    let traces = &model.picture.traces;
    if traces.is_empty() {
        let hint = "  nothing was sent yet: @ sends from the selected node to everyone";
        row(area, 1, Line::styled(hint, model.theme.style(Role::Muted)), buf);
        return;
    }
    let height = usize::from(area.height);
    let columns = usize::from(area.width);
    let at = model.trace_position();
    let lit = model.focus == Pane::Traces;
    if model.traces.expanded {
        let trace = &traces[at];
        row(area, 0, summary(model, trace, columns), buf);
        if lit {
            restyle(area, 0, model.theme.selection(), buf);
        }
        let shown = height.saturating_sub(1);
        let offset = model.traces.offset.min(unfolded_len(model, trace).saturating_sub(shown));
        for (i, line) in unfolded(model, trace, offset, shown, columns).into_iter().enumerate() {
            row(area, i + 1, line, buf);
        }
        return;
    }
    let first = (at + 1).saturating_sub(height);
    for (i, trace) in traces.iter().skip(first).take(height).enumerate() {
        row(area, i, summary(model, trace, columns), buf);
        if lit && first + i == at {
            restyle(area, i, model.theme.selection(), buf);
        }
    }
}

/// One broadcast in one line, with the longest way it took where there is room.
pub(super) fn summary(model: &Model, trace: &Trace, columns: usize) -> Line<'static> {
    let theme = &model.theme;
    let symbols = &theme.symbols;
    let all = trace.delivered >= trace.expected;
    let (glyph, role) = if all { (symbols.check, Role::Converged) } else { (symbols.converging, Role::Converging) };
    let text = format!("\"{}\"", trace.text.as_deref().unwrap_or("?"));
    let origin = format!("{} #{}", trace.id.origin, trace.id.seq);
    let mut spans = vec![
        Span::styled(format!(" {glyph} "), theme.style(role)),
        Span::styled(pad(&origin, 12, false, symbols.ellipsis), theme.style(Role::Up)),
        Span::raw(format!(" {} ", pad(&text, (columns / 6).clamp(12, 40), false, symbols.ellipsis))),
        Span::styled(pad(&format!("{}/{}", trace.delivered, trace.expected), 9, true, ""), theme.style(role)),
        Span::raw(pad(&format!("{} ms", trace.last_ms()), 9, true, "")),
        Span::raw(pad(&hops(trace.hops_max()), 8, true, "")),
    ];
    if trace.duplicates > 0 {
        spans.push(Span::styled(format!("  {} twice", trace.duplicates), theme.style(Role::Dead)));
    }
    let odd = odd(trace);
    if !odd.is_empty() {
        spans.push(Span::styled(format!("  {odd}"), theme.style(Role::Warning)));
    }
    let used: usize = spans.iter().map(Span::width).sum();
    if let Some(farthest) = trace.arrivals.iter().max_by_key(|arrival| arrival.path.len())
        && columns > used + 12
    {
        let way = way(model, &farthest.path);
        spans.push(Span::styled(
            format!("  {}", clip(&way, columns - used - 3, symbols.ellipsis)),
            theme.style(Role::Path),
        ));
    }
    Line::from(spans)
}

/// How many did not come the plain way, and how many came after a later message of the same origin.
fn odd(trace: &Trace) -> String {
    let count = |what: &dyn Fn(&Arrival) -> bool| trace.arrivals.iter().filter(|arrival| what(arrival)).count();
    let all = [
        (count(&|arrival| arrival.via == Via::Graft), "graft"),
        (count(&|arrival| arrival.via == Via::Repair), "repair"),
        (count(&|arrival| arrival.late), "late"),
    ];
    let some = all.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}"));
    some.collect::<Vec<_>>().join(" ")
}

/// How a message came.
fn via(arrival: &Arrival) -> (&'static str, Role) {
    match arrival.via {
        Via::Own => ("own", Role::Muted),
        Via::Push => ("push", Role::Muted),
        Via::Graft => ("graft", Role::Converging),
        Via::Repair => ("repair", Role::Warning),
    }
}

fn hops(count: usize) -> String {
    if count == 1 { "1 hop".to_owned() } else { format!("{count} hops") }
}

fn way(model: &Model, path: &[NodeName]) -> String {
    let arrow = format!(" {} ", model.theme.symbols.arrow);
    path.iter().map(NodeName::as_str).collect::<Vec<_>>().join(&arrow)
}

/// Nodes that run and do not have it.
fn waiting<'a>(model: &'a Model, trace: &Trace) -> Vec<&'a NodeName> {
    if trace.delivered >= trace.expected {
        return Vec::new();
    }
    let has = |name: &NodeName| trace.arrivals.iter().any(|arrival| arrival.node == *name);
    let up = model.picture.nodes.iter().filter(|node| node.state == UnitState::Up);
    up.map(|node| &node.name).filter(|name| !has(name)).collect()
}

fn unfolded_len(model: &Model, trace: &Trace) -> usize {
    trace.arrivals.len() + usize::from(!waiting(model, trace).is_empty())
}

fn unfolded(model: &Model, trace: &Trace, offset: usize, height: usize, columns: usize) -> Vec<Line<'static>> {
    let theme = &model.theme;
    let waiting = waiting(model, trace);
    let mut lines = Vec::new();
    if !waiting.is_empty() {
        let names: Vec<&str> = waiting.iter().map(|name| name.as_str()).collect();
        let text = clip(&format!("not yet: {}", names.join(", ")), columns.saturating_sub(5), theme.symbols.ellipsis);
        lines.push(Line::styled(format!("   {text}"), theme.style(Role::Warning)));
    }
    for arrival in &trace.arrivals {
        if lines.len() >= offset + height {
            break;
        }
        let ms = duration_ms(arrival.at.since(trace.accepted_at));
        let name = pad(arrival.node.as_str(), 10, false, theme.symbols.ellipsis);
        let (how, how_role) = via(arrival);
        let order = if arrival.late { format!("#{} late ", trace.id.seq) } else { String::new() };
        let room = columns.saturating_sub(34 + order.len());
        let way = if arrival.path.len() > 1 { way(model, &arrival.path) } else { "sent it".to_owned() };
        lines.push(Line::from(vec![
            Span::styled(format!("{} ", pad(&ms, 10, true, "")), theme.style(Role::Muted)),
            Span::styled(format!(" {name}  "), theme.style(Role::Up)),
            Span::styled(pad(how, 8, false, ""), theme.style(how_role)),
            Span::styled(order, theme.style(Role::Warning)),
            Span::styled(clip(&way, room, theme.symbols.ellipsis), theme.style(Role::Path)),
        ]));
    }
    lines.into_iter().skip(offset).take(height).collect()
}

fn duration_ms(ms: u64) -> String {
    if ms < 10_000 { format!("{ms} ms") } else { duration(ms) }
}
