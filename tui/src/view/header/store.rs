//! The key-value store in the top lines: how many keys, how even, and how many are short of copies.
//!
//! A key with one copy left is red: the time to look is before it is lost, not after.

use ratatui::text::{Line, Span};

use super::part;
use crate::{
    model::{Model, ring::RingPicture},
    view::{
        cells::{count, keys},
        theme::Role,
    },
};

/// How the copies are, at their worst.
fn role(ring: &RingPicture) -> Role {
    match (ring.endangered(), ring.short_of_copies()) {
        (0, 0) => Role::Text,
        (0, _) => Role::Warning,
        _ => Role::Dead,
    }
}

/// Keys and their balance; copies.
pub(super) fn groups(model: &Model) -> (Line<'static>, Line<'static>) {
    let ring = &model.picture.ring;
    let symbols = &model.theme.symbols;
    let mut line = vec![part(keys(ring.keys), Role::Title, model)];
    if let Some(balance) = ring.max_over_mean.filter(|_| ring.keys > 0 && !ring.of_shares) {
        line.push(part(format!("  {balance:.2}x"), Role::Muted, model));
    }
    let lost = ring.unreachable;
    let text = match (ring.short_of_copies(), ring.endangered()) {
        (0, _) if ring.keys == 0 => String::new(),
        (0, _) if ring.wanted == 1 => "1 copy each".to_owned(),
        (0, _) => format!("{} copies each", ring.wanted),
        // The worst first: what has no room is the least of it.
        (short, _) if lost > 0 => format!("{} {} gone, {} short", symbols.dead, count(lost), count(short)),
        (short, _) if ring.on_paused > 0 => {
            format!("{} {} paused, {} short", symbols.dead, count(ring.on_paused), count(short))
        }
        (short, 0) => format!("{} {} short of copies", symbols.warning, count(short)),
        (short, one) => format!("{} {} on one, {} short", symbols.dead, count(one), count(short)),
    };
    (Line::from(line), Line::from(part(text, role(ring), model)))
}

/// The same in a line that has more to say; nothing while there is nothing to tell.
pub(super) fn in_short(model: &Model) -> Vec<Span<'static>> {
    let ring = &model.picture.ring;
    let symbols = &model.theme.symbols;
    if ring.keys == 0 && ring.under_replicated == 0 {
        return Vec::new();
    }
    let mut spans = vec![part(format!(" keys {}", count(ring.keys)), Role::Text, model)];
    let (short, one, lost) = (ring.short_of_copies(), ring.endangered(), ring.unreachable);
    if short > 0 {
        let mut text = format!(" {} {} under-replicated", symbols.dot, count(short));
        if lost > 0 {
            text.push_str(&format!(", {} gone", count(lost)));
        } else if ring.on_paused > 0 {
            text.push_str(&format!(", {} on paused nodes", count(ring.on_paused)));
        } else if one > 0 {
            text.push_str(&format!(", {} on one node", count(one)));
        }
        spans.push(part(text, role(ring), model));
    }
    spans.push(part(if symbols.braille { " │" } else { " |" }, Role::Muted, model));
    spans
}
