//! The selected node: its member table (whom it believes alive, since when, and who accused whom; trouble first), with its
//! newest story below, or its overlay links, or its whole story.

use p2pnet_shared::{NodeName, api::MemberDetail, wire::membership::Status};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    cells::{age, clip, frame, pad, row},
    links, story,
    theme::{Role, Theme},
};
use crate::model::{Face, Model, pane::Pane};

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    let theme = &model.theme;
    let Some(name) = &model.nodes.selected else {
        let inner = frame(model, Pane::Peers, "no node selected", "", area, buf);
        row(inner, 1, Line::styled("  select a node to see whom it believes alive", theme.style(Role::Muted)), buf);
        return;
    };
    match model.peers.face {
        Face::Members => members(model, name, area, buf),
        Face::Links => {
            let inner = frame(model, Pane::Peers, &links::title(theme, &model.picture.about), "o: story", area, buf);
            let inner = story::below(model, inner, buf);
            links::draw(model, inner, buf);
        }
        Face::Story => {
            let inner = frame(model, Pane::Peers, &format!("the story of {name}"), "o: members", area, buf);
            story::draw(model, inner, model.peers.offset, buf);
        }
    }
}

fn members(model: &Model, name: &NodeName, area: Rect, buf: &mut Buffer) {
    let theme = &model.theme;
    let table = model.peers.table.as_ref().filter(|(_, reply)| reply.observer == *name);
    let Some((at, reply)) = table else {
        let inner = frame(model, Pane::Peers, &format!("as {name} sees them"), "", area, buf);
        let text = model.peers.error.clone().unwrap_or_else(|| format!("asking {name}"));
        let role = if model.peers.error.is_some() { Role::Warning } else { Role::Muted };
        let text = clip(&text, usize::from(inner.width).saturating_sub(3), theme.symbols.ellipsis);
        row(inner, 1, Line::styled(format!("  {text}"), theme.style(role)), buf);
        story::below(model, inner, buf);
        return;
    };
    let tally = |status: Status| reply.members.iter().filter(|member| member.status == status).count();
    let title = format!(
        "as {name} sees them {} {} alive, {} suspect, {} dead",
        theme.symbols.dot,
        tally(Status::Alive),
        tally(Status::Suspect),
        tally(Status::Dead),
    );
    let age_ms = model.now.since(*at);
    let stale = if age_ms > 5_000 { format!("{} old", age(age_ms)) } else { String::new() };
    let footer = model.peers.error.as_ref().map_or(stale, |error| clip(error, 60, theme.symbols.ellipsis));
    let inner = frame(model, Pane::Peers, &title, &footer, area, buf);
    let inner = story::below(model, inner, buf);
    row(
        inner,
        0,
        Line::styled("   MEMBER       STATE      INC     SINCE  LINK  ACCUSED BY", theme.style(Role::Muted)),
        buf,
    );
    let height = usize::from(inner.height).saturating_sub(1);
    for (i, member) in in_order(&reply.members).into_iter().skip(model.peers.offset).take(height).enumerate() {
        row(inner, i + 1, line(theme, member, age_ms, usize::from(inner.width)), buf);
    }
}

/// Trouble first, then as people count. Those who left are old news.
fn in_order(members: &[MemberDetail]) -> Vec<&MemberDetail> {
    let rank = |member: &MemberDetail| match member.status {
        Status::Suspect => 0,
        Status::Dead => 1,
        Status::Alive => 2,
        Status::Left => 3,
    };
    let mut rows: Vec<&MemberDetail> = members.iter().collect();
    rows.sort_by(|a, b| (rank(a), a.name.display_order()).cmp(&(rank(b), b.name.display_order())));
    rows
}

fn line(theme: &Theme, member: &MemberDetail, passed_ms: u64, width: usize) -> Line<'static> {
    let symbols = &theme.symbols;
    let (glyph, word, role) = match member.status {
        Status::Alive => (symbols.up, "alive", Role::Up),
        Status::Suspect => (symbols.warning, "suspect", Role::Warning),
        Status::Dead => (symbols.dead, "dead", Role::Dead),
        Status::Left => (symbols.left, "left", Role::Muted),
    };
    let accusers = match member.accusers.as_slice() {
        [] if member.status == Status::Alive => String::new(),
        [] => symbols.none.to_owned(),
        names => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let style = theme.style(role);
    Line::from(vec![
        Span::styled(format!(" {glyph} "), style),
        Span::styled(pad(member.name.as_str(), 12, false, symbols.ellipsis), style),
        Span::raw(" "),
        Span::styled(pad(word, 8, false, ""), style),
        Span::raw(pad(&member.incarnation.to_string(), 6, true, "")),
        Span::raw(pad(&age(member.for_ms.saturating_add(passed_ms)), 10, true, "")),
        Span::styled(if member.neighbour { "  link  " } else { "        " }, theme.style(Role::Path)),
        Span::raw(clip(&accusers, width.saturating_sub(48), symbols.ellipsis)),
    ])
}
