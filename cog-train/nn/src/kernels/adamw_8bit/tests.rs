use candle_core::{DType, Device, Tensor, Var};

use super::codes::{Codes, SIGNED, UNSIGNED};
use super::{BLOCK, Moments, update};
use crate::kernels::adamw::{self, Hyperparameters};
use crate::kernels::parity;
use crate::rng::Rng;

/// A weight and its moments, which are zero.
struct State {
    weight: Var,
    first: Var,
    first_scales: Var,
    second: Var,
    second_scales: Var,
}

impl State {
    fn new(weight: &Tensor) -> Self {
        let zeros = |shape: &[usize], dtype| Var::zeros(shape, dtype, weight.device()).unwrap();
        let blocks = [weight.elem_count().div_ceil(BLOCK)];
        Self {
            weight: Var::from_tensor(&weight.copy().unwrap()).unwrap(),
            first: zeros(weight.dims(), DType::U8),
            first_scales: zeros(&blocks, DType::F32),
            second: zeros(weight.dims(), DType::U8),
            second_scales: zeros(&blocks, DType::F32),
        }
    }

    fn update(&self, gradient: &Tensor, parameters: &Hyperparameters) {
        update(&self.weight, gradient, self.moments(), parameters).unwrap();
    }

    fn moments(&self) -> Moments<'_> {
        Moments {
            first: &self.first,
            first_scales: &self.first_scales,
            second: &self.second,
            second_scales: &self.second_scales,
        }
    }

    /// The moments in 32 bits.
    fn decoded(&self) -> [Var; 2] {
        let of = |codes: &Codes, values: &Var, scales: &Var| {
            let values: Vec<u8> = values.flatten_all().unwrap().to_vec1().unwrap();
            let scales: Vec<f32> = scales.to_vec1().unwrap();
            let elements: Vec<f32> = values
                .chunks(BLOCK)
                .zip(scales)
                .flat_map(|(block, scale)| {
                    block.iter().map(move |code| codes.values[usize::from(*code)] * scale)
                })
                .collect();
            let elements = Tensor::from_vec(elements, self.weight.dims(), &Device::Cpu).unwrap();
            Var::from_tensor(&elements).unwrap()
        };
        [
            of(&SIGNED, &self.first, &self.first_scales),
            of(&UNSIGNED, &self.second, &self.second_scales),
        ]
    }
}

fn parameters(step: u64) -> Hyperparameters {
    Hyperparameters {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        learning_rate: 1e-2,
        weight_decay: 0.1,
        decoupled: true,
        gradient_scale: 0.37,
        step,
    }
}

fn normal(shape: (usize, usize), at: u64) -> Tensor {
    Rng::new(8, "test").at(at).normal_tensor(shape, 0.0, 1.0, DType::F32, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The last block is short; the gradients have magnitudes over eight decades.
#[test]
fn an_update_is_that_of_adamw_on_the_decoded_moments() {
    let state = State::new(&normal((3, 211), 0));
    for step in 1..=12 {
        let noise = normal((3, 211), step);
        let gradient =
            (noise.powf(3.0).unwrap() * 10f64.powi(-(i32::try_from(step).unwrap() % 6))).unwrap();
        let expected = Var::from_tensor(&state.weight.copy().unwrap()).unwrap();
        let [first, second] = state.decoded();
        adamw::update(&expected, &gradient, [&first, &second], &parameters(step)).unwrap();
        state.update(&gradient, &parameters(step));
        assert_eq!(values(&state.weight), values(&expected));
        for (codes, (found, exact)) in
            [&SIGNED, &UNSIGNED].into_iter().zip(state.decoded().iter().zip([&first, &second]))
        {
            let (found, exact) = (values(found), values(exact));
            for (found, exact) in found.chunks(BLOCK).zip(exact.chunks(BLOCK)) {
                let largest = exact.iter().fold(0f32, |most, value| most.max(value.abs()));
                for (found, exact) in found.iter().zip(exact) {
                    let distance = |value: f32| (value * largest - exact).abs();
                    let nearest = codes.values.map(distance).into_iter().fold(f32::MAX, f32::min);
                    // The nearest of a second moment may be zero.
                    let raised = codes.values[0] == 0.0
                        && distance(codes.values[1]) >= (found - exact).abs();
                    assert!((found - exact).abs() <= nearest + largest * 1e-7 || raised);
                    assert!(codes.values[0] < 0.0 || *exact <= 0.0 || *found > 0.0);
                }
            }
        }
    }
}

/// The values of bitsandbytes' maps, of which each code is the nearest. Its own search on the CPU has 16 bits, and misses small values.
///
/// ```python
/// import torch, bitsandbytes.functional as F  # 0.50.2
/// wave = ((torch.arange(512) * 7919 + 13) % 1009 - 504).float() / 504
/// x = wave * wave * wave * wave * wave
/// for signed in (True, False):
///     v = x if signed else x.abs()
///     q = ((v / x.abs().max())[:, None] - F.create_dynamic_map(signed=signed)).abs().argmin(1)
///     if not signed: q = torch.maximum(q, (v > 0).to(q.dtype))
///     print(q[::16].tolist(), sum(int(c) * (i % 251 + 1) for i, c in enumerate(q.tolist())))
/// ```
#[test]
fn codes_are_those_of_bitsandbytes() {
    let wave = |at: usize| {
        let wave = f32::from(u16::try_from((at * 7919 + 13) % 1009).unwrap()) - 504.0;
        let wave = wave / 504.0;
        wave * wave * wave * wave * wave
    };
    let scale = (0..512).map(|at| wave(at).abs()).fold(0f32, f32::max);
    let signed: Vec<u8> = (0..512).map(|at| SIGNED.signed(wave(at) / scale)).collect();
    let unsigned: Vec<u8> = (0..512).map(|at| UNSIGNED.unsigned(wave(at).abs() / scale)).collect();
    let some = |codes: &[u8]| codes.iter().step_by(16).copied().collect::<Vec<_>>();
    let sum = |codes: &[u8]| {
        codes
            .iter()
            .enumerate()
            .map(|(at, code)| usize::from(*code) * (at % 251 + 1))
            .sum::<usize>()
    };
    assert_eq!(
        some(&signed),
        [
            8, 135, 60, 163, 98, 202, 125, 18, 137, 63, 167, 104, 207, 126, 27, 141, 68, 171, 108,
            212, 127, 34, 144, 76, 177, 110, 219, 127, 41, 146, 82, 184
        ]
    );
    assert_eq!(
        some(&unsigned),
        [
            238, 16, 133, 72, 57, 150, 4, 218, 20, 128, 79, 46, 159, 1, 200, 28, 117, 88, 38, 170,
            1, 185, 33, 101, 99, 33, 183, 1, 172, 37, 89, 114
        ]
    );
    assert_eq!((sum(&signed), sum(&unsigned)), (8_016_093, 5_876_352));
}

/// One gradient is 1e8 times the others of its block, whose second moments are far below the smallest code.
#[test]
fn elements_far_below_the_largest_of_their_block_move_no_further_than_by_adam() {
    let state = State::new(&normal((1, 512), 0).zeros_like().unwrap());
    let gradient: Vec<f32> = (0..512).map(|at| if at == 0 { 1e4 } else { 1e-4 }).collect();
    let gradient = Tensor::from_vec(gradient, (1, 512), &Device::Cpu).unwrap();
    for step in 1..=50 {
        let parameters = Hyperparameters { weight_decay: 0.0, ..parameters(step) };
        state.update(&gradient, &parameters);
    }
    let weight = values(&state.weight);
    // Adam moves each by the learning rate at each step.
    assert!(weight.iter().all(|value| *value <= 0.0 && *value > -0.51), "{weight:?}");
    assert!(weight[256..].iter().all(|value| (value + 0.5).abs() < 0.01), "{:?}", &weight[256..]);
}

#[test]
fn tensors_that_do_not_fit_are_refused_and_left_as_they_are() {
    let state = State::new(&normal((2, 300), 0));
    let before = values(&state.weight);
    let other = State::new(&normal((2, 299), 0));
    let gradient = normal((2, 300), 1);
    for moments in [
        Moments { first: &other.first, ..state.moments() },
        Moments { second_scales: &other.weight, ..state.moments() },
        Moments { second: &state.first, ..state.moments() },
        Moments { first_scales: &state.second_scales, ..state.moments() },
    ] {
        assert!(update(&state.weight, &gradient, moments, &parameters(1)).is_err());
    }
    assert_eq!(values(&state.weight), before);
}

/// A transposed gradient too.
#[test]
fn devices_agree() {
    for device in parity::devices() {
        let here = State::new(&normal((3, 211), 0));
        let there = State::new(&normal((3, 211), 0).to_device(&device).unwrap());
        for step in 1..=5 {
            let gradient = normal((211, 3), step).t().unwrap();
            here.update(&gradient.contiguous().unwrap(), &parameters(step));
            there.update(&gradient.to_device(&device).unwrap(), &parameters(step));
        }
        let there = there.weight.to_device(&Device::Cpu).unwrap();
        parity::close(&there, &here.weight, 1e-4, &format!("{:?}", device.location()));
    }
}
