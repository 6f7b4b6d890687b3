//! From sizes to tensors: the operations as the models of `benches/peers` call them.

use cog_train::anyhow::Result;
use cog_train::candle_core::{DType, Device, Error, Shape, Tensor, Var};
use cog_train::nn::{self, Conv2d, Embedding, LayerNorm, Linear, Mask, Node, RmsNorm, Rope};
use cog_train::rng::Rng;

use crate::case::{Case, Forward, Parts};
use crate::op::{Curve, HEAD, Kind, Op, Product, Sight, Way, lengths};

/// An operation that is ready to run, and the weights that it trains.
pub fn make(op: &Op) -> Result<(Case, Vec<Shape>)> {
    let mut maker = Maker { op: *op, made: 0, trained: Vec::new() };
    let (mut inputs, forward) = maker.parts()?;
    inputs.resize(3, Tensor::zeros((), DType::F32, &Device::Cpu)?);
    let parts = Parts { inputs, before: None, forward, shared: op.way == Way::Shared };
    let case = Case::new(match op.kind {
        Kind::Linear(Product { behind, .. }) => {
            Parts { before: behind.map(|curve| curve.function()), ..parts }
        }
        // The table is that of the output layer, whose gradient comes first.
        Kind::Embedding { tied: true, .. } => {
            maker.trained.clear();
            Parts { shared: true, ..parts }
        }
        _ => parts,
    })?;
    Ok((case, maker.trained))
}

struct Maker {
    op: Op,
    made: u64,
    trained: Vec<Shape>,
}

impl Maker {
    fn parts(&mut self) -> Result<(Vec<Tensor>, Forward)> {
        Ok(match self.op.kind {
            Kind::Linear(product) => self.linear(product)?,
            Kind::Adapter { rows, sizes: [inputs, rank, outputs] } => {
                let (x, to) = (self.input((rows, inputs))?, self.input((rows, outputs))?);
                let a = Linear::from_tensors(self.weight((rank, inputs))?, None);
                let b = Linear::from_tensors(self.weight((outputs, rank))?, None);
                (vec![x, to], forward(move |[x, to, _]| b.add_to(to, &a.forward(x)?, 2.0)))
            }
            Kind::Attention { batch, length, heads: [heads, kv_heads], sight, packed } => {
                let mask = mask(batch, length, sight)?;
                if packed {
                    let x = self.input((batch, length, (heads + 2 * kv_heads) * HEAD))?;
                    let seen =
                        move |[x, ..]: [&Node; 3]| nn::attention_packed(x, heads, kv_heads, &mask);
                    (vec![x], forward(seen))
                } else {
                    let mut part = |heads| self.input((batch, length, heads, HEAD));
                    let parts = vec![part(heads)?, part(kv_heads)?, part(kv_heads)?];
                    (parts, forward(move |[q, k, v]| nn::attention(q, k, v, &mask)))
                }
            }
            Kind::Apply { curve, rows, width } => {
                let function = curve.function();
                (vec![self.input((rows, width))?], forward(move |[x, ..]| function(x)))
            }
            Kind::SwiGlu { rows, width } => {
                let inputs = vec![self.input((rows, width))?, self.input((rows, width))?];
                (inputs, forward(|[gate, up, _]| nn::swiglu(gate, up)))
            }
            Kind::LayerNorm { rows, width } => {
                let norm = LayerNorm::from_tensors(self.weight(width)?, self.weight(width)?, 1e-5);
                (vec![self.input((rows, width))?], forward(move |[x, ..]| norm.forward(x)))
            }
            Kind::RmsNorm { rows, width } => {
                let norm = RmsNorm::from_tensors(self.weight(width)?, 1e-5);
                (vec![self.input((rows, width))?], forward(move |[x, ..]| norm.forward(x)))
            }
            Kind::Add { rows, width } => {
                let inputs = vec![self.input((rows, width))?, self.input((rows, width))?];
                (inputs, forward(|[one, other, _]| nn::add(one, other)))
            }
            Kind::Rope { batch, length, heads } => {
                let rope = Rope::new(HEAD, length, 10_000.0, &Device::Cpu)?;
                let x = self.input((batch, length, heads, HEAD))?;
                (vec![x], forward(move |[x, ..]| rope.forward(x)))
            }
            Kind::Embedding { rows, table: [count, width], .. } => {
                let table = Embedding::from_tensors(self.weight((count, width))?);
                (vec![ids(rows, count)?], forward(move |[ids, ..]| table.forward(ids)))
            }
            Kind::LinearCrossEntropy { rows, width, classes } => {
                let (weight, targets) = (self.weight((classes, width))?, ids(rows, classes)?);
                let loss =
                    move |[h, ..]: [&Node; 3]| nn::linear_cross_entropy(h, &weight, &targets);
                (vec![self.input((rows, width))?], forward(loss))
            }
            Kind::CrossEntropy { rows, classes } => {
                let targets = ids(rows, classes)?;
                let loss = move |[scores, ..]: [&Node; 3]| nn::cross_entropy(scores, &targets);
                (vec![self.input((rows, classes))?], forward(loss))
            }
            Kind::Conv { batch, side, channels: [from, to] } => {
                let (weight, bias) = (self.weight((to, from, 3, 3))?, self.weight(to)?);
                let conv = Conv2d::from_tensors(weight, Some(bias)).padding(1);
                let x = self.input((batch, from, side, side))?;
                (vec![x], forward(move |[x, ..]| conv.forward_relu(x)))
            }
            Kind::MaxPool { batch, side, channels } => {
                let x = self.input((batch, channels, side, side))?;
                (vec![x], forward(|[x, ..]| nn::max_pool2d(x, 2, 2, 0)))
            }
        })
    }

    fn linear(&mut self, product: Product) -> Result<(Vec<Tensor>, Forward)> {
        let Product { rows, inputs, outputs, bias, adds, behind } = product;
        let weight = self.weight((outputs, inputs))?;
        let bias = bias.then(|| self.weight(outputs)).transpose()?;
        let linear = Linear::from_tensors(weight, bias);
        let x = self.input((rows, behind.map_or(1, Curve::operands) * inputs))?;
        Ok(if adds {
            let to = self.input((rows, outputs))?;
            (vec![x, to], forward(move |[x, to, _]| linear.add_to(to, x, 1.0)))
        } else {
            (vec![x], forward(move |[x, ..]| linear.forward(x)))
        })
    }

    fn weight(&mut self, shape: impl Into<Shape>) -> Result<Tensor> {
        let weight = self.normal(shape, 0.02)?;
        if self.op.frozen {
            return Ok(weight);
        }
        self.trained.push(weight.shape().clone());
        Ok(Var::from_tensor(&weight)?.into_inner())
    }

    fn input(&mut self, shape: impl Into<Shape>) -> Result<Tensor> {
        let input = self.normal(shape, 1.0)?;
        let closed = self.op.way == Way::Closed;
        Ok(if closed { input } else { Var::from_tensor(&input)?.into_inner() })
    }

    fn normal(&mut self, shape: impl Into<Shape>, deviation: f64) -> Result<Tensor> {
        self.made += 1;
        let mut stream = Rng::new(0, "ops").at(self.made);
        Ok(stream.normal_tensor(shape, 0.0, deviation, DType::F32, &Device::Cpu)?)
    }
}

fn forward(work: impl Fn([&Node; 3]) -> Result<Node, Error> + 'static) -> Forward {
    Box::new(work)
}

fn ids(count: usize, below: usize) -> Result<Tensor> {
    let mut stream = Rng::new(0, "ids").at(0);
    let ids = (0..count).map(|_| u32::try_from(stream.below(below as u64)));
    Ok(Tensor::new(ids.collect::<Result<Vec<_>, _>>()?, &Device::Cpu)?)
}

fn mask(batch: usize, length: usize, sight: Sight) -> Result<Mask> {
    Ok(match sight {
        Sight::Causal => Mask::Causal,
        Sight::Padded => {
            let lengths = lengths(batch, length).into_iter().map(u32::try_from);
            let lengths = Tensor::new(lengths.collect::<Result<Vec<_>, _>>()?, &Device::Cpu)?;
            Mask::Padding { lengths, causal: false }
        }
    })
}
