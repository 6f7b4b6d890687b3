//! Weights of layers: tensors, or frozen matrices in blocks of few bits.

use candle_core::{DType, Device, Error, Tensor, Var};

use super::matmul::{Matrix, Right};
use super::quantized::{BlockLayout, Quantized, read_floats};
use super::tape::{Handle, Node};
use super::{dtypes, host, reference};

/// The weight of a [`Linear`](crate::Linear) or the table of an [`Embedding`](crate::Embedding): a tensor, or a frozen matrix in
/// blocks of few bits. A clone shares the values.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::{BlockLayout, Linear, Quantized};
///
/// let weight = Tensor::rand(-1f32, 1.0, (8, 32), &Device::Cpu)?;
/// let layer = Linear::from_tensors(Quantized::quantize(&weight, BlockLayout::Q8_0)?, None);
/// assert_eq!(layer.weight().dims2()?, (8, 32));
/// assert!(layer.weight().tensor().is_err()); // it is not trained, and has no gradient
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Weight {
    /// A tensor, trained or frozen.
    Tensor(Tensor),
    /// A frozen matrix in blocks.
    Quantized(Box<Quantized>),
}

impl Weight {
    /// Returns the tensor.
    ///
    /// # Errors
    ///
    /// candle's error when the weight is quantized.
    pub fn tensor(&self) -> Result<&Tensor, Error> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Quantized(matrix) => {
                let ((outputs, inputs), layout) = (matrix.dims(), matrix.layout());
                Err(Error::msg(format!(
                    "the weight [{outputs}, {inputs}] is quantized ({layout}), and a tensor is needed\n\
                     hint: `Quantized::dequantize` makes one"
                )))
            }
        }
    }

    /// Returns a tensor of the float type that it computes in: the weight itself, or a quantized matrix dequantized as a whole.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    pub fn to_tensor(&self) -> Result<Tensor, Error> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.clone()),
            Self::Quantized(matrix) => matrix.dequantize(),
        }
    }

    /// Returns the matrix in blocks, if it is one.
    #[must_use]
    pub fn quantized(&self) -> Option<&Quantized> {
        match self {
            Self::Tensor(_) => None,
            Self::Quantized(matrix) => Some(matrix),
        }
    }

    /// Returns the sizes: the outputs and the inputs of a linear layer, or the rows and the width of an embedding.
    ///
    /// # Errors
    ///
    /// candle's error when a tensor is no matrix.
    pub fn dims2(&self) -> Result<(usize, usize), Error> {
        match self {
            Self::Tensor(tensor) => tensor.dims2(),
            Self::Quantized(matrix) => Ok(matrix.dims()),
        }
    }

    /// Returns the float type that it computes in.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self {
            Self::Tensor(tensor) => tensor.dtype(),
            Self::Quantized(matrix) => matrix.dtype(),
        }
    }

    /// Returns the device.
    #[must_use]
    pub fn device(&self) -> &Device {
        match self {
            Self::Tensor(tensor) => tensor.device(),
            Self::Quantized(matrix) => matrix.device(),
        }
    }

    /// Returns some rows as a tensor of a float type, without a graph.
    pub(crate) fn rows(&self, start: usize, count: usize, dtype: DType) -> Result<Tensor, Error> {
        match self {
            Self::Tensor(tensor) => tensor.detach().narrow(0, start, count)?.to_dtype(dtype),
            Self::Quantized(matrix) => matrix.tile(start, count, dtype),
        }
    }

    /// Whether the kernels of the CPU read it: blocks, or floats of 16 or 32 bits, on the CPU.
    pub(crate) fn fits(&self) -> bool {
        match self {
            Self::Tensor(tensor) => reference::fits(tensor),
            Self::Quantized(matrix) => matches!(matrix.device(), Device::Cpu),
        }
    }

    /// Whether it is a matrix of bfloat16.
    pub(crate) fn is_bf16(&self) -> bool {
        match self {
            Self::Tensor(tensor) => tensor.dtype() == DType::BF16,
            Self::Quantized(matrix) => matrix.layout() == BlockLayout::Bf16,
        }
    }

    /// Returns the rows that a product multiplies by it: bfloat16 if both are, and else widened.
    ///
    /// # Errors
    ///
    /// candle's error when memory cannot be allocated.
    pub(crate) fn operand(&self, x: &Node) -> Result<Node, Error> {
        if self.is_bf16() && x.tensor().dtype() == DType::BF16 {
            x.map(Tensor::contiguous)
        } else {
            x.widened()
        }
    }

    /// Checks that an operand is of the type that it computes in.
    ///
    /// # Errors
    ///
    /// candle's error that names both types.
    pub(crate) fn check_dtype(&self, operation: &str, of: (&str, &Tensor)) -> Result<(), Error> {
        match self {
            Self::Tensor(weight) => dtypes::check(operation, of, [("weight", Some(weight))]),
            Self::Quantized(weight) => weight.check_dtype(operation, of),
        }
    }

    /// Returns the weight as a node's operation reads it, detached and contiguous, and the handle of its gradient.
    ///
    /// # Errors
    ///
    /// candle's error when memory cannot be allocated.
    pub(crate) fn on(&self, x: &Node) -> Result<(Self, Handle), Error> {
        Ok(match self {
            Self::Tensor(tensor) => {
                let node = x.leaf(tensor);
                (node.tensor().contiguous()?.into(), node.handle())
            }
            Self::Quantized(_) => (self.clone(), None),
        })
    }

    /// Calls `work` with the weight as the right factor of a product. It must [fit](Self::fits), and a tensor be contiguous.
    ///
    /// # Errors
    ///
    /// candle's error when it is not so.
    pub(crate) fn read<R>(&self, work: impl FnOnce(Right<'_>) -> R) -> Result<R, Error> {
        match self {
            Self::Tensor(tensor) if tensor.dtype() != DType::F32 => {
                read_floats(tensor, |blocks| work(blocks.into()))
            }
            Self::Tensor(tensor) => {
                let (rows, columns) = tensor.dims2()?;
                host::read([tensor], |[elements]| work(Matrix::new(elements, rows, columns).into()))
            }
            Self::Quantized(matrix) => matrix.read(|blocks| work(blocks.into())),
        }
    }
}

impl From<Tensor> for Weight {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<&Tensor> for Weight {
    fn from(tensor: &Tensor) -> Self {
        Self::Tensor(tensor.clone())
    }
}

impl From<&Var> for Weight {
    fn from(var: &Var) -> Self {
        Self::Tensor(var.as_tensor().clone())
    }
}

impl From<Quantized> for Weight {
    fn from(matrix: Quantized) -> Self {
        Self::Quantized(Box::new(matrix))
    }
}

impl From<&Quantized> for Weight {
    fn from(matrix: &Quantized) -> Self {
        matrix.clone().into()
    }
}

impl From<&Weight> for Weight {
    fn from(weight: &Weight) -> Self {
        weight.clone()
    }
}
