use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device};

use super::super::{Saved, training};
use super::*;
use crate::{Dropout, Init, Linear, RmsNorm, Rng, gelu};

/// An MLP whose inner values are wide.
#[derive(Clone)]
struct Mlp {
    norm: RmsNorm,
    up: Linear,
    dropout: Dropout,
    down: Linear,
    runs: Arc<AtomicUsize>,
}

/// The source of the inner values in the backward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Inner {
    Kept,
    Recomputed,
    /// Within a layer that is recomputed as a whole.
    Nested,
}

impl Mlp {
    fn new() -> Self {
        let init = Init::random(Rng::new(7, "mlp"), &Device::Cpu);
        Self {
            norm: RmsNorm::new(&init.at("norm"), 6, 1e-6).unwrap(),
            up: Linear::new(&init.at("up"), 6, 40).unwrap(),
            dropout: Dropout::new(&init.at("inner"), 0.3).unwrap(),
            down: Linear::new(&init.at("down"), 40, 6).unwrap(),
            runs: Arc::default(),
        }
    }

    fn inner(&self, x: &Node) -> Result<Node, Error> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.dropout.forward(&gelu(&self.up.forward(&self.norm.forward(x)?)?)?)
    }

    fn forward(&self, x: &Node, inner: Inner) -> Result<Node, Error> {
        let mlp = self.clone();
        let inner = match inner {
            Inner::Kept => mlp.inner(x)?,
            _ => recompute_with_result(x, move |x| mlp.inner(x))?,
        };
        self.down.add_to(x, &inner, 1.0)
    }

    fn parameters(&self) -> [Tensor; 5] {
        let weight = |linear: &Linear| linear.weight().tensor().unwrap().clone();
        let bias = |linear: &Linear| linear.bias().unwrap().clone();
        let (up, down) = (&self.up, &self.down);
        [self.norm.weight().clone(), weight(up), bias(up), weight(down), bias(down)]
    }

    /// The gradients of two layers in a row, of the input first, and the runs of their inner values.
    fn gradients(&self, inner: Inner) -> (Vec<Vec<f32>>, usize) {
        let mut stream = Rng::new(7, "x").at(0);
        let x = stream.normal_tensor((9, 6), 0.0, 1.0, DType::F32, &Device::Cpu).unwrap();
        let x = Var::from_tensor(&x).unwrap();
        self.runs.store(0, Ordering::Relaxed);
        let store = training(42, 3, || {
            let y = trace([x.as_tensor()], |[x]| {
                let layer = |x: &Node| {
                    let mlp = self.clone();
                    if inner == Inner::Nested {
                        return recompute(x, move |x| mlp.forward(x, inner));
                    }
                    mlp.forward(x, inner)
                };
                layer(&layer(&x)?)
            })?;
            y.sqr()?.sum_all()?.backward()
        });
        let store = store.unwrap();
        let values = |tensor: &Tensor| {
            let gradient = store.get(tensor).expect("a gradient");
            gradient.flatten_all().unwrap().to_vec1().unwrap()
        };
        let all = [x.as_tensor().clone()].into_iter().chain(self.parameters());
        (all.map(|tensor| values(&tensor)).collect(), self.runs.load(Ordering::Relaxed))
    }
}

/// Bit for bit, under dropout, and in two runs of each block: the second one serves the layer behind the block too, and a
/// block within another has none of its own.
#[test]
fn gradients_of_a_block_without_its_result_equal_those_of_a_kept_one() {
    let mlp = Mlp::new();
    let (expected, runs) = mlp.gradients(Inner::Kept);
    assert_eq!(runs, 2);
    assert!(expected.iter().flatten().all(|gradient| gradient.is_finite()));
    for inner in [Inner::Recomputed, Inner::Nested] {
        let (found, runs) = mlp.gradients(inner);
        assert_eq!(found, expected, "{inner:?}");
        assert_eq!(runs, 4, "{inner:?}");
    }
}

/// A frozen layer behind the block asks for no result, and the block's own backward step runs it.
#[test]
fn a_block_whose_result_nobody_needs_is_run_again_once() {
    let mut mlp = Mlp::new();
    let frozen = |tensor: &Tensor| tensor.detach();
    let bias = mlp.down.bias().map(frozen);
    mlp.down = Linear::from_tensors(mlp.down.weight().tensor().map(frozen).unwrap(), bias);
    let gradient = |inner| {
        let x = Var::ones((3, 6), DType::F32, &Device::Cpu).unwrap();
        mlp.runs.store(0, Ordering::Relaxed);
        let y = trace([x.as_tensor()], |[x]| mlp.forward(&x, inner)).unwrap();
        let store = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let runs = mlp.runs.load(Ordering::Relaxed);
        (store.get(&x).unwrap().to_vec2::<f32>().unwrap(), runs)
    };
    let (expected, runs) = gradient(Inner::Kept);
    assert_eq!((runs, gradient(Inner::Recomputed)), (1, (expected, 2)));
}

#[test]
fn the_result_is_not_saved() {
    let mlp = Mlp::new();
    let x = Tensor::ones((3, 6), DType::F32, &Device::Cpu).unwrap();
    let saves = |inner: Inner| {
        let mut saves = false;
        trace([&x], |[x]| {
            let mlp = mlp.clone();
            let y = match inner {
                Inner::Recomputed => recompute_with_result(&x, move |x| mlp.up.forward(x))?,
                _ => mlp.up.forward(&x)?,
            };
            saves = matches!(y.saved(), Saved::Tensor(_));
            Ok(y)
        })
        .unwrap();
        saves
    };
    assert!(saves(Inner::Kept) && !saves(Inner::Recomputed));
}
