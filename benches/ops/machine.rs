//! Peak throughput of the machine: products, and bytes of memory.

use std::hint::black_box;
use std::time::Instant;

use cog_train::anyhow::Result;
use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::nn::Linear;
use cog_train::rng::Rng;
use rayon::prelude::*;

const SIDE: usize = 2048;
/// 256 MB of 32-bit floats: more than the caches hold.
const NUMBERS: usize = 64 << 20;
const CHUNK: usize = 16 * 1024;

pub struct Machine {
    matrices: [Tensor; 2],
    numbers: Vec<f32>,
    /// Floating-point operations a second, the best so far.
    pub products: f64,
    /// Bytes a second, read and written, the best so far.
    pub memory: f64,
}

impl Machine {
    pub fn new() -> Result<Self> {
        let matrix = |at| {
            let mut stream = Rng::new(0, "peak").at(at);
            stream.normal_tensor((SIDE, SIDE), 0.0, 1.0, DType::F32, &Device::Cpu)
        };
        let matrices = [matrix(0)?, matrix(1)?];
        let mut machine =
            Self { matrices, numbers: vec![1.0; NUMBERS], products: 0.0, memory: 0.0 };
        for _ in 0..3 {
            machine.measure()?;
        }
        Ok(machine)
    }

    /// Measures once more.
    pub fn measure(&mut self) -> Result<()> {
        let [a, b] = &self.matrices;
        let linear = Linear::from_tensors(b.clone(), None);
        let products = [seconds(|| Ok(a.matmul(b)?))?, seconds(|| Ok(linear.forward(a)?))?];
        let numbers = &mut self.numbers;
        let pass = seconds(|| {
            numbers.par_chunks_mut(CHUNK).for_each(|chunk| {
                for number in chunk {
                    *number += 1.0;
                }
            });
            black_box(numbers);
            Ok(())
        })?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let (operations, bytes) = (2.0 * SIDE.pow(3) as f64, 2.0 * 4.0 * NUMBERS as f64);
        self.products = self.products.max(operations / products[0].min(products[1]));
        self.memory = self.memory.max(bytes / pass);
        Ok(())
    }
}

fn seconds<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let begin = Instant::now();
    let made = work()?;
    let seconds = begin.elapsed().as_secs_f64();
    drop(made);
    Ok(seconds)
}
