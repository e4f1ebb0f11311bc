//! The load generator: one thread, non-blocking sockets, one request in flight on each connection.
//!
//! ```text
//! Talk::ask ──bytes──▶ socket ──▶ server ──▶ socket ──bytes──▶ Talk::answer ──right or wrong──▶ Outcome
//! ```
//! It shares its machine's two cores with what it measures, so it does next to nothing: requests are copied together from
//! ready pieces, answers are looked at for a status, a length and the value that must be in them. Against a server that
//! does nothing it sees what the kernel can carry (`kv_empty_server`).
//!
//! Without a pace each connection asks as soon as it has its answer, and an answer's time runs from its own request. At a
//! pace the moments to ask are fixed beforehand and times run from those: a server that stalls is charged for all who
//! would have asked meanwhile (coordinated omission, Tene 2013).

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

/// How long an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_secs(8);
/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// How often it is looked whether somebody waits in vain, or we are to stop.
const LOOK: Duration = Duration::from_millis(20);

/// What became of the bytes a connection has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is no whole answer yet; so many bytes are done with.
    More(usize),
    /// The answer is there and takes so many bytes: right, or what is wrong with it.
    Done(usize, Result<(), String>),
}

/// One connection's side of a conversation.
pub(crate) trait Talk: Send {
    /// Says what comes first on a new connection.
    fn greet(&mut self, _out: &mut Vec<u8>) {}
    /// Writes the next request; `false` when there is none.
    fn ask(&mut self, out: &mut Vec<u8>) -> bool;
    /// Looks at what was received since the last answer. What the protocol itself has to say goes to `out`.
    fn answer(&mut self, received: &[u8], out: &mut Vec<u8>) -> Step;
}

/// What is to be done.
pub(crate) struct Load {
    /// Where to, and what is said there.
    pub(crate) talks: Vec<(SocketAddr, Box<dyn Talk>)>,
    /// Requests a second over all connections; without it as many as are answered.
    pub(crate) pace: Option<f64>,
    /// Answers are not counted for so long; wrong ones always are.
    pub(crate) warm_up: Duration,
    /// Counted for so long; without it until there is nothing more to ask.
    pub(crate) stretch: Option<Duration>,
    /// Ends it early.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Load {
    /// As many requests as are answered for `stretch`, after a warm-up of a quarter of it.
    pub(crate) fn flat_out(talks: Vec<(SocketAddr, Box<dyn Talk>)>, stretch: Duration) -> Self {
        Self { talks, pace: None, warm_up: stretch / 4, stretch: Some(stretch), stop: Arc::default() }
    }

    /// Every request there is, as fast as they are answered.
    pub(crate) fn to_the_end(talks: Vec<(SocketAddr, Box<dyn Talk>)>) -> Self {
        Self { talks, pace: None, warm_up: Duration::ZERO, stretch: None, stop: Arc::default() }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Each counted answer's time, microseconds, sorted.
    micros: Vec<u32>,
    /// How long was counted, seconds.
    pub(crate) seconds: f64,
    /// Wrong answers, and those that never came, the warm-up's included.
    pub(crate) wrong: u64,
    /// The first few of them in words.
    pub(crate) complaints: Vec<String>,
}

impl Outcome {
    /// Right answers that were counted.
    pub(crate) fn right(&self) -> usize {
        self.micros.len()
    }

    /// Right answers a second.
    #[expect(clippy::cast_precision_loss, reason = "millions")]
    pub(crate) fn rate(&self) -> f64 {
        self.micros.len() as f64 / self.seconds
    }

    /// The time `percent` of the answers took at most, milliseconds.
    ///
    /// # Panics
    /// Without an answer.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        assert!(!self.micros.is_empty(), "nobody answered: {:?}", self.complaints);
        #[expect(clippy::cast_precision_loss, reason = "millions")]
        let rank = (self.micros.len() as f64 * percent / 100.0).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let index = (rank as usize).clamp(1, self.micros.len()) - 1;
        f64::from(self.micros[index]) / 1_000.0
    }

    fn complain(&mut self, to: SocketAddr, why: &str) {
        self.wrong += 1;
        if self.complaints.len() < 8 {
            self.complaints.push(format!("{to}: {why}"));
        }
    }
}

/// One connection.
struct Line {
    to: SocketAddr,
    talk: Box<dyn Talk>,
    /// `None` once it was lost, until there is something to ask.
    stream: Option<TcpStream>,
    /// What the kernel has not taken yet.
    out: Vec<u8>,
    /// What was received and not looked at.
    received: Vec<u8>,
    /// Since when an answer is awaited.
    asked: Option<Instant>,
    /// It has no more to ask.
    done: bool,
}

/// Everything while it runs.
struct Run {
    poll: Poll,
    lines: Vec<Line>,
    /// Those that wait for their moment to ask.
    idle: VecDeque<usize>,
    paced: bool,
    count_from: Instant,
    outcome: Outcome,
    chunk: Vec<u8>,
}

/// Runs it to its end on this thread.
///
/// # Panics
/// When a connection cannot even be begun.
pub(crate) fn run(load: Load) -> Outcome {
    let began = Instant::now();
    let Load { talks, pace, warm_up, stretch, stop } = load;
    let poll = Poll::new().expect("the kernel has epoll");
    let line = |(to, talk)| Line { to, talk, stream: None, out: vec![], received: vec![], asked: None, done: false };
    let lines: Vec<Line> = talks.into_iter().map(line).collect();
    let idle = (0..lines.len()).collect();
    let count_from = began + warm_up;
    let chunk = vec![0; CHUNK];
    let mut run = Run { poll, lines, idle, paced: pace.is_some(), count_from, outcome: Outcome::default(), chunk };
    let mut moments = pace.map(|pace| (Duration::from_secs_f64(1.0 / pace), began));
    let mut events = Events::with_capacity(256);
    let end = stretch.map(|stretch| count_from + stretch);
    let (mut looked, mut stopped_at) = (began, None);
    loop {
        let now = Instant::now();
        if stopped_at.is_none() && (end.is_some_and(|end| now >= end) || stop.load(Ordering::Relaxed)) {
            stopped_at = Some(now);
        }
        if stopped_at.is_some() || run.lines.iter().all(|line| line.done) {
            if run.lines.iter().all(|line| line.asked.is_none()) {
                break;
            }
        } else {
            run.ask_idle(&mut moments);
        }
        let next = moments.filter(|_| !run.idle.is_empty()).map(|(_, at)| at.saturating_duration_since(now));
        run.poll.poll(&mut events, Some(next.unwrap_or(LOOK).min(LOOK))).expect("the kernel waits for sockets");
        for event in &events {
            run.serve(event.token().0, stopped_at.is_some());
        }
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            run.give_up_late();
        }
    }
    let counted_to = stopped_at.unwrap_or_else(Instant::now);
    run.outcome.seconds = counted_to.saturating_duration_since(count_from).as_secs_f64();
    run.outcome.micros.sort_unstable();
    run.outcome
}

fn connect(poll: &Poll, number: usize, to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("a connection can be begun");
    let _ = stream.set_nodelay(true);
    poll.registry()
        .register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)
        .expect("the kernel watches sockets");
    stream
}

impl Run {
    /// Lets those ask whose moment has come.
    fn ask_idle(&mut self, moments: &mut Option<(Duration, Instant)>) {
        while !self.idle.is_empty() {
            let now = Instant::now();
            let since = match moments {
                None => now,
                Some((_, at)) if *at > now => return,
                Some((gap, at)) => std::mem::replace(at, *at + *gap),
            };
            let number = self.idle.pop_front().expect("it is not empty");
            self.ask(number, since);
        }
    }

    fn ask(&mut self, number: usize, since: Instant) {
        let line = &mut self.lines[number];
        if line.stream.is_none() {
            line.stream = Some(connect(&self.poll, number, line.to));
            line.talk.greet(&mut line.out);
        }
        if !line.talk.ask(&mut line.out) {
            line.done = true;
            return;
        }
        line.asked = Some(since);
        self.flush(number);
    }

    fn flush(&mut self, number: usize) {
        let line = &mut self.lines[number];
        while let Some(stream) = line.stream.as_mut().filter(|_| !line.out.is_empty()) {
            match stream.write(&line.out) {
                Ok(0) => return self.lost(number, "closed while we wrote"),
                Ok(written) => drop(line.out.drain(..written)),
                // Not connected yet counts as well: we are told when it is.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.lost(number, &error.to_string()),
            }
        }
    }

    /// Something can be read or written there.
    fn serve(&mut self, number: usize, stopped: bool) {
        if !self.lines[number].out.is_empty() {
            self.flush(number);
        }
        loop {
            let line = &mut self.lines[number];
            let Some(stream) = line.stream.as_mut() else { return };
            let read = match stream.read(&mut self.chunk) {
                Ok(0) => return self.lost(number, "closed"),
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.lost(number, &error.to_string()),
            };
            line.received.extend_from_slice(&self.chunk[..read]);
            self.look(number, stopped);
            // A shorter read has emptied the socket: what comes later is an event of its own.
            if read < self.chunk.len() {
                return;
            }
        }
    }

    fn look(&mut self, number: usize, stopped: bool) {
        loop {
            let line = &mut self.lines[number];
            if line.received.is_empty() {
                break;
            }
            match line.talk.answer(&line.received, &mut line.out) {
                Step::More(used) => {
                    line.received.drain(..used);
                    break;
                }
                Step::Done(used, verdict) => {
                    line.received.drain(..used);
                    let asked = line.asked.take();
                    self.note(number, asked, verdict);
                    if !stopped && !self.paced {
                        self.ask(number, Instant::now());
                    } else {
                        self.idle.push_back(number);
                    }
                }
            }
        }
        if !self.lines[number].out.is_empty() {
            self.flush(number);
        }
    }

    fn note(&mut self, number: usize, asked: Option<Instant>, verdict: Result<(), String>) {
        let to = self.lines[number].to;
        match (asked, verdict) {
            (None, _) => self.outcome.complain(to, "an answer nobody asked for"),
            (_, Err(why)) => self.outcome.complain(to, &why),
            (Some(asked), Ok(())) => {
                let now = Instant::now();
                if now >= self.count_from {
                    let micros = now.saturating_duration_since(asked).as_micros();
                    self.outcome.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
            }
        }
    }

    /// The connection is gone; the next request makes a new one. Only who waited for an answer has lost something: servers
    /// may close what idles.
    fn lost(&mut self, number: usize, why: &str) {
        let line = &mut self.lines[number];
        let waited = line.asked.take().is_some();
        line.stream = None;
        line.received.clear();
        line.out.clear();
        if waited {
            let to = line.to;
            self.outcome.complain(to, why);
            self.idle.push_back(number);
        }
    }

    fn give_up_late(&mut self) {
        for number in 0..self.lines.len() {
            if self.lines[number].asked.is_some_and(|asked| asked.elapsed() > PATIENCE) {
                self.lost(number, "no answer in time");
            }
        }
    }
}
