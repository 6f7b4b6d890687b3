use candle_core::{Device, Var};

use super::super::parity;
use super::*;
use crate::kernels::tape::trace;

fn train([x, weight, bias]: [&Tensor; 3]) -> Result<Tensor, Error> {
    trace([x], |[x]| of_batch(&x, weight, bias, &statistics(x.tensor())?, 1e-5))
}

fn operands(shape: &[usize]) -> [Tensor; 3] {
    let x = (parity::draw(shape, 0) * 2.0).unwrap().affine(1.0, 0.7).unwrap();
    [x, parity::draw(&shape[1..2], 1), parity::draw(&shape[1..2], 2)]
}

/// Rows without and with dimensions behind the channels, one channel and many, lengths around the lanes'.
const SHAPES: [&[usize]; 5] = [&[5, 3], &[2, 1, 7], &[3, 4, 3, 3], &[4, 33, 9], &[2, 3, 70, 70]];

#[test]
fn the_fast_form_is_the_plain_one() {
    for shape in SHAPES {
        let operands = operands(shape);
        parity::check(operands.each_ref(), train, |operands| {
            let sizes = Sizes::of(operands[0])?;
            let statistics = reference::statistics(operands[0], sizes)?;
            reference::forward(operands, &statistics, 1e-5, sizes)
        });
    }
}

#[test]
fn given_statistics_are_constants() {
    for shape in SHAPES {
        let operands = operands(shape);
        let given = |x: &Tensor| {
            let of_channels = |at| {
                let tensor = parity::draw(&shape[1..2], at).to_dtype(wide(x.dtype()))?;
                tensor.to_device(x.device())
            };
            Ok::<_, Error>(Statistics { mean: of_channels(3)?, variance: of_channels(4)?.sqr()? })
        };
        parity::check(
            operands.each_ref(),
            |[x, weight, bias]| {
                trace([x], |[x]| by_given(&x, weight, bias, &given(x.tensor())?, 1e-5))
            },
            |operands| {
                let sizes = Sizes::of(operands[0])?;
                reference::forward(operands, &given(operands[0])?, 1e-5, sizes)
            },
        );
    }
}

/// `y = (x - 2.5) / sqrt(1.25 + e) * 2 + 1` of the values 1, 2, 3, 4, worked out by hand; the gradient of a sum over a
/// normalized batch is zero, and that of the square of one value is not.
#[test]
fn values_worked_out_by_hand() {
    let device = &Device::Cpu;
    let x = Var::new(&[[[1f32, 2.0]], [[3.0, 4.0]]], device).unwrap();
    let (weight, bias) =
        (Tensor::new(&[2f32], device).unwrap(), Tensor::new(&[1f32], device).unwrap());
    let y = train([&x, &weight, &bias]).unwrap();
    let expected = [-1.683_281_6f64, 0.105_572_8, 1.894_427_2, 3.683_281_6];
    let expected = Tensor::new(&expected, device).unwrap().reshape((2, 1, 2)).unwrap();
    parity::close(&y, &expected, 1e-5, "by hand");
    let gradient = y.sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
    assert!(gradient.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-6);
    // dy = (1, 0, 0, 0): dx = 2 / sqrt(1.25) * (dy - 1/4 + h * 3 / (4 sqrt(5))), h = (-3, -1, 1, 3) / sqrt(5).
    let first = train([&x, &weight, &bias]).unwrap().flatten_all().unwrap().get(0).unwrap();
    let gradient = first.backward().unwrap().remove(&x).unwrap();
    let scale = 2.0 / 1.25f64.sqrt();
    let expected = [0.3, -0.4, -0.1, 0.2].map(|share| scale * share);
    let expected = Tensor::new(&expected, device).unwrap().reshape((2, 1, 2)).unwrap();
    parity::close(&gradient, &expected, 1e-4, "by hand");
}

#[test]
fn the_same_bits_under_any_number_of_threads() {
    parity::threads(operands(&[7, 5, 33, 9]).each_ref(), train);
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let [x, weight, _] = operands(&[2, 3, 4]);
    let error = train([&x, &weight, &parity::draw(&[4], 0)]).unwrap_err().to_string();
    assert!(error.contains("[2, 3, 4], whose channels are 3") && error.contains("[4]"), "{error}");
    assert!(train([&weight, &weight, &weight]).is_err());
}
