//! Data-parallel training: the ranks of a training and the operations between them.

mod communicator;
mod single;

pub use communicator::Communicator;
pub use single::Single;
