//! The store in numbers, what matters most first: what does not fit is left out from below.

use p2pnet_shared::NodeName;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{bar, circle, copies_role, disk_trouble, percent, size};
use crate::{
    model::{
        Model,
        ring::{Move, Owner},
    },
    view::{
        cells::{self, clip, count, duration, pad, row, width},
        theme::Role,
    },
};

/// Columns of a label.
const LABEL: usize = 8;
/// What the circle's marks mean, where there is room left for it.
const LEGEND: [(&str, &str); 3] =
    [("outside", "arcs of the selected node"), ("inside", "keys short of copies"), ("", "the key of :owner KEY")];
/// Milliseconds a mark on a hand-over's line takes for one column.
const STEP_MS: u64 = 80;
/// Columns of the line that the mark goes along.
const TRACK: usize = 4;

pub(super) fn draw(model: &Model, area: Rect, buf: &mut Buffer) {
    if area.width == 0 {
        return;
    }
    let columns = usize::from(area.width);
    let lines = lines(model, columns, usize::from(area.height));
    for (i, line) in lines.into_iter().enumerate() {
        row(area, i, line, buf);
    }
}

fn lines(model: &Model, columns: usize, rows: usize) -> Vec<Line<'static>> {
    let ring = &model.picture.ring;
    if ring.ring.is_none() && ring.keys == 0 {
        return vec![Line::default(), Line::styled("no ring yet: nobody has reported", model.theme.style(Role::Muted))];
    }
    let mut lines = vec![keys(model)];
    if rows > 8 {
        lines.extend((0..=3).rev().map(|copies| by_copies(model, copies, columns)));
    } else {
        lines.push(copies_in_a_line(model));
    }
    lines.push(short(model));
    lines.push(repair(model));
    lines.extend(besides(model));
    lines.push(agreement(model, columns));
    lines.extend(key(model, columns));
    lines.extend(selected(model));
    lines.extend(bad_disks(model, columns));
    lines.extend(moves(model, columns, rows.saturating_sub(lines.len())));
    if lines.len() + LEGEND.len() < rows {
        let theme = &model.theme;
        lines.push(Line::default());
        lines.extend(LEGEND.iter().map(|(mark, text)| {
            let mark = if mark.is_empty() { theme.symbols.mark } else { mark };
            Line::styled(format!("{}{text}", pad(mark, LABEL, false, "")), theme.style(Role::Muted))
        }));
    }
    lines
}

fn line(model: &Model, label: &str, value: impl Into<String>, role: Role) -> Line<'static> {
    let theme = &model.theme;
    Line::from(vec![
        Span::styled(pad(label, LABEL, false, ""), theme.style(Role::Muted)),
        Span::styled(value.into(), theme.style(role)),
    ])
}

fn keys(model: &Model) -> Line<'static> {
    let theme = &model.theme;
    let ring = &model.picture.ring;
    let about = if ring.estimated { "about " } else { "" };
    let mut line = line(model, "keys", format!("{about}{}", count(ring.keys)), Role::Title);
    match ring.max_over_mean.filter(|_| ring.keys > 0) {
        Some(balance) => {
            let role = if balance > 1.4 && ring.keys > 1_000 { Role::Warning } else { Role::Text };
            line.push_span(Span::styled(
                if ring.of_shares { "   max/mean share " } else { "   max/mean " },
                theme.style(Role::Muted),
            ));
            line.push_span(Span::styled(format!("{balance:.2}"), theme.style(role)));
        }
        None => line.push_span(Span::styled("   :put KEY VALUE", theme.style(Role::Muted))),
    }
    line
}

fn by_copies(model: &Model, copies: usize, columns: usize) -> Line<'static> {
    let theme = &model.theme;
    let ring = &model.picture.ring;
    let number = ring.copies[copies];
    let role = if number == 0 { Role::Muted } else { copies_role(copies, ring.wanted) };
    let label = match copies {
        3 => "copies 3",
        2 => "       2",
        1 => "       1",
        _ => "    none",
    };
    let room = columns.saturating_sub(LABEL + 10).min(30);
    Line::from(vec![
        Span::styled(format!("{label} "), theme.style(Role::Muted)),
        Span::styled(pad(&count(number), 7, true, ""), theme.style(role)),
        Span::styled(format!(" {}", bar(theme, number, ring.copies.iter().sum(), room)), theme.style(role)),
    ])
}

fn copies_in_a_line(model: &Model) -> Line<'static> {
    let ring = &model.picture.ring;
    let mut line = line(model, "copies", "", Role::Text);
    for copies in (0..=3).rev() {
        let number = ring.copies[copies];
        let role = if number == 0 { Role::Muted } else { copies_role(copies, ring.wanted) };
        line.push_span(Span::styled(format!("{copies}: {}  ", count(number)), model.theme.style(role)));
    }
    line
}

/// How many keys are short of copies, and of how many only one or none is left: before one is lost.
fn short(model: &Model) -> Line<'static> {
    let ring = &model.picture.ring;
    let symbols = &model.theme.symbols;
    let lost = ring.unreachable;
    match (ring.short_of_copies(), ring.endangered()) {
        (0, _) if ring.keys == 0 => line(model, "short", symbols.none, Role::Muted),
        (0, _) if ring.wanted == 1 => line(model, "short", "none, one node only", Role::Warning),
        (0, _) if ring.wanted == 2 => line(model, "short", "none, two nodes only", Role::Warning),
        (0, _) => line(model, "short", format!("none {}", symbols.check), Role::Text),
        (short, _) if lost > 0 => {
            let text = format!("{}, {} OUT OF REACH", count(short), count(lost));
            line(model, "short", format!("{} {text}", symbols.dead), Role::Dead)
        }
        (short, _) if ring.on_paused > 0 => {
            let text = format!("{}, {} on paused nodes", count(short), count(ring.on_paused));
            line(model, "short", format!("{} {text}", symbols.dead), Role::Dead)
        }
        (short, 0) => line(model, "short", format!("{} {} of copies", symbols.warning, count(short)), Role::Warning),

        (short, one) => {
            let text = format!("{} {}, {} on one node", symbols.dead, count(short), count(one));
            line(model, "short", text, Role::Dead)
        }
    }
}

fn repair(model: &Model) -> Line<'static> {
    let repair = &model.picture.ring.repair;
    let last = repair.last_ms.map(|ms| format!("last {}", duration(ms)));
    match repair.running_ms {
        Some(ms) => {
            let last = last.map_or_else(String::new, |last| format!(", {last}"));
            line(model, "repair", format!("running {}{last}", duration(ms)), Role::Converging)
        }
        None => match last {
            Some(last) => line(model, "repair", last, Role::Text),
            None => line(model, "repair", "none so far", Role::Muted),
        },
    }
}

/// What is odd and no danger; nothing when nothing is.
fn besides(model: &Model) -> Option<Line<'static>> {
    let ring = &model.picture.ring;
    let siblings = (ring.conflicts > 0).then(|| format!("{} with siblings", count(ring.conflicts)));
    let misplaced = (ring.misplaced > 0).then(|| format!("{} misplaced", count(ring.misplaced)));
    let parts: Vec<String> = siblings.into_iter().chain(misplaced).collect();
    (!parts.is_empty()).then(|| line(model, "also", parts.join(", "), Role::Converging))
}

/// Who sees another ring, by name: they would send a key elsewhere.
fn agreement(model: &Model, columns: usize) -> Line<'static> {
    let ring = &model.picture.ring;
    let symbols = &model.theme.symbols;
    if ring.others.is_empty() {
        let text =
            if ring.agree == 1 { "one node".into() } else { format!("all {} agree", count(u64::from(ring.agree))) };
        return line(model, "ring", text, Role::Text);
    }
    let names: Vec<&str> = ring.others.iter().map(NodeName::as_str).collect();
    let text = format!("{} {} see another: {}", symbols.warning, names.len(), names.join(", "));
    line(model, "ring", clip(&text, columns.saturating_sub(LABEL), symbols.ellipsis), Role::Warning)
}

/// The key looked at: who is to hold it, whether they do, and who holds it beside them.
fn key(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let Some(key) = &model.picture.ring.key else { return Vec::new() };
    let theme = &model.theme;
    let symbols = &theme.symbols;
    let room = columns.saturating_sub(LABEL);
    let text = format!("{} {}", symbols.mark, key.focus.key);
    let mut lines = vec![line(model, "key", clip(&text, room, symbols.ellipsis), Role::Path)];
    // As many in a line as fit, none of them cut.
    let mut holders = line(model, "", "", Role::Text);
    for (i, (name, holds)) in key.replicas.iter().enumerate() {
        let (glyph, role) = circle::holder(model, name, *holds);
        let text = format!("{} {name} {glyph}  ", i + 1);
        if i > 0 && holders.width() + width(&text) > columns + 2 {
            lines.push(std::mem::replace(&mut holders, line(model, "", "", Role::Text)));
        }
        holders.push_span(Span::styled(text, theme.style(role)));
    }
    lines.push(holders);
    if !key.known {
        let text = clip("no copy: never put, or deleted", room, symbols.ellipsis);
        lines.push(line(model, "", text, Role::Muted));
    }
    if !key.others.is_empty() {
        let names: Vec<&str> = key.others.iter().map(NodeName::as_str).collect();
        let text = clip(&format!("also on {}", names.join(", ")), room, symbols.ellipsis);
        lines.push(line(model, "", text, Role::Muted));
    }
    lines
}

/// The selected node's part of it.
fn selected(model: &Model) -> Option<Line<'static>> {
    let theme = &model.theme;
    let owner = model.picture.ring.owner(model.nodes.selected.as_ref()?)?;
    let symbols = &theme.symbols;
    let name = pad(owner.name.as_str(), LABEL.max(owner.name.as_str().len() + 1), false, symbols.ellipsis);
    let text = if owner.share > 0.0 {
        let parts = [percent(owner.share), cells::keys(owner.keys), size(owner.bytes)];
        parts.join(&format!(" {} ", symbols.dot))
    } else {
        "off the ring".to_owned()
    };
    let mut line = Line::from(vec![Span::styled(name, theme.style(Role::Title)), Span::raw(text)]);
    if owner.misplaced > 0 {
        line.push_span(Span::styled(
            format!(" {} {} misplaced", symbols.dot, owner.misplaced),
            theme.style(Role::Path),
        ));
    }
    Some(line)
}

fn bad_disks(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let owners = &model.picture.ring.owners;
    let symbols = &model.theme.symbols;
    let bad = |owner: &Owner| {
        let (word, why) = disk_trouble(owner.disk)?;
        let text = clip(&format!("{} {} {word}: {why}", symbols.dead, owner.name), columns, symbols.ellipsis);
        Some(Line::styled(text, model.theme.style(Role::Dead)))
    };
    owners.iter().filter(|owner| owner.live).filter_map(bad).take(3).collect()
}

/// What is being handed over: all of it in a line, then each with a mark that goes along while it is.
fn moves(model: &Model, columns: usize, rows: usize) -> Vec<Line<'static>> {
    let moves = &model.picture.ring.moves;
    let symbols = &model.theme.symbols;
    if moves.is_empty() || rows == 0 {
        return Vec::new();
    }
    let (keys, bytes) = moves.iter().fold((0, 0), |(keys, bytes), one| (keys + one.keys, bytes + one.bytes));
    let mut total = format!("{}, {}", cells::keys(keys), size(bytes));
    if columns >= 36 {
        total.push_str(" left");
    }
    if columns >= 46 && model.picture.ring.bytes_per_second > 0 {
        total.push_str(&format!(", {}/s", size(model.picture.ring.bytes_per_second)));
    }
    let mut lines =
        vec![line(model, "moving", clip(&total, columns.saturating_sub(LABEL), symbols.ellipsis), Role::Path)];
    let shown = if moves.len() > rows - 1 { rows.saturating_sub(2) } else { moves.len() };
    let widest = |name: fn(&Move) -> &NodeName| moves[..shown].iter().map(|one| name(one).as_str().len()).max();
    let names = (widest(|one| &one.from).unwrap_or(0), widest(|one| &one.to).unwrap_or(0));
    lines.extend(moves.iter().take(shown).map(|one| one_move(model, one, names, columns)));
    if moves.len() > shown && rows > 1 {
        let text = format!(" {} {} more from node to node", symbols.ellipsis, moves.len() - shown);
        lines.push(Line::styled(clip(&text, columns, symbols.ellipsis), model.theme.style(Role::Muted)));
    }
    lines
}

/// ` node3 ──●─→ node9    41 keys  4.1 KiB  ████▌     65%`, from the right what there is room for.
fn one_move(model: &Model, one: &Move, names: (usize, usize), columns: usize) -> Line<'static> {
    let theme = &model.theme;
    let symbols = &theme.symbols;
    let at = (model.picture.at.0 / STEP_MS) as usize % TRACK;
    let (rail, load) = if symbols.braille { ("─", "●") } else { ("-", "o") };
    let track = if one.flows {
        format!("{}{load}{}", rail.repeat(at), rail.repeat(TRACK - 1 - at))
    } else {
        pad("wait", TRACK, false, "")
    };
    let (from, to) = (pad(one.from.as_str(), names.0, false, ""), pad(one.to.as_str(), names.1, false, ""));
    let mut line = Line::styled(format!(" {from} {track}{} {to}", symbols.arrow), theme.style(Role::Path));
    let done = one.of_keys.saturating_sub(one.keys);
    let percent = (done * 100).checked_div(one.of_keys).unwrap_or(0);
    let parts = [
        format!(" {} keys", pad(&count(one.keys), 5, true, "")),
        format!(" {percent:>3}%"),
        format!(" {}", pad(&size(one.bytes), 9, true, "")),
    ];
    for part in parts {
        if line.width() + part.len() <= columns {
            line.push_span(Span::raw(part));
        }
    }
    let room = columns.saturating_sub(line.width() + 2).min(12);
    if room >= 4 {
        line.push_span(Span::styled(format!("  {}", bar(theme, done, one.of_keys, room)), theme.style(Role::Path)));
    }
    line
}
