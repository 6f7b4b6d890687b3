//! One tensor of a model, and its storage.

use std::sync::RwLock;

use candle_core::{DType, Tensor, Var};

use super::master::{Master, read, rows_of};
use super::precision::Precision;
use super::wide::{converted, master_of};
use crate::error::Error;

/// One tensor of a model.
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::engine::{Params, Precision};
///
/// let tensors = [("weight", Tensor::ones(2, DType::F32, &Device::Cpu)?)];
/// let params = Params::new(tensors)?.precision(Precision::F16)?;
/// let weight = params.get("weight").unwrap();
/// weight.set(&Tensor::new(&[3f32, 4.0], &Device::Cpu)?)?; // the half follows
/// assert_eq!(weight.compute().to_dtype(DType::F32)?.to_vec1::<f32>()?, [3.0, 4.0]);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Param {
    pub(super) values: Values,
    role: Role,
}

/// The storage of a parameter.
#[derive(Debug)]
pub(super) enum Values {
    /// Once, in 32 bits.
    Wide(Var),
    /// In 32 bits, and in the type that the model computes in.
    Mixed { master: RwLock<Master>, compute: Var },
    /// Once, in the type that the model computes in, or in 16 bits that the model widens. It has no graph.
    Frozen { tensor: Tensor, widened: bool },
}

/// The writer of a parameter: the optimizer, nobody, or the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Trained,
    Frozen,
    Buffer,
}

impl Param {
    /// Returns the values that are kept and saved: in 32 bits if they are trained or a buffer, and if they are frozen in the type that the
    /// model computes in or [widens](super::Params::with_frozen_weights). While [`fit`](crate::engine::fit()) trains on several ranks, those
    /// that another rank updates are returned in the type that the model computes in.
    #[must_use]
    pub fn master(&self) -> Tensor {
        match &self.values {
            Values::Wide(var) => var.as_tensor().clone(),
            Values::Mixed { master, compute } => match &*read(master) {
                Master { rows, var: Some(var) } if *rows == self.all_rows() => {
                    var.as_tensor().clone()
                }
                _ => compute.as_tensor().clone(),
            },
            Values::Frozen { tensor, .. } => tensor.clone(),
        }
    }

    /// Returns the tensor that the model computes with.
    #[must_use]
    pub fn compute(&self) -> &Tensor {
        match &self.values {
            Values::Wide(var) | Values::Mixed { compute: var, .. } => var.as_tensor(),
            Values::Frozen { tensor, .. } => tensor,
        }
    }

    /// Overwrites the values in place. While [`fit`](crate::engine::fit()) trains, only its optimizer writes to what is trained:
    /// a checkpoint may hold anything else from before it or from after.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] for another shape, or when the device fails.
    pub fn set(&self, values: &Tensor) -> Result<(), Error> {
        match &self.values {
            Values::Wide(var) => Ok(var.set(&values.to_dtype(DType::F32)?)?),
            Values::Mixed { master, compute } => {
                let values = values.to_dtype(DType::F32)?;
                compute.set(&values.to_dtype(compute.dtype())?)?;
                if let Master { rows, var: Some(var) } = &*read(master) {
                    var.set(&rows_of(&values, rows)?)?;
                }
                Ok(())
            }
            Values::Frozen { tensor, .. } => {
                if tensor.elem_count() == 0 && values.shape() == tensor.shape() {
                    return Ok(());
                }
                let values = values.to_dtype(tensor.dtype())?.contiguous()?;
                if values.shape() != tensor.shape() {
                    let (lhs, rhs) = (tensor.shape().clone(), values.shape().clone());
                    let mismatch =
                        candle_core::Error::ShapeMismatchBinaryOp { lhs, rhs, op: "set" };
                    return Err(mismatch.into());
                }
                // Writes through to the tensor that the model has: both views are contiguous.
                Ok(tensor.flatten_all()?.slice_set(&values.flatten_all()?, 0, 0)?)
            }
        }
    }

    /// Returns whether it is trained.
    #[must_use]
    pub fn is_trainable(&self) -> bool {
        self.role == Role::Trained
    }

    /// Whether it is one of [`Params::buffers`](super::Params::buffers).
    #[must_use]
    pub fn is_buffer(&self) -> bool {
        self.role == Role::Buffer
    }

    /// Returns the sizes of its dimensions.
    pub(crate) fn dims(&self) -> &[usize] {
        self.compute().dims()
    }

    /// Updates the tensor that the model computes with.
    pub(crate) fn refresh(&self) -> Result<(), Error> {
        if let Values::Mixed { master, .. } = &self.values
            && let Master { rows, var: Some(var) } = &*read(master)
        {
            self.set_computed(rows, var)?;
        }
        Ok(())
    }

    /// A parameter that is trained, with a master of its own.
    pub(super) fn trained(tensor: &Tensor) -> Result<Self, Error> {
        Ok(Self { values: Values::Wide(master_of(tensor)?), role: Role::Trained })
    }

    /// A parameter that is not trained, in the storage of `tensor` where it has the right type. `widened` says that a model which
    /// computes in 32 bits on the CPU takes it in 16 too.
    pub(super) fn frozen(
        tensor: Tensor,
        precision: Precision,
        widened: bool,
    ) -> Result<Self, Error> {
        let mut param = Self { values: Values::Frozen { tensor, widened }, role: Role::Frozen };
        param.assign(Role::Frozen, precision)?;
        Ok(param)
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// The bytes of its tensors, as far as they are here.
    pub(super) fn bytes(&self) -> usize {
        let bytes = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        let master = match &self.values {
            Values::Mixed { master, .. } => read(master).var.as_ref().map_or(0, |it| bytes(it)),
            _ => 0,
        };
        master + bytes(self.compute())
    }

    /// Changes the role, and the storage with it.
    pub(super) fn assign(&mut self, role: Role, precision: Precision) -> Result<(), Error> {
        let values = if role == Role::Frozen {
            let tensor = self.compute().detach();
            let widened = matches!(self.values, Values::Frozen { widened: true, .. });
            let narrow = matches!(tensor.dtype(), DType::BF16 | DType::F16);
            let stays = widened && narrow && precision == Precision::F32;
            let dtype =
                if stays && tensor.device().is_cpu() { tensor.dtype() } else { precision.dtype() };
            Values::Frozen { tensor: converted(&tensor, dtype)?, widened }
        } else {
            let var = match self.master() {
                master if master.is_variable() && master.dtype() == DType::F32 => {
                    Var::from_tensor(&master)? // itself
                }
                other => master_of(&other)?,
            };
            match (role, precision) {
                (Role::Buffer, _) | (_, Precision::F32) => Values::Wide(var),
                (_, other) => {
                    let compute = Var::from_tensor(&var.to_dtype(other.dtype())?)?;
                    let master = RwLock::new(Master { rows: self.all_rows(), var: Some(var) });
                    Values::Mixed { master, compute }
                }
            }
        };
        *self = Self { values, role };
        Ok(())
    }
}
