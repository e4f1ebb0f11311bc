//! `link`: two states talk and every effect is read; `epidemic`: a hundred in a pretend network; `hostile`: anything comes in.

mod epidemic;
mod hostile;
mod link;
mod network;
