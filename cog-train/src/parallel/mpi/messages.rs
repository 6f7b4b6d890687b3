//! Bytes and numbers in messages of MPI.

use candle_core::{Device, Tensor, WithDType};
use mpi::collective::SystemOperation;
use mpi::point_to_point as p2p;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives, Equivalence, Root};

use crate::error::Error;

/// The tag of messages with a part of a tensor.
const PART: i32 = 1;

/// The exchanges of all ranks, in as many messages as each needs.
pub(super) struct Messages {
    pub(super) world: SimpleCommunicator,
    /// The most bytes of a message.
    pub(super) most_bytes: usize,
}

impl Messages {
    pub(super) fn broadcast(&self, bytes: &mut [u8], root: usize) {
        let root = self.world.process_at_rank(number(root));
        for piece in bytes.chunks_mut(self.most_bytes) {
            root.broadcast_into(piece);
        }
    }

    pub(super) fn gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let rank = index(self.world.rank());
        let mut lengths = vec![0_u64; index(self.world.size())];
        self.world.all_gather_into(&(bytes.len() as u64), &mut lengths[..]);
        let collect = |(root, length): (usize, u64)| {
            let mut gathered = if root == rank {
                bytes.to_vec()
            } else {
                vec![0; usize::try_from(length).unwrap_or(usize::MAX)]
            };
            self.broadcast(&mut gathered, root);
            gathered
        };
        lengths.into_iter().enumerate().map(collect).collect()
    }

    pub(super) fn sum<T: Equivalence + WithDType>(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        let own = tensor.flatten_all()?.to_device(&Device::Cpu)?.to_vec1::<T>()?;
        let mut total = vec![T::zero(); own.len()];
        let most = self.most_bytes / size_of::<T>();
        for (own, total) in own.chunks(most).zip(total.chunks_mut(most)) {
            self.world.all_reduce_into(own, total, SystemOperation::sum());
        }
        Ok(Tensor::from_vec(total, tensor.shape(), tensor.device())?)
    }

    /// Returns the bitwise or of the flags of all ranks.
    pub(super) fn agree(&self, flags: u64) -> u64 {
        let mut agreed = 0_u64;
        self.world.all_reduce_into(&flags, &mut agreed, SystemOperation::bitwise_or());
        agreed
    }

    /// Sends bytes to one rank while those of another one arrive, in as many messages as the longest part of any rank needs.
    pub(super) fn exchange(
        &self,
        sent: &Part<'_>,
        from: usize,
        received: &mut [u8],
        longest: usize,
    ) {
        let to = self.world.process_at_rank(number(sent.to));
        let from = self.world.process_at_rank(number(from));
        for start in (0..longest).step_by(self.most_bytes) {
            let piece = |length: usize| start.min(length)..(start + self.most_bytes).min(length);
            let sent = &sent.bytes[piece(sent.bytes.len())];
            let length = received.len();
            let received = &mut received[piece(length)];
            p2p::send_receive_into_with_tags(sent, &to, PART, received, &from, PART);
        }
    }
}

/// The bytes for one rank.
pub(super) struct Part<'a> {
    pub(super) to: usize,
    pub(super) bytes: &'a [u8],
}

/// Returns a rank or a size as MPI counts it.
pub(super) fn number(rank: usize) -> i32 {
    i32::try_from(rank).unwrap_or(i32::MAX)
}

/// Returns a rank or a size of MPI.
pub(super) fn index(number: i32) -> usize {
    usize::try_from(number).unwrap_or_default()
}
