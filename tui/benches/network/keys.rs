//! A key pressed while the network starts → seen on screen.

use std::time::Duration;

use crate::{bench::Bench, terminal::Terminal};

/// Types at the prompt while every node of a new network starts, one letter every 250 ms, and takes the time of each.
pub(crate) fn measure(bench: &Bench) {
    let lab = bench.lab(bench.nodes());
    let nodes = bench.nodes().to_string();
    let base_port = lab.base_port.to_string();
    let args = ["--nodes", &nodes, "--runtime", lab.runtime, "--base-port", &base_port];
    let mut terminal = Terminal::open(&lab, &args, 160, 45);
    let patience = Duration::from_secs(10);
    terminal.wait_for("the first screen", patience, |screen| screen.contains("p2pnet"));
    terminal.keys(":");
    let mut times = Vec::new();
    let mut typed = String::new();
    for letter in "thequickbrownfoxjumpsoverthelazydog".chars() {
        std::thread::sleep(Duration::from_millis(250));
        typed.push(letter);
        terminal.keys(&letter.to_string());
        let took = terminal.wait_for("the letter", patience, |screen| screen.contains(&typed));
        times.push(took.as_secs_f64() * 1000.0);
    }
    bench.print("key_to_screen_while_starting", "ms", times);
}
