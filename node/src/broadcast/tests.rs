//! `link`: two states talk and every effect is read; `tree`: links that are eager or lazy, announcements, grafts;
//! `epidemic` and `weather`: a hundred in a pretend network, calm and not; `hostile`: anything comes in.

mod epidemic;
mod hostile;
mod link;
mod network;
mod tree;
mod weather;
