//! Proposes the rest of a line: verbs, then nodes, then flags. A pure function of the line and the nodes there are.

use p2pnet_shared::NodeName;

use super::{
    Mode,
    grammar::{FORMS, Slot, form},
};

/// Most candidates proposed: a line of them.
const CANDIDATES_MAX: usize = 12;

/// What could stand where the cursor is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// The line up to the word that is being typed.
    pub before: String,
    /// That word, as far as it is typed.
    pub word: String,
    /// What it could become, the likeliest first.
    pub candidates: Vec<String>,
    /// The verb's name, signature and help, once there is one.
    pub signature: Option<(&'static str, &'static str, &'static str)>,
}

impl Completion {
    /// What Right would add to the line.
    #[must_use]
    pub fn ghost(&self) -> &str {
        if self.word.is_empty() {
            return "";
        }
        self.candidates.first().and_then(|candidate| candidate.strip_prefix(&self.word)).unwrap_or("")
    }
}

/// What could follow `line`, whose cursor is at its end.
#[must_use]
pub fn complete(mode: Mode, line: &str, nodes: &[&NodeName]) -> Completion {
    let start =
        line.rfind(char::is_whitespace).map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    let (before, word) = line.split_at(start);
    let words: Vec<&str> = before.split_whitespace().collect();
    let mut completion = Completion { before: before.into(), word: word.into(), ..Completion::default() };
    match mode {
        Mode::Idle => {}
        Mode::Filter => {
            completion.signature = Some(("filter", "WORD… state=dead agree=no !WORD", "rows that match every word"));
            let words = ["state=dead", "state=paused", "state=up", "agree=no", "agree=yes", "role=bootstrap"];
            completion.keep(words.iter().map(|word| (*word).to_owned()));
        }
        Mode::Message => {
            completion.signature = Some(("send", "NODE TEXT [to NODE]", "to everyone, or to one node"));
            if words.is_empty() || words.last() == Some(&"to") {
                completion.nodes(nodes);
            }
        }
        Mode::Command => match words.first() {
            None => {
                let names = FORMS.iter().map(|form| form.names[0]);
                let aliases = FORMS.iter().flat_map(|form| &form.names[1..]).copied();
                completion.keep(names.chain(aliases).map(str::to_owned));
                if let Some(form) = form(word) {
                    completion.signature = Some((form.names[0], form.signature, form.help));
                }
            }
            Some(verb) => completion.argument(verb, &words[1..], nodes),
        },
    }
    completion
}

impl Completion {
    fn argument(&mut self, verb: &str, done: &[&str], nodes: &[&NodeName]) {
        let Some(form) = form(verb) else { return };
        self.signature = Some((form.names[0], form.signature, form.help));
        let several = form.slots.first() == Some(&Slot::Nodes);
        // Where nodes come last, there may be any number of them.
        let last = if form.slots.last() == Some(&Slot::Nodes) { form.slots.len() - 1 } else { 2 };
        let slot = if several { form.slots.first() } else { form.slots.get(done.len().min(last)) };
        match slot {
            Some(Slot::Nodes) if self.word.starts_with('-') => self.flags(form.slots),
            Some(Slot::Nodes) if done.last().is_some_and(|word| word.ends_with('%')) => {
                self.keep(["seed".to_owned()].into_iter());
            }
            _ if done.last() == Some(&"--via") => self.nodes(nodes),
            Some(Slot::Node | Slot::Nodes) => self.nodes(nodes),
            Some(Slot::To) if done.last() == Some(&"to") => self.nodes(nodes),
            Some(Slot::To) => self.keep(["to".to_owned()].into_iter()),
            Some(Slot::Flag(_)) => self.flags(form.slots),
            Some(Slot::Share) => self.keep(["5%", "10%", "30%", "50%"].into_iter().map(str::to_owned)),
            Some(Slot::Time) => self.keep(["10ms", "50ms", "100ms", "1s"].into_iter().map(str::to_owned)),
            Some(Slot::Number) => self.keep(["1", "5", "10", "50"].into_iter().map(str::to_owned)),
            Some(Slot::Text) | None => {}
        }
    }

    fn flags(&mut self, slots: &[Slot]) {
        let flags = slots.iter().filter_map(|slot| match slot {
            Slot::Flag(flags) => Some(*flags),
            _ => None,
        });
        self.keep(flags.flatten().map(|flag| (*flag).to_owned()));
    }

    fn nodes(&mut self, nodes: &[&NodeName]) {
        self.keep(nodes.iter().map(|name| name.as_str().to_owned()));
    }

    fn keep(&mut self, all: impl Iterator<Item = String>) {
        let word = self.word.as_str();
        self.candidates = all.filter(|text| text.starts_with(word) && text != word).take(CANDIDATES_MAX).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Completion {
        let names: Vec<NodeName> =
            std::iter::once(NodeName::bootstrap()).chain((1..=20).map(NodeName::numbered)).collect();
        complete(Mode::Command, line, &names.iter().collect::<Vec<_>>())
    }

    #[test]
    fn verbs_come_first_then_nodes_then_flags() {
        assert_eq!(of("ki").ghost(), "ll");
        assert_eq!(of("pa").candidates, ["pause", "pause-node"]);
        assert_eq!(of("kill ").candidates[..2], ["bootstrap", "node1"]);
        assert_eq!(of("kill ").ghost(), "", "nothing is proposed before a letter is typed");
        assert_eq!(of("kill node1").candidates[0], "node10");
        assert_eq!(of("kill 9 node2").ghost(), "0");
        assert_eq!(of("kill 9 --s").candidates, ["--signal KILL", "--signal TERM"]);
        assert_eq!(of("kill 30% ").candidates, ["seed"]);
        assert_eq!(of("send node4 \"hi\" ").candidates, ["to"]);
        assert_eq!(of("send node4 \"hi\" to n").candidates[0], "node1");
        assert_eq!(of("cut 1-5 | node2").candidates[0], "node20");
        assert_eq!(of("loss ").candidates[2], "30%");
        assert_eq!(of("loss 30% node1 node1").candidates[0], "node10");
        assert_eq!(of("fault d").candidates, ["delay"]);
        assert_eq!(of("put k v --v").ghost(), "ia");
        assert_eq!(of("get k --via node2").candidates[0], "node20");
        assert!(of("get ").candidates.is_empty(), "which keys there are nobody knows");
        assert!(of("frobnicate ").candidates.is_empty());
    }

    #[test]
    fn the_signature_is_that_of_the_verb() {
        assert_eq!(of("kill 7").signature.unwrap().1, "NODES [--signal KILL|TERM]");
        assert_eq!(of("remove-node ").signature.unwrap().0, "kill");
        assert_eq!(of("k").signature, None);
    }
}
