//! Positions as rotations.

use candle_core::{Device, Error, Tensor};

use super::Operand;
use crate::kernels::rope;

/// Rotary position embedding (Su et al., "RoFormer", 2021), with the elements of a head paired half by half as in
/// GPT-NeoX and in Hugging Face's Llama.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::Rope;
///
/// let rope = Rope::new(2, 128, 10_000.0, &Device::Cpu)?;
/// // One row, two positions, one head: the second position is turned by one radian.
/// let y = rope.forward(&Tensor::new(&[[[[1f32, 0.0]], [[1.0, 0.0]]]], &Device::Cpu)?)?;
/// let rows = y.flatten_to(2)?.to_vec2::<f32>()?;
/// assert_eq!(rows[0], [1.0, 0.0]);
/// assert!((rows[1][0] - 1f32.cos()).abs() < 1e-6 && (rows[1][1] - 1f32.sin()).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Rope {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// Angles `position / base^(2 i / head_dim)` for pair `i`, for positions below `max_positions`. They are rounded to
    /// 32 bits as Hugging Face's are.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "rounded as the models were trained"
    )]
    pub fn new(
        head_dim: usize,
        max_positions: usize,
        base: f64,
        device: &Device,
    ) -> Result<Self, Error> {
        let pairs = head_dim / 2;
        let slower = |pair: usize| (1.0 / base.powf((2 * pair) as f64 / head_dim as f64)) as f32;
        let angles: Vec<f64> = (0..max_positions)
            .flat_map(|position| {
                (0..pairs).map(move |pair| f64::from(position as f32 * slower(pair)))
            })
            .collect();
        let table = |function: fn(f64) -> f64| {
            let values = angles.iter().map(|angle| function(*angle) as f32).collect();
            Tensor::from_vec(values, (max_positions, pairs), device)
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }

    /// From the cosines and the sines of other angles, both `[positions, head_dim / 2]`.
    #[must_use]
    pub fn from_tables(cos: Tensor, sin: Tensor) -> Self {
        Self { cos, sin }
    }

    /// Turns every head of `x`, `[B, T, H, head_dim]`, by its position in its row: 0, 1, and so on.
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit, a row is longer than the tables, or the device fails.
    pub fn forward<T: Operand>(&self, x: &T) -> Result<T, Error> {
        T::on_nodes([x], |[x]| rope::forward(&x, &self.cos, &self.sin, None))
    }

    /// As [`Rope::forward`], by positions that are given: `[T]` for all rows, or `[B, T]`, of u32. Of use where several
    /// texts share a row, or where earlier positions are kept elsewhere.
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit, a position is beyond the tables, or the device fails.
    pub fn forward_at<T: Operand>(&self, x: &T, positions: &Tensor) -> Result<T, Error> {
        T::on_nodes([x], |[x]| rope::forward(&x, &self.cos, &self.sin, Some(positions)))
    }

    /// Turns the queries and the keys of the operand of [`attention_packed`](super::attention_packed), the first
    /// `heads` heads of each row (queries and keys together), and leaves the others: `x` is `[B, T, n head_dim]`.
    /// `positions` are those of [`Rope::forward_at`].
    ///
    /// # Errors
    ///
    /// candle's error when the shapes do not fit, a position is beyond the tables, or the device fails.
    pub fn packed<T: Operand>(
        &self,
        x: &T,
        heads: usize,
        positions: Option<&Tensor>,
    ) -> Result<T, Error> {
        T::on_nodes([x], |[x]| rope::packed(&x, heads, &self.cos, &self.sin, positions))
    }
}
