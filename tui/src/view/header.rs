//! The top lines: the verdict, and the numbers it rests on.
//!
//! ```text
//! wide     title · labels · values · details · progress or the reason in full
//! middle   title · verdict, up, agreement, time to converge · keys, files, messages, host · reason
//! narrow   title · verdict, up, agreement · keys, files, messages, host
//! tiny     the verdict
//! ```

use ratatui::{
    buffer::Buffer,
    text::{Line, Span},
};

mod folder;
mod store;

use super::{
    cells::{bytes, clip, count, duration, pad, row, width},
    faults,
    layout::{Arrangement, Layout},
    theme::Role,
};
use crate::{
    cluster::Progress,
    model::{Model, Opening},
    network::Verdict,
};

pub(super) fn draw(model: &Model, layout: &Layout, buf: &mut Buffer) {
    let area = layout.header;
    match layout.arrangement {
        Arrangement::Tiny => row(area, 0, Line::from(verdict(model)), buf),
        Arrangement::Four => {
            row(area, 0, title(model, area.width), buf);
            wide(model, layout, buf);
            row(area, 4, reason(model, area.width), buf);
        }
        Arrangement::Two => {
            row(area, 0, title(model, area.width), buf);
            row(area, 1, Line::from(compact(model)), buf);
            row(area, 2, Line::from(messages_and_host(model)), buf);
            row(area, 3, reason(model, area.width), buf);
        }
        Arrangement::One => {
            row(area, 0, title(model, area.width), buf);
            row(area, 1, Line::from(compact(model)), buf);
            let busy = model.progress.is_some()
                || matches!(model.opening, Opening::Failed(_))
                || !model.picture.summary.faults.is_empty();
            let last = if busy { reason(model, area.width) } else { Line::from(messages_and_host(model)) };
            row(area, 2, last, buf);
        }
    }
}

/// What is claimed about the network, or how far the dashboard is with having one.
pub(super) fn shown_verdict(model: &Model) -> Verdict {
    match model.opening {
        Opening::Open => model.picture.summary.verdict,
        Opening::Starting => Verdict::Starting,
        Opening::Looking | Opening::Failed(_) => Verdict::Unknown,
    }
}

fn verdict(model: &Model) -> Vec<Span<'static>> {
    let (glyph, word, role) = model.theme.verdict(shown_verdict(model));
    let style = model.theme.style(role);
    vec![Span::styled(format!(" {glyph} {word}"), style.add_modifier(ratatui::style::Modifier::BOLD))]
}

/// Program, network, who runs it and why; at the right edge whether what is shown is live.
fn title(model: &Model, columns: u16) -> Line<'static> {
    let theme = &model.theme;
    let (state, role) = stream(model);
    let state_width = width(&state) + 1;
    let name = model.name.as_ref().map_or_else(String::new, ToString::to_string);
    let runtime = match &model.runtime {
        Some(info) => format!("{} ({})", info.describe, info.why).replace('·', theme.symbols.dot),
        None => String::new(),
    };
    let room = usize::from(columns).saturating_sub(state_width + width(&name) + 13);
    let runtime = pad(&runtime, room, false, theme.symbols.ellipsis);
    Line::from(vec![
        Span::styled(" p2pnet  ", theme.style(Role::Title)),
        Span::styled(name, theme.style(Role::Up)),
        Span::styled(format!("   {runtime} "), theme.style(Role::Muted)),
        Span::styled(state, theme.style(role)),
    ])
}

/// Whether what is shown is what is.
fn stream(model: &Model) -> (String, Role) {
    let symbols = &model.theme.symbols;
    let picture = &model.picture;
    if let Some(since) = model.frozen {
        return (format!("{} FROZEN {}", symbols.paused, duration(model.now.since(since))), Role::Converging);
    }
    if let Some((since, _)) = &picture.engine_lost {
        return (format!("{} ENGINE LOST {}", symbols.dead, duration(model.now.since(*since))), Role::Dead);
    }
    if let Some((since, _)) = &picture.feed_lost {
        return (format!("{} FEED LOST {}", symbols.warning, duration(model.now.since(*since))), Role::Warning);
    }
    match model.opening {
        Opening::Looking => (format!("{} LOOKING", symbols.starting), Role::Converging),
        Opening::Starting => (format!("{} STARTING", symbols.starting), Role::Converging),
        Opening::Failed(_) => (format!("{} NO NETWORK", symbols.dead), Role::Dead),
        Opening::Open if model.stopping => (format!("{} STOPPING", symbols.paused), Role::Converging),
        Opening::Open => (format!("{} LIVE", symbols.live), Role::Up),
    }
}

/// Why the verdict is not better; while something is under way, how far that is.
fn reason(model: &Model, columns: u16) -> Line<'static> {
    let theme = &model.theme;
    let columns = usize::from(columns).saturating_sub(2);
    if let Some(progress) = &model.progress {
        return progress_line(model, progress, columns);
    }
    let lost = model.picture.engine_lost.as_ref().or(model.picture.feed_lost.as_ref());
    let (text, role) = match (&model.opening, lost) {
        (Opening::Failed(failure), _) => (failure.to_string().replace('\n', "   "), Role::Dead),
        (Opening::Looking, _) => ("looking for a running network".to_owned(), Role::Muted),
        (_, Some((_, why))) => (format!("what is shown may be out of date: {why}"), Role::Warning),
        (Opening::Starting, None) => ("starting".to_owned(), Role::Muted),
        (Opening::Open, None) => (model.picture.summary.reason.clone(), Role::Muted),
    };
    // What is wrong on purpose comes first, so that nobody wonders about the rest of the line.
    let faults = faults::in_short(model);
    if faults.is_empty() {
        return Line::styled(format!(" {}", clip(&text, columns, theme.symbols.ellipsis)), theme.style(role));
    }
    let faults = clip(&format!("{} {faults}", theme.symbols.warning), columns, theme.symbols.ellipsis);
    let room = columns.saturating_sub(width(&faults) + 3);
    Line::from(vec![
        Span::styled(format!(" {faults}"), theme.style(Role::Warning)),
        Span::styled(format!(" {} ", theme.symbols.dot), theme.style(Role::Muted)),
        Span::styled(clip(&text, room, theme.symbols.ellipsis), theme.style(role)),
    ])
}

fn progress_line(model: &Model, progress: &Progress, columns: usize) -> Line<'static> {
    let theme = &model.theme;
    let text = format!(" {} {}/{} ", progress.step, progress.done, progress.total);
    let room = columns.saturating_sub(width(&text)).min(40);
    let filled = (room * progress.done as usize).checked_div(progress.total as usize).unwrap_or(0).min(room);
    let (full, rest) = if theme.symbols.braille { ("█", "░") } else { ("#", ".") };
    Line::from(vec![
        Span::styled(text, theme.style(Role::Title)),
        Span::styled(full.repeat(filled), theme.style(Role::Converging)),
        Span::styled(rest.repeat(room - filled), theme.style(Role::Muted)),
    ])
}

fn part(text: impl Into<String>, role: Role, model: &Model) -> Span<'static> {
    Span::styled(text.into(), model.theme.style(role))
}

/// Counts that are not zero are coloured; zero is nothing to look at.
fn tally(glyph: &str, number: u32, word: &str, role: Role, model: &Model) -> Span<'static> {
    let text = if word.is_empty() { format!("{glyph}{number} ") } else { format!("{glyph}{number} {word} ") };
    part(text, if number == 0 { Role::Muted } else { role }, model)
}

/// Zero needs no word.
fn some(number: u32, word: &'static str) -> &'static str {
    if number == 0 { "" } else { word }
}

fn agree_percent(model: &Model) -> Option<f32> {
    let summary = &model.picture.summary;
    (summary.nodes.up > 0).then(|| summary.members.agree as f32 * 100.0 / summary.nodes.up as f32)
}

fn agreement_text(model: &Model) -> (String, Role) {
    match agree_percent(model) {
        // Never round up to a hundred: 999 of 1,000 is not all.
        Some(percent) if percent < 100.0 => (format!("{:.1}%", (percent * 10.0).floor() / 10.0), Role::Converging),
        Some(_) => ("100%".to_owned(), Role::Text),
        None => (model.theme.symbols.none.to_owned(), Role::Muted),
    }
}

fn running_clock(model: &Model) -> (String, Role) {
    let summary = &model.picture.summary;
    match (summary.converging_for_ms, summary.converged_in_ms) {
        (Some(ms), _) => (format!("running {}", duration(ms)), Role::Converging),
        (None, Some(ms)) => (format!("took {}", duration(ms)), Role::Text),
        (None, None) => (model.theme.symbols.none.to_owned(), Role::Muted),
    }
}

fn past_times(model: &Model) -> String {
    let none = model.theme.symbols.none;
    let show = |ms: Option<u64>| ms.map_or_else(|| none.to_owned(), duration);
    format!(
        "last {} p99 {}",
        show(model.picture.summary.converged_in_ms.or(model.agreement.last_ms())),
        show(model.agreement.percentile_ms(99))
    )
}

fn host(model: &Model) -> (String, Role) {
    match &model.host {
        Some(host) => {
            let role = if host.cpu_percent > 90.0 { Role::Warning } else { Role::Text };
            (format!("cpu {:.0}% mem {}", host.cpu_percent, bytes(host.memory_used_bytes)), role)
        }
        None => (format!("cpu {}", model.theme.symbols.none), Role::Muted),
    }
}

/// A label, a value and a line of detail for each group.
fn wide(model: &Model, layout: &Layout, buf: &mut Buffer) {
    let summary = &model.picture.summary;
    let symbols = &model.theme.symbols;
    let (agreement, agreement_role) = agreement_text(model);
    let (clock, clock_role) = running_clock(model);
    let (host_text, host_role) = host(model);
    let messages = &summary.messages;
    let arrived = Line::from(vec![
        part(format!("{}/{} ", count(messages.delivered), count(messages.expected)), Role::Text, model),
        part("came ", Role::Muted, model),
        tally("", u32::try_from(messages.duplicates).unwrap_or(u32::MAX), "twice", Role::Dead, model),
    ]);
    let counts = &summary.nodes;
    let (balance, copies) = store::groups(model);
    let (files, folders) = folder::groups(model);
    let groups: [(u16, &str, Line<'static>, Line<'static>); 8] = [
        (16, "VERDICT", Line::from(verdict(model)), Line::from(part(host_bound(model), Role::Warning, model))),
        (
            22,
            "NODES",
            Line::from(part(format!("{} of {} up", counts.up, counts.wanted), Role::Title, model)),
            // The worst first: what has no room is the least of it.
            Line::from(vec![
                tally(symbols.dead, counts.dead, some(counts.dead, "dead"), Role::Dead, model),
                tally(symbols.paused, counts.paused, some(counts.paused, "paused"), Role::Warning, model),
                tally(symbols.starting, counts.starting, some(counts.starting, "starting"), Role::Converging, model),
            ]),
        ),
        (
            20,
            "MEMBERSHIP",
            Line::from(part(format!("{agreement} agree"), agreement_role, model)),
            Line::from(vec![
                tally("ghosts ", summary.members.ghosts, "", Role::Dead, model),
                tally(" missing ", summary.members.missing, "", Role::Warning, model),
            ]),
        ),
        (
            23,
            "TIME TO CONVERGE",
            Line::from(part(clock, clock_role, model)),
            Line::from(part(past_times(model), Role::Muted, model)),
        ),
        (23, "KEYS  max/mean", balance, copies),
        (
            22,
            "MESSAGES",
            Line::from(vec![
                part(format!("{} sent ", count(messages.accepted)), Role::Text, model),
                part(summary.overlay_words(), Role::Muted, model),
            ]),
            arrived,
        ),
        (17, "FILES", files, folders),
        (
            17,
            "HOST",
            Line::from(part(host_text, host_role, model)),
            Line::from(part(host_total(model), Role::Muted, model)),
        ),
    ];
    let mut x = layout.header.x;
    for (columns, label, value, detail) in groups {
        let right = layout.header.right();
        let area = ratatui::layout::Rect { x, width: columns.min(right.saturating_sub(x)), ..layout.header };
        row(area, 1, Line::from(part(format!(" {label}"), Role::Muted, model)), buf);
        let indent = |line: Line<'static>| {
            let mut spans = if label == "VERDICT" { Vec::new() } else { vec![Span::raw(" ")] };
            spans.extend(line.spans);
            Line::from(spans)
        };
        row(area, 2, indent(value), buf);
        row(area, 3, indent(detail), buf);
        x = x.saturating_add(columns);
    }
}

/// A slow laptop is not a slow protocol.
fn host_bound(model: &Model) -> &'static str {
    if model.host.is_some_and(|host| host.cpu_percent > 90.0) { " host is busy" } else { "" }
}

fn host_total(model: &Model) -> String {
    model.host.map_or_else(String::new, |host| format!("of {}", bytes(host.memory_total_bytes)))
}

/// Verdict, counts, agreement and clock in one line.
fn compact(model: &Model) -> Vec<Span<'static>> {
    let summary = &model.picture.summary;
    let symbols = &model.theme.symbols;
    let counts = &summary.nodes;
    let (agreement, agreement_role) = agreement_text(model);
    let mut line = verdict(model);
    if let Some(ms) = summary.converging_for_ms.filter(|_| model.opening == Opening::Open) {
        line.push(part(format!(" {}", duration(ms)), Role::Converging, model));
    }
    let bar = || part(if symbols.braille { " │ " } else { " | " }, Role::Muted, model);
    line.extend([
        bar(),
        part(format!("{}/{} up ", counts.up, counts.wanted), Role::Title, model),
        tally(symbols.starting, counts.starting, "", Role::Converging, model),
        tally(symbols.paused, counts.paused, "", Role::Warning, model),
        tally(symbols.dead, counts.dead, "", Role::Dead, model),
        bar(),
        part(format!("agree {agreement} "), agreement_role, model),
        tally("ghost ", summary.members.ghosts, "", Role::Dead, model),
        tally("miss ", summary.members.missing, "", Role::Warning, model),
        bar(),
        part(past_times(model), Role::Muted, model),
    ]);
    line
}

fn messages_and_host(model: &Model) -> Vec<Span<'static>> {
    let messages = &model.picture.summary.messages;
    let (host_text, host_role) = host(model);
    let behind = messages.delivered < messages.expected;
    let words = model.picture.summary.overlay_words();
    let mut spans = store::in_short(model);
    spans.extend(folder::in_short(model));
    spans.extend([
        part(format!(" messages {}  ", count(messages.accepted)), Role::Text, model),
        part(
            format!("delivered {}/{}  ", count(messages.delivered), count(messages.expected)),
            if behind { Role::Converging } else { Role::Text },
            model,
        ),
        tally("twice ", u32::try_from(messages.duplicates).unwrap_or(u32::MAX), "", Role::Dead, model),
        part(if model.theme.symbols.braille { " │ " } else { " | " }, Role::Muted, model),
        part(host_text, host_role, model),
        part(
            if words.is_empty() {
                ""
            } else if model.theme.symbols.braille {
                " │ "
            } else {
                " | "
            },
            Role::Muted,
            model,
        ),
        part(words, Role::Text, model),
    ]);
    spans
}
