//! Copies of tensors in 32 bits.

use candle_core::{CpuStorage, DType, Layout, Storage, Tensor, Var};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::error::Error;

/// Elements of one task: enough to pay for its start, and few enough to share out.
const CHUNK: usize = 1 << 16;

/// Copies a tensor into 32 bits, to be trained.
pub(super) fn master_of(tensor: &Tensor) -> Result<Var, Error> {
    Ok(match widened(tensor) {
        Some(values) => Var::from_vec(values, tensor.shape(), tensor.device())?,
        // `Var::from_tensor` copies.
        None => Var::from_tensor(&tensor.detach().to_dtype(DType::F32)?)?,
    })
}

/// Returns a tensor of a type whose elements are contiguous: itself if it is so.
pub(super) fn converted(tensor: &Tensor, dtype: DType) -> Result<Tensor, Error> {
    if dtype == DType::F32
        && tensor.dtype() != dtype
        && let Some(values) = widened(tensor)
    {
        return Ok(Tensor::from_vec(values, tensor.shape(), tensor.device())?);
    }
    let tensor = tensor.to_dtype(dtype)?;
    Ok(if tensor.is_contiguous() { tensor } else { tensor.force_contiguous()? })
}

/// Copies contiguous floats on the CPU on all threads: most of the time goes into memory that is touched for the first time. `None`
/// for other tensors.
fn widened(tensor: &Tensor) -> Option<Vec<f32>> {
    fn all<T: Copy + Sync>(
        elements: &[T],
        layout: &Layout,
        wide: fn(T) -> f32,
    ) -> Option<Vec<f32>> {
        let (start, end) = layout.contiguous_offsets()?;
        let elements = elements[start..end].par_iter().with_min_len(CHUNK);
        let mut values = Vec::new();
        elements.map(|element| wide(*element)).collect_into_vec(&mut values);
        Some(values)
    }
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(elements)) => all(elements, layout, |element| element),
        Storage::Cpu(CpuStorage::BF16(elements)) => all(elements, layout, bf16::to_f32),
        Storage::Cpu(CpuStorage::F16(elements)) => all(elements, layout, f16::to_f32),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Over several tasks, and of a part of a storage.
    #[test]
    fn widened_elements_are_those_that_candle_converts() {
        let count = 3 * CHUNK + 17;
        let values: Vec<f32> =
            (0u16..1000).cycle().map(|at| f32::from(at).sin() * 1e3).take(count).collect();
        let values = Tensor::new(values, &Device::Cpu).unwrap();
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let all = values.to_dtype(dtype).unwrap();
            for part in [all.clone(), all.narrow(0, 5, count - 9).unwrap()] {
                let expected = part.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(widened(&part).unwrap(), expected);
            }
            let column = all.narrow(0, 0, 6).unwrap().reshape((2, 3)).unwrap().t().unwrap();
            assert!(widened(&column).is_none());
            let expected = column.to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(master_of(&column).unwrap().to_vec2::<f32>().unwrap(), expected);
            assert_eq!(converted(&column, DType::F32).unwrap().to_vec2::<f32>().unwrap(), expected);
        }
        assert!(widened(&Tensor::zeros(3, DType::F64, &Device::Cpu).unwrap()).is_none());
    }
}
