//! The GPU without the feature `cuda`: there is none, and its methods cannot be called.

use std::convert::Infallible;

use candle_core::{DType, Error, Shape, Tensor};

use super::{Argument, Grid, Kernel};

/// A GPU that runs our kernels: none.
#[derive(Debug, Clone)]
pub(crate) struct Gpu(Infallible);

impl Gpu {
    pub(crate) fn of<const N: usize>(_tensors: [&Tensor; N]) -> Option<Self> {
        None
    }

    pub(crate) fn wide(&self) -> Self {
        match self.0 {}
    }

    pub(crate) fn supports(&self, _tensor: &Tensor) -> bool {
        match self.0 {}
    }

    pub(crate) fn empty(&self, _shape: impl Into<Shape>, _dtype: DType) -> Result<Tensor, Error> {
        match self.0 {}
    }

    pub(crate) fn upload(&self, _words: &[u32]) -> Result<Tensor, Error> {
        match self.0 {}
    }

    pub(crate) fn product(
        &self,
        _target: &Tensor,
        _accumulate: bool,
        _operands: [&Tensor; 2],
        _scale: f32,
    ) -> Result<(), Error> {
        match self.0 {}
    }

    pub(crate) fn launch(
        &self,
        _kernel: &Kernel,
        _defines: &[(&str, usize)],
        _grid: Grid,
        _arguments: &[Argument<'_>],
    ) -> Result<(), Error> {
        match self.0 {}
    }
}
