//! Gives memory back that is free but lies between what is used. The allocator by itself returns only what is free at the end of its
//! heap, and there the row of one file may lie for as long as the node lives.

use std::time::Duration;

/// How often. What is used again is mapped again page by page.
const EVERY: Duration = Duration::from_secs(15);

/// Goes on for as long as the node lives.
pub(super) async fn give_back() {
    loop {
        tokio::time::sleep(EVERY).await;
        trim();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "only the C library knows its heap")]
fn trim() {
    // SAFETY: takes the allocator's own locks, may be called by any thread at any time, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries have no such call.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
