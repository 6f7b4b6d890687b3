#![expect(clippy::cast_precision_loss, reason = "small counts")]

use candle_core::{DType, Device, Tensor, Var};

use super::super::parity;
use super::*;
use crate::kernels::tape::trace;
use crate::rng::Rng;

fn stream() -> Stream {
    Rng::new(7, "dropout").at(3)
}

fn fast([x]: [&Tensor; 1], p: f64) -> Result<Tensor, Error> {
    trace([x], |[x]| forward(&x, p, stream()))
}

#[test]
fn fast_path_equals_reference() {
    for dims in [&[0][..], &[1], &[5, 13], &[2, 3, 64], &[3, 20_001]] {
        for p in [0.1, 0.5, 1.0] {
            let mask = Mask::new(p, stream());
            parity::check(
                [&parity::draw(dims, 0)],
                |x| fast(x, p),
                |[x]| reference::forward(x, &mask),
            );
        }
    }
}

/// The words are those of the stream, in groups of 64: the first word of each of 16 blocks, then the second of each, ..
#[test]
fn the_mask_is_a_function_of_the_stream() {
    let x = Tensor::ones(3 * GROUP, DType::F32, &Device::Cpu).unwrap();
    let found: Vec<f32> = fast([&x], 0.25).unwrap().to_vec1().unwrap();
    let mut words = stream();
    for group in found.chunks(GROUP) {
        for block in 0..BLOCKS {
            for word in 0..4 {
                let stays = words.next_u32() >= 1 << 30;
                let expected = if stays { 4.0 / 3.0 } else { 0.0 };
                assert_eq!(group[word * BLOCKS + block].to_bits(), f32::to_bits(expected));
            }
        }
    }
}

/// Five standard deviations of a binomial.
#[test]
fn the_dropped_share_is_p_and_the_mean_is_preserved() {
    let count = 1_000_000;
    let x = Tensor::ones(count, DType::F32, &Device::Cpu).unwrap();
    for p in [0.1, 0.5, 0.9] {
        let y: Vec<f32> = fast([&x], p).unwrap().to_vec1().unwrap();
        let gone = y.iter().filter(|y| **y == 0.0).count() as f64;
        let most = 5.0 * (count as f64 * p * (1.0 - p)).sqrt();
        assert!((gone - p * count as f64).abs() < most, "{p}: {gone}");
        let mean = y.iter().copied().map(f64::from).sum::<f64>() / count as f64;
        assert!((mean - 1.0).abs() < most / count as f64 / (1.0 - p), "{p}: {mean}");
    }
}

#[test]
fn the_backward_pass_draws_the_same_mask() {
    let x = Var::ones(1000, DType::F32, &Device::Cpu).unwrap();
    let y = fast([&x], 0.3).unwrap();
    let dx = y.sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
    assert_eq!(dx.to_vec1::<f32>().unwrap(), y.to_vec1::<f32>().unwrap());
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    parity::threads([&parity::draw(&[301, 197], 0)], |x| fast(x, 0.5));
}

/// As PyTorch's product with a mask.
#[test]
fn dropped_infinities_are_nan() {
    let x = Tensor::full(f32::INFINITY, 100, &Device::Cpu).unwrap();
    let y: Vec<f32> = fast([&x], 0.5).unwrap().to_vec1().unwrap();
    assert!(y.iter().any(|y| y.is_nan()) && y.iter().all(|y| y.is_nan() || y.is_infinite()));
}

#[test]
fn a_probability_of_zero_is_the_identity_and_others_must_be_in_range() {
    let x = parity::draw(&[5], 0);
    assert_eq!(fast([&x], 0.0).unwrap().to_vec1::<f64>().unwrap(), x.to_vec1::<f64>().unwrap());
    for p in [-0.1, 1.5, f64::NAN] {
        let error = fast([&x], p).unwrap_err().to_string();
        assert!(error.starts_with(&format!("dropout: `p` is {p}, not from 0 to 1")), "{error}");
    }
}
