//! The node table: how each node is, by the engine's word, beside what it believes.
//!
//! Only the rows in sight are built. Columns drop in a fixed order when it is narrow: address, suspects, CPU, age, messages.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    cells::{age, bytes, count, frame, row, wrap},
    ring::disk_trouble,
    table::{Shape, fitting, headings, left, right, rows},
    theme::{Role, Theme},
};
use crate::{
    cluster::{self, UnitState},
    model::{Model, Opening, nodes::SortBy, pane::Pane},
    network::Node,
};

/// One column.
struct Column {
    shape: Shape,
    text: fn(&Model, &Node) -> String,
    sort: Option<SortBy>,
}

const COLUMNS: [Column; 11] = [
    Column { shape: left("NODE", 11, 0), text: name, sort: Some(SortBy::Name) },
    Column { shape: left("STATE", 12, 0), text: state, sort: Some(SortBy::State) },
    Column { shape: right("MEMBERS", 7, 0), text: members, sort: Some(SortBy::Members) },
    Column { shape: left("AGREE", 14, 0), text: agree, sort: None },
    Column { shape: right("KEYS", 6, 1), text: keys, sort: Some(SortBy::Keys) },
    Column { shape: right("SUSP", 4, 5), text: suspects, sort: None },
    Column { shape: right("MSGS", 5, 2), text: messages, sort: Some(SortBy::Messages) },
    Column { shape: right("RSS", 5, 0), text: memory, sort: Some(SortBy::Memory) },
    Column { shape: right("CPU", 5, 4), text: cpu, sort: Some(SortBy::Cpu) },
    Column { shape: right("AGE", 7, 3), text: since, sort: Some(SortBy::Age) },
    Column { shape: left("ADDRESS", 15, 6), text: address, sort: None },
];

/// Glyph, mark and the blank before each column.
const GLYPHS: usize = 4;
/// Between two columns.
const GAP: &str = "  ";

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let nodes = &model.picture.nodes;
    let view = &model.nodes;
    let symbols = &model.theme.symbols;
    let filter =
        if view.filter.is_empty() { String::new() } else { format!(" {} filter {}", symbols.dot, view.filter) };
    let order = format!("sort {}{}", view.sort.heading(), if view.reversed { " reversed" } else { "" });
    let title = format!("{} of {}{filter} {} {order}", view.order.len(), nodes.len(), symbols.dot);
    let at = view.position(nodes).map_or(0, |at| at + 1);
    let footer = format!("{at}/{} {} {} marked", view.order.len(), symbols.dot, view.marked.len());
    let inner = frame(model, Pane::Nodes, &title, &footer, area, buf);
    if inner.width == 0 || inner.height == 0 {
        return;
    }
    let columns = fitting(&COLUMNS, inner.width, GLYPHS, GAP, |column| &column.shape);
    let headed = columns.iter().map(|column| (&column.shape, column.sort == Some(view.sort)));
    row(inner, 0, headings(&model.theme, GLYPHS, GAP, headed), buf);
    if view.order.is_empty() {
        let why = match &model.opening {
            Opening::Failed(failure) => failure.to_string(),
            _ => empty(model).to_owned(),
        };
        let columns = usize::from(inner.width).saturating_sub(6).max(1);
        for (i, line) in why.lines().flat_map(|line| wrap(line, columns)).enumerate() {
            row(inner, i + 2, Line::styled(format!("   {line}"), model.theme.style(Role::Muted)), buf);
        }
        return;
    }
    let shown = view.order.iter().skip(view.offset).filter_map(|i| nodes.get(*i));
    let lines = shown.map(|node| (line(model, node, &columns), view.selected.as_ref() == Some(&node.name)));
    rows(&model.theme, inner, lines, buf);
}

fn empty(model: &Model) -> &'static str {
    match model.opening {
        _ if !model.nodes.filter.is_empty() && !model.picture.nodes.is_empty() => {
            "no node matches the filter (Esc clears it)"
        }
        Opening::Looking => "asking the container engine for a running network",
        Opening::Starting => "nodes appear here as they start",
        Opening::Failed(_) => "no network",
        Opening::Open => "no nodes yet: `:add 5` adds five",
    }
}

fn line(model: &Model, node: &Node, columns: &[&Column]) -> Line<'static> {
    let theme = &model.theme;
    let (glyph, role) = glyph(theme, node);
    let bad_disk = disk(model, node).is_some();
    let (glyph, role) = if bad_disk { (theme.symbols.dead, Role::Dead) } else { (glyph, role) };
    let style = theme.style(role);
    let held = match model.picture.ring.holds_focus(&node.name) {
        Some(0) => theme.symbols.mark.to_owned(),
        Some(replica) => replica.to_string(),
        None => " ".to_owned(),
    };
    let mark = if model.nodes.marked.contains(&node.name) { theme.symbols.mark } else { " " };
    let mut spans = vec![
        Span::styled(mark, theme.style(Role::Converging)),
        Span::styled(glyph, style),
        Span::styled(held, theme.style(Role::Path)),
        Span::raw(" "),
    ];
    for column in columns {
        let text = column.shape.cell(&(column.text)(model, node), theme.symbols.ellipsis);
        let style = match column.shape.heading {
            "NODE" | "STATE" => style,
            "AGREE" if node.state == UnitState::Up && !node.agrees => theme.style(Role::Converging),
            "SUSP" if node.suspects > 0 => theme.style(Role::Warning),
            _ if bad_disk => style,
            _ if node.state == UnitState::Up => theme.style(Role::Text),
            _ => theme.style(Role::Muted),
        };
        spans.push(Span::styled(text, style));
        spans.push(Span::raw("  "));
    }
    Line::from(spans)
}

fn glyph(theme: &Theme, node: &Node) -> (&'static str, Role) {
    let symbols = &theme.symbols;
    match (node.state, node.reporting, node.agrees) {
        (UnitState::Up, false, _) => ("?", Role::Warning),
        (UnitState::Up, _, false) => (symbols.converging, Role::Converging),
        (UnitState::Up, _, true) if node.role == cluster::Role::Bootstrap => (symbols.bootstrap, Role::Up),
        (state, ..) => {
            let (glyph, _, role) = theme.unit(state);
            (glyph, role)
        }
    }
}

fn name(_: &Model, node: &Node) -> String {
    node.name.to_string()
}

/// The engine's word, and for how long where that is news.
fn state(model: &Model, node: &Node) -> String {
    let (_, word, _) = model.theme.unit(node.state);
    match (node.state, node.since) {
        (UnitState::Up, _) if !node.reporting => "up, silent".to_owned(),
        (UnitState::Up, _) if disk(model, node).is_some() => disk(model, node).unwrap_or_default().to_owned(),
        (UnitState::Up, _) | (_, None) => word.to_owned(),
        (_, Some(since)) => format!("{word} {}", age(model.picture.at.since(since))),
    }
}

fn unless_up(model: &Model, node: &Node, text: impl FnOnce() -> String) -> String {
    if node.state == UnitState::Up && node.reporting { text() } else { model.theme.symbols.none.to_owned() }
}

fn members(model: &Model, node: &Node) -> String {
    unless_up(model, node, || node.view.members.to_string())
}

fn agree(model: &Model, node: &Node) -> String {
    unless_up(model, node, || match (node.agrees, node.ghosts, node.missing) {
        (true, ..) => "yes".to_owned(),
        (false, 0, 0) => "no".to_owned(),
        (false, ghosts, 0) => format!("ghost {ghosts}"),
        (false, 0, missing) => format!("miss {missing}"),
        (false, ghosts, missing) => format!("ghost {ghosts} miss {missing}"),
    })
}

/// The word for a disk that takes no writes.
fn disk(model: &Model, node: &Node) -> Option<&'static str> {
    let owner = model.picture.ring.owner(&node.name).filter(|owner| owner.live)?;
    disk_trouble(owner.disk).map(|(word, _)| word)
}

fn keys(model: &Model, node: &Node) -> String {
    let held = model.picture.ring.owner(&node.name).map(|owner| count(owner.keys));
    unless_up(model, node, || held.unwrap_or_else(|| model.theme.symbols.none.to_owned()))
}

fn suspects(model: &Model, node: &Node) -> String {
    unless_up(model, node, || node.suspects.to_string())
}

fn messages(model: &Model, node: &Node) -> String {
    unless_up(model, node, || node.messages.to_string())
}

fn memory(model: &Model, node: &Node) -> String {
    let none = model.theme.symbols.none;
    unless_up(model, node, || node.load.as_ref().map_or_else(|| none.to_owned(), |load| bytes(load.rss_bytes)))
}

fn cpu(model: &Model, node: &Node) -> String {
    let none = model.theme.symbols.none;
    unless_up(model, node, || node.cpu_percent.map_or_else(|| none.to_owned(), |percent| format!("{percent:.1}%")))
}

fn since(model: &Model, node: &Node) -> String {
    node.since.map_or_else(|| model.theme.symbols.none.to_owned(), |since| age(model.picture.at.since(since)))
}

fn address(model: &Model, node: &Node) -> String {
    node.address.map_or_else(|| model.theme.symbols.none.to_owned(), |address| address.to_string())
}
