//! What people type, and what slips from their fingers.

use std::ffi::OsString;

use p2pnet::{
    cli::{Parsed, parse},
    cluster::{Role, Unit, UnitState},
    prompt::{Mode, completion::complete, grammar, history::History},
    select::Selector,
};
use p2pnet_shared::NodeName;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::hostile::{self, harm::harmed_text, memory::peak, values};

fn line() -> impl Strategy<Value = String> {
    select(vec![
        "kill 7 20-30 30% seed 7 --signal TERM",
        "send node4 \"hel\\\"lo\" to 7",
        "send 4 it's äöü 漢字 to 9",
        "add 5",
        "pause *",
        "restart bootstrap,9",
        "messages 8",
        "down",
        "stop-network --keep-data",
        "kill 9-3 sig=HUP",
        "send-message 4 'x'",
        "put 'my key' {\"a\": [1, \"b c\"]} --via node7",
        "put k \"a\\nb\" --via=7",
        "get a/b --via 7",
        "owner \"k k\"",
    ])
    .prop_map(str::to_owned)
}

fn units() -> impl Strategy<Value = Vec<Unit>> {
    let state = select(vec![UnitState::Up, UnitState::Dead, UnitState::Paused, UnitState::Created, UnitState::Left]);
    let role = select(vec![Role::Node, Role::Node, Role::Node, Role::Bootstrap, Role::Gateway]);
    let unit = (values::name(), role, state).prop_map(|(name, role, state)| Unit {
        name,
        role,
        state,
        address: None,
        since: None,
    });
    vec(unit, 0..12)
}

proptest! {
    #![proptest_config(hostile::config(512))]

    #[test]
    fn a_hurt_line_of_the_prompt(text in harmed_text(line())) {
        let (read, held) = peak(|| grammar::read(&text));
        prop_assert!(held <= 128 * text.len() + 8 * 1_024, "{} bytes held for {}", held, text.len());
        if let Err(error) = read {
            prop_assert!(text.get(error.at.clone()).is_some(), "{:?} is no part of the line", error.at);
            prop_assert!(!error.text.is_empty());
        }
    }

    #[test]
    fn a_hurt_line_being_completed(text in harmed_text(line()), names in vec(values::name(), 0..8)) {
        let names: Vec<&NodeName> = names.iter().collect();
        for mode in [Mode::Idle, Mode::Command, Mode::Filter, Mode::Message] {
            let (completion, held) = peak(|| complete(mode, &text, &names).ghost().to_owned());
            prop_assert!(held <= 64 * text.len() + 64 * 1_024, "{} bytes held for {}", held, text.len());
            // What is proposed is typed after the line, and that is a line again.
            let _ = grammar::read(&format!("{text}{completion}"));
        }
    }

    #[test]
    fn a_hurt_choice_of_nodes(text in harmed_text(select(vec![
        "9", "node9", "20-30", "bootstrap", "30% seed 7", "*", "0-4294967295", "node0-node4294967295", "100% seed 0",
    ]).prop_map(str::to_owned)), units in units()) {
        let (parsed, held) = peak(|| text.parse::<Selector>());
        prop_assert!(held <= 64 * text.len() + 8 * 1_024, "{} bytes held for {}", held, text.len());
        let Ok(selector) = parsed else { return Ok(()) };
        let again = selector.to_string().parse::<Selector>();
        prop_assert!(again.as_ref().is_ok_and(|again| *again == selector), "{}", selector);
        let (chosen, held) = peak(|| selector.resolve(&units));
        prop_assert!(held <= 64 * text.len() + 64 * 1_024, "{} bytes held for {}", held, text);
        if let Ok(chosen) = chosen {
            prop_assert!(chosen.len() <= units.len() && !chosen.is_empty() || units.is_empty() || text.contains('*'));
        }
    }

    #[test]
    fn hurt_arguments(words in vec(harmed_text(select(vec![
        "remove-node", "9", "--network", "lab", "--signal", "TERM", "wait", "--timeout", "9s", "watch", "--json", "up",
        "--nodes", "100", "--base-port", "65000", "send-message", "4", "x", "put", "k", "-5", "--string", "--via", "get", "owner", "delete", "node", "gateway", "--token", "t", "bench",
    ]).prop_map(str::to_owned)), 0..6)) {
        let args = std::iter::once(OsString::from("p2pnet")).chain(words.iter().map(OsString::from));
        let length: usize = words.iter().map(String::len).sum();
        let (parsed, held) = peak(|| parse(args));
        prop_assert!(held <= 64 * length + 1_024 * 1_024, "{} bytes held for {}", held, length);
        let _: Parsed = parsed;
    }

    #[test]
    fn a_hurt_history(lines in vec(harmed_text(line()), 0..20), typed in any::<String>()) {
        let mut history = History::default();
        history.load(lines.clone());
        for line in &lines {
            history.push(line);
        }
        for _ in 0..lines.len() + 2 {
            history.older(&typed);
            history.search(&typed);
        }
        while history.newer().is_some() {}
        let (place, of) = history.place();
        prop_assert!(place <= of);
    }
}
