//! Memory for the copies that checkpoints are written from.

use std::collections::BTreeMap;

use candle_core::{CpuStorage, DType, Tensor};

use super::pace::Pace;

/// Memory by file and tensor. What is in it is anything.
pub(super) type Reserve = BTreeMap<String, BTreeMap<String, CpuStorage>>;

/// How many numbers are touched at a time.
const PIECE: usize = 1 << 16;

/// What is to be made: file, name, and how many numbers.
pub(super) struct Wanted(Vec<(String, String, usize)>);

impl Wanted {
    /// For copies of these; `None` where none of them would use it. What comes from another device has memory already.
    pub(super) fn of(files: &BTreeMap<String, BTreeMap<String, Tensor>>) -> Option<Self> {
        let mut wanted = Vec::new();
        for (file, tensors) in files {
            let uses = |tensor: &Tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32;
            for (name, tensor) in tensors.iter().filter(|(_, tensor)| uses(tensor)) {
                wanted.push((file.clone(), name.clone(), tensor.elem_count()));
            }
        }
        (!wanted.is_empty()).then_some(Self(wanted))
    }

    /// Makes it, as far as it comes before somebody waits for it. The system gives memory when it is first touched, and
    /// takes its time.
    pub(super) fn make(self, pace: &Pace) -> Reserve {
        let mut reserve = Reserve::new();
        for (file, name, count) in self.0 {
            if pace.is_waited_for() {
                break;
            }
            // Behind a wall, for zeros written over zeros are no work to the compiler.
            let mut memory = std::hint::black_box(vec![0_f32; count]);
            for piece in memory.chunks_mut(PIECE) {
                if pace.is_waited_for() {
                    break;
                }
                piece.fill(0.0);
                pace.rest();
            }
            reserve.entry(file).or_default().insert(name, CpuStorage::F32(memory));
        }
        reserve
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn what_copies_will_use_is_made_until_somebody_waits() {
        let tensor = |dims: &[usize], dtype| Tensor::zeros(dims, dtype, &Device::Cpu).unwrap();
        let weights = BTreeMap::from([
            ("large".to_owned(), tensor(&[3, 50_000], DType::F32)),
            ("scalar".to_owned(), tensor(&[], DType::F32)),
            ("whole".to_owned(), tensor(&[4], DType::I64)),
        ]);
        let files = BTreeMap::from([("weights".to_owned(), weights)]);
        let pace = Pace::default();
        let reserve = Wanted::of(&files).unwrap().make(&pace);
        let lengths = reserve["weights"].iter().map(|(name, memory)| match memory {
            CpuStorage::F32(memory) => (name.as_str(), memory.len()),
            other => panic!("{other:?}"),
        });
        assert!(lengths.eq([("large", 150_000), ("scalar", 1)]));

        pace.hurry();
        assert!(Wanted::of(&files).unwrap().make(&pace).is_empty());
        assert!(Wanted::of(&BTreeMap::new()).is_none());
    }
}
