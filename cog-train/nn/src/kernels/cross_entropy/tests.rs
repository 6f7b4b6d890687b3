use candle_core::Device;

use super::super::parity;
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
