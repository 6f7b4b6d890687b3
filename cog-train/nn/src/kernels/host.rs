//! Tensors of the CPU as slices of 32-bit floats, and back.

use std::cell::RefCell;
use std::marker::PhantomData;

use candle_core::{CpuStorage, DType, Device, Error, InplaceOp1, Layout, Shape, Storage, Tensor};
use half::bf16;
use rayon::prelude::*;

use super::floats::{round_bf16, widen_bf16, widen_f16};
use super::output::{Buffer, Output};

/// Returns the address of a tensor's storage. Tensors that share a storage have one address.
#[must_use]
pub fn storage_address(tensor: &Tensor) -> usize {
    std::ptr::from_ref(&*tensor.storage_and_layout().0).addr()
}

/// Elements of one task: enough to pay for its start, and few enough to share out.
const CHUNK: usize = 1 << 16;

/// Copies on all threads. The slices have one length.
pub fn copy<T: Copy + Send + Sync>(into: &mut [T], from: &[T]) {
    let chunks = into.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
    chunks.for_each(|(into, from)| into.copy_from_slice(from));
}

/// Whether [`read`] can borrow the elements: contiguous 32-bit floats on the CPU.
pub(crate) fn is_contiguous(tensor: &Tensor) -> bool {
    on_cpu(tensor) && tensor.dtype() == DType::F32 && tensor.is_contiguous()
}

/// Whether the tensor is on the CPU.
pub(crate) fn on_cpu(tensor: &Tensor) -> bool {
    matches!(tensor.device(), Device::Cpu)
}

/// Returns the tensor as contiguous 32-bit floats; itself if it is so already.
///
/// # Errors
///
/// candle's error when memory cannot be allocated.
pub(crate) fn contiguous(tensor: &Tensor) -> Result<Tensor, Error> {
    fn widen<T: Sync>(from: &[T], to: Output<'_>, widen: fn(&[T], &mut [f32])) {
        let chunks = to.par_chunks(CHUNK).zip(from.par_chunks(CHUNK));
        chunks.for_each(|(to, from)| widen(from, to.zeroed()));
    }

    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::BF16(from)), Some((start, end))) => {
            make(layout.shape().clone(), |to| widen(&from[start..end], to, widen_bf16))
        }
        (Storage::Cpu(CpuStorage::F16(from)), Some((start, end))) => {
            make(layout.shape().clone(), |to| widen(&from[start..end], to, widen_f16))
        }
        _ => tensor.to_dtype(DType::F32)?.contiguous(),
    }
}

/// Returns the tensor in another float type.
///
/// # Errors
///
/// candle's error when memory cannot be allocated.
pub(crate) fn rounded(tensor: &Tensor, dtype: DType) -> Result<Tensor, Error> {
    if dtype == DType::BF16 && is_contiguous(tensor) {
        let elements = read([tensor], |[elements]| rounded_elements(elements))?;
        return Tensor::from_vec(elements, tensor.shape(), &Device::Cpu);
    }
    tensor.to_dtype(dtype)
}

/// Widens bfloat16, on all threads. The slices have one length.
pub(crate) fn widen(from: &[bf16], to: &mut [f32]) {
    let chunks = to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
    chunks.for_each(|(to, from)| widen_bf16(from, to));
}

/// Rounds to the nearest bfloat16, on all threads. The slices have one length.
pub(crate) fn round(from: &[f32], to: &mut [bf16]) {
    let chunks = to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
    chunks.for_each(|(to, from)| round_bf16(from, to));
}

/// Rounds to the nearest bfloat16, on all threads.
pub(crate) fn rounded_elements(elements: &[f32]) -> Vec<bf16> {
    let (groups, rest) = elements.as_chunks::<GROUP>();
    let round = |group: &[f32; GROUP]| {
        let mut to = [bf16::ZERO; GROUP];
        round_bf16(group, &mut to);
        to
    };
    let groups = groups.par_iter().with_min_len(CHUNK / GROUP).map(round);
    let mut rounded = groups.collect::<Vec<_>>().into_flattened();
    rounded.extend(rest.iter().map(|element| bf16::from_f32(*element)));
    rounded
}

/// Elements that are rounded together.
const GROUP: usize = 256;

/// Returns a gradient as the fast paths take it: on the CPU contiguous and, unless it is of 64 bits, of 32.
///
/// # Errors
///
/// candle's error when memory cannot be allocated.
pub(crate) fn widened(gradient: Tensor) -> Result<Tensor, Error> {
    match gradient.dtype() {
        DType::F16 | DType::BF16 | DType::F32 if on_cpu(&gradient) => contiguous(&gradient),
        _ => Ok(gradient),
    }
}

/// Calls `work` with the elements of `tensors`, which must be [contiguous](is_contiguous).
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
        let Storage::Cpu(CpuStorage::F32(elements)) = &**storage else { return Err(refused()) };
        let Some((start, end)) = layout.contiguous_offsets() else { return Err(refused()) };
        *slice = &elements[start..end];
    }
    Ok(work(slices))
}

/// A type of elements that [`lend`] hands out.
pub(crate) trait Element: Sized {
    /// Returns the elements of a storage of this type.
    fn of(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

impl Element for f32 {
    fn of(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        if let CpuStorage::F32(elements) = storage { Some(elements) } else { None }
    }
}

impl Element for u8 {
    fn of(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        if let CpuStorage::U8(elements) = storage { Some(elements) } else { None }
    }
}

/// Calls `work` with the elements of `tensor`, to change them in place. It must be contiguous, on the CPU and of their type. A reader
/// of the same storage on this thread is a deadlock.
///
/// # Errors
///
/// candle's error when it is not contiguous or of another type, and that of `work`.
pub(crate) fn lend<T: Element>(
    tensor: &Tensor,
    work: impl FnOnce(&mut [T]) -> Result<(), Error>,
) -> Result<(), Error> {
    struct Lend<F, T>(RefCell<Option<F>>, PhantomData<fn(T)>);

    impl<T: Element, F: FnOnce(&mut [T]) -> Result<(), Error>> InplaceOp1 for Lend<F, T> {
        fn name(&self) -> &'static str {
            "lend"
        }

        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
            let Some(elements) = T::of(storage) else { return Err(refused()) };
            let Some((start, end)) = layout.contiguous_offsets() else { return Err(refused()) };
            self.0.take().map_or(Ok(()), |work| work(&mut elements[start..end]))
        }
    }

    tensor.inplace_op1(&Lend(Some(work).into(), PhantomData))
}

/// Calls `work` with the 32-bit floats of `tensor`, as [`lend`] does.
///
/// # Errors
///
/// candle's error when it is not [contiguous](is_contiguous).
pub(crate) fn write(tensor: &Tensor, work: impl FnOnce(&mut [f32])) -> Result<(), Error> {
    lend(tensor, |elements| {
        work(elements);
        Ok(())
    })
}

/// Makes a tensor on the CPU of the elements that `work` writes to its output.
///
/// # Errors
///
/// candle's error when the shape is too large.
///
/// # Panics
///
/// When `work` leaves an element out.
pub(crate) fn make(
    shape: impl Into<Shape>,
    work: impl FnOnce(Output<'_>),
) -> Result<Tensor, Error> {
    let shape = shape.into();
    let mut buffer = Buffer::new(shape.elem_count());
    work(buffer.output());
    buffer.into_tensor(shape)
}

/// Makes a tensor on the CPU of these elements.
///
/// # Errors
///
/// candle's error when the shape has another number of elements.
pub(crate) fn tensor(elements: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor, Error> {
    Tensor::from_vec(elements, shape.into(), &Device::Cpu)
}

fn refused() -> Error {
    Error::msg("a fused operation needs contiguous elements of its type on the CPU")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_read_and_written_in_place() {
        let whole = tensor(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (3, 2)).unwrap();
        let part = whole.narrow(0, 1, 1).unwrap();
        assert_eq!(
            read([&part, &whole], |[part, whole]| part[0] + whole[5]).unwrap().to_bits(),
            9f32.to_bits()
        );
        write(&part, |elements| elements.fill(0.0)).unwrap();
        assert_eq!(whole.to_vec2::<f32>().unwrap(), [[1.0, 2.0], [0.0, 0.0], [5.0, 6.0]]);
    }

    #[test]
    fn every_element_is_widened_and_rounded() {
        for count in [0, 1, GROUP - 1, GROUP, 3 * GROUP + 5, CHUNK + GROUP + 1] {
            let values =
                (0..=count).map(|at| f64::from(u32::try_from(at).unwrap()).sin()).collect();
            let values: Vec<f64> = values;
            let wide = Tensor::new(values, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
            let wide = wide.narrow(0, 1, count).unwrap();
            let bits = |tensor: &Tensor| -> Vec<u32> {
                let values: Vec<f32> = tensor.to_dtype(DType::F32).unwrap().to_vec1().unwrap();
                values.into_iter().map(f32::to_bits).collect()
            };
            for dtype in [DType::BF16, DType::F16] {
                let narrow = rounded(&wide, dtype).unwrap();
                assert_eq!((narrow.dtype(), narrow.elem_count()), (dtype, count));
                assert!(bits(&narrow) == bits(&wide.to_dtype(dtype).unwrap()));
                let again = contiguous(&narrow).unwrap();
                assert!(is_contiguous(&again) && bits(&again) == bits(&narrow));
            }
        }
    }

    #[test]
    fn other_types_and_strided_layouts_are_refused() {
        let transposed = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap().t().unwrap();
        let half = Tensor::zeros(2, DType::F16, &Device::Cpu).unwrap();
        for tensor in [transposed, half] {
            assert!(!is_contiguous(&tensor) && is_contiguous(&contiguous(&tensor).unwrap()));
            assert!(read([&tensor], |_| ()).is_err() && write(&tensor, |_| ()).is_err());
        }
    }
}
