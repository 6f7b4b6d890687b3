//! Examples as the tokens and targets of a language model of [`models`](crate::models).

use candle_core::Device;

use super::example::Example;
use crate::error::Error;
use crate::models::{Targets, Tokens};

/// A batch for [`CausalLm::loss`](crate::models::CausalLm::loss).
///
/// ```
/// use cog_train::candle_core::Device;
/// use cog_train::text::{CausalBatch, Example};
///
/// let short = Example::completion(vec![1, 2, 3], 2);
/// let long = Example::completion(vec![4, 5, 6, 7, 8], 1);
/// // Side by side ...
/// let batch = CausalBatch::padded(&[short.clone(), long.clone()], 0, &Device::Cpu)?;
/// assert_eq!(batch.tokens.ids().to_vec2::<u32>()?, [[1, 2, 0, 0], [4, 5, 6, 7]]);
/// assert_eq!(batch.targets.count(), 1 + 4);
/// // ... and in one row of a pack, where neither sees the other.
/// let batch = CausalBatch::packed(&[vec![short, long]], 0, &Device::Cpu)?;
/// assert_eq!(batch.tokens.ids().to_vec2::<u32>()?, [[1, 2, 4, 5, 6, 7]]);
/// assert_eq!(batch.targets.count(), 5);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CausalBatch {
    /// The tokens that the model reads.
    pub tokens: Tokens,
    /// The trained tokens, each at the position before it.
    pub targets: Targets,
}

impl CausalBatch {
    /// One example a row, padded at the right with the token `pad`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when there is no token or the device fails.
    pub fn padded(examples: &[Example], pad: u32, device: &Device) -> Result<Self, Error> {
        let ids: Vec<Vec<u32>> = examples.iter().map(|it| it.inputs().to_vec()).collect();
        let targets: Vec<Vec<u32>> = examples.iter().map(Example::targets).collect();
        let targets = Targets::of_next(&targets, device)?;
        Ok(Self { tokens: Tokens::padded(&ids, pad, device)?, targets })
    }

    /// Several examples a row, as [`Packs`](super::Packs) gives them, padded at the right with the token `pad`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when there is no token or the device fails.
    pub fn packed(packs: &[Vec<Example>], pad: u32, device: &Device) -> Result<Self, Error> {
        let ids = |pack: &Vec<Example>| pack.iter().map(|it| it.inputs().to_vec()).collect();
        let ids: Vec<Vec<Vec<u32>>> = packs.iter().map(ids).collect();
        let targets = |pack: &Vec<Example>| pack.iter().flat_map(Example::targets).collect();
        let targets: Vec<Vec<u32>> = packs.iter().map(targets).collect();
        let targets = Targets::of_next(&targets, device)?;
        Ok(Self { tokens: Tokens::packed(&ids, pad, device)?, targets })
    }
}
