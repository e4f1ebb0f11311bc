//! Being asked to end.

/// Listens for SIGINT and SIGTERM from this call on, and ends when one comes. As process 1 of a container a signal
/// without a handler does nothing, so this is also what makes `docker stop` quick.
#[cfg(unix)]
pub fn asked_to_end() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let listeners = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        // Where no handler can be set the system's own does: the process ends.
        let (Ok(mut int), Ok(mut term)) = listeners else { return std::future::pending().await };
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
    }
}

/// Ends when Ctrl-C is pressed.
#[cfg(not(unix))]
pub async fn asked_to_end() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
