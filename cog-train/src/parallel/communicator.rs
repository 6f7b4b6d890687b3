//! The operations between the ranks of a training.

use std::fmt;

use candle_core::Tensor;

use crate::error::Error;

/// The processes that train one model together: this process's rank, and the operations that all ranks take part in.
///
/// Every rank calls the same operations in the same order, with tensors of the same shapes and dtypes, on its own device. An operation
/// returns when this rank's part of it is done. After an error the group is unusable: the process ends.
///
/// ```
/// use cog_train::candle_core::{Device, Tensor};
/// use cog_train::parallel::{Communicator, Single};
///
/// let group: &dyn Communicator = &Single;
/// let gradient = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
/// // Each rank sends part `i` of its tensor to rank `i`; this one gets a part from each.
/// let parts = group.all_to_all(&gradient.chunk(group.world_size(), 0)?)?;
/// assert_eq!(parts[group.rank()].to_vec1::<f32>()?, [1.0, 2.0]);
/// assert_eq!(group.agree(0b10)?, 0b10);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
pub trait Communicator: fmt::Debug + Send + Sync {
    /// Returns the number of this process, from 0 to `world_size - 1`.
    fn rank(&self) -> usize;

    /// Returns the number of processes.
    fn world_size(&self) -> usize;

    /// Adds a tensor over all ranks, in an order that the transport chooses: the bits depend on the number of ranks.
    ///
    /// # Errors
    ///
    /// [`Error::Ranks`] when a rank is lost or the transport fails; so do all operations below.
    fn sum(&self, tensor: &Tensor) -> Result<Tensor, Error>;

    /// Returns the tensor of rank `root`. `tensor` has its shape and dtype; its values matter on rank `root` alone.
    ///
    /// # Errors
    ///
    /// As [`Communicator::sum`].
    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Tensor, Error>;

    /// Sends `parts[i]` to rank `i`. Returns what each rank has sent to this one, in the order of ranks: `world_size` tensors of
    /// the shape and dtype of `parts[rank]`. The shape of part `i` is the same on all ranks; a part may have no elements.
    ///
    /// # Errors
    ///
    /// As [`Communicator::sum`].
    fn all_to_all(&self, parts: &[Tensor]) -> Result<Vec<Tensor>, Error>;

    /// Returns the bytes of all ranks, in the order of ranks. Their lengths may differ.
    ///
    /// # Errors
    ///
    /// As [`Communicator::sum`].
    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error>;

    /// Returns the bitwise or of the flags of all ranks.
    ///
    /// # Errors
    ///
    /// As [`Communicator::sum`].
    fn agree(&self, flags: u64) -> Result<u64, Error>;

    /// Waits until all ranks have called it.
    ///
    /// # Errors
    ///
    /// As [`Communicator::sum`].
    fn barrier(&self) -> Result<(), Error>;
}
