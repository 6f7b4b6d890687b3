//! The gradients of one step, by name, added up over micro-batches.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};

use super::Params;
use crate::error::Error;
use cog_train_nn::__private::tape::{Buffers, added};

/// The sum of the gradients of the parameters that are trained, by name: `f32`, each of its parameter's shape, on its
/// device.
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::optim::norm;
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
                // A gradient of candle's remembers the activations that it was computed from, and would keep them.
                gradients.insert(name.to_owned(), gradient.detach().to_dtype(DType::F32)?);
            }
        }
        Ok(Self(gradients))
    }

    /// Takes all gradients of a backward pass: those of candle's, and those that operations of [`nn`](crate::nn) wrote into
    /// buffers.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub(crate) fn take_all(
        params: &Params,
        store: &mut GradStore,
        buffers: &mut Buffers,
    ) -> Result<Self, Error> {
        let mut gradients = Self::take(params, store)?;
        for (name, _) in gradients.iter() {
            // Its sum is known when candle has ended, and no earlier.
            params.get(name).into_iter().for_each(|param| buffers.keep(param.compute()));
        }
        let found = params
            .trainable()
            .filter_map(|(name, param)| Some((name.to_owned(), buffers.take(param.compute())?)));
        gradients.add(found.collect())?;
        Ok(gradients)
    }

    /// Adds the sums of other micro-batches, which nobody else refers to, in place where the device can. Each tensor that was
    /// added goes to `free`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub(crate) fn absorb(
        &mut self,
        other: Self,
        mut free: impl FnMut(&str, Tensor),
    ) -> Result<(), Error> {
        for (name, gradient) in other.0 {
            if let Some(sum) = self.0.remove(&name) {
                let sum = added(sum, &gradient)?;
                free(&name, gradient);
                self.0.insert(name, sum);
            } else {
                self.0.insert(name, gradient);
            }
        }
        Ok(())
    }

    /// Multiplies all gradients by a power of two, which rounds nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    pub(crate) fn multiply(&mut self, factor: f64) -> Result<(), Error> {
        for gradient in self.0.values_mut() {
            *gradient = (&*gradient * factor)?;
        }
        Ok(())
    }

    /// Puts the gradient of a parameter in.
    pub(crate) fn insert(&mut self, name: String, gradient: Tensor) {
        self.0.insert(name, gradient);
    }

    /// Takes the gradient of a parameter out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.0.remove(name)
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

impl IntoIterator for Gradients {
    type Item = (String, Tensor);
    type IntoIter = std::collections::btree_map::IntoIter<String, Tensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Else all micro-batches of a step would keep their activations until its end.
    #[test]
    fn gradients_hold_nothing_but_themselves() {
        let tensor = Tensor::ones((3, 3), DType::F32, &Device::Cpu).unwrap();
        let params = Params::new([("weight", tensor.clone())]).unwrap();
        let weight = params.tensors()["weight"].clone();
        let take = || {
            let inner = tensor.matmul(&weight).unwrap();
            let loss = inner.matmul(&weight).unwrap().sqr().unwrap().sum_all().unwrap();
            let mut store = loss.backward().unwrap();
            assert!(store.get(&weight).unwrap().track_op(), "candle has come to cut it by itself");
            Gradients::take(&params, &mut store).unwrap()
        };
        let (mut sum, other) = (take(), take());
        sum.add(other).unwrap();
        let gradient = sum.get("weight").unwrap();
        assert!(!gradient.track_op());
        assert_eq!(gradient.to_vec2::<f32>().unwrap(), [[648.0; 3]; 3]);
    }
}
