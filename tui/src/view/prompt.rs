//! The last lines: the input, what it could become or why it was refused, and the keys.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Modifier,
    text::{Line, Span},
};

use super::{
    cells::{clip, row, width},
    layout::{Arrangement, Layout},
    theme::Role,
};
use crate::{
    keys::BINDINGS,
    model::Model,
    prompt::{
        Mode,
        completion::{Completion, complete},
    },
};

/// Draws the prompt and says where the cursor belongs, if anything is being typed.
pub(super) fn draw(model: &Model, layout: &Layout, buf: &mut Buffer) -> Option<Position> {
    let area = layout.prompt;
    if area.width == 0 || area.height == 0 {
        return None;
    }
    if layout.arrangement == Arrangement::Tiny {
        let screen = buf.area;
        let note = " enlarge the terminal, or use `p2pnet watch --plain`";
        if screen.height > 2 {
            let line = clip(note, usize::from(screen.width), model.theme.symbols.ellipsis);
            row(
                Rect { y: screen.y + 1, height: 1, ..screen },
                0,
                Line::styled(line, model.theme.style(Role::Muted)),
                buf,
            );
        }
    }
    let names: Vec<_> = model.picture.nodes.iter().map(|node| &node.name).collect();
    let completion = complete(model.prompt.mode, model.prompt.input.value(), &names);
    let cursor = input(model, &completion, area, buf);
    row(area, 1, below(model, &completion, usize::from(area.width)), buf);
    row(area, 2, hints(model, usize::from(area.width)), buf);
    cursor
}

fn input(model: &Model, completion: &Completion, area: Rect, buf: &mut Buffer) -> Option<Position> {
    let theme = &model.theme;
    let prompt = &model.prompt;
    let Some(glyph) = prompt.mode.glyph() else {
        let hint = if model.nodes.filter.is_empty() {
            "press : for a command, / to filter, @ to send".to_owned()
        } else {
            format!("filter {} (Esc clears it)", model.nodes.filter)
        };
        let line = Line::from(vec![
            Span::styled(format!(" {} ", theme.symbols.prompt), theme.style(Role::Muted)),
            Span::styled(hint, theme.style(Role::Muted)),
        ]);
        row(area, 0, line, buf);
        return None;
    };
    let head = format!(" {} {glyph}", theme.symbols.prompt);
    let room = usize::from(area.width).saturating_sub(width(&head) + 1).max(1);
    let scroll = prompt.input.visual_scroll(room);
    let value = prompt.input.value();
    // Scrolling is by columns and a character may be two wide: leave out whole characters only.
    let mut skipped = 0;
    let mut start = 0;
    for (at, letter) in value.char_indices() {
        if skipped >= scroll {
            break;
        }
        skipped += width(letter.encode_utf8(&mut [0; 4]));
        start = at + letter.len_utf8();
    }
    let mut spans = vec![Span::styled(head.clone(), theme.style(Role::Focus))];
    let clean = |text: &str| clip(text, usize::MAX, "");
    match &prompt.error {
        Some(error) if error.at.start >= start && error.at.end <= value.len() => {
            let wrong = theme.style(Role::Dead).add_modifier(Modifier::UNDERLINED);
            spans.push(Span::raw(clean(value.get(start..error.at.start).unwrap_or(""))));
            spans.push(Span::styled(clean(value.get(error.at.clone()).unwrap_or("")), wrong));
            spans.push(Span::raw(clean(value.get(error.at.end..).unwrap_or(""))));
        }
        _ => spans.push(Span::raw(clean(&value[start..]))),
    }
    spans.push(Span::styled(completion.ghost().to_owned(), theme.style(Role::Muted)));
    row(area, 0, Line::from(spans), buf);
    let column = width(&head) + prompt.input.visual_cursor().saturating_sub(skipped);
    let x = area.x.saturating_add(u16::try_from(column).unwrap_or(u16::MAX)).min(area.right() - 1);
    Some(Position { x, y: area.y })
}

/// Why the line was refused, else what became of the last one, else signature and candidates.
fn below(model: &Model, completion: &Completion, columns: usize) -> Line<'static> {
    let theme = &model.theme;
    let symbols = &theme.symbols;
    let clip = |text: &str, used: usize| clip(text, columns.saturating_sub(used), symbols.ellipsis);
    if let Some(error) = &model.prompt.error {
        return Line::styled(format!("   {} {}", symbols.warning, clip(&error.text, 6)), theme.style(Role::Dead));
    }
    if model.prompt.mode == Mode::Idle {
        return idle(model, &clip);
    }
    let mut spans = vec![Span::raw("   ")];
    if let Some((name, signature, help)) = completion.signature {
        spans.push(Span::styled(format!("{name} {signature}"), theme.style(Role::Title)));
        if completion.candidates.is_empty() {
            spans.push(Span::styled(format!("   {help}"), theme.style(Role::Muted)));
        }
    }
    let used: usize = spans.iter().map(Span::width).sum();
    let (place, remembered) = model.prompt.history.place();
    let mut tail = String::new();
    if !completion.candidates.is_empty() {
        tail.push_str("   Tab: ");
        tail.push_str(&completion.candidates.join("  "));
    }
    if remembered > 0 && model.prompt.mode != Mode::Filter {
        let walked = format!("   Up: history {place}/{remembered}");
        let room = columns.saturating_sub(used + width(&walked) + 1);
        tail = super::cells::clip(&tail, room, symbols.ellipsis) + &walked;
    }
    spans.push(Span::styled(clip(&tail, used), theme.style(Role::Muted)));
    Line::from(spans)
}

fn idle(model: &Model, clip: &dyn Fn(&str, usize) -> String) -> Line<'static> {
    let theme = &model.theme;
    let symbols = &theme.symbols;
    if let Some(notice) = &model.notice {
        let (glyph, role) = if notice.failed { (symbols.dead, Role::Dead) } else { (symbols.check, Role::Text) };
        return Line::styled(format!("   {glyph} {}", clip(&notice.text, 6)), theme.style(role));
    }
    match model.work.values().next() {
        Some(work) => {
            let more = if model.work.len() > 1 { format!(" and {} more", model.work.len() - 1) } else { String::new() };
            let text = format!("under way: {}{more}", work.line);
            Line::styled(format!("   {} {}", symbols.converging, clip(&text, 6)), theme.style(Role::Converging))
        }
        None => Line::default(),
    }
}

fn hints(model: &Model, columns: usize) -> Line<'static> {
    let theme = &model.theme;
    let mut spans = vec![Span::raw(" ")];
    let mut used = 1;
    for binding in BINDINGS.iter().filter(|binding| !binding.hint.is_empty()) {
        let wide = binding.label.len() + binding.hint.len() + 3;
        if used + wide > columns {
            break;
        }
        used += wide;
        spans.push(Span::styled(binding.label, theme.style(Role::Title)));
        spans.push(Span::styled(format!(" {}  ", binding.hint), theme.style(Role::Muted)));
    }
    Line::from(spans)
}
