use std::cmp::Ordering;

use candle_core::{DType, Device, Tensor, Var};

use super::super::parity;
use super::*;
use crate::kernels::tape::trace;

const ALL: [Activation; 6] = [
    Activation::Gelu,
    Activation::GeluErf,
    Activation::Silu,
    Activation::Relu,
    Activation::Tanh,
    Activation::Sigmoid,
];

fn fast([x]: [&Tensor; 1], activation: Activation) -> Result<Tensor, Error> {
    trace([x], |[x]| forward(&x, activation))
}

/// Returns `y` and `dx` in 32 bits.
fn both(x: &[f32], activation: Activation) -> [Vec<f32>; 2] {
    let x = Var::new(x, &Device::Cpu).unwrap();
    let y = fast([&x], activation).unwrap();
    let dx = y.sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
    [y, dx].map(|values| values.to_vec1().unwrap())
}

#[test]
fn fast_path_equals_reference() {
    for activation in ALL {
        for shape in [&[0][..], &[1], &[7, 3], &[2, 3, 31], &[130, 257]] {
            let x = parity::draw(shape, 0).affine(2.0, 0.0).unwrap();
            parity::check([&x], |x| fast(x, activation), |[x]| reference::forward(x, activation));
        }
    }
}

/// ```python
/// x = torch.tensor([-3., -0.7, 0., 0.4, 2.5], dtype=torch.float64, requires_grad=True)
/// y = f(x); y.sum().backward(); print(y, x.grad)  # f: F.gelu(approximate='tanh'), F.gelu, F.silu, torch.relu, ...
/// ```
#[test]
fn values_and_gradients_equal_pytorchs() {
    let x = [-3.0, -0.7, 0.0, 0.4, 2.5];
    let expected = [
        [
            [-0.003_637_392, -0.169_429_865, 0.0, 0.262_161_169, 2.484_915_734],
            [-0.011_584_167, 0.023_642_781, 0.5, 0.802_658_834, 1.037_951_576],
        ],
        [
            [-0.004_049_694, -0.169_374_557, 0.0, 0.262_168_697, 2.484_475_837],
            [-0.011_945_647, 0.023_385_899, 0.5, 0.802_729_798, 1.037_611_086],
        ],
        [
            [-0.142_277_62, -0.232_268_559, 0.0, 0.239_475_064, 2.310_354_55],
            [-0.088_104_106, 0.176_613_217, 0.5, 0.694_791_958, 1.099_401_111],
        ],
        [[0.0, 0.0, 0.0, 0.4, 2.5], [0.0, 0.0, 0.0, 1.0, 1.0]],
        [
            [-0.995_054_754, -0.604_367_777, 0.0, 0.379_948_962, 0.986_614_298],
            [0.009_866_037, 0.634_739_59, 1.0, 0.855_638_786, 0.026_592_227],
        ],
        [
            [0.047_425_873, 0.331_812_228, 0.5, 0.598_687_66, 0.924_141_82],
            [0.045_176_66, 0.221_712_873, 0.25, 0.240_260_746, 0.070_103_717],
        ],
    ];
    for (activation, expected) in ALL.into_iter().zip(expected) {
        for (found, expected) in both(&x, activation).iter().zip(expected) {
            for (found, expected) in found.iter().zip(expected) {
                let wrong = (f64::from(*found) - expected).abs();
                assert!(wrong < 3e-7, "{activation:?}: {found} is not {expected}");
            }
        }
    }
}

/// As a share of the value itself, in the tails too.
#[test]
fn the_curves_are_accurate_over_their_range() {
    let x: Vec<f32> = (-1200..=1200i16).map(|at| f32::from(at) / 100.0 + 0.003).collect();
    let wide = Tensor::new(x.as_slice(), &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
    let tolerance = [(Activation::Tanh, 2e-7), (Activation::Silu, 4e-7), (Activation::Gelu, 4e-5)];
    for (activation, tolerance) in tolerance {
        let exact = match activation {
            Activation::Silu => {
                (&wide / (wide.neg().unwrap().exp().unwrap() + 1.0).unwrap()).unwrap()
            }
            _ => reference::forward(&wide, activation).unwrap(),
        };
        let exact: Vec<f64> = exact.to_vec1().unwrap();
        for ((x, y), exact) in x.iter().zip(&both(&x, activation)[0]).zip(&exact) {
            // Below 1e-6 the reference itself, 1 + tanh, has lost its digits.
            let wrong = (f64::from(*y) - exact).abs() / exact.abs().max(1e-6);
            assert!(wrong < tolerance, "{activation:?} of {x} is {exact}, not {y}: {wrong:e}");
        }
    }
}

/// ```python
/// for x in (-12., -8., -5., -2., -0.5, 0.5, 5.): print(x * math.erfc(-x / math.sqrt(2)) / 2)
/// ```
#[test]
fn gelu_erf_is_accurate_in_its_tail() {
    let x = [-12.0, -8.0, -5.0, -2.0, -0.5, 0.5, 5.0];
    let exact = [
        -2.131_778_534e-32,
        -4.976_768_459e-15,
        -1.433_257_859e-6,
        -4.550_026_39e-2,
        -1.542_687_694e-1,
        3.457_312_306e-1,
        4.999_998_567e0,
    ];
    for ((x, y), exact) in x.iter().zip(&both(&x, Activation::GeluErf)[0]).zip(exact) {
        let wrong = (f64::from(*y) / exact - 1.0).abs();
        assert!(wrong < 5e-7, "of {x} it is {exact}, not {y}: {wrong:e}");
    }
}

/// ```python
/// x = torch.tensor([-inf, -1e20, -100., inf, nan, 1e20], requires_grad=True); y = f(x); y.sum().backward()
/// ```
#[test]
fn non_finite_elements_are_mapped_as_in_pytorch() {
    const NAN: f32 = f32::NAN;
    const INF: f32 = f32::INFINITY;
    let x = [-INF, -1e20, -100.0, INF, NAN, 1e20];
    let expected = [
        ([NAN, 0.0, 0.0, INF, NAN, 1e20], [NAN, NAN, 0.0, NAN, NAN, NAN]),
        ([NAN, 0.0, 0.0, INF, NAN, 1e20], [NAN, 0.0, 0.0, NAN, NAN, 1.0]),
        ([NAN, 0.0, 0.0, INF, NAN, 1e20], [NAN, 0.0, 0.0, NAN, NAN, 1.0]),
        ([0.0, 0.0, 0.0, INF, NAN, 1e20], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
        ([-1.0, -1.0, -1.0, 1.0, NAN, 1.0], [0.0, 0.0, 0.0, 0.0, NAN, 0.0]),
        ([0.0, 0.0, 0.0, 1.0, NAN, 1.0], [0.0, 0.0, 0.0, 0.0, NAN, 0.0]),
    ];
    for (activation, (y, dx)) in ALL.into_iter().zip(expected) {
        for (found, expected) in both(&x, activation).iter().zip([y, dx]) {
            let same = |(a, b): (&f32, &f32)| {
                a.partial_cmp(b).map_or(a.is_nan() && b.is_nan(), Ordering::is_eq)
            };
            assert!(
                found.iter().zip(&expected).all(same),
                "{activation:?}: {found:?}, {expected:?}"
            );
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for activation in ALL {
        parity::threads([&parity::draw(&[301, 197], 0)], |x| fast(x, activation));
    }
}
