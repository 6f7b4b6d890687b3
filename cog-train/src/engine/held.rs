//! The memory of a training that can be counted.

use super::learner::Learner;
use crate::optim::{Ema, Slot};

/// Bytes by what they are for.
pub(super) struct Held {
    pub(super) weights: u64,
    pub(super) gradients: u64,
    /// On this rank.
    pub(super) optimizer: u64,
    pub(super) averages: u64,
    /// Of a checkpoint, which has those of all ranks.
    pub(super) snapshot: u64,
}

impl Held {
    pub(super) fn of(learner: &Learner<'_>) -> Self {
        let bytes = |slots: &[Slot], elements: fn(&Slot) -> usize| {
            let bytes = |slot: &Slot| elements(slot) * slot.dtype.size_in_bytes();
            slots.iter().map(bytes).sum::<usize>() as u64
        };
        let (of_optimizer, of_ema) =
            (learner.optimizer.slots(), learner.ema.as_ref().map_or_else(Vec::new, Ema::slots));
        let here = |slot: &Slot| slot.var.as_ref().map_or(0, |var| var.elem_count());
        let all = |slot: &Slot| slot.dims.iter().product();
        let trained = 4 * learner.params.trainable_count() as u64;
        Self {
            weights: learner.params.bytes() as u64,
            gradients: trained,
            optimizer: bytes(&of_optimizer, here),
            averages: bytes(&of_ema, here),
            snapshot: trained + bytes(&of_optimizer, all) + bytes(&of_ema, all),
        }
    }
}
