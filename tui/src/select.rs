//! Which nodes a verb is about: `9`, `node9`, `20-30`, `bootstrap`, `30% seed 7`.

/// A choice of nodes, resolved against those there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {}
