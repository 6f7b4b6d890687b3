use super::super::parity;
use super::*;
use crate::kernels::activation::{self, Activation};
use crate::kernels::tape::trace;
use crate::kernels::{sum, swiglu};

/// Computes a scaled product with a bias and a summand.
fn whole([x, weight, bias, to]: [&Tensor; 4]) -> Result<Tensor, Error> {
    trace([x, to], |[x, to]| {
        forward(&x, &Operands { weight, bias: Some(bias), to: Some(&to), scale: 0.5 })
    })
}

fn expected([x, weight, bias, to]: [&Tensor; 4]) -> Result<Tensor, Error> {
    (x.broadcast_matmul(&weight.t()?)? * 0.5)?.broadcast_add(bias)? + to
}

fn only([x, weight]: [&Tensor; 2]) -> Result<Tensor, Error> {
    trace([x], |[x]| forward(&x, &Operands { weight, bias: None, to: None, scale: 1.0 }))
}

#[test]
fn fast_path_equals_reference() {
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 7), (65, 33, 17), (130, 64, 96)] {
        let (x, weight) =
            (parity::draw(&[2, rows, inputs], 0), parity::draw(&[outputs, inputs], 1));
        let (bias, to) = (parity::draw(&[outputs], 2), parity::draw(&[2, rows, outputs], 3));
        parity::check([&x, &weight, &bias, &to], whole, expected);
        parity::check([&x, &weight], only, |[x, w]| x.broadcast_matmul(&w.t()?));
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let (x, weight) = (parity::draw(&[301, 97], 0), parity::draw(&[203, 97], 1));
    let (bias, to) = (parity::draw(&[203], 2), parity::draw(&[301, 203], 3));
    parity::threads([&x, &weight, &bias, &to], whole);
}

/// The weight's gradient needs the activation's result, which is computed again.
#[test]
fn recomputed_inputs_give_the_same_gradients() {
    let (x, weight) = (parity::draw(&[2, 65, 33], 0), parity::draw(&[17, 33], 1));
    let fast = |[x, weight]: [&Tensor; 2]| {
        trace([x], |[x]| {
            let hidden = activation::forward(&x, Activation::Silu)?;
            let gated = swiglu::forward(&hidden, &x)?;
            let operands = Operands { weight, bias: None, to: None, scale: 1.0 };
            sum::forward(&forward(&gated, &operands)?, &forward(&hidden, &operands)?)
        })
    };
    parity::check([&x, &weight], fast, |[x, weight]| {
        let hidden = x.silu()?;
        let gated = (hidden.silu()? * x)?;
        let product = |x: &Tensor| x.broadcast_matmul(&weight.t()?);
        product(&gated)? + product(&hidden)?
    });
    parity::threads([&x, &weight], fast);
}

/// A weight that is not trained gets no gradient, and neither does an input that has no graph.
#[test]
fn frozen_operands_get_no_gradient() {
    let var = |shape: &[usize]| candle_core::Var::from_tensor(&parity::draw(shape, 0)).unwrap();
    let (x, weight) = (var(&[4, 3]), var(&[2, 3]));
    for (x_is_free, weight_is_free) in [(true, false), (false, true)] {
        let free = |var: &candle_core::Var, free: bool| {
            if free { var.as_tensor().clone() } else { var.as_detached_tensor() }
        };
        let y = only([&free(&x, x_is_free), &free(&weight, weight_is_free)]).unwrap();
        let store = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(store.get(&x).is_some(), x_is_free);
        assert_eq!(store.get(&weight).is_some(), weight_is_free);
    }
}

/// Products of bfloat16 are summed in 32 bits: 1 and 256 times 2^-9 is 1.5, which sums in bfloat16 never reach.
#[test]
fn products_of_16_bit_floats_are_summed_in_32_bits() {
    for dtype in [candle_core::DType::BF16, candle_core::DType::F16] {
        let mut values = vec![2f32.powi(-9); 257];
        values[0] = 1.0;
        let device = &candle_core::Device::Cpu;
        let x = Tensor::new(values, device).unwrap().unsqueeze(0).unwrap().to_dtype(dtype).unwrap();
        let y = only([&x, &x.ones_like().unwrap()]).unwrap();
        assert_eq!(y.dtype(), dtype);
        assert_eq!(y.to_dtype(candle_core::DType::F32).unwrap().to_vec2::<f32>().unwrap(), [[1.5]]);
    }
}

#[test]
fn mismatched_shapes_are_errors_that_name_them() {
    let (x, weight) = (parity::draw(&[2, 4], 0), parity::draw(&[3, 5], 1));
    let error = only([&x, &weight]).unwrap_err().to_string();
    assert!(error.starts_with("linear: an input [2, 4], a weight [3, 5], a bias none"), "{error}");
}
