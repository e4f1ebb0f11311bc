//! The terminal: taken on the way in, given back on every way out.
//!
//! Taken are raw mode, the alternate screen and bracketed paste; the mouse is left to the terminal, so that text can be
//! selected. A panic anywhere, a task's too, first gives the terminal back and then reports. SIGTERM, SIGHUP and SIGINT
//! close the dashboard as the user would; the network runs on.

use std::{
    io::{BufWriter, Stdout, Write, stdout},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{DisableBracketedPaste, EnableBracketedPaste},
        execute, queue,
        terminal::{
            BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
            LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
        },
    },
};

use crate::{failure::Failure, model::Model, view::view};

/// Whether the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether something panicked since it was taken.
static PANICKED: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// The terminal while it is ours.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

fn failed(error: std::io::Error) -> Failure {
    Failure::new(format!("the terminal cannot be drawn on: {error}"))
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn enter() -> Result<Self, Failure> {
        HOOK.call_once(|| {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if TAKEN.load(Ordering::SeqCst) {
                    PANICKED.store(true, Ordering::SeqCst);
                    give_back();
                }
                report(panic);
            }));
        });
        enable_raw_mode().map_err(failed)?;
        TAKEN.store(true, Ordering::SeqCst);
        // One write a frame: what is written in pieces is seen in pieces.
        let backend = CrosstermBackend::new(BufWriter::with_capacity(256 * 1024, stdout()));
        let mut screen =
            Terminal::new(backend).map(|terminal| Self { terminal }).inspect_err(|_| give_back()).map_err(failed)?;
        // Not `Terminal::clear`: it asks where the cursor is and waits two seconds for terminals that do not say.
        execute!(screen.terminal.backend_mut(), EnterAlternateScreen, Clear(ClearType::All), EnableBracketedPaste)
            .map_err(failed)?;
        Ok(screen)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (u16, u16) {
        size().unwrap_or((80, 24))
    }

    /// Draws one frame; a terminal that knows the escapes shows it whole or not at all.
    pub(super) fn draw(&mut self, model: &Model) -> Result<(), Failure> {
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate).map_err(failed)?;
        self.terminal.draw(|frame| view(model, frame)).map_err(failed)?;
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate).map_err(failed)?;
        self.terminal.backend_mut().flush().map_err(failed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Once, whoever comes first. Nothing can be done about an error: the terminal may be gone.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), EndSynchronizedUpdate, DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// A task that panicked gave the terminal back and was reported: all that is left is to end.
pub(super) fn check_panic() -> Result<(), Failure> {
    if PANICKED.load(Ordering::SeqCst) {
        return Err(Failure::new("p2pnet met a mistake of its own, reported above; the network keeps running")
            .hint("`p2pnet` opens it again; please report what is above"));
    }
    Ok(())
}

/// Signals that ask to close.
pub(super) struct Signals {
    #[cfg(unix)]
    streams: Vec<(&'static str, tokio::signal::unix::Signal)>,
}

impl Signals {
    /// From here on they no longer end the process by themselves.
    #[cfg(unix)]
    pub(super) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [
            ("SIGTERM", SignalKind::terminate()),
            ("SIGHUP", SignalKind::hangup()),
            ("SIGINT", SignalKind::interrupt()),
            ("SIGQUIT", SignalKind::quit()),
        ];
        let streams = kinds.into_iter().filter_map(|(name, kind)| Some((name, signal(kind).ok()?))).collect();
        Self { streams }
    }

    /// The next one's name.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> &'static str {
        std::future::poll_fn(|context| {
            for (name, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// No signals here but Ctrl-C, which comes as a key.
    #[cfg(not(unix))]
    pub(super) fn listen() -> Self {
        Self {}
    }

    /// Never.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) -> &'static str {
        std::future::pending().await
    }
}
