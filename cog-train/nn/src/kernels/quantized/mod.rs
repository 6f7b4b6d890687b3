//! Matrices in blocks of few bits: frozen weights.

mod cuda;
mod decode;
mod layout;
mod nf4;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, DType, Device, Error, Storage, Tensor};
use rayon::prelude::*;

use self::decode::{Scale, ScaleKind};
use super::host;

pub(crate) use decode::Blocks;
pub use layout::BlockLayout;

/// Elements of a tile.
const TILE: usize = 16 << 20;

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
    /// Bytes, contiguous.
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
        let data = Tensor::from_vec(bytes, expected, device)?;
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
        if block == 0 || block % decode::UNIT > 0 {
            return Err(Error::msg(format!(
                "quantized: a block of NF4 has {block} elements, no multiple of {}",
                decode::UNIT
            )));
        }
        let elements = outputs * inputs;
        let data = check("codes", codes, DType::U8, elements.div_ceil(2))?;
        let blocks = elements.div_ceil(block);
        let scales = match scales {
            Scales::Float(scales) => {
                Scales::Float(check("scales", &scales, DType::F32, blocks)?)
            }
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

    /// Quantizes a matrix `[outputs, inputs]` of floats, on its device. NF4 has blocks of 64 elements and double quantization, as
    /// bitsandbytes makes them; the layouts of ggml are made as ggml makes them without an importance matrix.
    ///
    /// # Errors
    ///
    /// candle's error when it is no matrix, a row is no multiple of a block of ggml, an element is not finite, or the device
    /// fails.
    pub fn quantize(weight: &Tensor, layout: BlockLayout) -> Result<Self, Error> {
        let (outputs, inputs) = weight.dims2()?;
        let (device, dtype) = (weight.device(), weight.dtype());
        let wide = host::contiguous(&weight.detach().to_device(&Device::Cpu)?)?;
        let finite = host::read([&wide], |[elements]| elements.par_iter().all(|x| x.is_finite()))?;
        if !finite {
            return Err(Error::msg(format!(
                "quantized: an element of the matrix [{outputs}, {inputs}] is not finite"
            )));
        }
        let quantized = if layout == BlockLayout::Nf4 {
            let nf4::Nf4 { codes, scale_codes, map, scales, offset } =
                host::read([&wide], |[elements]| nf4::quantize(elements))?;
            let bytes = |bytes: Vec<u8>| Tensor::new(bytes, device);
            let floats = |floats: Vec<f32>| Tensor::new(floats, device);
            let scales = Scales::Nested {
                codes: bytes(scale_codes)?,
                map: floats(map)?,
                scales: floats(scales)?,
                of: nf4::NESTED,
                offset,
            };
            Self::from_nf4(&bytes(codes)?, scales, nf4::BLOCK, (outputs, inputs))?
        } else {
            byte_count(layout, outputs, inputs)?;
            let bytes = QTensor::quantize(&wide, of_candle(layout))?.data()?.into_owned();
            Self::from_blocks(layout, (outputs, inputs), bytes, device)?
        };
        Ok(quantized.to_dtype(dtype))
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
        self.data.elem_count() + scales
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
        self.data.to_vec1()
    }

    /// Returns a row in 32 bits.
    ///
    /// # Errors
    ///
    /// candle's error when there is no such row, or the device fails.
    pub fn row(&self, row: usize) -> Result<Vec<f32>, Error> {
        if row >= self.outputs {
            let reason = format!("quantized: there is no row {row} of {}", self.outputs);
            return Err(Error::msg(reason));
        }
        let mut elements = vec![0.0; self.inputs];
        self.to_device(&Device::Cpu)?.read(|blocks| blocks.decode(row, 0, &mut elements))?;
        Ok(elements)
    }

    /// Returns the whole matrix as a tensor `[outputs, inputs]` of its float type, on its device. Layers never do that.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    pub fn dequantize(&self) -> Result<Tensor, Error> {
        self.tile(0, self.outputs, self.dtype)
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

    /// Returns the first row and the number of rows of the parts that are decoded one after the other where the CPU's kernels do not
    /// serve: some 16 million elements each.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (outputs, rows) = (self.outputs, (TILE / self.inputs).max(1));
        (0..outputs).step_by(rows).map(move |start| (start, rows.min(outputs - start)))
    }

    /// Decodes some rows into a tensor `[count, inputs]` of a float type, on the device of the blocks.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    pub(crate) fn tile(&self, start: usize, count: usize, dtype: DType) -> Result<Tensor, Error> {
        if let Some((gpu, rows)) = cuda::rows(self, count, dtype)? {
            cuda::decode(&gpu, self, (start, count), &rows)?;
            return Ok(rows);
        }
        let rows = self.to_device(&Device::Cpu)?.rows(start, count)?;
        rows.to_dtype(dtype)?.to_device(self.device())
    }

    /// Returns some rows as a tensor of 32 bits on the CPU, where the blocks must be.
    pub(crate) fn rows(&self, start: usize, count: usize) -> Result<Tensor, Error> {
        self.read(|blocks| {
            host::make((count, self.inputs), |rows| {
                let rows = rows.par_chunks(self.inputs.max(1)).enumerate();
                rows.for_each(|(at, row)| blocks.decode(start + at, 0, row.zeroed()));
            })
        })?
    }

    /// Calls `work` with the blocks, which must be on the CPU.
    ///
    /// # Errors
    ///
    /// candle's error when they are not.
    pub(crate) fn read<R>(&self, work: impl FnOnce(Blocks<'_>) -> R) -> Result<R, Error> {
        let Self { layout, outputs, inputs, .. } = *self;
        let with = |scales: Scale<'_>| {
            read_bytes(&self.data, |bytes| work(Blocks { layout, bytes, scales, outputs, inputs }))
        };
        match &self.scales {
            None => with(Scale { block: 1, kind: ScaleKind::Float(&[]) }),
            Some((Scales::Float(scales), block)) => host::read([scales], |[scales]| {
                with(Scale { block: *block, kind: ScaleKind::Float(scales) })
            })?,
            Some((Scales::Nested { codes, map, scales, of, offset }, block)) => {
                read_bytes(codes, |codes| {
                    host::read([map, scales], |[map, scales]| {
                        let (block, of, offset) = (*block, *of, *offset);
                        let kind = ScaleKind::Nested { codes, map, scales, block: of, offset };
                        with(Scale { block, kind })
                    })
                })??
            }
        }
    }
}

fn read_bytes<R>(tensor: &Tensor, work: impl FnOnce(&[u8]) -> R) -> Result<R, Error> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::U8(bytes)), Some((start, end))) => Ok(work(&bytes[start..end])),
        _ => Err(Error::msg("quantized: blocks are contiguous bytes on the CPU")),
    }
}

/// Returns the number of bytes of a matrix.
fn byte_count(layout: BlockLayout, outputs: usize, inputs: usize) -> Result<usize, Error> {
    let of = layout.block_len();
    if inputs % of > 0 {
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

fn of_candle(layout: BlockLayout) -> GgmlDType {
    match layout {
        BlockLayout::Q4_0 => GgmlDType::Q4_0,
        BlockLayout::Q4_1 => GgmlDType::Q4_1,
        BlockLayout::Q4K => GgmlDType::Q4K,
        BlockLayout::Q6K => GgmlDType::Q6K,
        BlockLayout::Q8_0 => GgmlDType::Q8_0,
        BlockLayout::Nf4 => unreachable!("candle has no NF4"),
    }
}

#[cfg(test)]
mod tests;
