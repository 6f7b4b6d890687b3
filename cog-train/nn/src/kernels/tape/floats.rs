//! Nodes in 32 bits and in 16: operations of the CPU compute in 32, and what they save of an operand is in the operand's type.

use std::sync::{Arc, Mutex};

use candle_core::{DType, Error};

use super::{Node, Recomputed};
use crate::kernels::host;

impl Node {
    /// Returns the same node as contiguous 32-bit floats. Operations on it save what they save of this one, and widen it again.
    ///
    /// # Errors
    ///
    /// candle's error when memory cannot be allocated.
    pub(crate) fn widened(&self) -> Result<Self, Error> {
        if self.tensor.dtype() == DType::F32 {
            return self.map(host::contiguous);
        }
        let (tensor, saved) = (host::contiguous(&self.tensor)?, self.saved());
        let compute = Box::new(move || host::contiguous(&saved.clone().tensor()?));
        let recompute = Some(Arc::new(Recomputed { compute, tensor: Mutex::default() }));
        Ok(Self { tensor, tape: self.tape.clone(), handle: self.handle, recompute })
    }

    /// Returns the same node in another type. What its operation computes again is rounded again.
    ///
    /// # Errors
    ///
    /// candle's error when memory cannot be allocated.
    pub(crate) fn rounded(self, dtype: DType) -> Result<Self, Error> {
        if self.tensor.dtype() == dtype {
            return Ok(self);
        }
        let tensor = host::rounded(&self.tensor, dtype)?;
        let node = Self { tensor, tape: self.tape, handle: self.handle, recompute: None };
        Ok(match self.recompute {
            Some(recompute) => {
                node.recomputed_by(move || host::rounded(&recompute.tensor()?, dtype))
            }
            None => node,
        })
    }
}
