use candle_core::{DType, Var};

use super::super::parity;
use super::*;
use crate::kernels::tape::{Saved, trace};

fn fast([x, weight, bias]: [&Tensor; 3]) -> Result<Tensor, Error> {
    trace([x], |[x]| forward(&x, weight, bias, 1e-5))
}

/// One row and many, rows of one element and of many, lengths around the lanes' and around the shared memory of a GPU's block.
#[test]
fn fast_path_equals_reference() {
    for (rows, n) in [
        (vec![1], 1),
        (vec![3], 5),
        (vec![2, 33], 31),
        (vec![65], 33),
        (vec![2, 3, 4], 384),
        (vec![3], 6144),
        (vec![2], cuda::LONGEST),
        (vec![2], cuda::LONGEST + 1),
    ] {
        let shape: Vec<usize> = rows.iter().copied().chain([n]).collect();
        let operands = [parity::draw(&shape, 0), parity::draw(&[n], 1), parity::draw(&[n], 2)];
        parity::check(operands.each_ref(), fast, |operands| reference::forward(operands, 1e-5));
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let operands = [parity::draw(&[301, 97], 0), parity::draw(&[97], 1), parity::draw(&[97], 2)];
    parity::threads(operands.each_ref(), fast);
}

#[test]
fn non_finite_elements_stay_in_their_row() {
    for device in &parity::devices() {
        let (one, zero) = (
            Tensor::ones(2, candle_core::DType::F32, device).unwrap(),
            Tensor::zeros(2, candle_core::DType::F32, device).unwrap(),
        );
        for bad in [f32::NAN, f32::INFINITY] {
            let x = Tensor::new(&[[1f32, 2.0], [bad, 2.0]], device).unwrap();
            let y = fast([&x, &one, &zero]).unwrap().to_vec2::<f32>().unwrap();
            assert!(y[0][0].is_finite() && y[1].iter().all(|y| y.is_nan()), "{y:?}");
        }
    }
}

#[test]
fn mismatched_shapes_are_errors_that_name_them() {
    let (x, weight) = (parity::draw(&[2, 4], 0), parity::draw(&[3], 0));
    let error = fast([&x, &weight, &parity::draw(&[4], 0)]).unwrap_err().to_string();
    assert!(error.starts_with("layer_norm: rows of 4, a weight [3] and a bias [4]"), "{error}");
}

/// A layer behind the norm keeps the norm's operands and no tensor of its own.
#[test]
fn the_result_is_recomputed_with_the_same_bits() {
    let draw = |shape: &[usize], at| parity::draw(shape, at).to_dtype(DType::F32).unwrap();
    let x = Var::from_tensor(&draw(&[65, 33], 0)).unwrap();
    let values = |y: &Tensor| y.flatten_all()?.to_vec1::<f32>();
    let y = trace([x.as_tensor()], |[x]| {
        let y = forward(&x, &draw(&[33], 1), &draw(&[33], 2), 1e-5)?;
        assert!(matches!(y.saved(), Saved::Recompute(_)));
        assert_eq!(values(y.tensor())?, values(&y.saved().tensor()?)?);
        Ok(y)
    });
    assert_eq!(y.unwrap().dims(), [65, 33]);
}
