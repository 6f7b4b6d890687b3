//! The gradients of one step, by name, added up over micro-batches.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};

use super::params::Params;
use crate::error::Error;

/// The sum of the gradients of the parameters that are trained, by name: `f32`, each of its parameter's shape, on its
/// device.
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::engine::optim::norm;
/// use cog_train::engine::{Gradients, Params};
///
/// let params = Params::new([
///     ("used", Tensor::ones((2, 2), DType::F32, &Device::Cpu)?),
///     ("unused", Tensor::ones(3, DType::F32, &Device::Cpu)?),
/// ])?;
/// let used = params.tensors()["used"].clone();
/// let backward = || -> cog_train::candle_core::Result<_> { used.sqr()?.sum_all()?.backward() };
///
/// let mut gradients = Gradients::take(&params, &mut backward()?)?;
/// gradients.add(Gradients::take(&params, &mut backward()?)?)?; // a second micro-batch
/// assert_eq!(gradients.get("used").unwrap().to_vec2::<f32>()?, [[4.0; 2]; 2]);
/// assert!(gradients.get("unused").is_none());
/// assert_eq!(norm(&gradients)?, 8.0);
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Gradients(BTreeMap<String, Tensor>);

impl Gradients {
    /// Takes the gradients of `params` out of a backward pass. A parameter that the loss does not depend on has none.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn take(params: &Params, store: &mut GradStore) -> Result<Self, Error> {
        let mut gradients = BTreeMap::new();
        for (name, param) in params.trainable() {
            if let Some(gradient) = store.remove(param.compute()) {
                gradients.insert(name.to_owned(), gradient.to_dtype(DType::F32)?);
            }
        }
        Ok(Self(gradients))
    }

    /// Adds those of another micro-batch.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub fn add(&mut self, other: Self) -> Result<(), Error> {
        for (name, gradient) in other.0 {
            match self.0.get_mut(&name) {
                Some(sum) => *sum = (&*sum + gradient)?,
                None => drop(self.0.insert(name, gradient)),
            }
        }
        Ok(())
    }

    /// The gradient of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// All gradients, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, gradient)| (name.as_str(), gradient))
    }
}

impl FromIterator<(String, Tensor)> for Gradients {
    fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(gradients: I) -> Self {
        Self(gradients.into_iter().collect())
    }
}
