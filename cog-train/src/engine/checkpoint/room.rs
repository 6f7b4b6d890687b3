//! Memory for the copies that checkpoints are written from.

use std::collections::BTreeMap;

use candle_core::{CpuStorage, DType, Tensor};

use super::pace::Pace;

/// Memory by file and tensor. What is in it is anything.
pub(super) type Room = BTreeMap<String, BTreeMap<String, CpuStorage>>;

/// How many numbers are touched at a time.
const PIECE: usize = 1 << 16;

/// Room that is to be made: file, name, and how many numbers.
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
    pub(super) fn make(self, pace: &Pace) -> Room {
        let mut room = Room::new();
        for (file, name, count) in self.0 {
            // Behind a wall, for zeros written over zeros are no work to the compiler.
            let mut memory = std::hint::black_box(vec![0_f32; count]);
            for piece in memory.chunks_mut(PIECE) {
                if pace.is_waited_for() {
                    return room;
                }
                piece.fill(0.0);
                pace.rest();
            }
            room.entry(file).or_default().insert(name, CpuStorage::F32(memory));
        }
        room
    }
}
