//! The tensors of a model by name, trained or frozen, and the precision that they compute in.

mod gradients;
mod pattern;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

use crate::error::Error;

pub use gradients::Gradients;
pub use pattern::Pattern;

/// The type that a model computes in. The values that are trained are 32-bit floats in every case; frozen ones are held in
/// this type alone.
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::engine::{Params, Precision};
///
/// let weight = Tensor::new(&[1.0f32, 0.001], &Device::Cpu)?;
/// let params = Params::new([("weight", weight)])?.precision(Precision::Bf16)?;
/// assert_eq!(params.tensors()["weight"].dtype(), DType::BF16); // what the model computes with
/// assert_eq!(params.masters()["weight"].to_vec1::<f32>()?, [1.0, 0.001]); // what is trained and saved
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// bfloat16: the range of 32 bits with 8 bits of precision.
    Bf16,
    /// IEEE half: 11 bits of precision in a narrow range, so the loss is scaled (Micikevicius et al., "Mixed Precision
    /// Training", 2018).
    F16,
}

impl Precision {
    /// candle's name for it.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }

    /// `f32`, `bf16` or `f16`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

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
    values: Values,
    role: Role,
}

/// The storage of a parameter.
#[derive(Debug)]
enum Values {
    /// In 32 bits, and in the type that the model computes in where that is another.
    Master { master: Var, compute: Option<Var> },
    /// Once, in the type that the model computes in. It has no graph.
    Frozen(Tensor),
}

/// The writer of a parameter: the optimizer, nobody, or the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Trained,
    Frozen,
    Buffer,
}

impl Param {
    /// Returns the values that are kept and saved: in 32 bits if they are trained or a buffer, and in the type that the model
    /// computes in if they are frozen.
    #[must_use]
    pub fn master(&self) -> &Tensor {
        match &self.values {
            Values::Master { master, .. } => master.as_tensor(),
            Values::Frozen(tensor) => tensor,
        }
    }

    /// Returns the tensor that the model computes with.
    #[must_use]
    pub fn compute(&self) -> &Tensor {
        match &self.values {
            Values::Master { compute: Some(compute), .. } => compute.as_tensor(),
            _ => self.master(),
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
            Values::Master { master, .. } => {
                master.set(&values.to_dtype(DType::F32)?)?;
                self.refresh()
            }
            Values::Frozen(tensor) => {
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

    /// Whether it is one of [`Params::buffers`].
    #[must_use]
    pub fn is_buffer(&self) -> bool {
        self.role == Role::Buffer
    }

    /// The values in 32 bits that an update writes to; `None` if they are frozen.
    pub(crate) fn var(&self) -> Option<&Var> {
        match &self.values {
            Values::Master { master, .. } => Some(master),
            Values::Frozen(_) => None,
        }
    }

    fn refresh(&self) -> Result<(), Error> {
        if let Values::Master { master, compute: Some(compute) } = &self.values {
            compute.set(&master.to_dtype(compute.dtype())?)?;
        }
        Ok(())
    }

    /// Changes the role, and the storage with it.
    fn assign(&mut self, role: Role, precision: Precision) -> Result<(), Error> {
        let compute = |master: &Var| match (role, precision) {
            (Role::Buffer, _) | (_, Precision::F32) => Ok::<_, Error>(None),
            (_, other) => Ok(Some(Var::from_tensor(&master.to_dtype(other.dtype())?)?)),
        };
        let values = match (&self.values, role) {
            (_, Role::Frozen) => {
                let tensor = self.compute().detach().to_dtype(precision.dtype())?;
                Values::Frozen(contiguous(&tensor)?)
            }
            (Values::Master { master, .. }, _) => {
                Values::Master { master: master.clone(), compute: compute(master)? }
            }
            (Values::Frozen(tensor), _) => {
                let master = Var::from_tensor(&tensor.to_dtype(DType::F32)?)?;
                Values::Master { compute: compute(&master)?, master }
            }
        };
        *self = Self { values, role };
        Ok(())
    }
}

/// Returns a tensor whose elements are contiguous.
fn contiguous(tensor: &Tensor) -> Result<Tensor, Error> {
    Ok(if tensor.is_contiguous() { tensor.clone() } else { tensor.force_contiguous()? })
}

/// All tensors of a model, sorted by name.
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::engine::Params;
///
/// let device = Device::Cpu;
/// let tensors = [
///     ("head.weight", Tensor::zeros((2, 8), DType::F32, &device)?),
///     ("body.weight", Tensor::zeros((8, 8), DType::F32, &device)?),
/// ];
/// let params = Params::new(tensors)?.freeze("body.*")?;
/// assert_eq!((params.count(), params.trainable_count()), (80, 16));
/// let tensors = params.tensors(); // what the model is built from
/// assert!(tensors["head.weight"].is_variable() && !tensors["body.weight"].is_variable());
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Params {
    params: BTreeMap<String, Param>,
    precision: Precision,
}

impl Params {
    /// Trains all of `tensors`, from copies: the tensors given stay as they are.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when a name is there twice, when there are none, or when they are on several devices.
    pub fn new<K: Into<String>>(
        tensors: impl IntoIterator<Item = (K, Tensor)>,
    ) -> Result<Self, Error> {
        let mut params: BTreeMap<String, Param> = BTreeMap::new();
        for (name, tensor) in tensors {
            let name = name.into();
            if let Some((other, first)) = params.first_key_value()
                && !first.master().device().same_device(tensor.device())
            {
                return Err(plan(format!("`{other}` and `{name}` are on different devices")));
            }
            // `Var::from_tensor` copies.
            let master = Var::from_tensor(&tensor.detach().to_dtype(DType::F32)?)?;
            let values = Values::Master { master, compute: None };
            let param = Param { values, role: Role::Trained };
            if params.insert(name.clone(), param).is_some() {
                return Err(plan(format!("the parameter `{name}` is there twice")));
            }
        }
        if params.is_empty() {
            return Err(plan("there are no parameters".to_owned()));
        }
        Ok(Self { params, precision: Precision::F32 })
    }

    /// Adds tensors that are not trained. They are not copied: one of the type that the model computes in costs its own bytes
    /// and nothing else, so call [`precision`](Self::precision) first.
    ///
    /// ```
    /// use cog_train::candle_core::{DType, Device, Tensor};
    /// use cog_train::engine::{Params, Precision};
    ///
    /// let base = Tensor::ones((8, 8), DType::BF16, &Device::Cpu)?;
    /// let params = Params::new([("head.weight", Tensor::zeros((2, 8), DType::F32, &Device::Cpu)?)])?
    ///     .precision(Precision::Bf16)?
    ///     .with_frozen([("body.weight", base)])?;
    /// // 64 numbers of 2 bytes, and 16 that are trained: 4 bytes, and 2 to compute with.
    /// assert_eq!(params.bytes(), 64 * 2 + 16 * (4 + 2));
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Params::new`].
    pub fn with_frozen<K: Into<String>>(
        mut self,
        tensors: impl IntoIterator<Item = (K, Tensor)>,
    ) -> Result<Self, Error> {
        for (name, tensor) in tensors {
            let name = name.into();
            if !self.device().same_device(tensor.device()) {
                return Err(plan(format!("`{name}` is not on the device of the other parameters")));
            }
            let mut param = Param { values: Values::Frozen(tensor), role: Role::Frozen };
            param.assign(Role::Frozen, self.precision)?;
            if self.params.insert(name.clone(), param).is_some() {
                return Err(plan(format!("the parameter `{name}` is there twice")));
            }
        }
        Ok(self)
    }

    /// Freezes the parameters whose names match: what is left of each is the tensor that the model computes with. Call it
    /// before the model takes its [`tensors`](Self::tensors).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when no parameter fits.
    pub fn freeze(self, pattern: impl Into<Pattern>) -> Result<Self, Error> {
        self.choose(&pattern.into(), |role, fits| match role {
            Role::Trained if fits => Role::Frozen,
            other => other,
        })
    }

    /// Trains only the parameters whose names match.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when no parameter fits.
    pub fn train_only(self, pattern: impl Into<Pattern>) -> Result<Self, Error> {
        self.choose(&pattern.into(), |role, fits| match role {
            Role::Buffer => Role::Buffer,
            _ if fits => Role::Trained,
            _ => Role::Frozen,
        })
    }

    /// Marks the tensors that the model itself updates, such as the running statistics of a
    /// [`BatchNorm2d`](crate::nn::BatchNorm2d). They are not trained, stay in 32 bits in every precision, and are in every
    /// checkpoint, which frozen parameters are not. To be called before the model takes its [`tensors`](Self::tensors).
    ///
    /// ```
    /// use cog_train::candle_core::{DType, Device, Tensor};
    /// use cog_train::engine::{Params, Precision};
    ///
    /// let tensors = ["bn.weight", "bn.running_mean"].map(|name| (name, Tensor::ones(2, DType::F32, &Device::Cpu)));
    /// let tensors = tensors.into_iter().map(|(name, tensor)| Ok((name, tensor?))).collect::<Result<Vec<_>, cog_train::Error>>()?;
    /// let params = Params::new(tensors)?.buffers("*.running_*")?.precision(Precision::Bf16)?;
    /// assert_eq!(params.trainable_count(), 2);
    /// let running = &params.tensors()["bn.running_mean"];
    /// assert!(running.dtype() == DType::F32 && !running.is_variable());
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when no parameter fits.
    pub fn buffers(self, pattern: impl Into<Pattern>) -> Result<Self, Error> {
        self.choose(&pattern.into(), |role, fits| if fits { Role::Buffer } else { role })
    }

    fn choose(
        mut self,
        pattern: &Pattern,
        change: impl Fn(Role, bool) -> Role,
    ) -> Result<Self, Error> {
        let mut found = false;
        for (name, param) in &mut self.params {
            let fits = pattern.matches(name);
            found |= fits;
            let role = change(param.role, fits);
            if role != param.role {
                param.assign(role, self.precision)?;
            }
        }
        if found {
            return Ok(self);
        }
        let some: Vec<_> = self.params.keys().take(3).map(|name| format!("`{name}`")).collect();
        Err(plan(format!(
            "no parameter is called `{pattern}`\nhint: there are {} parameters, such as {}",
            self.params.len(),
            some.join(", ")
        )))
    }

    /// Computes in another type. Call it before the model takes its [`tensors`](Self::tensors).
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device has no room.
    pub fn precision(mut self, precision: Precision) -> Result<Self, Error> {
        for param in self.params.values_mut() {
            param.assign(param.role, precision)?;
        }
        self.precision = precision;
        Ok(self)
    }

    /// Returns the tensors that a model computes with, by name: they change with every step. Frozen ones are no variables, so
    /// no gradient is computed for them.
    #[must_use]
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let tensor = |param: &Param| {
            let tensor = param.compute();
            if param.is_trainable() { tensor.clone() } else { tensor.detach() }
        };
        self.params.iter().map(|(name, param)| (name.clone(), tensor(param))).collect()
    }

    /// The values that are kept, by name: what is saved, as [`Param::master`]. They share storage with the parameters.
    #[must_use]
    pub fn masters(&self) -> BTreeMap<String, Tensor> {
        let tensor = |param: &Param| param.master().detach();
        self.params.iter().map(|(name, param)| (name.clone(), tensor(param))).collect()
    }

    /// Updates the tensors that the model computes with from the values in 32 bits.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn refresh(&self) -> Result<(), Error> {
        self.params.values().try_for_each(Param::refresh)
    }

    /// All parameters, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Param)> {
        self.params.iter().map(|(name, param)| (name.as_str(), param))
    }

    /// The parameters that are trained, sorted by name.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &Param)> {
        self.iter().filter(|(_, param)| param.is_trainable())
    }

    /// Returns the tensors that a training changes, sorted by name: the parameters that are trained and the [buffers](Self::buffers).
    pub(crate) fn changing(&self) -> impl Iterator<Item = (&str, &Param)> {
        self.iter().filter(|(_, param)| param.role != Role::Frozen)
    }

    /// Copies of the [buffers](Self::buffers), by name.
    pub(crate) fn copy_buffers(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        let buffers = self.iter().filter(|(_, param)| param.is_buffer());
        buffers.map(|(name, param)| Ok((name.to_owned(), param.master().copy()?))).collect()
    }

    /// Writes copies of buffers back.
    pub(crate) fn restore_buffers(&self, copies: &BTreeMap<String, Tensor>) -> Result<(), Error> {
        let pairs = copies.iter().filter_map(|(name, copy)| Some((self.params.get(name)?, copy)));
        pairs.into_iter().try_for_each(|(param, copy)| param.set(copy))
    }

    /// A parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.params.get(name)
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn count(&self) -> usize {
        self.iter().map(|(_, param)| param.master().elem_count()).sum()
    }

    /// Returns the number of elements that are trained.
    #[must_use]
    pub fn trainable_count(&self) -> usize {
        self.trainable().map(|(_, param)| param.master().elem_count()).sum()
    }

    /// Returns the bytes of all tensors: masters, those that the model computes with, and frozen ones.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let bytes = |tensor: &Tensor| tensor.elem_count() * tensor.dtype().size_in_bytes();
        let of = |param: &Param| match &param.values {
            Values::Master { master, compute } => {
                bytes(master) + compute.as_ref().map_or(0, |compute| bytes(compute))
            }
            Values::Frozen(tensor) => bytes(tensor),
        };
        self.params.values().map(of).sum()
    }

    /// The type that the model computes in.
    #[must_use]
    pub fn computes_in(&self) -> Precision {
        self.precision
    }

    /// Returns their device.
    ///
    /// # Panics
    ///
    /// Never: there is at least one parameter.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.params.values().next().expect("`new` refuses to be empty").master().device()
    }
}

fn plan(reason: String) -> Error {
    Error::InvalidConfig { reason }
}
