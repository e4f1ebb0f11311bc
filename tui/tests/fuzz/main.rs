//! Everything the dashboard, the verbs and the gateway take in from outside, hurt in every way there is.
//!
//! ```text
//! lines.rs    what people type: the prompt, selectors, arguments
//! fold.rs     the feed's lines into what is known of a network, and that onto a screen
//! sockets.rs  bytes into a real gateway, and bytes from one that is none
//! ```
//! For a longer campaign: `PROPTEST_CASES=100000 cargo test -p p2pnet --test fuzz`.

#[path = "../../../shared/tests/support/mod.rs"]
mod hostile;

mod fold;
mod lines;
mod sockets;
