//! What the fuzz tests of all three packages share: memory that is counted, bytes that are wrong where it hurts, and
//! values of every type that comes over a wire. Each test binary takes it in with `#[path]`; it is no library.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test binary uses its part")]

pub mod files;
pub mod harm;
pub mod keys;
pub mod memory;
pub mod values;

use proptest::test_runner::Config;

/// As many cases as `PROPTEST_CASES` says, `cases` by default. A case that fails is printed at its smallest; it becomes a
/// test with the bug's name, not a file of seeds.
pub fn config(cases: u32) -> Config {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { cases };
    Config { cases, failure_persistence: None, max_shrink_iters: 3_000, ..Config::default() }
}
