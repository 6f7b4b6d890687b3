//! Low-rank branches beside frozen weights.

mod branch;
#[cfg(test)]
mod tests;

pub(crate) use branch::{Beside, EmbeddingBranch, LinearBranch};

/// A low-rank branch beside a layer (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021): with a weight
/// `W`, the layer computes `x W^T + scale * dropout(x) A^T B^T`, and only the small `A` and `B` are trained.
///
/// [`Init::low_rank`](super::Init::low_rank) gives it to a layer by the layer's path; the model's code does not change. A
/// [`Linear`](super::Linear) then also has the parameters `lora_A.weight` `[rank, inputs]`, first drawn as its weight, and
/// `lora_B.weight` `[outputs, rank]`, first zeros; an [`Embedding`](super::Embedding) has `lora_embedding_A` `[rank, rows]`,
/// first zeros, and `lora_embedding_B` `[width, rank]`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::{Init, Initializer, Linear, LowRank, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu).low_rank("fc", LowRank::new(1, 2.0));
/// let init = init.with("*", Initializer::ONES);
/// let layer = Linear::without_bias(&init.at("fc"), 2, 3)?;
/// let y = layer.forward(&Tensor::new(&[[1f32, 0.5]], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[4.5; 3]]); // 1.5 + 2 * 1.5
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRank {
    rank: usize,
    scale: f64,
    dropout: f64,
    dora: bool,
}

impl LowRank {
    /// A branch of a rank, multiplied by `scale`: LoRA's `alpha / rank`.
    #[must_use]
    pub fn new(rank: usize, scale: f64) -> Self {
        Self { rank, scale, dropout: 0.0, dora: false }
    }

    /// Drops elements of a linear layer's input to the branch with probability `p`, while a model [trains](super::training).
    #[must_use]
    pub fn dropout(self, p: f64) -> Self {
        Self { dropout: p, ..self }
    }

    /// Trains the norms of the rows of a linear layer's weight by themselves (Liu et al., "DoRA: Weight-Decomposed Low-Rank
    /// Adaptation", 2024): the layer multiplies by `m / n * (W + scale * B A)`. The parameter `lora_magnitude_vector`
    /// `[outputs]` is `m`, and `n` are the norms of the rows of `W + scale * B A`, which get no gradient. `m` is first ones, so
    /// that a new branch needs the norms of the rows of `W` there.
    #[must_use]
    pub fn dora(self) -> Self {
        Self { dora: true, ..self }
    }

    /// Returns the rank.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns the factor of the branch.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Returns whether it has magnitudes.
    #[must_use]
    pub fn is_dora(&self) -> bool {
        self.dora
    }
}
