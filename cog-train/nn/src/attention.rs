//! Attention.

use candle_core::Error;

use super::{Dropout, Init, Initializer, Linear, Mask, Operand};
use crate::kernels::attention::{self, Options};

/// Scaled dot-product attention, `softmax(q k^T / sqrt(hd)) v` (Vaswani et al., "Attention Is All You Need", 2017), as
/// PyTorch's `scaled_dot_product_attention` but for the order of the dimensions, which is that of a linear layer's rows.
/// [`Attention`] has further parameters.
///
/// `q` is `[B, T, H, hd]`, `k` and `v` are `[B, S, KV, hd]`, all of one float type, and the result is `[B, T, H, hd]`.
/// `KV` divides `H`: with fewer heads of keys, neighbouring heads of queries share one (Ainslie et al., "GQA", 2023).
/// The `T` times `S` weights are never held on the CPU in 32 bits or fewer: memory grows with the length and not with
/// its square.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use cog_train_nn::{self as nn, Mask};
///
/// // One row, two positions, one head of two elements.
/// let x = Var::new(&[[[[1f32, 0.0]], [[0.0, 2.0]]]], &Device::Cpu)?;
/// let y = nn::attention(x.as_tensor(), x.as_tensor(), x.as_tensor(), &Mask::Causal)?;
/// let rows = y.flatten(1, 2)?.to_vec3::<f32>()?;
/// assert_eq!(rows[0][0], [1.0, 0.0]); // the first position sees only itself
/// assert!((rows[0][1][1] - 2.0 / (1.0 + (-4f32 / 2f32.sqrt()).exp())).abs() < 1e-5);
/// assert_eq!(y.sum_all()?.backward()?.get(&x).unwrap().dims(), [1, 2, 1, 2]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the shapes or the mask do not fit or the device fails.
pub fn attention<T: Operand>(q: &T, k: &T, v: &T, mask: &Mask) -> Result<T, Error> {
    Attention::new(mask.clone()).forward(q, k, v)
}

/// [`attention`] of one operand that holds all three: `qkv` is `[B, T, (H + 2 KV) hd]`, in each row the `heads` heads of
/// the queries, then the `kv_heads` of the keys, then those of the values, and the result is `[B, T, H hd]`. One linear
/// layer can make all three, nothing is copied to take them apart, and there is one gradient.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn::{self as nn, Mask};
///
/// let qkv = Tensor::ones((2, 5, (6 + 2 * 2) * 8), DType::F32, &Device::Cpu)?;
/// assert_eq!(nn::attention_packed(&qkv, 6, 2, &Mask::Causal)?.dims(), [2, 5, 6 * 8]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// candle's error when the shape or the mask does not fit or the device fails.
pub fn attention_packed<T: Operand>(
    qkv: &T,
    heads: usize,
    kv_heads: usize,
    mask: &Mask,
) -> Result<T, Error> {
    Attention::new(mask.clone()).packed(qkv, heads, kv_heads)
}

/// [`attention`] with a sliding window, a factor of the scores, a bound of the scores, and dropout.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn::{Attention, Mask};
///
/// // Mistral's `sliding_window` of 2: a position sees itself and the one before.
/// let windowed = Attention::new(Mask::Causal).window(1);
/// let v = Tensor::new(&[1f32, 2.0, 3.0], &Device::Cpu)?.reshape((1, 3, 1, 1))?;
/// let y = windowed.forward(&v.zeros_like()?, &v.zeros_like()?, &v)?; // keys of equal scores: a mean
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [1.0, 1.5, 2.5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Attention {
    options: Options,
    dropout: Option<Dropout>,
}

impl Attention {
    /// Attention under a mask: `softmax(q k^T / sqrt(hd)) v`.
    #[must_use]
    pub fn new(mask: Mask) -> Self {
        Self { options: Options::new(mask), dropout: None }
    }

    /// Hides keys that are further than `distance` positions from a query (Beltagy et al., "Longformer", 2020). A causal
    /// `sliding_window` of `n` keys in Hugging Face's configurations is a distance of `n - 1`; a `local_attention` of `n`
    /// keys on both sides is one of `n / 2`. Time and memory traffic grow with the window and not with the number of keys.
    #[must_use]
    pub fn window(mut self, distance: usize) -> Self {
        self.options.window = Some(distance);
        self
    }

    /// Multiplies the products of queries and keys by `factor` in place of `1 / sqrt(hd)`.
    #[must_use]
    pub fn scale(mut self, factor: f64) -> Self {
        self.options.scale = Some(factor);
        self
    }

    /// Bounds the scores: `cap * tanh(score / cap)` (Gemma Team, "Gemma 2", 2024). On GPUs it is computed by candle's own
    /// operations, in memory that grows with `T` times `S`.
    #[must_use]
    pub fn softcap(mut self, cap: f64) -> Self {
        self.options.softcap = Some(cap);
        self
    }

    /// Drops weights, the results of the softmax, within [`training`](crate::training): PyTorch's `dropout_p`. On GPUs it is
    /// computed by candle's own operations, in memory that grows with `T` times `S`.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cog_train_nn::{self as nn, Attention, Dropout, Init, Mask, Rng};
    ///
    /// let init = Init::random(Rng::new(42, "init"), &Device::Cpu);
    /// let attention = Attention::new(Mask::Full).dropout(&Dropout::new(&init.at("attention"), 0.5)?);
    /// let x = Tensor::ones((1, 10, 1, 1), DType::F32, &Device::Cpu)?;
    /// let y = || attention.forward(&x, &x, &x)?.flatten_all()?.to_vec1::<f32>();
    /// assert!(y()?.iter().all(|y| (y - 1.0).abs() < 1e-6)); // a mean of ones
    /// assert!(nn::training(42, 1, y)?.iter().any(|y| (y - 1.0).abs() > 0.1));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    #[must_use]
    pub fn dropout(mut self, dropout: &Dropout) -> Self {
        self.dropout = Some(dropout.clone());
        self
    }

    /// The parameters in the pass that runs.
    fn options(&self) -> Options {
        Options { dropped: self.dropout.as_ref().and_then(Dropout::mask), ..self.options.clone() }
    }

    /// Shapes and types are those of [`attention`].
    ///
    /// # Errors
    ///
    /// candle's error when the shapes or the mask do not fit, the scale is not finite, the cap is not above 0, or the device
    /// fails.
    pub fn forward<T: Operand>(&self, q: &T, k: &T, v: &T) -> Result<T, Error> {
        let options = self.options();
        T::on_nodes([q, k, v], |[q, k, v]| attention::forward(&q, &k, &v, &options))
    }

    /// The operand and the result are those of [`attention_packed`].
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn packed<T: Operand>(&self, qkv: &T, heads: usize, kv_heads: usize) -> Result<T, Error> {
        let options = self.options();
        T::on_nodes([qkv], |[qkv]| attention::packed(&qkv, heads, kv_heads, &options))
    }
}

/// Multi-head self-attention with a projection on each side, with the parameters of PyTorch's `MultiheadAttention`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cog_train_nn::{Init, Mask, MultiHeadAttention, Rng};
///
/// let init = Init::random(Rng::new(42, "init"), &Device::Cpu);
/// let attention = MultiHeadAttention::new(&init.at("self_attn"), 32, 4)?;
/// let x = Tensor::ones((2, 5, 32), DType::F32, &Device::Cpu)?;
/// assert_eq!(attention.forward(&x, &Mask::Causal)?.dims(), [2, 5, 32]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MultiHeadAttention {
    projection: Linear,
    output: Linear,
    heads: usize,
}

impl MultiHeadAttention {
    /// Creates a layer of `heads` heads over rows of `width` values. Its parameters are `in_proj_weight` `[3 width, width]` from
    /// Xavier's uniform distribution, `out_proj.weight` `[width, width]` as [`Linear`]'s, and `in_proj_bias` and
    /// `out_proj.bias` of zeros.
    ///
    /// # Errors
    ///
    /// candle's error when `heads` does not divide `width`; those of [`Init::tensor`].
    pub fn new(init: &Init, width: usize, heads: usize) -> Result<Self, Error> {
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(Error::Msg(format!("{heads} heads do not divide a width of {width}")));
        }
        let xavier = Initializer::XavierUniform { gain: 1.0 };
        let weight = init.tensor("in_proj_weight", (3 * width, width), xavier)?;
        let bias = init.tensor("in_proj_bias", 3 * width, Initializer::ZEROS)?;
        let init = init.at("out_proj");
        let output = init.tensor("weight", (width, width), Initializer::of_fan_in(width))?;
        let output_bias = init.tensor("bias", width, Initializer::ZEROS)?;
        Ok(Self {
            projection: Linear::from_tensors(weight, Some(bias)),
            output: Linear::from_tensors(output, Some(output_bias)),
            heads,
        })
    }

    /// Attends within each row of `x`, `[B, T, width]`, and returns a tensor of its shape.
    ///
    /// # Errors
    ///
    /// candle's error when the shape or the mask does not fit or the device fails.
    pub fn forward<T: Operand>(&self, x: &T, mask: &Mask) -> Result<T, Error> {
        T::on_nodes([x], |[x]| {
            let qkv = self.projection.forward(&x)?;
            self.output.forward(&attention_packed(&qkv, self.heads, self.heads, mask)?)
        })
    }
}
