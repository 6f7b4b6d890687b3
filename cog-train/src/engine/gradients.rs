//! The gradients of one step, by name, added up over micro-batches.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};

use super::params::Params;
use crate::error::Error;

/// The sum of the gradients of the parameters that are trained, in 32 bits, by name.
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
