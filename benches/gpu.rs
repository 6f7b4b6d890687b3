//! Operations on a GPU, forward and backward, at the shapes of a language model of 7 billion parameters: milliseconds,
//! bytes a second and operations a second of each. `gpu.py` is the same in PyTorch.
//!
//! ```text
//! cargo bench --features cuda --bench gpu [-- f32|bf16 [once]]           # once: for a profiler
//! COG_TRAIN_GPU_KERNELS=off cargo bench --features cuda --bench gpu    # by candle's own operations
//! ```
//!
//! An operation whose result has its operand's shape is done eight times in a row, each on the result of the one before,
//! within one trace; a loss and a table's rows once, with what candle does at the border of a trace (it makes a gradient
//! of zeros and adds).
//!
//! Bytes are the least that must move: each operand, result and gradient once in each pass that needs it. Operations
//! are those of products; attention's are six products of the pairs of query and key that see each other.

#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small counts"
)]

use std::time::Instant;

use cog_train::anyhow::{Context, Result};
use cog_train::candle_core::{
    self, CpuStorage, CudaStorage, CustomOp1, DType, Device, Error, Layout, Shape, Tensor, Var,
};
use cog_train::engine::{Gradients, Params};
use cog_train::nn::{self, Mask, Node, RmsNorm, Rope};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::rng::Rng;

const ROUNDS: usize = 7;
/// Operations in a row.
const CHAIN: usize = 8;
/// Calls of a round take about this long, so that the clock's own cost is nothing.
const ROUND_MS: f64 = 20.0;

/// Sizes: positions of a row, rows of a batch, width, width of the MLP, heads, vocabulary.
const T: usize = 2048;
const B: usize = 2;
const D: usize = 4096;
const FF: usize = 11008;
const H: usize = 32;
const VOCAB: usize = 32000;

fn main() -> Result<()> {
    let device = Device::new_cuda(0).context("no GPU could be opened")?;
    let asked = |name: &str| std::env::args().any(|argument| argument == name);
    let dtype = if asked("f32") { DType::F32 } else { DType::BF16 };
    let bench = Bench { device, dtype, once: asked("once") };
    let rows = [B * T, D];
    let (hd, size) = (D / H, dtype.size_in_bytes() as f64);
    let numbers = |shape: &[usize]| shape.iter().product::<usize>() as f64;

    let (x, weight) = (bench.var(&rows)?, bench.var(&[D])?);
    let norm = RmsNorm::from_tensors(weight.as_tensor().clone(), 1e-5);
    bench.of("rms_norm", ([&x], CHAIN), 5.0 * numbers(&rows) * size, 0.0, |[x]| norm.forward(x))?;
    let norm = nn::LayerNorm::from_tensors(
        weight.as_tensor().clone(),
        bench.var(&[D])?.into_inner(),
        1e-5,
    );
    bench
        .of("layer_norm", ([&x], CHAIN), 5.0 * numbers(&rows) * size, 0.0, |[x]| norm.forward(x))?;
    bench.of("gelu", ([&x], CHAIN), 5.0 * numbers(&rows) * size, 0.0, |[x]| nn::gelu(x))?;
    let stream = Rng::new(0, "dropout").at(0);
    bench.of("dropout", ([&x], CHAIN), 4.0 * numbers(&rows) * size, 0.0, |[x]| {
        nn::dropout(x, 0.1, stream.clone())
    })?;

    let wide = [B * T, FF];
    let (gate, up) = (bench.var(&wide)?, bench.var(&wide)?);
    bench.of("swiglu", ([&gate, &up], CHAIN), 8.0 * numbers(&wide) * size, 0.0, |[gate, up]| {
        nn::swiglu(gate, up)
    })?;

    let heads = [B, T, H, hd];
    let [q, k, v] = [bench.var(&heads)?, bench.var(&heads)?, bench.var(&heads)?];
    let rope = Rope::new(hd, T, 10_000.0, &bench.device)?;
    bench.of("rope", ([&q], CHAIN), 4.0 * numbers(&heads) * size, 0.0, |[q]| rope.forward(q))?;
    let pairs = (B * H * T * T) as f64 / 2.0;
    let products = 6.0 * 2.0 * pairs * hd as f64;
    let bytes = 11.0 * numbers(&heads) * size;
    bench.of("attention", ([&q, &k, &v], CHAIN), bytes, products, |[q, k, v]| {
        nn::attention(q, k, v, &Mask::Causal)
    })?;

    let (head, table) = (bench.var(&[VOCAB, D])?, bench.var(&[VOCAB, D])?);
    let ids: Vec<u32> = (0..B * T).map(|at| (at * 7919 % VOCAB) as u32).collect();
    let ids = Tensor::new(ids, &bench.device)?;
    let looked_up = (3 * B * T + VOCAB) as f64 * D as f64 * size;
    bench.of("embedding", ([&ids], 1), looked_up, 0.0, |[ids]| {
        nn::Embedding::from_tensors(table.as_tensor().clone()).forward(ids)
    })?;
    let scores = [B * T, VOCAB];
    let logits = bench.var(&scores)?;
    bench.of("cross_entropy", ([&logits], 1), 4.0 * numbers(&scores) * size, 0.0, |[logits]| {
        nn::cross_entropy(logits, &ids)
    })?;
    let products = 3.0 * 2.0 * numbers(&scores) * D as f64;
    bench.of("linear_cross_entropy", ([&x], 1), 0.0, products, |[x]| {
        nn::linear_cross_entropy(x, head.as_tensor(), &ids)
    })?;

    bench.adamw()
}

struct Bench {
    device: Device,
    dtype: DType,
    once: bool,
}

impl Bench {
    /// Normal numbers: a million of them, again and again.
    fn tensor(&self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let count: usize = shape.iter().product();
        let drawn = Rng::new(1, "bench").at(count as u64).normal_tensor(
            1 << 20,
            0.0,
            1.0,
            DType::F32,
            &Device::Cpu,
        )?;
        let parts = vec![drawn.to_device(&self.device)?.to_dtype(dtype)?; count.div_ceil(1 << 20)];
        Ok(Tensor::cat(&parts, 0)?.narrow(0, 0, count)?.reshape(shape)?)
    }

    fn var(&self, shape: &[usize]) -> Result<Var> {
        Ok(Var::from_tensor(&self.tensor(shape, self.dtype)?)?)
    }

    /// Times a function of tensors and its way back: `calls` of them in a row.
    fn of<const N: usize>(
        &self,
        name: &str,
        (operands, calls): ([&Tensor; N], usize),
        bytes: f64,
        products: f64,
        compute: impl Fn([&Node; N]) -> Result<Node, Error>,
    ) -> Result<()> {
        let run = || {
            nn::trace(operands, |mut nodes| {
                for _ in 1..calls {
                    nodes[0] = compute(nodes.each_ref())?;
                }
                compute(nodes.each_ref())
            })
        };
        let y = run()?;
        let gradient = self.tensor(y.dims(), y.dtype())?;
        self.time((name, calls), bytes, products, || {
            run()?.apply_op1(Seed(gradient.clone()))?.backward()?;
            Ok(())
        })
    }

    /// An update of 16 matrices of 4096 x 4096.
    fn adamw(&self) -> Result<()> {
        let names = || (0..16).map(|at| format!("layer{at:02}.weight"));
        let tensors: Vec<_> = names()
            .map(|name| Ok((name, self.tensor(&[D, D], DType::F32)?)))
            .collect::<Result<_>>()?;
        let params = Params::new(tensors.iter().cloned())?;
        let gradients: Gradients = tensors.into_iter().collect();
        let mut optimizer = Optimizer::new(AdamW::default());
        optimizer.prepare(&params)?;
        self.time(("adamw", 1), 7.0 * 4.0 * 16.0 * (D * D) as f64, 0.0, || {
            Ok(optimizer.step(&params, &gradients, 1, 1e-3, 1.0)?)
        })
    }

    fn time(
        &self,
        (name, operations): (&str, usize),
        bytes: f64,
        products: f64,
        mut call: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let mut round = |calls: usize| -> Result<f64> {
            self.device.synchronize()?;
            let begin = Instant::now();
            for _ in 0..calls {
                call()?;
            }
            self.device.synchronize()?;
            Ok(begin.elapsed().as_secs_f64() * 1e3 / calls as f64)
        };
        let first = round(1)?;
        if self.once {
            println!("{name:<22} {first:>9.4} ms at first");
            return Ok(());
        }
        let calls = ((ROUND_MS / round(2)?) as usize).clamp(1, 200);
        let mut times = (0..ROUNDS).map(|_| round(calls)).collect::<Result<Vec<_>>>()?;
        times.sort_unstable_by(f64::total_cmp);
        let ms = times[ROUNDS / 2] / operations as f64;
        println!(
            "{name:<22} {ms:>9.4} ms {:>8.0} GB/s {:>7.1} TFLOP/s",
            bytes / ms / 1e6,
            products / ms / 1e9
        );
        Ok(())
    }
}

/// Gives a gradient to what it is applied to, for nothing.
struct Seed(Tensor);

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    fn cuda_fwd(
        &self,
        storage: &CudaStorage,
        _: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let number = storage.device.alloc_zeros::<f32>(1)?;
        Ok((CudaStorage::wrap_cuda_slice(number, storage.device.clone()), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}
