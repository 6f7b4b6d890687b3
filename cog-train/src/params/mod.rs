//! The tensors of a model by name, trained or frozen, and the precision that they compute in.

mod buffers;
mod frozen;
mod gradients;
mod master;
mod param;
mod pattern;
mod precision;
mod quantized;
mod rows;
#[cfg(test)]
mod tests;
mod wide;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use cog_train_nn::Quantized;

use self::param::Role;
use crate::error::{Error, counted};

pub use gradients::Gradients;
pub(crate) use master::RowRange;
pub use param::Param;
pub use pattern::Pattern;
pub use precision::Precision;

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
#[expect(clippy::struct_field_names, reason = "they are the parameters")]
pub struct Params {
    params: BTreeMap<String, Param>,
    /// Frozen matrices in blocks of few bits.
    quantized: BTreeMap<String, Quantized>,
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
                && !first.compute().device().same_device(tensor.device())
            {
                return Err(invalid(format!("`{other}` and `{name}` are on different devices")));
            }
            let param = Param::trained(&tensor)?;
            if params.insert(name.clone(), param).is_some() {
                return Err(invalid(format!("the parameter `{name}` is there twice")));
            }
        }
        if params.is_empty() {
            return Err(invalid("there are no parameters".to_owned()));
        }
        Ok(Self { params, quantized: BTreeMap::new(), precision: Precision::F32 })
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

    fn choose(
        mut self,
        pattern: &Pattern,
        change: impl Fn(Role, bool) -> Role,
    ) -> Result<Self, Error> {
        let mut found = false;
        for (name, param) in &mut self.params {
            let fits = pattern.matches(name);
            found |= fits;
            let role = change(param.role(), fits);
            if role != param.role() {
                param.assign(role, self.precision)?;
            }
        }
        if found {
            return Ok(self);
        }
        let some: Vec<_> = self.params.keys().take(3).map(|name| format!("`{name}`")).collect();
        Err(invalid(format!(
            "no parameter is called `{pattern}`\nhint: the model has {}, such as {}",
            counted(self.params.len(), "parameter"),
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
            param.assign(param.role(), precision)?;
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
        self.iter().filter(|(_, param)| param.role() != Role::Frozen)
    }

    /// A parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.params.get(name)
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn count(&self) -> usize {
        let quantized = self.quantized.values().map(Quantized::dims);
        let quantized: usize = quantized.map(|(outputs, inputs)| outputs * inputs).sum();
        self.iter().map(|(_, param)| param.compute().elem_count()).sum::<usize>() + quantized
    }

    /// Returns the number of elements that are trained.
    #[must_use]
    pub fn trainable_count(&self) -> usize {
        self.trainable().map(|(_, param)| param.compute().elem_count()).sum()
    }

    /// Returns the bytes of all tensors that this process has: masters, those that the model computes with, and frozen ones, also in
    /// blocks of few bits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let quantized: usize = self.quantized.values().map(Quantized::byte_count).sum();
        self.params.values().map(Param::bytes).sum::<usize>() + quantized
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
        self.params.values().next().expect("`new` refuses to be empty").compute().device()
    }
}

fn invalid(reason: String) -> Error {
    Error::InvalidConfig { reason }
}
