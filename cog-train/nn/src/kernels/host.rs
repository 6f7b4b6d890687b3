//! Tensors of the CPU as slices of 32-bit floats, and back.
#![expect(unsafe_code, reason = "results are written into memory that was not set to zero before")]

use candle_core::{CpuStorage, DType, Device, Error, InplaceOp1, Layout, Shape, Storage, Tensor};
use rayon::prelude::*;

/// Where a tensor's numbers are. Tensors that share a storage have one place.
pub fn place(tensor: &Tensor) -> usize {
    std::ptr::from_ref(&*tensor.storage_and_layout().0).addr()
}

/// How many numbers one thread copies at a time: large enough to pay for the hand-over, small enough to share out.
const PIECE: usize = 1 << 16;

/// Copies on all threads. The slices have one length.
pub fn copy<T: Copy + Send + Sync>(into: &mut [T], from: &[T]) {
    let pieces = into.par_chunks_mut(PIECE).zip(from.par_chunks(PIECE));
    pieces.for_each(|(into, from)| into.copy_from_slice(from));
}

/// Whether [`read`] can do it without a copy: 32-bit floats without gaps on the CPU.
pub(crate) fn is_plain(tensor: &Tensor) -> bool {
    on_cpu(tensor) && tensor.dtype() == DType::F32 && tensor.is_contiguous()
}

/// Whether the tensor is the CPU's.
pub(crate) fn on_cpu(tensor: &Tensor) -> bool {
    matches!(tensor.device(), Device::Cpu)
}

/// The tensor as 32-bit floats without gaps; itself if it is so already.
///
/// # Errors
///
/// candle's error when there is no room.
pub(crate) fn plain(tensor: &Tensor) -> Result<Tensor, Error> {
    Ok(tensor.to_dtype(DType::F32)?.contiguous()?)
}

/// A gradient as the fast forms take it: on the CPU without gaps and, unless it is of 64 bits, of 32.
///
/// # Errors
///
/// candle's error when there is no room.
pub(crate) fn widened(gradient: Tensor) -> Result<Tensor, Error> {
    match gradient.dtype() {
        DType::F16 | DType::BF16 | DType::F32 if on_cpu(&gradient) => plain(&gradient),
        _ => Ok(gradient),
    }
}

/// Calls `work` with the numbers of `tensors`, which must be [plain](is_plain).
///
/// # Errors
///
/// candle's error when one is not.
pub(crate) fn read<const N: usize, R>(
    tensors: [&Tensor; N],
    work: impl FnOnce([&[f32]; N]) -> R,
) -> Result<R, Error> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for ((storage, layout), slice) in guards.iter().zip(&mut slices) {
        let Storage::Cpu(CpuStorage::F32(numbers)) = &**storage else { return Err(not_plain()) };
        let Some((start, end)) = layout.contiguous_offsets() else { return Err(not_plain()) };
        *slice = &numbers[start..end];
    }
    Ok(work(slices))
}

/// Calls `work` with the numbers of `tensor`, to change them in place. It must be [plain](is_plain), and nothing may be
/// reading it.
///
/// # Errors
///
/// candle's error when it is not plain.
pub(crate) fn write(tensor: &Tensor, work: impl FnOnce(&mut [f32])) -> Result<(), Error> {
    struct Write<F>(std::cell::RefCell<Option<F>>);

    impl<F: FnOnce(&mut [f32])> InplaceOp1 for Write<F> {
        fn name(&self) -> &'static str {
            "write"
        }

        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
            let CpuStorage::F32(numbers) = storage else { return Err(reason()) };
            let Some((start, end)) = layout.contiguous_offsets() else { return Err(reason()) };
            if let Some(work) = self.0.take() {
                work(&mut numbers[start..end]);
            }
            Ok(())
        }
    }

    Ok(tensor.inplace_op1(&Write(Some(work).into()))?)
}

/// A tensor on the CPU of the numbers that `work` writes. It must write each of them and read none before.
///
/// # Errors
///
/// candle's error when the shape is too large.
pub(crate) fn make(
    shape: impl Into<Shape>,
    work: impl FnOnce(&mut [f32]),
) -> Result<Tensor, Error> {
    let shape = shape.into();
    let mut numbers = uninit(shape.elem_count());
    work(&mut numbers);
    tensor(numbers, shape)
}

/// A tensor on the CPU of these numbers.
///
/// # Errors
///
/// candle's error when there are more or fewer than the shape says.
pub(crate) fn tensor(numbers: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor, Error> {
    Ok(Tensor::from_vec(numbers, shape.into(), &Device::Cpu)?)
}

/// Memory for `count` numbers that are all to be written before one is read. Setting it to zero first would take a
/// tenth of a training step.
#[expect(clippy::uninit_vec, reason = "that is what this function is for")]
pub(crate) fn uninit(count: usize) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(count);
    // SAFETY: 1. the capacity is there; 2. every bit pattern is an f32, and nothing is dropped; 3. the callers are
    // kernels of this crate that write each element before anything reads it, which their parity tests look at.
    unsafe {
        numbers.set_len(count);
    }
    numbers
}

fn reason() -> candle_core::Error {
    candle_core::Error::msg("a fused operation asks for 32-bit floats without gaps on the CPU")
}

fn not_plain() -> Error {
    reason().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_tensor_is_read_and_written_where_it_is() {
        let whole =
            make((3, 2), |numbers| numbers.copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
                .unwrap();
        let part = whole.narrow(0, 1, 1).unwrap();
        assert_eq!(
            read([&part, &whole], |[part, whole]| part[0] + whole[5]).unwrap().to_bits(),
            9f32.to_bits()
        );
        write(&part, |numbers| numbers.fill(0.0)).unwrap();
        assert_eq!(whole.to_vec2::<f32>().unwrap(), [[1.0, 2.0], [0.0, 0.0], [5.0, 6.0]]);
    }

    #[test]
    fn other_types_and_gaps_are_refused() {
        let turned = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap().t().unwrap();
        let half = Tensor::zeros(2, DType::F16, &Device::Cpu).unwrap();
        for tensor in [turned, half] {
            assert!(!is_plain(&tensor) && is_plain(&plain(&tensor).unwrap()));
            assert!(read([&tensor], |_| ()).is_err() && write(&tensor, |_| ()).is_err());
        }
    }
}
