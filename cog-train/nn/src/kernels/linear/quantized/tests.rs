use candle_core::{DType, Var};

use super::super::super::parity;
use super::*;
use crate::kernels::embedding;
use crate::kernels::linear_cross_entropy::{forward as loss, forward_grouped as losses};
use crate::kernels::quantized::BlockLayout;
use crate::kernels::scratch::LARGEST;
use crate::kernels::tape::trace;
use crate::kernels::weight::Weight;

const LAYOUTS: [BlockLayout; 9] = [
    BlockLayout::Nf4,
    BlockLayout::Q4_0,
    BlockLayout::Q4_1,
    BlockLayout::Q4K,
    BlockLayout::Q5_0,
    BlockLayout::Q5_1,
    BlockLayout::Q5K,
    BlockLayout::Q6K,
    BlockLayout::Q8_0,
];

fn quantized(outputs: usize, inputs: usize, layout: BlockLayout) -> Quantized {
    Quantized::quantize(&parity::draw(&[outputs, inputs], 1), layout).unwrap()
}

/// The matrix as it is for operands beside `x`.
fn beside(weight: &Quantized, x: &Tensor) -> Quantized {
    weight.clone().to_dtype(x.dtype()).to_device(x.device()).unwrap()
}

fn dense(weight: &Quantized) -> Tensor {
    weight.clone().to_dtype(DType::F64).dequantize().unwrap()
}

/// Rows of one tile and of several, and panels that are not full. NF4 takes rows of any length.
#[test]
fn products_equal_those_of_the_dequantized_weight() {
    let sizes = [(1, 256, 1), (3, 256, 70), (130, 768, 96)].into_iter();
    let sizes = sizes.flat_map(|sizes| LAYOUTS.map(|layout| (sizes, layout)));
    for ((rows, inputs, outputs), layout) in sizes.chain([((5, 75, 33), BlockLayout::Nf4)]) {
        let weight = quantized(outputs, inputs, layout);
        let (x, bias) = (parity::draw(&[2, rows, inputs], 0), parity::draw(&[outputs], 2));
        let to = parity::draw(&[2, rows, outputs], 3);
        let whole = |[x, bias, to]: [&Tensor; 3]| {
            let weight = beside(&weight, x);
            trace([x, to], |[x, to]| {
                let (bias, to) = (Some(bias), Some(&to));
                forward(&x, &Operands { weight: &weight, bias, to, scale: 0.5 })
            })
        };
        let dense = dense(&weight);
        let expected = |[x, bias, to]: [&Tensor; 3]| {
            (x.broadcast_matmul(&dense.t()?)? * 0.5)?.broadcast_add(bias)? + to
        };
        parity::check([&x, &bias, &to], whole, expected);
        parity::threads([&x, &bias, &to], whole);
    }
}

/// The depth of a sum decides its parts, so that blocks and a dense matrix of the same values give the same bits.
#[test]
fn bits_equal_those_of_the_dequantized_weight() {
    let weight = quantized(300, 768, BlockLayout::Q4K);
    let dense = dense(&weight).to_dtype(DType::F32).unwrap();
    let x = Var::from_tensor(&parity::draw(&[64, 768], 0).to_dtype(DType::F32).unwrap()).unwrap();
    let bits = |tensor: &Tensor| -> Vec<u32> {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    let run = |blocks: bool| {
        let y = trace([x.as_tensor()], |[x]| {
            if blocks {
                let weight = &weight.clone().to_dtype(DType::F32);
                return forward(&x, &Operands { weight, bias: None, to: None, scale: 1.0 });
            }
            let weight = &dense;
            super::super::forward(&x, &Operands { weight, bias: None, to: None, scale: 1.0 })
        });
        let y = y.unwrap();
        let dx = y.sqr().unwrap().sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
        (bits(&y), bits(&dx))
    };
    assert_eq!(run(true), run(false));
}

/// A thread holds one tile of panels, and what it decodes of a panel.
#[test]
fn a_weight_is_never_decoded_as_a_whole() {
    let (outputs, inputs) = (3072, 2048);
    let weight = quantized(outputs, inputs, BlockLayout::Q8_0).to_dtype(DType::F32);
    let x =
        Var::from_tensor(&parity::draw(&[16, inputs], 0).to_dtype(DType::F32).unwrap()).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let largest = pool.install(|| {
        let y = trace([x.as_tensor()], |[x]| {
            forward(&x, &Operands { weight: &weight, bias: None, to: None, scale: 1.0 })
        });
        y.unwrap().sum_all().unwrap().backward().unwrap();
        LARGEST.get()
    });
    // 512 by 512 of panels, and lines that are padded to full panels.
    assert!(largest > 0 && largest <= 600 * 512, "{largest} floats");
}

#[test]
fn losses_equal_those_of_the_dequantized_weight() {
    for layout in [BlockLayout::Nf4, BlockLayout::Q6K] {
        let (n, d, classes) = (70, 256, 33);
        let weight = quantized(classes, d, layout);
        let dense = dense(&weight);
        let h = parity::draw(&[1, n, d], 0);
        let targets: Vec<u32> = (0..70).map(|at| at * 11 % 33).collect();
        let groups: Vec<u32> = (0..70).map(|at| at % 3).collect();
        let on = |words: &[u32], h: &Tensor| Tensor::new(words, h.device());
        let one = |h: &Tensor, weight: &dyn Fn() -> Weight| {
            let targets = on(&targets, h)?;
            trace([h], |[h]| loss(&h, weight(), &targets))?.to_dtype(h.dtype())
        };
        parity::check(
            [&h],
            |[h]| one(h, &|| beside(&weight, h).into()),
            |[h]| one(h, &|| dense.clone().into()),
        );
        let many = |h: &Tensor, weight: &dyn Fn() -> Weight| {
            let (targets, groups) = (on(&targets, h)?, on(&groups, h)?);
            trace([h], |[h]| losses(&h, weight(), &targets, &groups, 3))?.to_dtype(h.dtype())
        };
        parity::check(
            [&h],
            |[h]| many(h, &|| beside(&weight, h).into()),
            |[h]| many(h, &|| dense.clone().into()),
        );
    }
}

#[test]
fn rows_of_a_table_equal_those_of_the_dequantized_one() {
    for device in &parity::devices() {
        for (layout, d) in
            LAYOUTS.map(|layout| (layout, 256)).into_iter().chain([(BlockLayout::Nf4, 75)])
        {
            let table = quantized(40, d, layout).to_device(device).unwrap().to_dtype(DType::F32);
            let ids = Tensor::new(&[[3u32, 39, 3], [0, 17, 1]], device).unwrap();
            let found = trace([&ids], |[ids]| embedding::forward_quantized(&ids, &table)).unwrap();
            let whole = table.dequantize().unwrap();
            let expected = whole.index_select(&ids.flatten_all().unwrap(), 0).unwrap();
            assert_eq!(
                found.to_vec3::<f32>().unwrap(),
                expected.reshape((2, 3, d)).unwrap().to_vec3::<f32>().unwrap()
            );
            let error = Tensor::new(&[40u32], device).unwrap();
            assert!(trace([&error], |[ids]| embedding::forward_quantized(&ids, &table)).is_err());
        }
    }
}

#[test]
fn operands_that_do_not_fit_are_errors_that_name_them() {
    let weight = quantized(3, 64, BlockLayout::Nf4).to_dtype(DType::F32);
    let product = |x: &Tensor| {
        let operands = Operands { weight: &weight, bias: None, to: None, scale: 1.0 };
        trace([x], |[x]| forward(&x, &operands)).unwrap_err().to_string()
    };
    let x = Tensor::ones((2, 63), DType::F32, &candle_core::Device::Cpu).unwrap();
    let error = product(&x);
    assert!(
        error.starts_with("linear: an input [2, 63], a weight [3, 64], a bias none"),
        "{error}"
    );
    let x = Tensor::ones((2, 64), DType::BF16, &candle_core::Device::Cpu).unwrap();
    let error = product(&x);
    assert!(error.starts_with("linear: `x` is BF16 and `weight` is NF4 of F32\nhint: "), "{error}");
}
