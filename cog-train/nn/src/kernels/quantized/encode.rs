//! Floats to blocks.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Error, Tensor};
use rayon::prelude::*;

use super::layout::Packing;
use super::{BlockLayout, Quantized, Scales, byte_count, check_sizes, nf4};
use crate::kernels::host;

impl Quantized {
    /// Takes a matrix `[outputs, inputs]` of bfloat16 or IEEE halves, which is not copied where it is contiguous. Layers widen its elements
    /// when they multiply by them: a matrix that stands for 32 bits, as [`to_dtype`](Self::to_dtype) says, takes half the memory of
    /// one in 32 bits, and its products are the same bits.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cog_train_nn::{Linear, Quantized};
    ///
    /// let weight = Tensor::rand(-1f32, 1.0, (8, 32), &Device::Cpu)?.to_dtype(DType::BF16)?;
    /// let held = Quantized::from_floats(&weight)?.to_dtype(DType::F32);
    /// assert_eq!(held.byte_count(), 8 * 32 * 2);
    /// let (layer, wide) = (Linear::from_tensors(held, None), Linear::from_tensors(weight.to_dtype(DType::F32)?, None));
    /// let x = Tensor::rand(-1f32, 1.0, (4, 32), &Device::Cpu)?;
    /// assert_eq!(layer.forward(&x)?.to_vec2::<f32>()?, wide.forward(&x)?.to_vec2::<f32>()?);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// candle's error for another type, and when it is no matrix or has no elements.
    pub fn from_floats(matrix: &Tensor) -> Result<Self, Error> {
        let (outputs, inputs) = matrix.dims2()?;
        check_sizes(outputs, inputs)?;
        let dtype = matrix.dtype();
        let layout = match dtype {
            DType::F16 => BlockLayout::F16,
            DType::BF16 => BlockLayout::Bf16,
            _ => {
                let reason = format!("quantized: floats of 16 bits, not {dtype:?}");
                return Err(Error::msg(reason));
            }
        };
        let data = matrix.detach().contiguous()?;
        Ok(Self { layout, outputs, inputs, dtype, data, scales: None })
    }

    /// Quantizes a matrix `[outputs, inputs]` of floats, on its device. NF4 has blocks of 64 elements and double quantization, as
    /// bitsandbytes makes them; the layouts of ggml are made as ggml makes them without an importance matrix; those of
    /// 16-bit floats round each element.
    ///
    /// # Errors
    ///
    /// candle's error when it is no matrix, a row is no multiple of a block of ggml, an element is not finite and the layout
    /// no float, or the device fails.
    pub fn quantize(weight: &Tensor, layout: BlockLayout) -> Result<Self, Error> {
        let (outputs, inputs) = weight.dims2()?;
        let (device, dtype) = (weight.device(), weight.dtype());
        let packing = match layout.packing() {
            Ok(packing) => packing,
            Err(float) => return Ok(Self::from_floats(&weight.to_dtype(float)?)?.to_dtype(dtype)),
        };
        let wide = host::contiguous(&weight.detach().to_device(&Device::Cpu)?)?;
        let finite = host::read([&wide], |[elements]| elements.par_iter().all(|x| x.is_finite()))?;
        if !finite {
            return Err(Error::msg(format!(
                "quantized: an element of the matrix [{outputs}, {inputs}] is not finite"
            )));
        }
        let Some(of_ggml) = of_ggml(packing) else {
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
            let quantized = Self::from_nf4(&bytes(codes)?, scales, nf4::BLOCK, (outputs, inputs))?;
            return Ok(quantized.to_dtype(dtype));
        };
        byte_count(layout, outputs, inputs)?;
        let bytes = QTensor::quantize(&wide, of_ggml)?.data()?.into_owned();
        Ok(Self::from_blocks(layout, (outputs, inputs), bytes, device)?.to_dtype(dtype))
    }
}

/// Returns candle's name of a packing of ggml; `None` for that of bitsandbytes.
fn of_ggml(packing: Packing) -> Option<GgmlDType> {
    Some(match packing {
        Packing::Nf4 => return None,
        Packing::Q4_0 => GgmlDType::Q4_0,
        Packing::Q4_1 => GgmlDType::Q4_1,
        Packing::Q4K => GgmlDType::Q4K,
        Packing::Q5_0 => GgmlDType::Q5_0,
        Packing::Q5_1 => GgmlDType::Q5_1,
        Packing::Q5K => GgmlDType::Q5K,
        Packing::Q6K => GgmlDType::Q6K,
        Packing::Q8_0 => GgmlDType::Q8_0,
    })
}
