use candle_core::{DType, Device, Var};

use super::super::parity;
use super::*;
use crate::kernels::tape::trace;

const PLAIN: Settings = Settings { stride: 1, padding: 0, dilation: 1, groups: 1, relu: false };
const SAME: Settings = Settings { padding: 1, ..PLAIN };

fn fast([x, weight, bias]: [&Tensor; 3], settings: Settings) -> Result<Tensor, Error> {
    trace([x], |[x]| forward(&x, weight, Some(bias), settings))
}

fn draw(x: &[usize], weight: &[usize]) -> [Tensor; 3] {
    [parity::draw(x, 0), parity::draw(weight, 1), parity::draw(&weight[..1], 2)]
}

fn check(x: &[usize], weight: &[usize], settings: Settings) {
    let operands = draw(x, weight);
    let geometry = Geometry::new(x, weight, None, settings).unwrap();
    parity::check(
        operands.each_ref(),
        |operands| fast(operands, settings),
        |[x, weight, bias]| reference::forward(x, weight, Some(bias), &geometry),
    );
    let [x, weight, _] = operands;
    parity::check(
        [&x, &weight],
        |[x, weight]| trace([x], |[x]| forward(&x, weight, None, settings)),
        |[x, weight]| reference::forward(x, weight, None, &geometry),
    );
}

/// One position and many, rows of the result around the blocks that are moved, images alone and together, kernels that are
/// not square, strides that leave a rest, dilation, groups, kernels of one element.
#[test]
fn fast_path_equals_reference() {
    check(&[1, 1, 1, 1], &[1, 1, 1, 1], PLAIN);
    check(&[3, 2, 5, 7], &[4, 2, 3, 3], SAME);
    check(&[2, 3, 4, 16], &[2, 3, 3, 3], SAME);
    check(&[2, 1, 6, 19], &[3, 1, 3, 2], PLAIN);
    check(&[2, 3, 8, 9], &[5, 3, 3, 3], Settings { stride: 2, ..SAME });
    check(&[1, 2, 7, 10], &[2, 2, 2, 3], Settings { stride: 3, padding: 2, ..PLAIN });
    check(&[2, 2, 9, 8], &[3, 2, 3, 2], Settings { dilation: 2, padding: 3, ..PLAIN });
    check(&[3, 4, 5, 5], &[6, 2, 3, 3], Settings { groups: 2, ..SAME });
    check(&[3, 4, 5, 5], &[4, 1, 3, 3], Settings { groups: 4, stride: 2, ..SAME });
    check(&[3, 4, 2, 3], &[5, 4, 1, 1], PLAIN);
    check(&[2, 4, 21, 20], &[6, 2, 1, 1], Settings { groups: 2, ..PLAIN });
    check(&[2, 3, 8, 9], &[5, 3, 1, 1], Settings { stride: 2, ..PLAIN });
    check(&[0, 3, 8, 9], &[5, 3, 3, 3], SAME);
}

/// More images than a piece has, and images that are more than one band.
#[test]
fn batches_and_bands_make_one_result() {
    check(&[41, 3, 6, 5], &[4, 3, 3, 3], SAME);
    check(&[2, 1, 50, 31], &[2, 1, 3, 3], SAME);
    check(&[70, 2, 20, 20], &[2, 2, 1, 1], PLAIN);
}

/// The values are far from 0, where rounding would decide on the slope of ReLU.
#[test]
fn relu_equals_reference() {
    let (x, weight) = (parity::draw(&[5, 2, 6, 5], 0), parity::draw(&[3, 2, 3, 3], 1));
    let bias = Tensor::new(&[40f64, -40.0, 40.0], &Device::Cpu).unwrap();
    let settings = Settings { relu: true, ..SAME };
    let geometry = Geometry::new(x.dims(), weight.dims(), None, settings).unwrap();
    parity::check(
        [&x, &weight, &bias],
        |operands| fast(operands, settings),
        |[x, weight, bias]| reference::forward(x, weight, Some(bias), &geometry),
    );
}

/// ```python
/// x = torch.tensor([[[[1., -2., 0.5], [3., 0., -1.], [2., 1., -0.5]]]], requires_grad=True)
/// w = torch.tensor([[[[0.5, -1.], [2., 0.25]]], [[[-1., 1.], [0.5, -0.5]]]], requires_grad=True)
/// b = torch.tensor([0.1, -0.2], requires_grad=True)
/// y = F.relu(F.conv2d(x, w, b, stride=2, padding=1)); (y * y).sum().backward()
/// print(y, x.grad, w.grad, b.grad)
/// ```
#[test]
fn values_and_gradients_equal_pytorchs() {
    let device = &Device::Cpu;
    let x = [[[[1f32, -2.0, 0.5], [3.0, 0.0, -1.0], [2.0, 1.0, -0.5]]]];
    let weight = [[[[0.5f32, -1.0], [2.0, 0.25]]], [[[-1.0, 1.0], [0.5, -0.5]]]];
    let x = Var::new(&x, device).unwrap();
    let weight = Var::new(&weight, device).unwrap();
    let bias = Var::new(&[0.1f32, -0.2], device).unwrap();
    let y = fast([&x, &weight, &bias], Settings { stride: 2, relu: true, ..SAME }).unwrap();
    let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let gradient = |var: &Var| gradients.get(var).unwrap();
    let expected: [(&Tensor, &[f64]); 4] = [
        (&y, &[0.35, 0.0, 0.0, 2.975, 0.0, 0.0, 1.8, 0.0]),
        (gradient(&x), &[0.175, 0.0, 0.0, 3.6, 2.975, -5.95, -1.8, 11.9, 1.4875]),
        (gradient(&weight), &[0.0, -5.95, 5.95, -2.275, 0.0, 10.8, 0.0, 7.2]),
        (gradient(&bias), &[6.65, 3.6]),
    ];
    for (found, expected) in expected {
        let expected = Tensor::new(expected, device).unwrap().reshape(found.shape()).unwrap();
        parity::close(found, &expected, 1e-6, "PyTorch's");
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let settings = Settings { relu: true, ..SAME };
    for (x, weight) in [([67, 3, 9, 7], [5, 3, 3, 3]), ([1, 8, 40, 33], [9, 8, 3, 3])] {
        parity::threads(draw(&x, &weight).each_ref(), |operands| fast(operands, settings));
    }
}

/// They pass ReLU.
#[test]
fn non_finite_elements_reach_the_windows_that_contain_them() {
    let x = parity::draw(&[2, 1, 5, 20], 0).to_dtype(DType::F32).unwrap();
    let mut values: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
    // The middle of the first image, and the last column of its last row.
    values[2 * 20 + 10] = f32::NAN;
    values[4 * 20 + 19] = f32::INFINITY;
    let x = Tensor::from_vec(values, x.shape(), &Device::Cpu).unwrap();
    let weight = Tensor::ones((1, 1, 3, 3), DType::F32, &Device::Cpu).unwrap();
    let bias = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
    let y = fast([&x, &weight, &bias], Settings { relu: true, ..SAME }).unwrap();
    let y: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
    for (at, y) in y.iter().enumerate() {
        let (row, column) = (at / 20, at % 20);
        let undefined = (1..4).contains(&row) && (9..12).contains(&column);
        let infinite = (3..5).contains(&row) && column >= 18;
        assert_eq!((y.is_nan(), y.is_infinite()), (undefined, infinite), "{row}, {column}: {y}");
    }
}

#[test]
fn gradients_do_not_depend_on_which_others_are_computed() {
    let operands = draw(&[9, 2, 6, 6], &[3, 2, 3, 3]).map(|o| o.to_dtype(DType::F32).unwrap());
    let [x, weight, bias] = operands.each_ref();
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (_, [dx, dweight, dbias]) =
        parity::run([x, weight, bias], candle_core::DType::F64, |all| fast(all, SAME));
    let (_, [alone]) =
        parity::run([x], candle_core::DType::F64, |[x]| fast([x, weight, bias], SAME));
    assert_eq!(values(&dx), values(&alone));
    let (_, [alone]) =
        parity::run([weight], candle_core::DType::F64, |[weight]| fast([x, weight, bias], SAME));
    assert_eq!(values(&dweight), values(&alone));
    let (_, [alone]) =
        parity::run([bias], candle_core::DType::F64, |[bias]| fast([x, weight, bias], SAME));
    assert_eq!(values(&dbias), values(&alone));
}

#[test]
fn mismatched_sizes_are_errors_that_name_them() {
    let message = |x: &[usize], weight: &[usize], settings| {
        fast(draw(x, weight).each_ref(), settings).unwrap_err().to_string()
    };
    for (error, start) in [
        (
            message(&[2, 3, 4], &[8, 3, 3, 3], SAME),
            "conv2d: an input [2, 3, 4] and a weight [8, 3, 3, 3], not 4 sizes each",
        ),
        (
            message(&[1, 4, 5, 5], &[8, 3, 3, 3], SAME),
            "conv2d: an input [1, 4, 5, 5] and a weight [8, 3, 3, 3], with `groups` 1",
        ),
        (
            message(&[1, 3, 2, 5], &[8, 3, 3, 3], PLAIN),
            "conv2d: a kernel [3, 3] with stride 1, padding 0 and dilation 1 does not fit on [2, 5]",
        ),
    ] {
        assert!(error.starts_with(start), "{error}");
    }
}
