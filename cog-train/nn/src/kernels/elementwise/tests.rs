use candle_core::{DType, Device, Var};

use super::super::parity;
use super::*;
use crate::kernels::tape::trace;

/// candle's own operation and its gradient are the reference.
fn plain(operation: Binary, [a, b]: [&Tensor; 2]) -> Result<Tensor, Error> {
    match operation {
        Binary::Add => a.broadcast_add(b),
        Binary::Sub => a.broadcast_sub(b),
        Binary::Mul => a.broadcast_mul(b),
    }
}

/// Equal shapes, and broadcasting of either operand along leading, inner and last dimensions.
#[test]
fn values_and_gradients_are_candles() {
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[3, 4], &[3, 4]),
        (&[2, 3, 4], &[4]),
        (&[2, 3, 4], &[3, 1]),
        (&[2, 1, 4], &[2, 3, 1]),
        (&[4], &[2, 3, 4]),
        (&[2, 3], &[1]),
    ];
    for (one, other) in shapes {
        let operands = [parity::draw(one, 0), parity::draw(other, 1)];
        for operation in [Binary::Add, Binary::Sub, Binary::Mul] {
            parity::check(
                operands.each_ref(),
                |[a, b]| trace([a, b], |[a, b]| binary(operation, &a, &b)),
                |operands| plain(operation, operands),
            );
        }
    }
    parity::check(
        [&parity::draw(&[3, 4], 0)],
        |[x]| trace([x], |[x]| affine(&x, -1.5, 0.25)),
        |[x]| x.affine(-1.5, 0.25),
    );
}

/// A gradient that goes two ways is not written into by either.
#[test]
fn a_shared_gradient_stays_whole() {
    let x = Var::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
    let compute = |x: &Tensor| -> Result<Tensor, Error> {
        trace([x], |[x]| {
            let both = binary(Binary::Add, &x, &affine(&x, 3.0, 0.0)?)?;
            let twice = binary(Binary::Sub, &both, &binary(Binary::Mul, &x, &x)?)?;
            binary(Binary::Add, &twice, &both)
        })
    };
    let gradients = compute(&x).unwrap().sum_all().unwrap().backward().unwrap();
    // y = 8 x - x^2.
    let found = gradients.get(&x).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(found, [[6.0, 4.0], [2.0, 0.0]]);
}

#[test]
fn shapes_that_do_not_broadcast_are_refused() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let (a, b) = (zeros(&[2, 3]), zeros(&[2]));
    assert!(trace([&a, &b], |[a, b]| binary(Binary::Mul, &a, &b)).is_err());
}
