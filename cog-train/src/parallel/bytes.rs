//! Tensors on the CPU as bytes, in the byte order of the machine.

use candle_core::{CpuStorage, DType, Device, Shape, Storage, Tensor};
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

use super::tensors::unsupported;
use crate::error::Error;

/// Calls a function with the elements of a tensor, in row-major order.
pub(super) fn with_bytes<T>(tensor: &Tensor, call: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let start = layout.start_offset();
    let range = start..start + layout.shape().elem_count();
    let Storage::Cpu(storage) = &*storage else { return Err(unsupported(tensor.dtype())) };
    Ok(call(match storage {
        CpuStorage::U8(elements) => &elements[range],
        CpuStorage::U32(elements) => bytemuck::cast_slice(&elements[range]),
        CpuStorage::I64(elements) => bytemuck::cast_slice(&elements[range]),
        CpuStorage::F32(elements) => bytemuck::cast_slice(&elements[range]),
        CpuStorage::F64(elements) => bytemuck::cast_slice(&elements[range]),
        CpuStorage::BF16(elements) => {
            bytemuck::cast_slice::<u16, u8>(elements[range].reinterpret_cast())
        }
        CpuStorage::F16(elements) => {
            bytemuck::cast_slice::<u16, u8>(elements[range].reinterpret_cast())
        }
        _ => return Err(unsupported(tensor.dtype())),
    }))
}

/// Makes a tensor of the bytes that a function writes.
pub(super) fn filled(
    dtype: DType,
    shape: &Shape,
    device: &Device,
    fill: impl FnOnce(&mut [u8]) -> Result<(), Error>,
) -> Result<Tensor, Error> {
    fn elements<T: bytemuck::Pod>(
        count: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<Vec<T>, Error> {
        let mut elements = vec![T::zeroed(); count];
        fill(bytemuck::cast_slice_mut(&mut elements))?;
        Ok(elements)
    }
    let count = shape.elem_count();
    Ok(match dtype {
        DType::U8 => Tensor::from_vec(elements::<u8>(count, fill)?, shape, device),
        DType::U32 => Tensor::from_vec(elements::<u32>(count, fill)?, shape, device),
        DType::I64 => Tensor::from_vec(elements::<i64>(count, fill)?, shape, device),
        DType::F32 => Tensor::from_vec(elements::<f32>(count, fill)?, shape, device),
        DType::F64 => Tensor::from_vec(elements::<f64>(count, fill)?, shape, device),
        DType::BF16 => {
            let elements = elements::<u16>(count, fill)?;
            Tensor::from_slice(elements.reinterpret_cast::<bf16>(), shape, device)
        }
        DType::F16 => {
            let elements = elements::<u16>(count, fill)?;
            Tensor::from_slice(elements.reinterpret_cast::<f16>(), shape, device)
        }
        _ => return Err(unsupported(dtype)),
    }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_is_the_same_after_its_bytes() {
        let base = Tensor::new(&[[1f32, 2.5], [-3.0, 4.0]], &Device::Cpu).unwrap();
        for dtype in
            [DType::U32, DType::I64, DType::F32, DType::F64, DType::BF16, DType::F16, DType::U8]
        {
            let tensor = base.abs().unwrap().to_dtype(dtype).unwrap().t().unwrap();
            let bytes = with_bytes(&tensor, <[u8]>::to_vec).unwrap();
            assert_eq!(bytes.len(), 4 * dtype.size_in_bytes());
            let copy = filled(dtype, tensor.shape(), &Device::Cpu, |own| {
                own.copy_from_slice(&bytes);
                Ok(())
            })
            .unwrap();
            assert_eq!(copy.dtype(), dtype);
            let wide =
                |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
            assert_eq!(wide(&copy), wide(&tensor), "{dtype:?}");
        }
    }
}
