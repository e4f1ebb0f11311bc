//! The keyboard, read by a thread that does nothing else, so that no work of ours can make a key wait.

use ratatui::crossterm::event::{Event, read};
use tokio::sync::mpsc;

/// Holds 256 events. When full the thread waits and the terminal keeps the rest; no key is dropped.
const EVENTS: usize = 256;

/// Every event of the terminal, until it goes away (one error, the last).
pub(super) fn read_keys() -> mpsc::Receiver<std::io::Result<Event>> {
    let (sender, receiver) = mpsc::channel(EVENTS);
    std::thread::spawn(move || {
        loop {
            let event = read();
            let last = event.is_err();
            if sender.blocking_send(event).is_err() || last {
                return;
            }
        }
    });
    receiver
}
