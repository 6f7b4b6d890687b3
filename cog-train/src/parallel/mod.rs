//! Data-parallel training: the ranks of a training and the operations between them.

#[cfg(feature = "mpi")]
mod bytes;
mod channel;
mod communicator;
mod host_list;
mod launch;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
mod ranks;
mod reduce;
mod rendezvous;
mod single;

#[cfg(feature = "mpi")]
pub use self::mpi::Mpi;
pub use communicator::Communicator;
pub use launch::{Launch, Launcher};
#[cfg(feature = "nccl")]
pub use nccl::Nccl;
pub(crate) use ranks::{End, Ranks};
pub use reduce::Reduce;
pub use single::Single;
