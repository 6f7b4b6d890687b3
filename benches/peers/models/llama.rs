//! J5, and J2 where the tensors have LoRA's matrices: then only those are trained.

use cog_train::anyhow::Result;
use cog_train::candle_core::{Error, Tensor};
use cog_train::engine::Loss;
use cog_train::nn::{self, Embedding, Linear, Mask, Node, RmsNorm, Rope, swiglu};

use super::{Model, Tensors, plain, rms_norm, tensor};
use crate::data::Batch;

#[derive(Clone, Copy)]
pub struct Shape {
    layers: usize,
    width: usize,
    heads: usize,
    kv_heads: usize,
    length: usize,
    /// The factor of the LoRA update: alpha over the rank.
    lora: Option<f32>,
}

pub const J5: Shape =
    Shape { layers: 6, width: 384, heads: 6, kv_heads: 2, length: 256, lora: None };
pub const J2: Shape = Shape { lora: Some(16.0 / 8.0), ..J5 };

pub struct Llama {
    tokens: Embedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Tensor,
    rope: Rope,
}

struct Block {
    shape: Shape,
    ln1: RmsNorm,
    q: Adapted,
    k: Linear,
    v: Adapted,
    o: Linear,
    ln2: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// A linear layer, with LoRA's two matrices and their scale where the job has them.
struct Adapted {
    base: Linear,
    lora: Option<(Linear, Linear, f32)>,
}

impl Llama {
    pub fn new(shape: Shape, tensors: &Tensors) -> Result<Self> {
        let block = |at| Block::new(shape, tensors, &format!("blocks.{at}"));
        let tokens = tensor(tensors, "emb.weight")?;
        let head = shape.width / shape.heads;
        let rope = Rope::new(head, shape.length, 10_000.0, tokens.device())?;
        Ok(Self {
            tokens: Embedding::from_tensors(tokens),
            blocks: (0..shape.layers).map(block).collect::<Result<_>>()?,
            norm: rms_norm(tensors, "norm")?,
            head: tensor(tensors, "head.weight")?,
            rope,
        })
    }
}

impl Model for Llama {
    fn loss(&self, batch: &Batch) -> Result<Loss> {
        let (ids, targets) = (&batch["inputs"], &batch["targets"]);
        let sum = nn::trace([ids], |[ids]| {
            let mut x = self.tokens.forward(&ids)?;
            for block in &self.blocks {
                x = block.forward(&x, &self.rope)?;
            }
            nn::linear_cross_entropy(&self.norm.forward(&x)?, &self.head, targets)
        })?;
        Ok(Loss::sum(sum, targets.elem_count())?)
    }
}

impl Block {
    fn new(shape: Shape, tensors: &Tensors, name: &str) -> Result<Self> {
        let linear = |part| plain(tensors, &format!("{name}.{part}"));
        let adapted = |part| Adapted::new(shape.lora, tensors, &format!("{name}.{part}"));
        Ok(Self {
            shape,
            ln1: rms_norm(tensors, &format!("{name}.ln1"))?,
            q: adapted("q")?,
            k: linear("k")?,
            v: adapted("v")?,
            o: linear("o")?,
            ln2: rms_norm(tensors, &format!("{name}.ln2"))?,
            gate: linear("gate")?,
            up: linear("up")?,
            down: linear("down")?,
        })
    }

    fn forward(&self, x: &Node, rope: &Rope) -> Result<Node, Error> {
        let &Shape { width, heads, kv_heads, .. } = &self.shape;
        let (rows, length) = (x.dims()[0], x.dims()[1]);
        let split = |x: &Node, heads| nn::reshape(x, (rows, length, heads, ()));
        let normal = self.ln1.forward(x)?;
        let q = rope.forward(&split(&self.q.forward(&normal)?, heads)?)?;
        let k = rope.forward(&split(&self.k.forward(&normal)?, kv_heads)?)?;
        let v = split(&self.v.forward(&normal)?, kv_heads)?;
        let seen = nn::attention(&q, &k, &v, &Mask::Causal)?;
        let x = self.o.add_to(x, &nn::reshape(&seen, (rows, length, width))?, 1.0)?;
        let normal = self.ln2.forward(&x)?;
        let hidden = swiglu(&self.gate.forward(&normal)?, &self.up.forward(&normal)?)?;
        self.down.add_to(&x, &hidden, 1.0)
    }
}

impl Adapted {
    fn new(scale: Option<f32>, tensors: &Tensors, name: &str) -> Result<Self> {
        let Some(scale) = scale else {
            return Ok(Self { base: plain(tensors, name)?, lora: None });
        };
        let matrix = |part| -> Result<_> {
            Ok(Linear::from_tensors(tensor(tensors, &format!("{name}.{part}"))?, None))
        };
        Ok(Self {
            base: plain(tensors, &format!("{name}.base"))?,
            lora: Some((matrix("a")?, matrix("b")?, scale)),
        })
    }

    fn forward(&self, x: &Node) -> Result<Node, Error> {
        let y = self.base.forward(x)?;
        match &self.lora {
            Some((a, b, scale)) => b.add_to(&y, &a.forward(x)?, *scale),
            None => Ok(y),
        }
    }
}
