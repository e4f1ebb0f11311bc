//! The selected node's overlay links: to whom it pushes messages, whom it only tells of them, and whose neighbours those
//! are in turn.

use p2pnet_shared::NodeName;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    cells::{clip, pad, row},
    theme::{Role, Theme},
};
use crate::{
    model::{Model, picture::About},
    network::Neighbour,
};

/// What the pane's title says of the links.
pub(super) fn title(theme: &Theme, about: &About) -> String {
    let eager = about.neighbours.iter().filter(|neighbour| neighbour.eager).count();
    format!("links of {} {} {eager} eager, {} lazy", name(about), theme.symbols.dot, about.neighbours.len() - eager)
}

fn name(about: &About) -> &str {
    about.node.as_ref().map_or("nobody", NodeName::as_str)
}

/// The network's line, then a row for each neighbour.
pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = &model.theme;
    let columns = usize::from(area.width);
    let about = &model.picture.about;
    let whole = clip(&model.picture.summary.overlay_text(), columns.saturating_sub(2), theme.symbols.ellipsis);
    row(area, 0, Line::styled(format!(" {whole}"), theme.style(Role::Muted)), buf);
    if about.neighbours.is_empty() {
        let text = format!("  {} has told of no link", name(about));
        row(area, 2, Line::styled(text, theme.style(Role::Muted)), buf);
        return;
    }
    row(area, 1, Line::styled(format!(" {}", name(about)), theme.style(Role::Title)), buf);
    let rows = usize::from(area.height).saturating_sub(2);
    let last = about.neighbours.len() - 1;
    for (i, neighbour) in about.neighbours.iter().enumerate().skip(model.peers.offset).take(rows) {
        row(area, i - model.peers.offset + 2, line(theme, about, neighbour, i == last, columns), buf);
    }
}

/// How a link is drawn: a heavy line carries messages, a broken one announces them. The left half is what we say, the
/// right half what the other end says.
fn drawn(theme: &Theme, neighbour: &Neighbour) -> (String, &'static str, Role) {
    let (eager, lazy, unknown) = if theme.symbols.braille { ("━━", "╌╌", "??") } else { ("==", "--", "??") };
    let half = |pushes: bool| if pushes { eager } else { lazy };
    let there = neighbour.back.map_or(unknown, half);
    let (word, role) = match (neighbour.eager, neighbour.back) {
        (_, None) => ("one end", Role::Warning),
        (true, Some(true)) => ("eager", Role::Up),
        (false, Some(false)) => ("lazy", Role::Muted),
        (true, Some(false)) => ("out only", Role::Up),
        (false, Some(true)) => ("in only", Role::Up),
    };
    (format!("{}{there}", half(neighbour.eager)), word, role)
}

fn line(theme: &Theme, about: &About, neighbour: &Neighbour, last: bool, columns: usize) -> Line<'static> {
    let branch = match (theme.symbols.braille, last) {
        (true, false) => "├",
        (true, true) => "└",
        (false, false) => "|",
        (false, true) => "`",
    };
    let (link, word, role) = drawn(theme, neighbour);
    let shared = |name: &NodeName| about.neighbours.iter().any(|other| other.name == *name);
    let others = neighbour.others.iter().filter(|other| Some(*other) != about.node.as_ref());
    let others: Vec<String> =
        others.map(|other| if shared(other) { format!("{other}*") } else { other.to_string() }).collect();
    let others = format!("{} links: {}", neighbour.others.len(), others.join(", "));
    Line::from(vec![
        Span::styled(format!("  {branch}{link} "), theme.style(role)),
        Span::styled(pad(neighbour.name.as_str(), 12, false, theme.symbols.ellipsis), theme.style(Role::Up)),
        Span::styled(format!(" {} ", pad(word, 9, false, "")), theme.style(role)),
        Span::styled(clip(&others, columns.saturating_sub(32), theme.symbols.ellipsis), theme.style(Role::Path)),
    ])
}
