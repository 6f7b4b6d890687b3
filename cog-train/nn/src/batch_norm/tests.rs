use candle_core::{DType, Device, Var};

use super::*;
use crate::kernels::parity;
use crate::{Rng, recompute, trace};

fn vec(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn norm() -> (Init, BatchNorm2d) {
    let init = Init::random(Rng::new(1, "init"), &Device::Cpu);
    let norm = BatchNorm2d::new(&init.at("bn"), 2).unwrap();
    (init, norm)
}

fn batch(at: u64) -> Tensor {
    parity::draw(&[3, 2, 2, 2], at).to_dtype(DType::F32).unwrap()
}

/// The running statistics of two batches by their definition, in 64 bits.
#[test]
fn running_statistics_are_pytorchs() {
    let (init, norm) = norm();
    let mut expected = [[0.0f64; 2], [1.0; 2]];
    for at in 0..2 {
        let x = batch(at);
        norm.forward(&x, true).unwrap().sum_all().unwrap().backward().unwrap();
        for channel in 0..2 {
            let values: Vec<f64> =
                vec(&x.narrow(1, channel, 1).unwrap()).into_iter().map(f64::from).collect();
            let mean = values.iter().sum::<f64>() / 12.0;
            let sample = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 11.0;
            for (running, new) in expected.iter_mut().zip([mean, sample]) {
                running[channel] = 0.9 * running[channel] + 0.1 * new;
            }
        }
    }
    let tensors = init.tensors();
    for (name, expected) in ["bn.running_mean", "bn.running_var"].iter().zip(expected) {
        let expected = Tensor::new(&expected, &Device::Cpu).unwrap();
        parity::close(&tensors[*name], &expected, 1e-6, name);
    }
    // In evaluation they are what is normalized by.
    let x = Tensor::ones((1, 2, 1, 1), DType::F32, &Device::Cpu).unwrap();
    let y = vec(&norm.forward(&x, false).unwrap());
    for channel in 0..2 {
        let [mean, variance] = expected.map(|of| of[channel]);
        let wanted = (1.0 - mean) / (variance + 1e-5).sqrt();
        assert!((f64::from(y[channel]) - wanted).abs() < 1e-5, "{y:?}");
    }
}

#[test]
fn a_batch_counts_once_and_only_where_it_is_learned_from() {
    let running = |recomputed: bool| {
        let (init, norm) = norm();
        norm.forward(&batch(5), true).unwrap(); // without a backward pass
        norm.forward(&batch(6), false).unwrap().sum_all().unwrap().backward().unwrap();
        let x = Var::from_tensor(&batch(0)).unwrap();
        let block = move |x: &Node| norm.forward(x, true);
        let y =
            trace([x.as_tensor()], |[x]| if recomputed { recompute(&x, block) } else { block(&x) });
        y.unwrap().sum_all().unwrap().backward().unwrap();
        [vec(&init.tensors()["bn.running_mean"]), vec(&init.tensors()["bn.running_var"])]
    };
    assert_eq!(running(true), running(false));
    assert_ne!(running(false)[0], [0.0, 0.0]);
}

#[test]
fn one_value_for_each_channel_has_no_variance() {
    let (_, norm) = norm();
    let x = Tensor::ones((1, 2, 1, 1), DType::F32, &Device::Cpu).unwrap();
    let error = norm.forward(&x, true).unwrap_err().to_string();
    assert!(error.contains("[1, 2, 1, 1] has 1 value for each channel"), "{error}");
}

/// The definition, with candle's own gradients: groups of one channel, of some, and of all.
#[test]
fn group_norm_is_its_definition() {
    let (weight, bias) = (parity::draw(&[6], 1), parity::draw(&[6], 2));
    for (shape, groups) in [(vec![2, 6, 3, 3], 3), (vec![4, 6], 1), (vec![1, 6, 5], 6)] {
        let x = parity::draw(&shape, 0);
        parity::check(
            [&x, &weight, &bias],
            |[x, weight, bias]| {
                GroupNorm::from_tensors(weight.clone(), bias.clone(), groups, 1e-5).forward(x)
            },
            |[x, weight, bias]| {
                let rows = x.reshape((shape[0], groups, ()))?;
                let centered = rows.broadcast_sub(&rows.mean_keepdim(2)?)?;
                let variance = centered.sqr()?.mean_keepdim(2)?;
                let normal = centered.broadcast_div(&(variance + 1e-5)?.sqrt()?)?;
                let normal = normal.reshape((shape[0], 6, ()))?;
                let y = normal.broadcast_mul(&weight.reshape((6, 1))?)?;
                y.broadcast_add(&bias.reshape((6, 1))?)?.reshape(shape.as_slice())
            },
        );
    }
    let norm = GroupNorm::from_tensors(weight, bias, 4, 1e-5);
    let error = norm.forward(&parity::draw(&[2, 6], 0)).unwrap_err().to_string();
    assert!(error.contains("4 groups of an input [2, 6]"), "{error}");
}
