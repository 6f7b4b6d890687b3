use candle_core::{DType, Device, Var};

use super::super::parity;
use super::*;
use crate::kernels::tape::{Saved, trace};

fn fast([x, weight]: [&Tensor; 2]) -> Result<Tensor, Error> {
    trace([x], |[x]| forward(&x, weight, 0.0, 1e-5))
}

/// One row and many, rows of one element and of many, lengths around the lanes' and around the shared memory of a GPU's block, no
/// rows at all.
#[test]
fn fast_path_equals_reference() {
    for (rows, n) in [
        (vec![1], 1),
        (vec![3], 5),
        (vec![2, 33], 31),
        (vec![65], 33),
        (vec![2, 3, 4], 384),
        (vec![3], 12_288),
        (vec![2], cuda::LONGEST),
        (vec![2], cuda::LONGEST + 1),
        (vec![0], 3),
    ] {
        let shape: Vec<usize> = rows.iter().copied().chain([n]).collect();
        let operands = [parity::draw(&shape, 0), parity::draw(&[n], 1)];
        parity::check(operands.each_ref(), fast, |operands| reference::forward(operands, 1e-5));
    }
}

/// Gemma's weights, stored minus one.
#[test]
fn an_offset_is_added_to_the_weight() {
    let operands = [parity::draw(&[3, 5], 0), parity::draw(&[5], 1)];
    parity::check(
        operands.each_ref(),
        |[x, weight]| trace([x], |[x]| forward(&x, weight, 1.0, 1e-5)),
        |[x, weight]| reference::forward([x, &(weight + 1.0)?], 1e-5),
    );
}

/// ```python
/// x = torch.tensor([[0.5, -1., 2., 3.], [0.1, 0.2, -0.3, 0.4]], requires_grad=True)
/// w = torch.tensor([1., 0.5, -2., 0.25], requires_grad=True)
/// y = torch.nn.functional.rms_norm(x, (4,), w, 1e-5); (y * y).sum().backward()
/// print(y, x.grad, w.grad)
/// ```
#[test]
fn values_and_gradients_equal_pytorchs() {
    let device = &Device::Cpu;
    let x = Var::new(&[[0.5f32, -1.0, 2.0, 3.0], [0.1, 0.2, -0.3, 0.4]], device).unwrap();
    let weight = Var::new(&[1f32, 0.5, -2.0, 0.25], device).unwrap();
    let y = fast([&x, &weight]).unwrap();
    let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let near = |found: &Tensor, expected: &[f64]| {
        let expected = Tensor::new(expected, device).unwrap().reshape(found.shape()).unwrap();
        parity::close(found, &expected, 1e-6, "PyTorch's");
    };
    near(
        &y,
        &[
            0.264_906_08,
            -0.264_906_08,
            -2.119_248_6,
            0.397_359_13, //
            0.365_124_05,
            0.365_124_05,
            2.190_744_4,
            0.365_124_05,
        ],
    );
    near(
        gradients.get(&x).unwrap(),
        &[
            -0.055_400_49,
            0.531_852_36,
            3.146_809_1,
            -1.911_345_6, //
            -0.799_431_56,
            -5.598_33,
            -21.598_507,
            -13.196_394,
        ],
    );
    near(
        gradients.get(&weight).unwrap(),
        &[0.406_981_59, 0.813_963_17, -9.290_575_98, 2.329_678_77],
    );
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let operands = [parity::draw(&[301, 97], 0), parity::draw(&[97], 1)];
    parity::threads(operands.each_ref(), fast);
}

/// In the row of an infinite element the others are zero.
#[test]
fn non_finite_elements_stay_in_their_row() {
    for device in &parity::devices() {
        let one = Tensor::ones(2, candle_core::DType::F32, device).unwrap();
        let of = |bad: f32| {
            let x = Tensor::new(&[[1f32, 2.0], [bad, 2.0]], device).unwrap();
            fast([&x, &one]).unwrap().to_vec2::<f32>().unwrap()
        };
        let (undefined, infinite) = (of(f32::NAN), of(f32::INFINITY));
        assert!(undefined[0][0].is_finite() && undefined[1].iter().all(|y| y.is_nan()));
        assert!(infinite[0][0].is_finite() && infinite[1][0].is_nan());
        assert!(infinite[1][1].abs() < 1e-30);
    }
}

#[test]
fn a_frozen_weight_changes_no_gradient_of_the_rows() {
    let (x, weight) = (parity::draw(&[40, 7], 0), parity::draw(&[7], 1));
    let [x, weight] = [x, weight].map(|tensor| tensor.to_dtype(candle_core::DType::F32).unwrap());
    let (_, [dx, _]) = parity::run([&x, &weight], candle_core::DType::F64, fast);
    let (_, [frozen]) = parity::run([&x], candle_core::DType::F64, |[x]| fast([x, &weight]));
    assert_eq!(dx.to_vec2::<f32>().unwrap(), frozen.to_vec2::<f32>().unwrap());
}

#[test]
fn mismatched_shapes_are_errors_that_name_them() {
    let error = fast([&parity::draw(&[2, 4], 0), &parity::draw(&[3], 0)]).unwrap_err().to_string();
    assert!(error.starts_with("rms_norm: rows of 4 and a weight [3]"), "{error}");
}

/// A layer behind the norm keeps the norm's operands and no tensor of its own.
#[test]
fn the_result_is_recomputed_with_the_same_bits() {
    let draw = |shape: &[usize], at| parity::draw(shape, at).to_dtype(DType::F32).unwrap();
    let x = Var::from_tensor(&draw(&[65, 33], 0)).unwrap();
    let values = |y: &Tensor| y.flatten_all()?.to_vec1::<f32>();
    let y = trace([x.as_tensor()], |[x]| {
        let y = forward(&x, &draw(&[33], 1), 0.0, 1e-5)?;
        assert!(matches!(y.saved(), Saved::Recompute(_)));
        assert_eq!(values(y.tensor())?, values(&y.saved().tensor()?)?);
        Ok(y)
    });
    assert_eq!(y.unwrap().dims(), [65, 33]);
}
