//! Puts and gets over HTTP/1.1, copied together from ready pieces, and what must be in the answers.

use std::sync::Arc;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    keys::Keys,
    load::{Step, Talk},
};

/// A whole answer within what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// 200, 404 …
    pub(crate) status: u16,
    /// Its body.
    pub(crate) body: &'a [u8],
    /// Bytes it takes, its head included.
    pub(crate) len: usize,
}

impl<'a> Answer<'a> {
    /// The answer at the beginning of `received`, once it is whole.
    ///
    /// # Errors
    /// When this is no HTTP/1.1, or has no length.
    pub(crate) fn parse(received: &'a [u8]) -> Result<Option<Self>, String> {
        let Some(head) = received.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let strange = || format!("a strange answer: {}", String::from_utf8_lossy(&received[..head.min(200)]));
        let digits = received.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        let status = digits.and_then(|digits| digits.parse().ok()).ok_or_else(strange)?;
        let mut length = None;
        for line in received[..head].split(|byte| *byte == b'\n') {
            const NAME: &[u8] = b"content-length:";
            if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
                let digits = std::str::from_utf8(&line[NAME.len()..]).map_err(|_| strange())?;
                length = Some(digits.trim().parse::<usize>().map_err(|_| strange())?);
            }
        }
        let len = head + 4 + length.ok_or_else(strange)?;
        Ok(received.get(head + 4..len).map(|body| Self { status, body, len }))
    }

    /// What is wrong with it, in a line.
    pub(crate) fn complaint(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body[..self.body.len().min(300)]))
    }
}

/// Looks at what was received with `check`.
pub(crate) fn step(received: &[u8], check: impl FnOnce(&Answer<'_>) -> Result<(), String>) -> Step {
    match Answer::parse(received) {
        Ok(None) => Step::More(0),
        Ok(Some(answer)) => Step::Done(answer.len, check(&answer)),
        Err(why) => Step::Done(received.len(), Err(why)),
    }
}

/// Puts keys `first`, `first + step` …: once each, or round and round. No two connections put the same key, so that what
/// a key holds afterwards is known.
pub(crate) struct Puts {
    keys: Arc<Keys>,
    next: usize,
    first: usize,
    step: usize,
    round: u32,
    for_ever: bool,
    /// What an answer must not say.
    wanted: u16,
}

impl Puts {
    /// Connection `number` of `of` puts its keys in generation `round`, and in later ones if it goes on `for_ever`.
    pub(crate) fn new(keys: Arc<Keys>, number: usize, of: usize, round: u32, for_ever: bool) -> Self {
        Self { keys, next: number, first: number, step: of, round, for_ever, wanted: 200 }
    }
}

impl Talk for Puts {
    fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        if self.next >= self.keys.count() {
            if !self.for_ever || self.first >= self.keys.count() {
                return false;
            }
            self.next = self.first;
            self.round += 1;
        }
        self.keys.write_put(self.next, self.round, out);
        self.next += self.step;
        true
    }

    fn answer(&mut self, received: &[u8], _out: &mut Vec<u8>) -> Step {
        let (wanted, number, round) = (self.wanted, self.next - self.step, self.round);
        step(received, |answer| {
            if answer.status != wanted {
                return Err(format!("a put: {}", answer.complaint()));
            }
            self.keys.acknowledged(number, round);
            Ok(())
        })
    }
}

/// Gets keys at random, or each once.
pub(crate) struct Gets {
    keys: Arc<Keys>,
    asked: usize,
    how: Order,
}

/// In which order.
enum Order {
    Random(Box<StdRng>),
    Rounds { next: usize, step: usize, for_ever: bool },
}

impl Gets {
    /// At random, for ever.
    pub(crate) fn random(keys: Arc<Keys>, seed: u64) -> Self {
        Self { keys, asked: 0, how: Order::Random(Box::new(StdRng::seed_from_u64(seed))) }
    }

    /// Connection `number` of `of`: its share of the keys once, or round and round.
    pub(crate) fn rounds(keys: Arc<Keys>, number: usize, of: usize, for_ever: bool) -> Self {
        Self { keys, asked: 0, how: Order::Rounds { next: number, step: of, for_ever } }
    }
}

impl Talk for Gets {
    fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        let count = self.keys.count();
        self.asked = match &mut self.how {
            Order::Random(chance) => chance.random_range(0..count),
            Order::Rounds { next, step, for_ever } => {
                if *next >= count && !*for_ever {
                    return false;
                }
                let asked = *next % count;
                *next += *step;
                asked
            }
        };
        self.keys.write_get(self.asked, out);
        true
    }

    fn answer(&mut self, received: &[u8], _out: &mut Vec<u8>) -> Step {
        step(received, |answer| {
            if answer.status != 200 {
                return Err(format!("a get of {}: {}", self.keys.name(self.asked), answer.complaint()));
            }
            self.keys.check(self.asked, answer.body)
        })
    }
}

/// One request again and again; only the status counts.
pub(crate) struct Same(Vec<u8>);

impl Same {
    /// `GET path`.
    pub(crate) fn get(path: &str) -> Self {
        Self(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes())
    }
}

impl Talk for Same {
    fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.0);
        true
    }

    fn answer(&mut self, received: &[u8], _out: &mut Vec<u8>) -> Step {
        step(received, |answer| if answer.status == 200 { Ok(()) } else { Err(answer.complaint()) })
    }
}
