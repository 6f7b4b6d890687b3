//! Some rows of a matrix, decoded by a kernel.
#![expect(unsafe_code, reason = "a kernel is declared")]

use candle_core::{DType, Error, Tensor};

use super::layout::Packing;
use super::{Quantized, Scales};
use crate::kernels::gpu::{Argument, Gpu, Grid, Kernel, kernel};

// SAFETY: `decode` passes blocks and scales whose sizes `Quantized` has checked, and a contiguous result of `count` elements, all of
// which are in the matrix.
const DECODE: Kernel = unsafe { kernel!("quantized.cu", "quantized_decode") };

/// Decodes `count` rows from `start` on, which are there, of a matrix and its packing, into `rows` `[count, inputs]` of the GPU's type.
pub(super) fn decode(
    gpu: &Gpu,
    (matrix, packing): (&Quantized, Packing),
    (start, count): (usize, usize),
    rows: &Tensor,
) -> Result<(), Error> {
    let layout = match packing {
        Packing::Nf4 => 0,
        Packing::Q4_0 => 1,
        Packing::Q4_1 => 2,
        Packing::Q4K => 3,
        Packing::Q6K => 4,
        Packing::Q8_0 => 5,
        Packing::Q5_0 => 6,
        Packing::Q5_1 => 7,
        Packing::Q5K => 8,
    };
    let none = Argument::Nothing;
    let (block, [codes, map, scales], of, offset) = match &matrix.scales {
        None => (1, [none; 3], 1, 0.0),
        Some((Scales::Float(scales), block)) => (*block, [none, none, scales.into()], 1, 0.0),
        Some((Scales::Nested { codes, map, scales, of, offset }, block)) => {
            (*block, [codes.into(), map.into(), scales.into()], *of, *offset)
        }
    };
    let (first, elements) = (start * matrix.inputs, count * matrix.inputs);
    let arguments = [
        (&matrix.data).into(),
        codes,
        map,
        scales,
        rows.into(),
        first.into(),
        elements.into(),
        block.into(),
        of.into(),
        offset.into(),
    ];
    gpu.launch(&DECODE, &[("LAYOUT", layout)], Grid::elementwise(elements), &arguments)
}

/// Returns rows for [`decode`] to fill and their GPU, if the matrix is on one.
pub(super) fn rows(
    matrix: &Quantized,
    count: usize,
    dtype: DType,
) -> Result<Option<(Gpu, Tensor)>, Error> {
    if matches!(matrix.device(), candle_core::Device::Cpu) {
        return Ok(None);
    }
    let rows = Tensor::zeros((count, matrix.inputs), dtype, matrix.device())?;
    Ok(Gpu::of([&rows]).map(|gpu| (gpu, rows)))
}
