//! Data-parallel training: the ranks of a training and the operations between them.

#[cfg(feature = "mpi")]
mod bytes;
mod channel;
mod communicator;
mod host_list;
mod launch;
mod launcher;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
mod ranks;
mod reduce;
mod rendezvous;
mod single;
#[cfg(any(feature = "mpi", feature = "nccl"))]
mod tensors;

#[cfg(feature = "mpi")]
pub use self::mpi::Mpi;
pub use communicator::Communicator;
pub use launch::Launch;
pub use launcher::Launcher;
#[cfg(feature = "nccl")]
pub use nccl::Nccl;
pub(crate) use ranks::{End, Ranks};
pub use reduce::Reduce;
pub use single::Single;
