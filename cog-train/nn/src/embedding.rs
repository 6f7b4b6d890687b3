//! Tables of vectors.

use candle_core::Error;

use super::{Init, Initializer, LayerKind, Operand, Weight};
use crate::kernels::embedding;
use crate::low_rank::EmbeddingBranch;

/// Rows of a table by number, as PyTorch's `Embedding`. One whose [`Init`] has a [`LowRank`](super::LowRank) branch for its
/// path adds that branch.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::Embedding;
///
/// let table = Embedding::from_tensors(Tensor::new(&[[0f32, 1.0], [2.0, 3.0]], &Device::Cpu)?);
/// let y = table.forward(&Tensor::new(&[[1u32, 0, 1]], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec3::<f32>()?, [[[2.0, 3.0], [0.0, 1.0], [2.0, 3.0]]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Embedding {
    weight: Weight,
    low_rank: Option<EmbeddingBranch>,
}

impl Embedding {
    /// A table of `rows` vectors with `width` values each: the parameter `weight` `[rows, width]`, from a standard normal
    /// (PyTorch's `Embedding.reset_parameters`).
    ///
    /// # Errors
    ///
    /// Those of [`Init::tensor`].
    pub fn new(init: &Init, rows: usize, width: usize) -> Result<Self, Error> {
        let normal = Initializer::Normal { std: 1.0 };
        let weight = init.weight("weight", (rows, width), normal)?;
        let low_rank = init.layer(LayerKind::Embedding, rows, width);
        let branch = |low_rank| EmbeddingBranch::new(init, low_rank, rows, width);
        Ok(Self { weight, low_rank: low_rank.map(branch).transpose()? })
    }

    /// A table `[rows, width]` of floats, or in blocks of few bits.
    #[must_use]
    pub fn from_tensors(weight: impl Into<Weight>) -> Self {
        Self { weight: weight.into(), low_rank: None }
    }

    /// The table, `[rows, width]`: also the weight of an output layer that is tied to it.
    #[must_use]
    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// Looks up the rows of `ids`, integers below `rows`, of any shape `[..]`; the result is `[.., width]` in the table's type.
    ///
    /// # Errors
    ///
    /// candle's error when an id is not in the table or the device fails.
    pub fn forward<T: Operand>(&self, ids: &T) -> Result<T, Error> {
        T::on_nodes([ids], |[ids]| match &self.low_rank {
            Some(branch) => branch.forward(&ids, &self.weight),
            None => embedding::forward(&ids, &self.weight),
        })
    }
}
