use candle_core::{Device, Tensor, Var};

use super::super::parity;
use super::*;
use crate::kernels::tape::trace;

fn window(kernel: [usize; 2], stride: usize, padding: usize) -> Window {
    Window { kernel, stride, padding, dilation: 1 }
}

fn fast([x]: [&Tensor; 1], pool: Pool, window: Window) -> Result<Tensor, Error> {
    trace([x], |[x]| forward(&x, pool, window))
}

/// The pairs' own path and the general one, planes whose last row and column are under no window, windows that overlap,
/// that skip elements and that reach into the padding, more planes than one task has.
#[test]
fn fast_path_equals_reference() {
    for (dims, window) in [
        ([1, 1, 2, 2], window([2, 2], 2, 0)),
        ([2, 3, 7, 9], window([2, 2], 2, 0)),
        ([2, 3, 4, 34], window([2, 2], 2, 0)),
        ([40, 3, 14, 14], window([2, 2], 2, 0)),
        ([2, 3, 7, 9], window([3, 2], 1, 1)),
        ([2, 3, 7, 9], window([3, 3], 2, 1)),
        ([3, 2, 8, 7], window([1, 2], 3, 0)),
        ([2, 1, 4, 1], window([5, 5], 1, 2)),
        ([0, 2, 8, 7], window([2, 2], 2, 0)),
    ] {
        let planes = Planes {
            from: [dims[2], dims[3]],
            to: window.positions([dims[2], dims[3]]).unwrap(),
            window,
        };
        for pool in [Pool::Max, Pool::Average] {
            parity::check(
                [&parity::draw(&dims, 0)],
                |x| fast(x, pool, window),
                |[x]| reference::forward(x, pool, &planes),
            );
        }
    }
}

/// Ties, NaN and infinities: in the values, and in who gets the gradient.
///
/// ```python
/// x = torch.tensor([[[[1., 3., 3., -2.], [3., 0., nan, 5.], [2., 2., nan, 1.], [2., 2., 0., 1.]]]], requires_grad=True)
/// y = F.max_pool2d(x, 2); y.backward(torch.tensor([[[[1., 2.], [3., 4.]]]])); print(y, x.grad)
/// # and F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 2)
/// ```
#[test]
fn values_and_gradients_equal_pytorchs() {
    const NAN: f32 = f32::NAN;
    let x = [1.0, 3.0, 3.0, -2.0, 3.0, 0.0, NAN, 5.0, 2.0, 2.0, NAN, 1.0, 2.0, 2.0, 0.0, 1.0];
    for (pool, window, y, dx) in [
        (
            Pool::Max,
            window([2, 2], 2, 0),
            [3.0, NAN, 2.0, NAN],
            [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ),
        (
            Pool::Max,
            window([3, 3], 2, 1),
            [3.0, NAN, 3.0, NAN],
            [0.0, 1.0, 0.0, 0.0, 3.0, 0.0, 2.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ),
        (
            Pool::Average,
            window([2, 2], 2, 0),
            [1.75, NAN, 2.0, NAN],
            [
                0.25, 0.25, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0, 1.0, 0.75, 0.75, 1.0,
                1.0,
            ],
        ),
    ] {
        let same = |found: &Tensor, expected: &[f32]| {
            let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6 || (a.is_nan() && b.is_nan());
            assert!(found.iter().zip(expected).all(near), "{pool:?} {window:?}: {found:?}");
        };
        let x = Var::new(&x, &Device::Cpu).unwrap();
        let planes = Planes { from: [4, 4], to: [2, 2], window };
        let plane = |x: &Var| x.reshape((1, 1, 4, 4)).unwrap();
        for by in [
            fast([&plane(&x)], pool, window).unwrap(),
            reference::forward(&plane(&x), pool, &planes).unwrap(),
        ] {
            same(&by, &y);
            let dy = Tensor::new(&[[[[1f32, 2.0], [3.0, 4.0]]]], &Device::Cpu).unwrap();
            // Not a product with `y`, which is undefined in part.
            let sum = (by * dy).unwrap().sum_all().unwrap();
            same(sum.backward().unwrap().get(&x).unwrap(), &dx);
        }
    }
}

#[test]
fn a_plane_of_minus_infinity_sends_its_gradient_to_the_first_element() {
    for window in [window([2, 2], 2, 0), window([3, 3], 3, 1)] {
        let x = Var::new(&[[[[f32::NEG_INFINITY; 2]; 2]]], &Device::Cpu).unwrap();
        let y = fast([&x], Pool::Max, window).unwrap();
        let dx = y.sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
        assert_eq!(dx.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [1.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let x = parity::draw(&[9, 7, 31, 30], 0);
    for window in [window([2, 2], 2, 0), window([3, 3], 2, 1)] {
        for pool in [Pool::Max, Pool::Average] {
            parity::threads([&x], |x| fast(x, pool, window));
        }
    }
}

#[test]
fn windows_larger_than_the_plane_are_errors() {
    let x = parity::draw(&[1, 1, 3, 4], 0);
    let message = |window| fast([&x], Pool::Max, window).unwrap_err().to_string();
    let error = message(window([4, 4], 1, 0));
    assert!(
        error.starts_with(
            "pooling: a kernel [4, 4] with stride 1 and padding 0 does not fit on [3, 4]"
        ),
        "{error}"
    );
    let error = message(window([3, 3], 1, 2));
    assert!(error.starts_with("pooling: a padding 2 is over half of the kernel [3, 3]"), "{error}");
}
