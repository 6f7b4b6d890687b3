//! Tables of vectors.

use candle_core::{Error, Tensor};

use super::Operand;
use crate::kernels::embedding;

/// Rows of a table by number, as PyTorch's `Embedding`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::Embedding;
///
/// let table = Embedding::new(Tensor::new(&[[0f32, 1.0], [2.0, 3.0]], &Device::Cpu)?);
/// let y = table.forward(&Tensor::new(&[[1u32, 0, 1]], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec3::<f32>()?, [[[2.0, 3.0], [0.0, 1.0], [2.0, 3.0]]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Embedding {
    table: Tensor,
}

impl Embedding {
    /// From a table `[n, d]` of floats.
    #[must_use]
    pub fn new(table: Tensor) -> Self {
        Self { table }
    }

    /// `ids` is `[..]`, integers below `n`; the result is `[.., d]` in the table's type.
    ///
    /// # Errors
    ///
    /// candle's error when an id is not in the table or the device fails.
    pub fn forward<T: Operand>(&self, ids: &T) -> Result<T, Error> {
        T::on_nodes([ids], |[ids]| embedding::forward(&ids, &self.table))
    }
}
