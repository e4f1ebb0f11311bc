//! Reads a line of the prompt: every verb in its long and short forms.
//!
//! ```text
//! line  = verb word…           words in "double" or 'single' quotes are one word, \" and \\ stand for themselves
//! VALUE = JSON, or text up to the end or to a closing `--via NODE`; one word in "double" quotes is text
//! NODES = 9 | node9 | 20-30 | bootstrap | 30% [seed N], and several of them      (select.rs)
//! TEXT  = one quoted word, or every word up to the end or to a closing `to NODE`
//! ```
//! One table names the verbs; help, completion and the signature line are made from it. Verbs about files are read in
//! `grammar/files.rs`.

mod files;

use std::ops::Range;

use p2pnet_shared::{Key, NodeName, wire::broadcast::TEXT_MAX_BYTES};

use super::LineError;
use crate::{
    select::Selector,
    verb::{KeyAct, KeyOrder, Signal, Verb},
    verbs::keys::read_value,
};

/// Most nodes one `add` takes: a bridge holds 1,023.
const ADD_MAX: u32 = 1_000;

/// What a line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Something of the network.
    Verb(Verb),
    /// To take the network down.
    StopNetwork {
        /// Whether folders stay.
        keep_data: bool,
    },
    /// What there is to type.
    Help,
    /// To close the dashboard.
    Quit,
}

/// What a word after a verb is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// One node.
    Node,
    /// Several.
    Nodes,
    /// A number.
    Number,
    /// `30%`
    Share,
    /// `100ms`
    Time,
    /// Something to say.
    Text,
    /// `to NODE`, after a text.
    To,
    /// One of these words, if any.
    Flag(&'static [&'static str]),
}

/// One verb.
pub struct Form {
    /// Its names, the one shown first.
    pub names: &'static [&'static str],
    /// What follows it, for people.
    pub signature: &'static str,
    /// What it does.
    pub help: &'static str,
    /// What follows it, for completion.
    pub slots: &'static [Slot],
    read: fn(&Words) -> Result<Request, LineError>,
}

const SIGNALS: Slot = Slot::Flag(&["--signal KILL", "--signal TERM"]);

const VIA: Slot = Slot::Flag(&["--via"]);

/// Every verb there is.
pub const FORMS: &[Form] = &[
    Form {
        names: &["kill", "remove-node"],
        signature: "NODES [--signal KILL|TERM]",
        help: "stop nodes: KILL is a crash, TERM leaves politely",
        slots: &[Slot::Nodes, SIGNALS],
        read: kill,
    },
    Form {
        names: &["down", "stop"],
        signature: "NODES",
        help: "stop nodes politely; `down` alone is stop-network",
        slots: &[Slot::Nodes],
        read: stop,
    },
    Form {
        names: &["add", "add-nodes"],
        signature: "COUNT",
        help: "grow the network",
        slots: &[Slot::Number],
        read: add,
    },
    Form {
        names: &["restart", "restart-node"],
        signature: "NODES",
        help: "start stopped nodes again, same name, same data",
        slots: &[Slot::Nodes],
        read: restart,
    },
    Form {
        names: &["pause", "pause-node"],
        signature: "NODES",
        help: "freeze nodes: sockets stay open, nobody answers",
        slots: &[Slot::Nodes],
        read: pause,
    },
    Form {
        names: &["resume", "resume-node"],
        signature: "NODES",
        help: "wake frozen nodes",
        slots: &[Slot::Nodes],
        read: resume,
    },
    Form {
        names: &["cut"],
        signature: "NODES [| NODES] [oneway]",
        help: "nothing gets from one side to the other, or to everybody else",
        slots: &[Slot::Nodes],
        read: faulty,
    },
    Form {
        names: &["loss"],
        signature: "30% [NODES]",
        help: "so much of what nodes send is lost",
        slots: &[Slot::Share, Slot::Nodes],
        read: faulty,
    },
    Form {
        names: &["delay"],
        signature: "100ms [30ms] [NODES]",
        help: "what nodes send is late, by so much more or less",
        slots: &[Slot::Time, Slot::Nodes],
        read: faulty,
    },
    Form {
        names: &["heal"],
        signature: "[NODES]",
        help: "undo every fault and let paused nodes go on",
        slots: &[Slot::Nodes],
        read: heal,
    },
    Form {
        names: &["fault"],
        signature: "[cut|loss|delay|pause …]",
        help: "the same with `fault` before it; alone it lists what is wrong",
        slots: &[Slot::Flag(&["cut", "loss", "delay", "pause"]), Slot::Nodes],
        read: faulty,
    },
    Form {
        names: &["send"],
        signature: "NODE TEXT [to NODE]",
        help: "say something to everyone, or to one node",
        slots: &[Slot::Node, Slot::Text, Slot::To],
        read: send,
    },
    Form {
        names: &["send-message"],
        signature: "NODE TEXT",
        help: "say something to everyone",
        slots: &[Slot::Node, Slot::Text],
        read: send_message,
    },
    Form {
        names: &["messages", "get-messages"],
        signature: "NODE",
        help: "what has arrived at a node, and the way it took",
        slots: &[Slot::Node],
        read: messages,
    },
    Form {
        names: &["put"],
        signature: "KEY VALUE [--via NODE]",
        help: "store JSON or text under a key; \"in quotes\" is text",
        slots: &[Slot::Text, Slot::Text, VIA],
        read: put,
    },
    Form {
        names: &["get"],
        signature: "KEY [--via NODE]",
        help: "show a key's value, and its siblings",
        slots: &[Slot::Text, VIA],
        read: |words| on_key(words, KeyAct::Get),
    },
    Form {
        names: &["delete", "del"],
        signature: "KEY [--via NODE]",
        help: "delete a key",
        slots: &[Slot::Text, VIA],
        read: |words| on_key(words, KeyAct::Delete),
    },
    Form {
        names: &["owner"],
        signature: "KEY [--via NODE]",
        help: "show on the ring which nodes hold a key",
        slots: &[Slot::Text, VIA],
        read: |words| on_key(words, KeyAct::Owner),
    },
    Form {
        names: &["upload"],
        signature: "FILE [PATH] [--via NODE]",
        help: "share a file of this host, under its name or PATH",
        slots: &[Slot::Text, Slot::Text, VIA],
        read: files::upload,
    },
    Form {
        names: &["download"],
        signature: "PATH [FILE] [--via NODE]",
        help: "fetch a file to this host; nothing is overwritten",
        slots: &[Slot::Text, Slot::Text, VIA],
        read: files::download,
    },
    Form {
        names: &["files"],
        signature: "[--via NODE]",
        help: "what is in the shared folder",
        slots: &[VIA],
        read: files::files,
    },
    Form {
        names: &["delete-file"],
        signature: "PATH [--via NODE]",
        help: "delete a file everywhere",
        slots: &[Slot::Text, VIA],
        read: files::delete_file,
    },
    Form {
        names: &["stop-network"],
        signature: "[--keep-data]",
        help: "remove everything of this network (asks first)",
        slots: &[Slot::Flag(&["--keep-data"])],
        read: stop_network,
    },
    Form {
        names: &["help"],
        signature: "",
        help: "keys and verbs",
        slots: &[],
        read: |words| words.end(1, Request::Help),
    },
    Form {
        names: &["quit", "exit"],
        signature: "",
        help: "close the dashboard",
        slots: &[],
        read: |words| words.end(1, Request::Quit),
    },
];

/// The verb of that name.
#[must_use]
pub fn form(name: &str) -> Option<&'static Form> {
    FORMS.iter().find(|form| form.names.contains(&name))
}

/// Reads a line.
///
/// # Errors
/// The word that is wrong and why. Nothing is changed by a line that is refused.
pub fn read(line: &str) -> Result<Request, LineError> {
    let words = Words::split(line)?;
    let Some(verb) = words.list.first() else {
        return Err(words.missing("a verb: kill, add, send, pause …"));
    };
    match form(&verb.text) {
        Some(form) => (form.read)(&words),
        None => Err(words.wrong(0, format!("there is no verb `{}`{}", verb.text, suggestion(&verb.text)))),
    }
}

/// A verb that begins like it, if one does.
fn suggestion(word: &str) -> String {
    let alike = |name: &&&str| word.len() > 1 && (name.starts_with(&word[..word.ceil_char_boundary(2)]));
    let found = FORMS.iter().flat_map(|form| form.names).find(alike);
    found.map_or_else(|| " (help lists them)".to_owned(), |name| format!(", did you mean `{name}`?"))
}

#[derive(Debug)]
struct Word {
    text: String,
    at: Range<usize>,
    quoted: bool,
}

struct Words<'a> {
    line: &'a str,
    list: Vec<Word>,
}

impl<'a> Words<'a> {
    fn split(line: &'a str) -> Result<Self, LineError> {
        let mut list = Vec::new();
        let mut letters = line.char_indices().peekable();
        while let Some((start, first)) = letters.next() {
            if first.is_whitespace() {
                continue;
            }
            let quote = matches!(first, '"' | '\'').then_some(first);
            let mut text = if quote.is_none() { first.to_string() } else { String::new() };
            let mut end = start + first.len_utf8();
            let mut closed = quote.is_none();
            while let Some((at, letter)) = letters.peek().copied() {
                if quote.is_none() && letter.is_whitespace() {
                    break;
                }
                letters.next();
                end = at + letter.len_utf8();
                if Some(letter) == quote {
                    closed = true;
                    break;
                }
                match (letter, quote, letters.peek()) {
                    ('\\', Some(_), Some((_, next @ ('"' | '\'' | '\\')))) => {
                        text.push(*next);
                        end += 1;
                        letters.next();
                    }
                    _ => text.push(letter),
                }
            }
            if !closed {
                return Err(LineError { at: start..line.len(), text: "the quote is not closed".into() });
            }
            list.push(Word { text, at: start..end, quoted: quote.is_some() });
        }
        Ok(Self { line, list })
    }

    fn text(&self, i: usize) -> Option<&str> {
        self.list.get(i).map(|word| word.text.as_str())
    }

    fn wrong(&self, i: usize, text: impl Into<String>) -> LineError {
        let at = self.list.get(i).map_or(self.line.len()..self.line.len(), |word| word.at.clone());
        LineError { at, text: text.into() }
    }

    fn missing(&self, what: &str) -> LineError {
        LineError { at: self.line.len()..self.line.len(), text: format!("here goes {what}") }
    }

    /// Everything after the verb is wrong, or missing.
    fn all_wrong(&self, failure: &crate::failure::Failure) -> LineError {
        let end = self.line.len();
        let at = match (self.list.get(1), self.list.last()) {
            (Some(first), Some(last)) => first.at.start..last.at.end,
            _ => end..end,
        };
        LineError { at, text: one_line(&failure.to_string()) }
    }

    /// Refuses words from the `i`th on.
    fn end(&self, i: usize, request: Request) -> Result<Request, LineError> {
        match self.list.get(i) {
            Some(word) => Err(self.wrong(i, format!("nothing is expected at `{}`", word.text))),
            None => Ok(request),
        }
    }

    fn node(&self, i: usize) -> Result<NodeName, LineError> {
        let word = self.text(i).ok_or_else(|| self.missing("a node: 9, node9 or bootstrap"))?;
        node(word).ok_or_else(|| self.wrong(i, format!("`{word}` is no node: 9, node9 or bootstrap")))
    }

    /// The nodes from the second word up to word `end`.
    fn nodes(&self, end: usize) -> Result<Selector, LineError> {
        let (Some(first), Some(last)) = (self.list.get(1), self.list[..end].last().filter(|_| end > 1)) else {
            return Err(self.missing("nodes: 9, node9, 20-30, bootstrap or 30% seed 7"));
        };
        let at = first.at.start..last.at.end;
        let text = &self.line[at.clone()];
        text.parse::<Selector>().map_err(|error| LineError { at, text: one_line(&error.to_string()) })
    }
}

/// A failure's lines as one, without its label.
fn one_line(text: &str) -> String {
    text.trim_start_matches("error: ").replace("\nhint: ", ": ").replace('\n', " ")
}

/// `9` and `node9` are the same node.
fn node(word: &str) -> Option<NodeName> {
    match word.parse::<u32>() {
        Ok(number) => Some(NodeName::numbered(number)),
        Err(_) => word.parse().ok(),
    }
}

fn kill(words: &Words) -> Result<Request, LineError> {
    let mut end = words.list.len();
    let mut signal = Signal::Kill;
    let flag = words.list.iter().position(|word| word.text.starts_with("--") || word.text == "sig");
    if let Some(at) = flag {
        let (name, value) = match words.list[at].text.split_once('=') {
            Some((name, value)) => (name, Some((at, value))),
            None => (words.list[at].text.as_str(), words.text(at + 1).map(|value| (at + 1, value))),
        };
        if !matches!(name, "--signal" | "sig") {
            return Err(words.wrong(at, format!("there is no `{name}` here: --signal KILL or --signal TERM")));
        }
        let (value_at, value) = value.ok_or_else(|| words.missing("KILL or TERM"))?;
        signal = match value.to_ascii_uppercase().trim_start_matches("SIG") {
            "KILL" => Signal::Kill,
            "TERM" => Signal::Term,
            _ => return Err(words.wrong(value_at, format!("`{value}` is no signal: KILL or TERM"))),
        };
        words.end(value_at + 1, Request::Help)?;
        end = at;
    }
    Ok(Request::Verb(Verb::Stop(words.nodes(end)?, signal)))
}

fn stop(words: &Words) -> Result<Request, LineError> {
    // The shell's `p2pnet down` takes the whole network down.
    if words.list.len() == 1 && words.text(0) == Some("down") {
        return Ok(Request::StopNetwork { keep_data: false });
    }
    Ok(Request::Verb(Verb::Stop(words.nodes(words.list.len())?, Signal::Term)))
}

fn restart(words: &Words) -> Result<Request, LineError> {
    Ok(Request::Verb(Verb::Restart(words.nodes(words.list.len())?)))
}

fn pause(words: &Words) -> Result<Request, LineError> {
    Ok(Request::Verb(Verb::Pause(words.nodes(words.list.len())?)))
}

fn resume(words: &Words) -> Result<Request, LineError> {
    Ok(Request::Verb(Verb::Resume(words.nodes(words.list.len())?)))
}

/// `cut …` and `fault cut …` are the same.
fn faulty(words: &Words) -> Result<Request, LineError> {
    let skipped = usize::from(words.text(0) == Some("fault"));
    let said: Vec<&str> = words.list[skipped..].iter().map(|word| word.text.as_str()).collect();
    crate::fault::read(&said, false).map(Request::Verb).map_err(|failure| words.all_wrong(&failure))
}

fn heal(words: &Words) -> Result<Request, LineError> {
    let said: Vec<&str> = words.list[1..].iter().map(|word| word.text.as_str()).collect();
    crate::fault::read_heal(&said).map(Request::Verb).map_err(|failure| words.all_wrong(&failure))
}

fn add(words: &Words) -> Result<Request, LineError> {
    let word = words.text(1).ok_or_else(|| words.missing("how many nodes"))?;
    let count = word.parse().ok().filter(|count| (1..=ADD_MAX).contains(count));
    let count = count.ok_or_else(|| words.wrong(1, format!("`{word}` is no number from 1 to {ADD_MAX}")))?;
    words.end(2, Request::Verb(Verb::Add(count)))
}

fn messages(words: &Words) -> Result<Request, LineError> {
    let node = words.node(1)?;
    words.end(2, Request::Verb(Verb::Messages(node)))
}

fn stop_network(words: &Words) -> Result<Request, LineError> {
    let keep_data = words.text(1) == Some("--keep-data");
    words.end(1 + usize::from(keep_data), Request::StopNetwork { keep_data })
}

fn send_message(words: &Words) -> Result<Request, LineError> {
    let from = words.node(1)?;
    let text = said(words, words.list.len())?;
    Ok(Request::Verb(Verb::Broadcast { from, text }))
}

fn send(words: &Words) -> Result<Request, LineError> {
    let from = words.node(1)?;
    let len = words.list.len();
    let addressed = len >= 5 && words.text(len - 2) == Some("to") && !words.list[len - 2].quoted;
    if !addressed {
        return Ok(Request::Verb(Verb::Broadcast { from, text: said(words, len)? }));
    }
    let to = words.node(len - 1)?;
    Ok(Request::Verb(Verb::Direct { from, to, text: said(words, len - 2)? }))
}

/// What is said: the third word if it is quoted, otherwise everything from it up to word `end`, as typed.
fn said(words: &Words, end: usize) -> Result<String, LineError> {
    let first = words.list.get(2).ok_or_else(|| words.missing("what to say, in quotes if it is more than a word"))?;
    let last = words.list[..end].last().unwrap_or(first);
    let text = match first.quoted {
        true if end > 3 => {
            return Err(words.wrong(3, format!("nothing is expected at `{}` but `to NODE`", words.list[3].text)));
        }
        true => first.text.clone(),
        false => words.line[first.at.start..last.at.end].to_owned(),
    };
    let at = first.at.start..last.at.end;
    match text.len() {
        0 => Err(LineError { at, text: "there is nothing to say".into() }),
        len if len > TEXT_MAX_BYTES => {
            Err(LineError { at, text: format!("{len} bytes are more than the {TEXT_MAX_BYTES} of one message") })
        }
        _ => Ok(text),
    }
}

/// The node after a closing `--via`, and how many words are before it.
fn via(words: &Words) -> Result<(Option<NodeName>, usize), LineError> {
    let len = words.list.len();
    let plain = |at: usize| words.list.get(at).filter(|word| !word.quoted).map(|word| word.text.as_str());
    if len > 1 && plain(len - 1) == Some("--via") {
        return Err(words.missing("the node to ask: 9, node9 or bootstrap"));
    }
    if len > 2 && plain(len - 2) == Some("--via") {
        return Ok((Some(words.node(len - 1)?), len - 2));
    }
    match plain(len - 1).and_then(|word| word.strip_prefix("--via=")) {
        Some(name) if len > 1 => {
            let wrong = || words.wrong(len - 1, format!("`{name}` is no node: 9, node9 or bootstrap"));
            Ok((Some(node(name).ok_or_else(wrong)?), len - 1))
        }
        _ => Ok((None, len)),
    }
}

/// The second word, as a key.
fn key(words: &Words, end: usize) -> Result<Key, LineError> {
    let word = words.text(1).filter(|_| end > 1).ok_or_else(|| words.missing("a key, in quotes if it has spaces"))?;
    let wrong = match word.len() {
        0 => "a key has at least one character",
        _ => "a key has at most 1024 bytes",
    };
    word.parse().map_err(|_| words.wrong(1, wrong))
}

fn on_key(words: &Words, act: KeyAct) -> Result<Request, LineError> {
    let (via, end) = via(words)?;
    let key = key(words, end)?;
    if end > 2 {
        let text = format!("nothing is expected at `{}`; a key with spaces goes in quotes", words.list[2].text);
        return Err(words.wrong(2, text));
    }
    Ok(Request::Verb(Verb::Key(KeyOrder { key, via, act })))
}

fn put(words: &Words) -> Result<Request, LineError> {
    let (via, end) = via(words)?;
    let key = key(words, end)?;
    let (Some(first), Some(last)) = (words.list.get(2).filter(|_| end > 2), words.list[..end].last()) else {
        return Err(words.missing("a value: JSON or text, \"in quotes\" it is text"));
    };
    let at = first.at.start..last.at.end;
    let typed = &words.line[at.clone()];
    let is_one = end == 3 && first.quoted;
    let value = match typed.as_bytes().first() {
        // In quotes it is text; what JSON's escapes mean in it, they mean here too.
        Some(b'"') if is_one => {
            let as_json = serde_json::from_str(typed).ok().filter(serde_json::Value::is_string);
            as_json.map_or_else(|| read_value(&first.text, true), Ok)
        }
        // As a shell has it: the quotes only hold it together.
        Some(b'\'') if is_one => read_value(&first.text, false),
        _ => read_value(typed, false),
    };
    let value = value.map_err(|failure| LineError { at, text: one_line(&failure.to_string()) })?;
    Ok(Request::Verb(Verb::Key(KeyOrder { key, via, act: KeyAct::Put(value) })))
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
