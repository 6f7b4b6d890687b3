//! Rules: the update of one parameter.

use candle_core::{DType, Tensor, Var};

use crate::error::Error;

/// The update of one parameter. Its state ("slots") is named tensors, written in place. Weights, gradients and, by
/// default, slots are `f32`; weight and gradient have one shape, and all are on one device.
///
/// ```
/// use cog_train::candle_core::{Tensor, Var};
/// use cog_train::optim::{Rule, Update};
///
/// /// Steps of one size.
/// #[derive(Debug)]
/// struct SignDescent;
///
/// impl Rule for SignDescent {
///     fn name(&self) -> &'static str {
///         "sign_descent"
///     }
///     fn weight_decay(&self) -> f64 {
///         0.0
///     }
///     fn slots(&self, _: &[usize]) -> Vec<(&'static str, Vec<usize>)> {
///         Vec::new()
///     }
///     fn update(
///         &self,
///         weight: &Var,
///         gradient: &Tensor,
///         _: &[Var],
///         at: &Update,
///     ) -> Result<(), cog_train::Error> {
///         let change = (gradient.sign()? * at.learning_rate)?;
///         Ok(weight.set(&(weight.as_tensor() - change)?)?)
///     }
///     fn describe(&self) -> cog_train::serde_json::Value {
///         cog_train::serde_json::json!({ "name": self.name() })
///     }
/// }
/// ```
pub trait Rule: std::fmt::Debug + Send + Sync {
    /// A short name, `adamw`.
    fn name(&self) -> &'static str;

    /// The weight decay for parameters of two or more dimensions that no group says otherwise of.
    fn weight_decay(&self) -> f64;

    /// Whether it can update a parameter of these dimensions.
    fn supports(&self, dims: &[usize]) -> bool {
        let _ = dims;
        true
    }

    /// The names and dimensions of the state for a parameter of these dimensions, named as PyTorch names it. It starts as
    /// zeros.
    fn slots(&self, dims: &[usize]) -> Vec<(&'static str, Vec<usize>)>;

    /// The dtype of a tensor of the state, by its name: 32-bit floats unless the rule says otherwise.
    fn slot_dtype(&self, slot: &str) -> DType {
        let _ = slot;
        DType::F32
    }

    /// Whether each element is updated by its own gradient and state alone, and each tensor of the state has the weight's dimensions.
    /// Then ranks divide the rows of a large parameter among them.
    fn is_elementwise(&self) -> bool {
        false
    }

    /// Updates a weight in place. `slots` are in the order of [`slots`](Self::slots).
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device fails.
    fn update(
        &self,
        weight: &Var,
        gradient: &Tensor,
        slots: &[Var],
        at: &Update,
    ) -> Result<(), Error>;

    /// Checks the rule's settings, before its first update. By default all are valid.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the name and the value of each setting that is out of its range.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the settings, for records and for the comparison on resume.
    fn describe(&self) -> serde_json::Value;
}

/// The hyperparameters of one update of one parameter.
///
/// The example of [`Rule`] uses one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Counted from 1.
    pub step: u64,
    /// The group's factor is in it.
    pub learning_rate: f64,
    /// As the parameter's group has it.
    pub weight_decay: f64,
    /// Without a unit; the gradient is multiplied by it: clipping, the division by the batch's weight, a loss scale.
    pub gradient_scale: f64,
}

/// The fields of a rule's settings after its name.
pub(super) fn settings(name: &str, fields: &impl serde::Serialize) -> serde_json::Value {
    let mut all = serde_json::Map::new();
    all.insert("name".to_owned(), name.into());
    // Numbers and strings always serialize.
    if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(fields) {
        all.extend(fields);
    }
    all.into()
}

/// The slots by number, for a rule that has `N` of them.
pub(super) fn exactly<const N: usize>(slots: &[Var]) -> Result<[&Var; N], Error> {
    <&[Var; N]>::try_from(slots).map(<[Var; N]>::each_ref).map_err(|_| Error::InvalidConfig {
        reason: format!("a rule asked for {N} slots and was given {}", slots.len()),
    })
}
