//! The digest of the parameters that are not trained. A checkpoint does not hold them, so a resumed run must load the same ones.

use std::fmt::Write;

use candle_core::{CpuStorage, DType, Storage, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::cancellable::cancellable;
use crate::error::Error;
use crate::params::Params;
use crate::progress::CancelToken;

/// The elements that a thread hashes between two reads of the token.
const PIECE: usize = 1 << 20;

/// Returns the SHA-256 of all frozen parameters with their names and shapes; `None` if there are none.
///
/// # Errors
///
/// [`Error::Cancelled`]; [`Error::Tensor`] when the device fails.
pub(super) fn digest(params: &Params, cancel: &CancelToken) -> Result<Option<String>, Error> {
    let frozen = params.iter().filter(|(_, param)| !param.is_trainable() && !param.is_buffer());
    let frozen: Vec<(String, Tensor)> =
        frozen.map(|(name, param)| (name.to_owned(), param.master().detach())).collect();
    if frozen.is_empty() {
        return Ok(None);
    }
    let (token, on_cpu) = (cancel.clone(), params.device().is_cpu());
    cancellable(cancel, move || hash(&frozen, on_cpu, &token))?.map(Some)
}

/// The same bits under any number of threads: pieces are hashed by themselves, and their digests in order.
fn hash(tensors: &[(String, Tensor)], on_cpu: bool, cancel: &CancelToken) -> Result<String, Error> {
    let mut pieces = Vec::new();
    for (_, tensor) in tensors {
        let count = tensor.elem_count();
        pieces.extend((0..count).step_by(PIECE).map(|at| (tensor, at, PIECE.min(count - at))));
    }
    let piece = |(tensor, start, count): &(&Tensor, usize, usize)| {
        cancel.check()?;
        let part = tensor.flatten_all()?.narrow(0, *start, *count)?;
        let (storage, layout) = part.storage_and_layout();
        // In place where the elements are those bytes already.
        let digest = match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(values)), Some((start, end)))
                if cfg!(target_endian = "little") =>
            {
                Sha256::digest(bytemuck::cast_slice::<f32, u8>(&values[start..end]))
            }
            (Storage::Cpu(CpuStorage::BF16(values)), Some((start, end)))
                if cfg!(target_endian = "little") =>
            {
                let bits: &[u16] = values[start..end].reinterpret_cast();
                Sha256::digest(bytemuck::cast_slice::<u16, u8>(bits))
            }
            _ => Sha256::digest(bytes(&part)?),
        };
        Ok::<_, Error>(digest)
    };
    let digests: Vec<_> = if on_cpu {
        pieces.par_iter().map(piece).collect::<Result<_, _>>()?
    } else {
        pieces.iter().map(piece).collect::<Result<_, _>>()?
    };
    let mut all = Sha256::new();
    for (name, tensor) in tensors {
        all.update(format!("{name:?} {:?}\n", tensor.dims()));
    }
    for digest in digests {
        all.update(digest);
    }
    let hex = |mut text: String, byte: &u8| {
        let _ = write!(text, "{byte:02x}");
        text
    };
    Ok(all.finalize().iter().fold(String::new(), hex))
}

/// The bytes of a tensor's elements in their own type, little-endian.
fn bytes(tensor: &Tensor) -> Result<Vec<u8>, Error> {
    Ok(match tensor.dtype() {
        DType::BF16 => tensor.to_vec1::<bf16>()?.into_iter().flat_map(bf16::to_le_bytes).collect(),
        DType::F16 => tensor.to_vec1::<f16>()?.into_iter().flat_map(f16::to_le_bytes).collect(),
        _ => {
            let values = tensor.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            values.into_iter().flat_map(f32::to_le_bytes).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::params::Precision;

    #[test]
    fn the_digest_follows_every_frozen_number_and_no_trained_one() {
        let digest = |frozen: &[f32], trained: f32| {
            let tensors = [
                ("base", Tensor::new(frozen, &Device::Cpu).unwrap()),
                ("head", Tensor::new(&[trained], &Device::Cpu).unwrap()),
            ];
            let params = Params::new(tensors).unwrap().freeze("base").unwrap();
            super::digest(&params, &CancelToken::new()).unwrap().unwrap()
        };
        let mut base = vec![0.5; PIECE + 3];
        let first = digest(&base, 1.0);
        assert_eq!(digest(&base, 2.0), first);
        *base.last_mut().unwrap() = 0.25;
        assert_ne!(digest(&base, 1.0), first, "the last number of the last piece counts");
        let params = Params::new([("head", Tensor::new(&[1f32], &Device::Cpu).unwrap())]).unwrap();
        assert_eq!(super::digest(&params, &CancelToken::new()).unwrap(), None);
    }

    /// Frozen parameters are hashed in the type that they are held in, every bit of it.
    #[test]
    fn the_digest_follows_frozen_16_bit_floats() {
        let digest = |value: f32, precision: Precision| {
            let head = Tensor::new(&[1f32], &Device::Cpu).unwrap();
            let base = Tensor::new(&[0.5f32, value], &Device::Cpu).unwrap();
            let params = Params::new([("head", head)]).unwrap().precision(precision).unwrap();
            let params = params.with_frozen([("base", base)]).unwrap();
            super::digest(&params, &CancelToken::new()).unwrap().unwrap()
        };
        for precision in [Precision::Bf16, Precision::F16] {
            assert_ne!(digest(1.0, precision), digest(1.007_812_5, precision));
            assert_eq!(digest(1.0, precision), digest(1.0, precision));
        }
    }

    #[test]
    fn a_cancelled_run_hashes_nothing() {
        let tensor = Tensor::new(&[1f32], &Device::Cpu).unwrap();
        let params = Params::new([("base", tensor)]).unwrap().freeze("base").unwrap();
        let cancel = CancelToken::new();
        cancel.cancel();
        assert!(matches!(super::digest(&params, &cancel), Err(Error::Cancelled)));
    }
}
