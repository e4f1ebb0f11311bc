//! The protocol told in stories.
