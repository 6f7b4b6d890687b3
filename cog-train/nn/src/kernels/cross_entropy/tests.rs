#![expect(clippy::excessive_precision, reason = "the digits that PyTorch prints")]

use candle_core::Device;

use super::super::parity;
use super::weighted::{Expected, reference};
use super::*;
use crate::kernels::tape::trace;

fn fast(logits: &Tensor, targets: &Tensor) -> Result<Tensor, Error> {
    trace([logits], |[logits]| forward(&logits, targets))
}

#[test]
fn fast_path_equals_reference() {
    for (n, classes) in [(1, 1), (5, 3), (70, 33), (3, 1001)] {
        let mut targets: Vec<u32> = (0..n).map(|at| at * 7 % classes).collect();
        targets[n as usize / 2] = if n > 1 { IGNORED } else { 0 };
        let tensor = Tensor::new(targets.as_slice(), &Device::Cpu).unwrap();
        let logits = parity::draw(&[n as usize, classes as usize], 0);
        // The loss of 16-bit scores is of 32 bits; here it is rounded for the comparison's sake.
        let rounded = |[x]: [&Tensor; 1]| fast(x, &tensor)?.to_dtype(x.dtype());
        parity::check([&logits], rounded, |[x]| reference::forward(x, &targets));
        parity::threads([&logits], rounded);
    }
}

/// ```python
/// import torch
/// x = torch.tensor([[1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0], [0.5, -0.5, 0.25]], requires_grad=True)
/// y = torch.nn.functional.cross_entropy(x, torch.tensor([0, 1, -100]), reduction="sum")
/// y.backward(); print(y.item(), x.grad)
/// ```
#[test]
fn values_and_gradients_equal_pytorchs() {
    let x =
        Tensor::new(&[[1f32, 2.0, 3.0], [1000.0, 0.0, -1000.0], [0.5, -0.5, 0.25]], &Device::Cpu);
    let x = candle_core::Var::from_tensor(&x.unwrap()).unwrap();
    let y = fast(&x, &Tensor::new(&[0i64, 1, -100], &Device::Cpu).unwrap()).unwrap();
    assert!((y.to_scalar::<f32>().unwrap() - 1_002.407_6).abs() < 1e-4);
    let gradient = y.backward().unwrap().remove(&x).unwrap();
    let expected = [[-0.909_969_3f32, 0.244_728_5, 0.665_240_9], [1.0, -1.0, 0.0], [0.0; 3]];
    let expected = Tensor::new(&expected, &Device::Cpu).unwrap();
    parity::close(&gradient, &expected, 1e-6, "gradient");
}

/// 16 bits hold no more than 65504, and a sum over a batch is more.
#[test]
fn the_loss_of_16_bit_scores_has_32_bits() {
    let logits = Tensor::zeros((30_000, 16), DType::F16, &Device::Cpu).unwrap();
    let loss = fast(&logits, &Tensor::zeros(30_000, DType::U32, &Device::Cpu).unwrap()).unwrap();
    let loss = loss.to_scalar::<f32>().unwrap();
    assert!((loss / 83_177.66 - 1.0).abs() < 1e-5, "{loss}");
}

#[test]
fn a_non_finite_score_makes_the_loss_non_finite() {
    for device in parity::devices() {
        let loss = |first: f32| {
            let x = Tensor::new(&[[first, 1.0]], &device).unwrap();
            let y = fast(&x, &Tensor::new(&[1u32], &device).unwrap()).unwrap();
            y.to_scalar::<f32>().unwrap()
        };
        assert!(!loss(f32::NAN).is_finite() && !loss(f32::INFINITY).is_finite());
        assert_eq!(loss(f32::NEG_INFINITY).to_bits(), 0f32.to_bits());
    }
}

#[test]
fn targets_out_of_range_are_errors() {
    let logits = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    let text = |targets: &[u32]| {
        fast(&logits, &Tensor::new(targets, &Device::Cpu).unwrap()).unwrap_err().to_string()
    };
    assert!(text(&[0, 3]).starts_with("cross_entropy: target 3 of 3 classes"));
    assert!(text(&[0]).starts_with("cross_entropy: the rows of scores are 2, and the targets 1"));
}

fn weighted(logits: &Tensor, targets: &Tensor, options: &Smoothed) -> Result<Tensor, Error> {
    trace([logits], |[logits]| forward_weighted(&logits, targets, options))
}

#[test]
fn weighted_and_smoothed_losses_equal_their_reference() {
    for (n, classes, smoothing) in [(1, 1, 0.5), (5, 3, 0.0), (70, 33, 0.1), (3, 1001, 1.0)] {
        let mut targets: Vec<u32> = (0..n).map(|at| at * 7 % classes).collect();
        targets[n as usize / 2] = if n > 1 { IGNORED } else { 0 };
        let tensor = Tensor::new(targets.as_slice(), &Device::Cpu).unwrap();
        let weights: Vec<f32> =
            (0..classes).map(|at| [0.0, 0.25, 0.5, 0.75, 1.0][at as usize % 5]).collect();
        let options = Smoothed { weights: Some(weights.clone()), smoothing };
        let logits = parity::draw(&[n as usize, classes as usize], 0);
        let rounded = |[x]: [&Tensor; 1]| weighted(x, &tensor, &options)?.to_dtype(x.dtype());
        let rows = Expected::new(weights, smoothing);
        parity::check([&logits], rounded, |[x]| reference(x, &targets, &rows));
        parity::threads([&logits], rounded);
    }
}

/// ```python
/// import torch
/// for weight, smoothing in ([.5, 2, 1.25], 0.0), ([.5, 2, 1.25], 0.1), ([1.] * 3, 0.1):
///     x = torch.tensor([[1., 2, 3], [-1, .5, 4], [.5, -.5, .25], [2, 0, -2]], requires_grad=True)
///     loss = torch.nn.CrossEntropyLoss(torch.tensor(weight), label_smoothing=smoothing, ignore_index=-100, reduction="sum")
///     y = loss(x, torch.tensor([0, 1, -100, 2])); y.backward(); print(y.item(), x.grad)
/// ```
#[test]
fn weighted_and_smoothed_values_and_gradients_equal_pytorchs() {
    let weights = || Some(vec![0.5, 2.0, 1.25]);
    for (weights, smoothing, expected, gradient) in [
        (
            weights(),
            0.0,
            13.455_007_6,
            [
                [-0.454_984_7f32, 0.122_364_2, 0.332_620_5],
                [0.012_995_9, -1.941_756_5, 1.928_760_6],
                [0.0; 3],
                [1.083_516_6, 0.146_638_0, -1.230_154_8],
            ],
        ),
        (
            weights(),
            0.1,
            12.899_524_7,
            [
                [-0.414_899_1, 0.074_052_2, 0.340_846_9],
                [-0.004_158_1, -1.810_607_3, 1.814_765_5],
                [0.0; 3],
                [1.066_849_9, 0.079_971_4, -1.146_821_4],
            ],
        ),
        (
            None,
            0.1,
            9.720_140_5,
            [
                [-0.843_302_7, 0.211_395_2, 0.631_907_6],
                [-0.026_835_4, -0.904_211_6, 0.931_047_0],
                [0.0; 3],
                [0.833_479_9, 0.083_977_1, -0.917_457_1],
            ],
        ),
    ] {
        for device in parity::devices() {
            let x = [[1f32, 2.0, 3.0], [-1.0, 0.5, 4.0], [0.5, -0.5, 0.25], [2.0, 0.0, -2.0]];
            let x = candle_core::Var::from_tensor(&Tensor::new(&x, &device).unwrap()).unwrap();
            let targets = Tensor::new(&[0i64, 1, -100, 2], &device).unwrap();
            let options = Smoothed { weights: weights.clone(), smoothing };
            let y = weighted(&x, &targets, &options).unwrap();
            assert!((y.to_scalar::<f32>().unwrap() - expected).abs() < 1e-5);
            let found = y.backward().unwrap().remove(&x).unwrap();
            let expected = Tensor::new(&gradient, &device).unwrap();
            parity::close(&found, &expected, 1e-6, "gradient");
        }
    }
}

#[test]
fn without_weights_and_smoothing_the_bits_are_those_of_the_plain_loss() {
    let x = parity::draw(&[5, 7], 3).to_dtype(DType::F32).unwrap();
    let targets = Tensor::new(&[0u32, 6, IGNORED, 2, 2], &Device::Cpu).unwrap();
    let bits = |y: Tensor| y.to_scalar::<f32>().unwrap().to_bits();
    let options = Smoothed { weights: None, smoothing: 0.0 };
    assert_eq!(bits(weighted(&x, &targets, &options).unwrap()), bits(fast(&x, &targets).unwrap()));
}

#[test]
fn too_few_weights_are_an_error() {
    let logits = Tensor::zeros((1, 3), DType::F32, &Device::Cpu).unwrap();
    let options = Smoothed { weights: Some(vec![1.0, 2.0]), smoothing: 0.0 };
    let targets = Tensor::zeros(1, DType::U32, &Device::Cpu).unwrap();
    let error = weighted(&logits, &targets, &options).unwrap_err().to_string();
    assert!(error.starts_with("cross_entropy: 2 weights for 3 classes"), "{error}");
}
