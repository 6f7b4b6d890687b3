//! J1: GPT-2's block with a tied output layer.

use cog_train::anyhow::Result;
use cog_train::candle_core::{DType, Device, Error, Tensor};
use cog_train::engine::{Loss, Params};
use cog_train::nn::{self, Embedding, LayerNorm, Linear, Mask, Node, gelu};
use cog_train::rng::Rng;

use super::{Model, Tensors, layer_norm, linear, positions, tensor};
use crate::data::Batch;

#[derive(Clone, Copy)]
pub struct Shape {
    pub layers: usize,
    pub width: usize,
    pub heads: usize,
}

pub const J1: Shape = Shape { layers: 6, width: 384, heads: 6 };
const EPSILON: f64 = 1e-5;

pub struct Gpt {
    tokens: Tensor,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

struct Block {
    heads: usize,
    ln1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    ln2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Gpt {
    pub fn new(shape: Shape, tensors: &Tensors) -> Result<Self> {
        let block = |at| Block::new(shape.heads, tensors, &format!("blocks.{at}"));
        Ok(Self {
            tokens: tensor(tensors, "wte.weight")?,
            positions: Embedding::from_tensors(tensor(tensors, "wpe.weight")?),
            blocks: (0..shape.layers).map(block).collect::<Result<_>>()?,
            norm: layer_norm(tensors, "lnf", EPSILON)?,
        })
    }
}

impl Model for Gpt {
    fn loss(&self, batch: &Batch) -> Result<Loss> {
        let (ids, targets) = (&batch["inputs"], &batch["targets"]);
        let sum = nn::trace([ids, &positions(ids)?], |[ids, positions]| {
            let tokens = Embedding::from_tensors(self.tokens.clone()).forward(&ids)?;
            let mut x = nn::add(&tokens, &self.positions.forward(&positions)?)?;
            drop(tokens);
            for block in &self.blocks {
                x = block.forward(&x)?;
            }
            nn::linear_cross_entropy(&self.norm.forward(&x)?, &self.tokens, targets)
        })?;
        Ok(Loss::sum(sum, targets.elem_count())?)
    }
}

impl Block {
    fn new(heads: usize, tensors: &Tensors, name: &str) -> Result<Self> {
        Ok(Self {
            heads,
            ln1: layer_norm(tensors, &format!("{name}.ln1"), EPSILON)?,
            qkv: linear(tensors, &format!("{name}.qkv"))?,
            proj: linear(tensors, &format!("{name}.proj"))?,
            ln2: layer_norm(tensors, &format!("{name}.ln2"), EPSILON)?,
            fc1: linear(tensors, &format!("{name}.fc1"))?,
            fc2: linear(tensors, &format!("{name}.fc2"))?,
        })
    }

    fn forward(&self, x: &Node) -> Result<Node, Error> {
        let qkv = self.qkv.forward(&self.ln1.forward(x)?)?;
        let seen = nn::attention_packed(&qkv, self.heads, self.heads, &Mask::Causal)?;
        let x = self.proj.add_to(x, &seen, 1.0)?;
        let hidden = gelu(&self.fc1.forward(&self.ln2.forward(&x)?)?)?;
        self.fc2.add_to(&x, &hidden, 1.0)
    }
}

impl Shape {
    /// Matrices from a normal of deviation 0.02, biases zero, scales of norms 1.
    pub fn random(self, vocab: usize, length: usize) -> Result<Params> {
        let Self { width, .. } = self;
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        let mut streams = (0..).map(|at| Rng::new(0, "init").at(at));
        let mut matrix = |name: String, rows: usize, columns: usize| -> Result<()> {
            let mut stream = streams.next().expect("it has no end");
            let values =
                stream.normal_tensor((rows, columns), 0.0, 0.02, DType::F32, &Device::Cpu)?;
            tensors.push((name, values));
            Ok(())
        };
        matrix("wte.weight".to_owned(), vocab, width)?;
        matrix("wpe.weight".to_owned(), length, width)?;
        let linears = [("qkv", 3, 1), ("proj", 1, 1), ("fc1", 4, 1), ("fc2", 1, 4)];
        for at in 0..self.layers {
            for (name, outputs, inputs) in linears {
                matrix(format!("blocks.{at}.{name}.weight"), outputs * width, inputs * width)?;
            }
        }
        let mut vector = |name: String, count: usize, value: f32| -> Result<()> {
            tensors.push((name, Tensor::full(value, count, &Device::Cpu)?));
            Ok(())
        };
        for at in 0..self.layers {
            for (name, outputs, _) in linears {
                vector(format!("blocks.{at}.{name}.bias"), outputs * width, 0.0)?;
            }
        }
        let norms = (0..self.layers)
            .flat_map(|at| ["ln1", "ln2"].map(|name| format!("blocks.{at}.{name}")))
            .chain(["lnf".to_owned()]);
        for norm in norms {
            vector(format!("{norm}.weight"), width, 1.0)?;
            vector(format!("{norm}.bias"), width, 0.0)?;
        }
        Ok(Params::new(tensors)?)
    }
}
