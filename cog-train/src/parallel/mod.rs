//! Data-parallel training: the ranks of a training and the operations between them.

mod communicator;
mod host_list;
mod launch;
mod single;

pub use communicator::Communicator;
pub use launch::{Launch, Launcher};
pub use single::Single;
