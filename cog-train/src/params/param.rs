//! One tensor of a model.

use candle_core::Var;

/// One tensor of a model.
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::engine::{Params, Precision};
///
/// let tensors = [("weight", Tensor::ones(2, DType::F32, &Device::Cpu)?)];
/// let params = Params::new(tensors)?.precision(Precision::F16)?;
/// let weight = params.get("weight").unwrap();
/// weight.master().set(&Tensor::new(&[3f32, 4.0], &Device::Cpu)?)?;
/// params.refresh()?; // the half follows
/// assert_eq!(weight.compute().to_dtype(DType::F32)?.to_vec1::<f32>()?, [3.0, 4.0]);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Param {
    /// The values that are kept, in 32 bits.
    pub(super) master: Var,
    /// The tensor that the model computes with, if that is not `master` itself.
    pub(super) compute: Option<Var>,
    pub(super) trainable: bool,
    /// Whether the model updates it.
    pub(super) buffer: bool,
}

impl Param {
    /// The values that are trained, in 32 bits. After writing to them, call [`Params::refresh`](super::Params::refresh). While [`fit`](crate::engine::fit())
    /// trains, only its optimizer writes to what is trained: a checkpoint may hold anything else from before it or from after.
    #[must_use]
    pub fn master(&self) -> &Var {
        &self.master
    }

    /// Returns the tensor that the model computes with.
    #[must_use]
    pub fn compute(&self) -> &Var {
        self.compute.as_ref().unwrap_or(&self.master)
    }

    /// Returns whether it is trained.
    #[must_use]
    pub fn is_trainable(&self) -> bool {
        self.trainable
    }

    /// Whether it is one of [`Params::buffers`](super::Params::buffers).
    #[must_use]
    pub fn is_buffer(&self) -> bool {
        self.buffer
    }
}
