//! The values of a matrix: rows, tiles of rows, or blocks for the kernels of the CPU.

use candle_core::{CpuStorage, DType, Device, Error, Storage, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use super::decode::{Blocks, Elements, Packed};
use super::nf4::{Scale, ScaleKind};
use super::{BlockLayout, Quantized, Scales, cuda};
use crate::kernels::host;

/// Elements of a tile.
const TILE: usize = 16 << 20;

impl Quantized {
    /// Decodes some rows into a tensor `[count, inputs]` of its float type, on its device.
    ///
    /// # Errors
    ///
    /// candle's error when there are no such rows, or the device fails.
    pub fn rows(&self, start: usize, count: usize) -> Result<Tensor, Error> {
        if start.checked_add(count).is_none_or(|end| end > self.outputs) {
            let reason = format!("quantized: no {count} rows from {start} of {}", self.outputs);
            return Err(Error::msg(reason));
        }
        self.tile(start, count, self.dtype)
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
        let Ok(packing) = self.layout.packing() else {
            return self.data.narrow(0, start, count)?.to_dtype(dtype);
        };
        if let Some((gpu, rows)) = cuda::rows(self, count, dtype)? {
            cuda::decode(&gpu, (self, packing), (start, count), &rows)?;
            return Ok(rows);
        }
        let rows = self.to_device(&Device::Cpu)?.on_cpu(start, count)?;
        rows.to_dtype(dtype)?.to_device(self.device())
    }

    /// Decodes rows of any order into a tensor `[rows, inputs]` of the type that the matrix stands for. They are in the matrix.
    ///
    /// # Errors
    ///
    /// candle's error when the device fails.
    pub(crate) fn select(&self, rows: &[u32]) -> Result<Tensor, Error> {
        if self.layout.float().is_some() {
            let rows = Tensor::new(rows, self.device())?;
            return self.data.index_select(&rows, 0)?.to_dtype(self.dtype);
        }
        if !matches!(self.device(), Device::Cpu) {
            if self.layout == BlockLayout::Nf4 {
                let rows = rows.iter().map(|row| self.tile(*row as usize, 1, self.dtype));
                return Tensor::cat(&rows.collect::<Result<Vec<_>, Error>>()?, 0);
            }
            // The blocks of ggml are within their row.
            let data = self.data.reshape((self.outputs, ()))?;
            let data = data.index_select(&Tensor::new(rows, self.device())?, 0)?.flatten_all()?;
            let some = Self { data, outputs: rows.len(), ..self.clone() };
            return some.tile(0, rows.len(), self.dtype);
        }
        let inputs = self.inputs;
        let selected = self.read(|blocks| {
            host::make((rows.len(), inputs), |selected| {
                let selected = selected.par_chunks(inputs).zip(rows);
                selected.for_each(|(to, row)| blocks.decode(*row as usize, 0, to.zeroed()));
            })
        })??;
        selected.to_dtype(self.dtype)
    }

    /// Returns some rows as a tensor of 32 bits on the CPU, where the blocks must be.
    fn on_cpu(&self, start: usize, count: usize) -> Result<Tensor, Error> {
        self.read(|blocks| {
            host::make((count, self.inputs), |rows| {
                let rows = rows.par_chunks(self.inputs).enumerate();
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
        let Ok(packing) = layout.packing() else { return read_floats(&self.data, work) };
        let with = |scales: Scale<'_>| {
            read_bytes(&self.data, |bytes| {
                let elements = Elements::Packed(Packed { packing, bytes, scales });
                work(Blocks { elements, outputs, inputs })
            })
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

/// Calls `work` with the elements of a contiguous matrix of 16-bit floats on the CPU.
///
/// # Errors
///
/// candle's error when it is none.
pub(crate) fn read_floats<R>(
    matrix: &Tensor,
    work: impl FnOnce(Blocks<'_>) -> R,
) -> Result<R, Error> {
    let (outputs, inputs) = matrix.dims2()?;
    let (storage, layout) = matrix.storage_and_layout();
    let elements = match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::BF16(elements)), Some((start, end))) => {
            Elements::Bf16(&elements[start..end])
        }
        (Storage::Cpu(CpuStorage::F16(elements)), Some((start, end))) => {
            Elements::F16(&elements[start..end])
        }
        _ => return Err(Error::msg("quantized: floats are contiguous and on the CPU")),
    };
    Ok(work(Blocks { elements, outputs, inputs }))
}

/// Copies the bytes of floats, in the order of this machine.
pub(super) fn bytes_of_floats(matrix: &Tensor) -> Result<Vec<u8>, Error> {
    let flat = matrix.flatten_all()?;
    Ok(match matrix.dtype() {
        DType::BF16 => flat.to_vec1::<bf16>()?.into_iter().flat_map(bf16::to_ne_bytes).collect(),
        _ => flat.to_vec1::<f16>()?.into_iter().flat_map(f16::to_ne_bytes).collect(),
    })
}
