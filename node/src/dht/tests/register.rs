//! Many seeds of puts, gets and deletes of a few keys by one user, who asks again only when the last question is answered,
//! while nodes crash and start, sleep, are cut off, and connections break.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use super::{
    network::{Net, put},
    node, value,
};
use crate::dht::{Answer, Config};

/// What a get may show: the last thing acknowledged, and anything whose end is unknown, which may happen at any time.
#[derive(Default)]
struct Register {
    certain: Option<String>,
    uncertain: Vec<Option<String>>,
}

impl Register {
    fn allows(&self, answer: &Answer) -> bool {
        let shown: Vec<Option<String>> = match answer {
            Answer::Found { value, siblings } => {
                let all = if siblings.is_empty() { std::slice::from_ref(value) } else { &siblings[..] };
                all.iter().map(|value| Some(value.as_json().trim_matches('"').to_owned())).collect()
            }
            Answer::Missing => vec![None],
            _ => return true,
        };
        shown.iter().all(|value| *value == self.certain || self.uncertain.contains(value))
    }
}

fn run(seed: u64) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut net = Net::new(6, seed, Config::default());
    let mut registers: BTreeMap<u32, Register> = BTreeMap::new();
    // One at a time is away, so that nothing is asked beyond the promise.
    let mut away = None;
    net.loss = rng.random_range(0..30);
    net.disk_ms = rng.random_range(1..40);
    for step in 0..80 {
        let victim = node(rng.random_range(1..=6));
        match (rng.random_range(0..12), away.clone()) {
            (0, None) => {
                net.crash(&victim);
                away = Some(victim);
            }
            (1, None) => {
                net.cut(std::slice::from_ref(&victim), rng.random());
                away = Some(victim);
            }
            (2, Some(name)) => {
                net.heal();
                if net.nodes[&name].state.is_none() {
                    net.start(&name);
                }
                // Made good before the next one goes.
                net.run(8_000);
                away = None;
            }
            _ => {}
        }
        let key = rng.random_range(0..3);
        let register = registers.entry(key).or_default();
        let via = loop {
            let via = rng.random_range(1..=6);
            if away != Some(node(via)) {
                break via;
            }
        };
        let name = format!("key{key}");
        let text = format!("v{step}");
        match rng.random_range(0..10) {
            0..4 => {
                let id = net.ask(&node(via), put(&name, &text));
                if matches!(net.answer(id), Answer::Stored { .. }) {
                    register.certain = Some(text);
                } else {
                    register.uncertain.push(Some(text));
                }
            }
            4 => match net.delete(via, &name) {
                Answer::Deleted { .. } => register.certain = None,
                // Nothing is there, perhaps because a first try of this very delete has done it: gets will tell.
                Answer::Missing => register.certain = None,
                _ => register.uncertain.push(None),
            },
            _ => {
                let got = net.get(via, &name);
                assert!(register.allows(&got), "seed {seed}, step {step}: {got:?}, but {:?}", register.certain);
            }
        }
        net.run(rng.random_range(0..300));
    }
    net.loss = 0;
    net.heal();
    for name in net.names() {
        if net.nodes[&name].state.is_none() {
            net.start(&name);
        }
    }
    net.run(20_000);
    for (key, register) in &registers {
        let name = format!("key{key}");
        let got = net.get(1, &name);
        assert!(register.allows(&got), "seed {seed}: {got:?}, but {:?}", register.certain);
        if let (Answer::Found { value: shown, siblings }, true) = (&got, register.uncertain.is_empty()) {
            assert!(siblings.is_empty() && Some(shown) == register.certain.as_deref().map(value).as_ref());
            assert_eq!(net.copies(&name, register.certain.as_deref().unwrap()), 3, "seed {seed}: {name}");
        }
    }
}

#[test]
fn a_get_shows_what_was_acknowledged_last_whatever_happens_to_one_node_at_a_time() {
    (1..=40).for_each(run);
}
