//! The sum of the squares of many tensors. Its bits do not depend on the number of threads.

mod cuda;

use candle_core::{CpuStorage, DType, Device, Error, Storage, Tensor};
use rayon::prelude::*;

use super::gpu::Gpu;
use super::simd::simd;

/// Elements whose squares one thread adds up. Fixed: it decides the rounding.
const CHUNK: usize = 16 * 1024;

/// Sums side by side inside a chunk, so that a core can add several at once. Fixed for the same reason.
const LANES: usize = 8;

/// The sum of the squares of all elements: the [sums](sums_of_squares) of the tensors in the order given.
///
/// # Errors
///
/// candle's error when the device fails.
pub fn sum_of_squares<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<f64, Error> {
    Ok(sums_of_squares(tensors)?.into_iter().fold(0.0, |sum, squares| sum + squares))
}

/// The sum of the squares of each tensor's elements. Infinite and undefined elements make a sum infinite or undefined.
///
/// Everything is added in 64 bits, except on a device without our kernels, which adds each tensor up in 32. The sums of a
/// GPU's tensors are copied to the host together.
///
/// # Errors
///
/// candle's error when the device fails.
pub fn sums_of_squares<'a>(
    tensors: impl IntoIterator<Item = &'a Tensor>,
) -> Result<Vec<f64>, Error> {
    let (mut sums, mut on_gpu, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
    for (at, tensor) in tensors.into_iter().enumerate() {
        sums.push(0.0);
        if matches!(tensor.device(), Device::Cpu) {
            sums[at] = on_the_cpu(tensor)?;
        } else if let Some(gpu) = Gpu::of([tensor]).filter(|_| beside(&on_gpu, tensor)) {
            on_gpu.push((gpu, tensor.contiguous()?, at));
        } else {
            let sum = tensor.to_dtype(DType::F32)?.sqr()?.sum_all()?;
            elsewhere.push((sum.to_dtype(DType::F64)?, at));
        }
    }
    if let Some((gpu, ..)) = on_gpu.first() {
        // One tensor for the sums of all, so that they are copied together.
        let count: usize = on_gpu.iter().map(|(_, tensor, _)| cuda::blocks(tensor)).sum();
        let of_blocks = gpu.empty(count, DType::F64)?;
        let mut from = 0;
        for (gpu, tensor, _) in &on_gpu {
            let blocks = cuda::blocks(tensor);
            cuda::sums_of_squares(gpu, tensor, &of_blocks.narrow(0, from, blocks)?)?;
            from += blocks;
        }
        let mut of_blocks = of_blocks.to_vec1::<f64>()?.into_iter();
        for (_, tensor, at) in &on_gpu {
            sums[*at] = of_blocks.by_ref().take(cuda::blocks(tensor)).fold(0.0, |sum, it| sum + it);
        }
    }
    for (sum, at) in elsewhere {
        sums[at] = sum.to_scalar::<f64>()?;
    }
    Ok(sums)
}

/// Whether a tensor is on the GPU of the others.
fn beside(others: &[(Gpu, Tensor, usize)], tensor: &Tensor) -> bool {
    others.first().is_none_or(|(_, first, _)| first.device().same_device(tensor.device()))
}

fn on_the_cpu(tensor: &Tensor) -> Result<f64, Error> {
    let tensor = tensor.to_dtype(DType::F32)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => {
            let sums: Vec<f64> = values[start..end].par_chunks(CHUNK).map(chunk).collect();
            Ok(sums.into_iter().sum())
        }
        _ => Err(candle_core::Error::msg("a norm needs contiguous 32-bit floats")),
    }
}

simd! {
    fn chunk(values: &[f32]) -> f64 {
        let mut sums = [0f64; LANES];
        let mut groups = values.chunks_exact(LANES);
        for group in &mut groups {
            for (sum, value) in sums.iter_mut().zip(group) {
                *sum += f64::from(*value) * f64::from(*value);
            }
        }
        for (sum, value) in sums.iter_mut().zip(groups.remainder()) {
            *sum += f64::from(*value) * f64::from(*value);
        }
        sums.into_iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let mut stream = Rng::new(3, "test").at(0);
        let cpu = &Device::Cpu;
        let tensor = stream.normal_tensor((7, 40_001), 0.0, 1.0, DType::F32, cpu).unwrap();
        let under = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| sum_of_squares([&tensor, &tensor]).unwrap())
        };
        let one = under(1);
        assert!((one / (14.0 * 40_001.0) - 1.0).abs() < 0.02, "{one}");
        for threads in [2, 3, 7] {
            assert_eq!(one.to_bits(), under(threads).to_bits());
        }
    }

    /// 32 bits would lose the small ones, and would overflow at 1e20 squared.
    #[test]
    fn sums_are_in_64_bits() {
        let sum =
            |values: &[f32]| sum_of_squares([&Tensor::new(values, &Device::Cpu).unwrap()]).unwrap();
        let mut values = vec![1f32; 20];
        values[0] = 4096.0;
        assert_eq!(sum(&values).to_bits(), (4096f64 * 4096.0 + 19.0).to_bits());
        let large = sum(&[1e20]);
        assert!((large / 1e40 - 1.0).abs() < 1e-6, "{large}");
        assert!(sum(&[1.0, f32::INFINITY]).is_infinite());
        assert!(sum(&[1.0, f32::NAN]).is_nan());
        assert_eq!(sum_of_squares([]).unwrap().to_bits(), 0f64.to_bits());
    }

    #[test]
    fn a_strided_layout_changes_no_sum() {
        let tensor = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let sum = sum_of_squares([&tensor.t().unwrap()]).unwrap();
        assert_eq!(sum.to_bits(), 30f64.to_bits());
    }
}
