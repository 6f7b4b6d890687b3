//! Data-parallel training: the ranks of a training and the operations between them.

#[cfg(feature = "mpi")]
mod bytes;
mod communicator;
mod devices;
mod end;
mod guard;
mod host_list;
mod launch;
mod launcher;
mod machine;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
mod operation;
mod ranks;
mod reduce;
mod rendezvous;
mod single;
#[cfg(any(feature = "mpi", feature = "nccl"))]
mod tensors;
mod wait;

#[cfg(feature = "mpi")]
pub use self::mpi::Mpi;
pub use communicator::Communicator;
pub use launch::Launch;
pub use launcher::Launcher;
pub(crate) use machine::host;
#[cfg(feature = "nccl")]
pub use nccl::Nccl;
pub(crate) use ranks::{End, Ranks};
pub use reduce::Reduce;
pub use single::Single;
