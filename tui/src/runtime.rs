//! The dashboard's loop: wait, update, start commands, draw. All the IO of the dashboard is here and in `runtime/`.
//!
//! ```text
//! keyboard.rs  thread that reads keys ──▶ bounded channel ─┐
//! opening.rs   find or start, progress ─┐                  │
//! work.rs      verbs, member tables ────┼─▶ bounded channel ┼─▶ update ──▶ commands ──▶ tasks ──▶ back as messages
//! listing.rs   the files of one node ───┤
//! host.rs      load of the machine ─────┘                  │      │
//! observe      truth and views ──────────▶ bounded channel ─┘      ▼
//! terminal.rs  raw mode in, given back on every way out  ◀──── view, between synchronized-update escapes
//! ```
//! A key is drawn at once. Other news is drawn at most ten times a second; a mark that moves by itself, while copies of keys
//! do and it is in sight, thirty times; a running clock once a second; nothing otherwise. Between two draws at most 512 messages or 5 ms of them are taken in, so a flood of news never holds a key back.
//! Every verb runs in a task of its own: a slow engine delays its answer and nothing else. Tables and listings are asked for by way of
//! the gateway (`asking.rs`).
#![allow(clippy::disallowed_methods, reason = "this is where time and tasks come from")]

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use p2pnet_shared::UnixMillis;
use ratatui::crossterm::event::{Event, KeyEventKind};
use tokio::sync::mpsc;

use crate::{
    cluster::{Cluster, RuntimeChoice, Settings},
    failure::Failure,
    message::{Command, Message},
    model::{Farewell, Model, Opening},
    network::Observation,
    update::{is_animated, update},
    view::theme::{Depth, Theme},
};

mod asking;
mod history_file;
mod host;
mod keyboard;
mod listing;
mod opening;
mod terminal;
mod work;

use opening::Opened;
use terminal::Screen;

/// How the dashboard is opened.
#[derive(Debug, Clone)]
pub struct DashboardOptions {
    /// Which network, and what it is started with if none runs.
    pub settings: Settings,
    /// How many nodes beside the bootstrap are started if none runs. Default 100 at the command line.
    pub nodes: u32,
    /// Who is to run it.
    pub runtime: RuntimeChoice,
    /// Draw with ASCII characters only.
    pub ascii: bool,
    /// Draw without colours, as `NO_COLOR` in the environment does.
    pub no_color: bool,
}

/// Holds 1,024 messages of tasks. When full the task waits: none of them is one that must not.
const MESSAGES: usize = 1_024;
/// Shortest time between two draws that no key asked for.
const FRAME: Duration = Duration::from_millis(100);
/// The same while a mark on the screen moves by itself: thirty a second.
const MOVING_FRAME: Duration = Duration::from_millis(33);
/// Most messages, and most time, taken in between two looks at the keyboard.
const DRAIN: (usize, Duration) = (512, Duration::from_millis(5));

/// Opens the dashboard on a running network, or on one it starts, and returns once it is closed and the terminal is back
/// as it was. The network outlives it unless the user had it stopped.
///
/// # Errors
/// There is no terminal, or it went away. A network that cannot be started is told on the screen, where the user can
/// read why; it is returned too once they close it.
pub async fn run(options: DashboardOptions) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::new("the dashboard needs a terminal, and this is none").hint(
            "`p2pnet watch --plain` prints one line per change, `p2pnet start-network` starts without a screen",
        ));
    }
    // Before the terminal is taken: from here on no signal leaves it behind.
    let signals = terminal::Signals::listen();
    let mut screen = Screen::enter()?;
    let mut dashboard = Dashboard::open(options, &screen);
    let ended = dashboard.turn(&mut screen, signals).await;
    drop(screen);
    let farewell = ended?;
    dashboard.say_goodbye(&farewell)
}

/// Wall-clock time, for showing and for comparing with nodes' stamps.
fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

struct Dashboard {
    model: Model,
    cluster: Option<Cluster>,
    messages: mpsc::Receiver<Message>,
    outbox: mpsc::Sender<Message>,
    /// Which network, and by whom: to find it when it is to be stopped before it was found.
    sought: (p2pnet_shared::NetworkName, RuntimeChoice),
    opening: tokio::task::JoinHandle<()>,
    opened: mpsc::Receiver<Opened>,
    observations: Option<mpsc::Receiver<Observation>>,
    keys: mpsc::Receiver<std::io::Result<Event>>,
    members: work::MemberWatch,
    files: listing::FileWatch,
    history: history_file::HistoryFile,
    /// Something happened that a frame would show.
    dirty: bool,
}

impl Dashboard {
    fn open(options: DashboardOptions, screen: &Screen) -> Self {
        let (outbox, messages) = mpsc::channel(MESSAGES);
        let depth = if options.no_color { Depth::Mono } else { Depth::detect(|name| std::env::var(name).ok()) };
        let theme = Theme::new(depth, options.ascii);
        let mut model = Model::new(now(), screen.size(), theme, options.settings.network.clone());
        let history = history_file::HistoryFile::of_this_user();
        update(&mut model, now(), Message::HistoryLoaded(history.load()));
        tokio::spawn(host::measure(outbox.clone()));
        let (found, opened) = mpsc::channel(2);
        let sought = (options.settings.network.clone(), options.runtime);
        let opening = tokio::spawn(opening::open(options, outbox.clone(), found));
        let members = work::MemberWatch::start(outbox.clone());
        let files = listing::FileWatch::start(outbox.clone());
        Self {
            model,
            cluster: None,
            messages,
            outbox,
            sought,
            opening,
            opened,
            observations: None,
            keys: keyboard::read_keys(),
            members,
            files,
            history,
            dirty: true,
        }
    }

    /// The loop.
    async fn turn(&mut self, screen: &mut Screen, mut signals: terminal::Signals) -> Result<Farewell, Failure> {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        self.draw(screen)?;
        let mut last_draw = Instant::now();
        loop {
            let moves = is_animated(&self.model);
            self.dirty |= moves;
            let frame = if moves { MOVING_FRAME } else { FRAME };
            let next_draw = tokio::time::Instant::from_std(last_draw + frame);
            let mut at_once = false;
            tokio::select! {
                biased;
                event = self.keys.recv() => at_once = self.on_event(event)?,
                name = signals.next() => self.take(Message::Signalled(name)),
                Some(opened) = self.opened.recv() => self.on_opened(opened),
                Some(message) = self.messages.recv() => self.take(message),
                observation = next(&mut self.observations) => self.on_observation(observation),
                () = tokio::time::sleep_until(next_draw), if self.dirty => {}
                _ = second.tick() => self.on_second(),
            }
            self.drain();
            terminal::check_panic()?;
            if let Some(farewell) = self.model.farewell.take() {
                return Ok(farewell);
            }
            if at_once || (self.dirty && last_draw.elapsed() >= frame) {
                self.draw(screen)?;
                last_draw = Instant::now();
            }
        }
    }

    fn draw(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        self.take(Message::FrameDue);
        self.dirty = false;
        screen.draw(&self.model)
    }

    /// Whether to draw at once.
    fn on_event(&mut self, event: Option<std::io::Result<Event>>) -> Result<bool, Failure> {
        match event {
            Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => self.take(Message::Key(key)),
            Some(Ok(Event::Paste(text))) => self.take(Message::Pasted(text)),
            Some(Ok(Event::Resize(columns, rows))) => self.take(Message::Resized(columns, rows)),
            Some(Ok(_)) => return Ok(false),
            Some(Err(error)) => return Err(Failure::new(format!("the terminal went away: {error}"))),
            None => return Err(Failure::new("the terminal went away")),
        }
        Ok(true)
    }

    fn on_opened(&mut self, opened: Opened) {
        match opened {
            Opened::Attached(cluster) => {
                self.take(Message::Attached(cluster.runtime().clone()));
                self.observations = Some(crate::observe::observe(&cluster));
                self.members.attach(&cluster);
                self.files.attach(&cluster);
                self.cluster = Some(cluster);
            }
            Opened::Started(cluster) => {
                if self.cluster.is_none() {
                    self.on_opened(Opened::Attached(cluster));
                } else {
                    self.members.attach(&cluster);
                    self.files.attach(&cluster);
                    self.cluster = Some(cluster);
                }
                self.take(Message::Started);
            }
        }
    }

    fn on_observation(&mut self, observation: Option<Observation>) {
        match observation {
            Some(observation) => self.take(Message::Observed(observation)),
            None => {
                self.observations = None;
                self.take(Message::ObservationEnded);
            }
        }
    }

    /// A running clock or an age is on screen whenever a network is.
    fn on_second(&mut self) {
        self.model.now = now();
        let notice = self.model.notice.is_some();
        let clocks = self.model.frozen.is_some() || self.model.runtime.is_some();
        if notice || clocks {
            self.take(Message::Ticked);
        }
    }

    /// Takes in what else is there already, up to a limit.
    fn drain(&mut self) {
        let start = Instant::now();
        for _ in 0..DRAIN.0 {
            let observation = self.observations.as_mut().and_then(|feed| feed.try_recv().ok());
            match observation.map(Message::Observed).or_else(|| self.messages.try_recv().ok()) {
                Some(message) if start.elapsed() < DRAIN.1 => self.take(message),
                Some(message) => return self.take(message),
                None => return,
            }
        }
    }

    fn take(&mut self, message: Message) {
        self.dirty = true;
        for command in update(&mut self.model, now(), message) {
            self.carry_out(command);
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Run { ticket, verb } => work::run(self.cluster.clone(), ticket, verb, self.outbox.clone()),
            Command::StopNetwork { keep_data } => {
                // A start under way would go on adding to what is being removed.
                self.opening.abort();
                work::stop(self.cluster.clone(), self.sought.clone(), keep_data, self.outbox.clone());
            }
            Command::WatchMembers(node) => self.members.watch(node),
            Command::WatchFiles(wanted) => self.files.watch(wanted),
            Command::Remember(line) => self.history.append(&line),
            Command::Quit(_) => {}
        }
    }

    /// How to find the network again, on the terminal that was given back.
    fn say_goodbye(&self, farewell: &Farewell) -> Result<(), Failure> {
        if let Opening::Failed(failure) = &self.model.opening {
            return Err(failure.clone());
        }
        let name = self.model.name.as_ref().map_or("", |name| name.as_str());
        let flag = if name == "p2p_network" { String::new() } else { format!(" --network {name}") };
        let mut lines = Vec::new();
        if let Farewell::Signal(signal) = farewell {
            lines.push(format!("closed by {signal}"));
        }
        match self.model.opening {
            _ if *farewell == Farewell::Stopped => lines.push(format!("network {name} is stopped and removed")),
            Opening::Starting => {
                lines.push(format!("the start of network {name} was left half done: `p2pnet{flag}` completes it"));
                lines.push(format!("`p2pnet stop-network{flag}` removes what there is of it"));
            }
            Opening::Open => {
                lines.push(format!("network {name} keeps running: `p2pnet{flag}` opens it again"));
                lines.push(format!("`p2pnet stop-network{flag}` stops and removes it"));
            }
            Opening::Looking | Opening::Failed(_) => {}
        }
        // After SIGHUP there may be nobody to tell.
        let mut stderr = std::io::stderr().lock();
        for line in lines {
            let _ = writeln!(stderr, "{line}");
        }
        Ok(())
    }
}

/// The next of a stream that may not be there yet.
async fn next<T>(stream: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match stream {
        Some(stream) => stream.recv().await,
        None => std::future::pending().await,
    }
}
