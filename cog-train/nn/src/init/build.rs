//! Models built from a source, and checked against it.

use std::collections::BTreeMap;

use candle_core::{Device, Error, Shape, Tensor};

use super::{Init, Layout};

/// The most problems that one error lists.
const SHOWN: usize = 10;

impl Init {
    /// Builds a model, and compares its tensors with those that are loaded.
    ///
    /// # Errors
    ///
    /// The error of `model`; candle's error with all tensors that are missing, have another shape, were requested twice or
    /// are left over, with the patterns of [`with`](Init::with) that no name matches, and with low-rank branches that no layer takes.
    pub fn build<M, E: From<Error>>(
        &self,
        model: impl FnOnce(&Self) -> Result<M, E>,
    ) -> Result<M, E> {
        self.lock().problems = Some(Vec::new());
        let model = model(self);
        let mut source = self.lock();
        let mut problems = source.problems.take().unwrap_or_default();
        let model = model?;
        problems.extend(source.left_over());
        if problems.is_empty() {
            return Ok(model);
        }
        let (count, more) = (problems.len(), problems.len().saturating_sub(SHOWN));
        problems.truncate(SHOWN);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        let s = if count == 1 { "" } else { "s" };
        let list = problems.join("\n  ");
        Err(Error::Msg(format!("the tensors do not fit the model: {count} problem{s}\n  {list}"))
            .into())
    }

    /// Returns the tensors of a model by their full names; the model itself is dropped.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Init::build).
    pub fn tensors_of<M, E: From<Error>>(
        &self,
        model: impl FnOnce(&Self) -> Result<M, E>,
    ) -> Result<BTreeMap<String, Tensor>, E> {
        self.build(model)?;
        Ok(self.tensors())
    }

    /// The names and shapes of the tensors that a model asks for. No tensor is made.
    ///
    /// ```
    /// use cog_train_nn::{Init, Linear};
    ///
    /// let shapes = Init::shapes_of(|init| Linear::without_bias(&init.at("fc"), 2, 3))?;
    /// assert_eq!(shapes["fc.weight"].dims(), [3, 2]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The error of `model`; those of [`Init::tensor`].
    pub fn shapes_of<M, E: From<Error>>(
        model: impl FnOnce(&Self) -> Result<M, E>,
    ) -> Result<BTreeMap<String, Shape>, E> {
        Ok(Self::layout_of(model)?.tensors)
    }

    /// The tensors and the layers that a model asks for. No tensor is made.
    ///
    /// ```
    /// use cog_train_nn::{Init, Linear};
    ///
    /// let layout = Init::layout_of(|init| Linear::without_bias(&init.at("fc"), 2, 3))?;
    /// assert_eq!((layout.layers["fc"].inputs, layout.layers["fc"].outputs), (2, 3));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Init::shapes_of`].
    pub fn layout_of<M, E: From<Error>>(
        model: impl FnOnce(&Self) -> Result<M, E>,
    ) -> Result<Layout, E> {
        let init = Self::new(BTreeMap::new(), Vec::new(), Device::Cpu);
        init.lock().shapes_only = true;
        model(&init)?;
        let tensors = init.tensors().into_iter();
        let tensors = tensors.map(|(name, tensor)| (name, tensor.shape().clone())).collect();
        Ok(Layout { tensors, layers: init.layers() })
    }
}
