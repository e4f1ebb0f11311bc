//! Typed client for a node's HTTP surface.
