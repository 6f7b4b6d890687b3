use candle_core::{Device, Tensor, Var};

use super::super::parity;
use super::*;
use crate::kernels::tape::trace;

fn fast([gate, up]: [&Tensor; 2]) -> Result<Tensor, Error> {
    trace([gate, up], |[gate, up]| forward(&gate, &up))
}

fn fast_packed([x]: [&Tensor; 1]) -> Result<Tensor, Error> {
    trace([x], |[x]| packed(&x))
}

#[test]
fn fast_paths_equal_references() {
    for shape in [&[0, 2][..], &[1], &[3, 7], &[2, 3, 31], &[130, 257], &[3, 20_000]] {
        let operands = [parity::draw(shape, 0), parity::draw(shape, 1)];
        parity::check(operands.each_ref(), fast, reference::forward);
        let side_by_side = Tensor::cat(&operands, shape.len() - 1).unwrap();
        parity::check([&side_by_side], fast_packed, reference::packed);
    }
}

/// candle calls such a tensor contiguous, and its dimension of one has an arbitrary stride.
#[test]
fn a_transposed_dimension_of_one_changes_no_value() {
    for device in parity::devices() {
        let x = parity::draw(&[1, 3, 10], 0).to_dtype(candle_core::DType::F32).unwrap();
        let moved = x.to_device(&device).unwrap().transpose(0, 1).unwrap();
        let bits = |shape: &Tensor| {
            let half = shape.narrow(2, 0, 5).unwrap();
            let one = fast_packed([shape]).unwrap().flatten_all().unwrap();
            let two = fast([&half, &half]).unwrap().flatten_all().unwrap();
            [one, two].map(|y| y.to_vec1::<f32>().unwrap())
        };
        assert_eq!(bits(&moved), bits(&moved.flatten_all().unwrap().reshape((3, 1, 10)).unwrap()));
    }
}

/// ```python
/// gate = torch.tensor([[-1.5, 0.3], [2., -0.2]], dtype=torch.float64, requires_grad=True)
/// up = torch.tensor([[0.5, -1.], [3., 0.25]], dtype=torch.float64, requires_grad=True)
/// y = F.silu(gate) * up; (y * y).sum().backward(); print(y, gate.grad, up.grad)
/// ```
#[test]
fn values_and_gradients_equal_pytorchs() {
    let device = &Device::Cpu;
    let gate = Var::new(&[[-1.5f32, 0.3], [2.0, -0.2]], device).unwrap();
    let up = Var::new(&[[0.5f32, -1.0], [3.0, 0.25]], device).unwrap();
    let y = fast([&gate, &up]).unwrap();
    let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let expected = [
        (&y, [[-0.136_819_143, -0.172_332_755], [5.284_782_468, -0.022_508_3]]),
        (
            gradients.get(&gate).unwrap(),
            [[0.005_649_831, 0.223_267_428], [34.587_344_845, -0.004_509_118]],
        ),
        (
            gradients.get(&up).unwrap(),
            [[0.074_877_911, -0.059_397_157], [18.619_283_822, 0.004_052_989]],
        ),
    ];
    for (found, expected) in expected {
        parity::close(found, &Tensor::new(&expected, device).unwrap(), 1e-6, "PyTorch's");
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let operands = [parity::draw(&[301, 194], 0), parity::draw(&[301, 194], 1)];
    parity::threads(operands.each_ref(), fast);
    parity::threads([&operands[0]], fast_packed);
}

#[test]
fn closed_gates_pass_nothing_and_undefined_ones_stay_undefined() {
    for device in &parity::devices() {
        let gate = Var::new(&[-200f32, 200.0, f32::NAN, 1.0], device).unwrap();
        let up = Var::new(&[3f32, 3.0, 3.0, f32::INFINITY], device).unwrap();
        let y = fast([&gate, &up]).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let [y, of_gate, of_up] = [&y, gradients.get(&gate).unwrap(), gradients.get(&up).unwrap()]
            .map(|values| values.to_vec1::<f32>().unwrap());
        assert_eq!((y[0], y[1], y[3]), (0.0, 600.0, f32::INFINITY));
        assert_eq!((of_gate[0], of_gate[1], of_up[0], of_up[1]), (0.0, 3.0, 0.0, 200.0));
        assert!(y[2].is_nan() && of_gate[2].is_nan() && of_up[2].is_nan());
    }
}

#[test]
fn mismatched_shapes_are_errors_that_name_them() {
    let (one, other) = (parity::draw(&[2, 3], 0), parity::draw(&[3, 2], 0));
    let error = fast([&one, &other]).unwrap_err().to_string();
    assert!(error.starts_with("swiglu: a gate [2, 3] and an up [3, 2]"), "{error}");
    let error = fast_packed([&one]).unwrap_err().to_string();
    assert!(error.starts_with("swiglu_packed: [2, 3] does not end in two halves"), "{error}");
}
