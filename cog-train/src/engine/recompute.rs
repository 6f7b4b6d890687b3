//! Activation checkpointing: inside of a block nothing is kept, and the backward pass computes the block again (Chen et
//! al., "Training Deep Nets with Sublinear Memory Cost", 2016).
//!
//! The forward pass runs the block on a copy of its input that belongs to no graph, and hands out its result as a new
//! leaf. Backward, from the last block to the first: the block is computed again with a graph, and its gradient starts
//! from what arrived at the leaf. Gradients are the same bits as those of the plain way, but for a parameter that is used both inside
//! and outside of blocks and gathers three or more parts of its gradient: those are added in another order.

use std::fmt;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::error::Error;

type Block = Box<dyn Fn(&Tensor) -> anyhow::Result<Tensor>>;

/// A block whose inside was not kept.
pub(super) struct Segment {
    /// What the block was called with; gradients go on from here.
    source: Tensor,
    /// What it gave, as a leaf that gathers the gradient.
    output: Var,
    block: Block,
}

impl Segment {
    /// Runs the block; the graph inside it is dropped. Gives the output too.
    pub(super) fn new(x: &Tensor, block: Block) -> anyhow::Result<(Self, Tensor)> {
        let output = Var::from_tensor(&block(&x.detach())?.detach())?;
        let leaf = output.as_tensor().clone();
        Ok((Self { source: x.clone(), output, block }, leaf))
    }

    /// Takes the output's gradient out of `gradients` and puts in those of the block's parameters and of its input.
    pub(super) fn backward(self, gradients: &mut GradStore) -> anyhow::Result<()> {
        let Some(gradient) = gradients.remove(&self.output) else { return Ok(()) };
        let input = Var::from_tensor(&self.source.detach())?;
        let output = (self.block)(input.as_tensor())?;
        let mut inner = seeded(&output, &gradient)?;
        let gradient = inner.remove(&input);
        move_leaves(&output, inner, gradients)?;
        let Some(gradient) = gradient else { return Ok(()) };
        if self.source.is_variable() {
            add(gradients, &self.source, gradient)?;
        } else {
            let inner = seeded(&self.source, &gradient)?;
            move_leaves(&self.source, inner, gradients)?;
        }
        Ok(())
    }
}

/// The backward pass from a tensor whose gradient is known. The gradient of a sum is one everywhere, and one times a
/// number is that number, bit for bit.
fn seeded(output: &Tensor, gradient: &Tensor) -> Result<GradStore, Error> {
    backward(&(output * gradient)?.sum_all()?)
}

/// The backward pass from `root`, with gradients that hold nothing but themselves.
///
/// candle's gradient of a weight remembers what it was computed from, which is the activations: as long as one gradient
/// is kept, none of them is given back.
pub(super) fn backward(root: &Tensor) -> Result<GradStore, Error> {
    let mut gradients = root.backward()?;
    for leaf in root.sorted_nodes().into_iter().filter(|node| node.is_variable()) {
        if let Some(gradient) = gradients.remove(leaf) {
            gradients.insert(leaf, gradient.detach());
        }
    }
    Ok(gradients)
}

/// Moves the gradients of the leaves under `root`. Those of what lies between would keep its memory.
fn move_leaves(root: &Tensor, mut from: GradStore, to: &mut GradStore) -> Result<(), Error> {
    for leaf in root.sorted_nodes().into_iter().filter(|node| node.is_variable()) {
        if let Some(gradient) = from.remove(leaf) {
            add(to, leaf, gradient)?;
        }
    }
    Ok(())
}

fn add(gradients: &mut GradStore, leaf: &Tensor, gradient: Tensor) -> Result<(), Error> {
    let sum = match gradients.remove(leaf) {
        Some(sum) => (sum + gradient)?,
        None => gradient,
    };
    gradients.insert(leaf, sum);
    Ok(())
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("output", &self.output.shape()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{D, DType, Device};

    use super::super::context::StepContext;
    use super::*;
    use cog_train_nn::rng::Rng;

    /// Blocks with a norm, a residual path and dropout, over an embedding that is trained too.
    /// `kept` computes the plain way.
    fn gradients(blocks: usize, kept: bool) -> (Vec<Vec<u8>>, f32) {
        let device = Device::Cpu;
        let draw = |at, shape: &[usize]| {
            let tensor =
                Rng::new(1, "test").at(at).normal_tensor(shape, 0.0, 0.3, DType::F32, &device);
            Var::from_tensor(&tensor.unwrap()).unwrap()
        };
        let (embedding, head) = (draw(0, &[11, 16]), draw(99, &[16, 11]));
        let weights: Vec<(Var, Var)> = (0..blocks as u64)
            .map(|at| (draw(2 * at + 1, &[16, 32]), draw(2 * at + 2, &[32, 16])))
            .collect();
        let tokens = Tensor::new(&[3u32, 1, 4, 1, 5, 9, 2, 6], &device).unwrap();
        let context = StepContext::training(7, 3, 0);
        let mut x = embedding.index_select(&tokens, 0).unwrap();
        for (at, (up, down)) in weights.iter().enumerate() {
            let (up, down) = (up.as_tensor().clone(), down.as_tensor().clone());
            let mask = context
                .stream("dropout", at as u64)
                .uniform_tensor((8, 32), 0.0, 1.0, DType::F32, &device)
                .unwrap()
                .ge(0.25)
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap();
            let block = move |x: &Tensor| -> anyhow::Result<Tensor> {
                let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
                let inner = (x.broadcast_div(&scale)?.matmul(&up)?.silu()? * &mask)?;
                Ok((x + inner.matmul(&down)?)?)
            };
            x = if kept { block(&x).unwrap() } else { context.recompute(&x, block).unwrap() };
        }
        let logits = x.matmul(&head).unwrap();
        let loss = logits.sqr().unwrap().sum_all().unwrap();
        let store = context.backward(&loss).unwrap();
        let vars = weights.iter().flat_map(|(up, down)| [up, down]).chain([&embedding, &head]);
        let bytes = vars.map(|var| {
            let gradient = store.get(var).unwrap();
            assert!(!gradient.track_op(), "it would keep what it was computed from");
            let numbers = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        });
        (bytes.collect(), loss.to_scalar().unwrap())
    }

    #[test]
    fn gradients_are_those_of_the_plain_way_bit_for_bit() {
        for blocks in [1, 2, 5] {
            let (plain, again) = (gradients(blocks, true), gradients(blocks, false));
            assert_eq!(plain.1.to_bits(), again.1.to_bits());
            assert!(plain.0 == again.0, "{blocks} blocks");
            assert!(plain.0.iter().all(|bytes| bytes.iter().any(|byte| *byte != 0)));
        }
    }

    #[test]
    fn what_skips_a_block_and_what_two_blocks_share_adds_up() {
        let device = Device::Cpu;
        let w = Var::new(&[2f32, -3.0], &device).unwrap();
        let context = StepContext::training(0, 0, 0);
        let tensor = w.as_tensor().clone();
        let x = (w.as_tensor() * 3.0).unwrap();
        let square = |w: Tensor| move |x: &Tensor| Ok((x.sqr()? * &w)?);
        let one = context.recompute(&x, square(tensor.clone())).unwrap();
        let two = context.recompute(&one, square(tensor.clone())).unwrap();
        let loss = ((two + one).unwrap() + x).unwrap().sum_all().unwrap();
        let gradient = context.backward(&loss).unwrap().get(&w).unwrap().to_vec1::<f32>().unwrap();
        // 81 w^7 + 9 w^3 + 3 w
        let expected = [2f32, -3.0].map(|w| 567.0 * w.powi(6) + 27.0 * w.powi(2) + 3.0);
        assert_eq!(gradient, expected);
    }
}
