//! Matrices in blocks of few bits: frozen weights.

mod cuda;
mod decode;
mod encode;
mod layout;
mod nf4;
mod values;

use candle_core::{DType, Device, Error, Tensor};

pub(crate) use decode::Blocks;
pub use layout::BlockLayout;
pub(crate) use values::read_floats;

/// A frozen matrix `[outputs, inputs]` in blocks of few bits: the weight of a [`Linear`](crate::Linear) or the table of an
/// [`Embedding`](crate::Embedding), which [`Init::quantized`](crate::Init::quantized) gives them by its name.
///
/// It stands for a matrix of a float type, its [`dtype`](Self::dtype): 32 bits, unless [`to_dtype`](Self::to_dtype) says otherwise.
/// A clone shares the blocks.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cog_train_nn::{BlockLayout, Quantized};
///
/// let weight = Tensor::randn(0f32, 1.0, (64, 256), &Device::Cpu)?;
/// let quantized = Quantized::quantize(&weight, BlockLayout::Q8_0)?;
/// assert_eq!((quantized.dims(), quantized.byte_count()), ((64, 256), 64 * 256 / 32 * 34));
/// let error = (quantized.dequantize()? - &weight)?.abs()?.max_all()?.to_scalar::<f32>()?;
/// assert!(error < 0.03);
///
/// let again = Quantized::from_blocks(BlockLayout::Q8_0, (64, 256), quantized.to_bytes()?, &Device::Cpu)?;
/// assert_eq!(again.row(3)?, quantized.row(3)?);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Quantized {
    layout: BlockLayout,
    outputs: usize,
    inputs: usize,
    dtype: DType,
    /// Bytes, or floats of 16 bits `[outputs, inputs]`; contiguous.
    data: Tensor,
    /// Those of NF4, each of so many elements.
    scales: Option<(Scales, usize)>,
}

/// The scales of the blocks of NF4: one for each block of the matrix, row after row.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Scales {
    /// 32-bit floats `[blocks]`.
    Float(Tensor),
    /// Double quantization: the scale of a block is `map[codes[block]] * scales[block / of] + offset`.
    Nested {
        /// Bytes `[blocks]`.
        codes: Tensor,
        /// 32-bit floats `[256]`.
        map: Tensor,
        /// 32-bit floats, one for each `of` blocks.
        scales: Tensor,
        /// The blocks of a scale of scales.
        of: usize,
        /// The mean of the scales.
        offset: f32,
    },
}

impl Quantized {
    /// Takes blocks as ggml stores them, row after row. The matrix is `[outputs, inputs]`.
    ///
    /// # Errors
    ///
    /// candle's error when a row is no multiple of a block, the number of bytes is another one, or the layout is NF4, for which
    /// there is [`from_nf4`](Self::from_nf4).
    pub fn from_blocks(
        layout: BlockLayout,
        (outputs, inputs): (usize, usize),
        bytes: Vec<u8>,
        device: &Device,
    ) -> Result<Self, Error> {
        if layout == BlockLayout::Nf4 {
            return Err(Error::msg("quantized: the scales of NF4 are not in its blocks"));
        }
        let expected = byte_count(layout, outputs, inputs)?;
        check_sizes(outputs, inputs)?;
        if bytes.len() != expected {
            return Err(Error::msg(format!(
                "quantized: [{outputs}, {inputs}] in {layout} is {expected} bytes, not {}",
                bytes.len()
            )));
        }
        let data = match layout.float() {
            Some(dtype) => Tensor::from_raw_buffer(&bytes, dtype, &[outputs, inputs], device)?,
            None => Tensor::from_vec(bytes, expected, device)?,
        };
        Ok(Self { layout, outputs, inputs, dtype: DType::F32, data, scales: None })
    }

    /// Takes a matrix `[outputs, inputs]` in NF4: bytes of two codes, the first of which is in the high bits, and the scales of its blocks
    /// of `block` elements. Both run through the rows of the matrix, one after the other.
    ///
    /// # Errors
    ///
    /// candle's error when a tensor has another type or size, or a block is no multiple of 32 elements.
    pub fn from_nf4(
        codes: &Tensor,
        scales: Scales,
        block: usize,
        (outputs, inputs): (usize, usize),
    ) -> Result<Self, Error> {
        let check = |name: &str, tensor: &Tensor, dtype: DType, count: usize| {
            if tensor.dtype() == dtype && tensor.elem_count() == count {
                return tensor.flatten_all()?.contiguous();
            }
            let (found, elements) = (tensor.dtype(), tensor.elem_count());
            Err(Error::msg(format!(
                "quantized: the {name} of [{outputs}, {inputs}] in NF4 are {count} of {dtype:?}, not {elements} of {found:?}"
            )))
        };
        check_sizes(outputs, inputs)?;
        if block == 0 || !block.is_multiple_of(decode::UNIT) {
            return Err(Error::msg(format!(
                "quantized: a block of NF4 has {block} elements, no multiple of {}",
                decode::UNIT
            )));
        }
        let elements = outputs * inputs;
        let data = check("codes", codes, DType::U8, elements.div_ceil(2))?;
        let blocks = elements.div_ceil(block);
        let scales = match scales {
            Scales::Float(scales) => Scales::Float(check("scales", &scales, DType::F32, blocks)?),
            Scales::Nested { codes, map, scales, of, offset } => Scales::Nested {
                codes: check("codes of scales", &codes, DType::U8, blocks)?,
                map: check("values of scales", &map, DType::F32, 256)?,
                scales: check("scales of scales", &scales, DType::F32, blocks.div_ceil(of.max(1)))?,
                of: of.max(1),
                offset,
            },
        };
        let scales = Some((scales, block));
        Ok(Self { layout: BlockLayout::Nf4, outputs, inputs, dtype: DType::F32, data, scales })
    }

    /// Returns the layout of the blocks.
    #[must_use]
    pub fn layout(&self) -> BlockLayout {
        self.layout
    }

    /// Returns the sizes of the matrix: its outputs and its inputs.
    #[must_use]
    pub fn dims(&self) -> (usize, usize) {
        (self.outputs, self.inputs)
    }

    /// Returns the float type that it stands for.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Stands for another float type, that of a model's other tensors. The blocks stay as they are.
    #[must_use]
    pub fn to_dtype(self, dtype: DType) -> Self {
        Self { dtype, ..self }
    }

    /// Returns the device of the blocks.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.data.device()
    }

    /// Copies the blocks to a device, unless they are there.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    pub fn to_device(&self, device: &Device) -> Result<Self, Error> {
        let to = |tensor: &Tensor| tensor.to_device(device);
        let scales = match &self.scales {
            None => None,
            Some((Scales::Float(scales), block)) => Some((Scales::Float(to(scales)?), *block)),
            Some((Scales::Nested { codes, map, scales, of, offset }, block)) => Some((
                Scales::Nested {
                    codes: to(codes)?,
                    map: to(map)?,
                    scales: to(scales)?,
                    of: *of,
                    offset: *offset,
                },
                *block,
            )),
        };
        Ok(Self { data: to(&self.data)?, scales, ..self.clone() })
    }

    /// Returns the number of bytes of the blocks and of their scales.
    #[must_use]
    pub fn byte_count(&self) -> usize {
        let scales = match &self.scales {
            None => 0,
            Some((Scales::Float(scales), _)) => 4 * scales.elem_count(),
            Some((Scales::Nested { codes, map, scales, .. }, _)) => {
                codes.elem_count() + 4 * (map.elem_count() + scales.elem_count() + 1)
            }
        };
        self.data.elem_count() * self.data.dtype().size_in_bytes() + scales
    }

    /// Returns the scales of NF4 and the number of elements of its blocks.
    #[must_use]
    pub fn scales(&self) -> Option<(&Scales, usize)> {
        self.scales.as_ref().map(|(scales, block)| (scales, *block))
    }

    /// Copies the bytes of the blocks; those of NF4 without their [`scales`](Self::scales).
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        if self.layout.float().is_some() {
            return values::bytes_of_floats(&self.data);
        }
        self.data.to_vec1()
    }

    /// Checks that an operand is of the type that the matrix stands for.
    ///
    /// # Errors
    ///
    /// candle's error that names both types.
    pub(crate) fn check_dtype(
        &self,
        operation: &str,
        (name, tensor): (&str, &Tensor),
    ) -> Result<(), Error> {
        let (found, dtype, layout) = (tensor.dtype(), self.dtype, self.layout);
        if found == dtype {
            return Ok(());
        }
        Err(Error::msg(format!(
            "{operation}: `{name}` is {found:?} and `weight` is {layout} of {dtype:?}\n\
             hint: operands are of one float type; `Quantized::to_dtype` changes that of a quantized matrix"
        )))
    }
}

/// Returns the number of bytes of a matrix.
fn byte_count(layout: BlockLayout, outputs: usize, inputs: usize) -> Result<usize, Error> {
    let of = layout.block_len();
    if !inputs.is_multiple_of(of) {
        return Err(Error::msg(format!(
            "quantized: a row of [{outputs}, {inputs}] is no multiple of a block of {layout}, {of} elements"
        )));
    }
    Ok(outputs * (inputs / of) * layout.block_bytes())
}

fn check_sizes(outputs: usize, inputs: usize) -> Result<(), Error> {
    if outputs > 0 && inputs > 0 {
        return Ok(());
    }
    Err(Error::msg(format!("quantized: [{outputs}, {inputs}] has no elements")))
}

#[cfg(test)]
mod tests;
