use candle_core::{DType, Var};

use super::super::super::parity;
use super::super::{Operands, forward};
use super::*;
use crate::kernels::embedding;
use crate::kernels::linear_cross_entropy::{forward as loss, forward_grouped as losses};
use crate::kernels::quantized::BlockLayout;
use crate::kernels::scratch::LARGEST;
use crate::kernels::tape::{Saved, trace};
use crate::kernels::weight::Weight;

const LAYOUTS: [BlockLayout; 11] = [
    BlockLayout::Nf4,
    BlockLayout::Q4_0,
    BlockLayout::Q4_1,
    BlockLayout::Q4K,
    BlockLayout::Q5_0,
    BlockLayout::Q5_1,
    BlockLayout::Q5K,
    BlockLayout::Q6K,
    BlockLayout::Q8_0,
    BlockLayout::F16,
    BlockLayout::Bf16,
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

fn bits(tensor: &Tensor) -> Vec<u32> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// The bits of a product and of the gradient of its input.
fn product(x: &Tensor, weight: impl Into<Weight>) -> [Vec<u32>; 2] {
    let (x, weight) = (Var::from_tensor(x).unwrap(), weight.into());
    let y = trace([x.as_tensor()], |[x]| {
        forward(&x, &Operands { weight: &weight, bias: None, to: None, scale: 0.5 })
    });
    let y = y.unwrap();
    let dx = y.sqr().unwrap().sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
    [bits(&y), bits(&dx)]
}

/// The depth of a sum decides its parts, so that blocks and a dense matrix of the same values give the same bits: in tiles, in dot
/// products of few rows and in small products; of floats also in gradients of few rows by a large matrix.
#[test]
fn bits_equal_those_of_the_dequantized_weight() {
    for layout in LAYOUTS {
        let floats = layout.float().is_some();
        let more = if floats { [(7, 5, 3), (20, 33, 9), (3, 512, 600)].as_slice() } else { &[] };
        let all = [(7, 256, 3), (20, 256, 9), (1, 256, 40), (11, 512, 70), (64, 768, 300)];
        for (rows, inputs, outputs) in all.iter().chain(more) {
            let weight = quantized(*outputs, *inputs, layout).to_dtype(DType::F32);
            let dense = dense(&weight).to_dtype(DType::F32).unwrap();
            let x = parity::draw(&[*rows, *inputs], 0).to_dtype(DType::F32).unwrap();
            let [[y, dx], [dense_y, dense_dx]] = [product(&x, &weight), product(&x, &dense)];
            assert_eq!(y, dense_y, "{layout}, {rows} rows");
            assert_eq!(dx, dense_dx, "{layout}, gradient of {rows} rows");
        }
    }
}

/// A weight of 16-bit floats, trained or not, gives the bits of a widened one whose result is rounded.
#[test]
fn products_of_16_bits_are_those_of_32_rounded() {
    for dtype in [DType::BF16, DType::F16] {
        for rows in [3, 64] {
            let narrow = |shape: &[usize], at| parity::draw(shape, at).to_dtype(dtype).unwrap();
            let wide = |tensor: &Tensor| tensor.to_dtype(DType::F32).unwrap();
            let (x, weight) = (narrow(&[rows, 256], 0), narrow(&[70, 256], 1));
            let trained = Var::from_tensor(&weight).unwrap();
            let on = |x: &Tensor, weight: &Tensor| {
                let operands = Operands { weight, bias: None, to: None, scale: 1.0 };
                trace([x], |[x]| forward(&x, &operands)).unwrap()
            };
            let (y, same) = (on(&x, &weight), on(&x, trained.as_tensor()));
            let expected = on(&wide(&x), &wide(&weight)).to_dtype(dtype).unwrap();
            assert_eq!(bits(&wide(&y)), bits(&wide(&expected)));
            assert_eq!(bits(&wide(&same)), bits(&wide(&expected)));
            let of_weight = same.sum_all().unwrap().backward().unwrap().remove(&trained).unwrap();
            let x = wide(&x).sum(0).unwrap().to_dtype(dtype).unwrap();
            let expected = x.unsqueeze(0).unwrap().broadcast_as((70, 256)).unwrap();
            parity::close(&wide(&of_weight), &wide(&expected), 1e-2, "gradient of the weight");
        }
    }
}

/// The backward pass of an operand of 16 bits keeps that operand, and no widened copy.
#[test]
fn an_operand_of_16_bits_is_saved_in_16_bits() {
    let x = Var::from_tensor(&parity::draw(&[4, 32], 0).to_dtype(DType::BF16).unwrap()).unwrap();
    trace([x.as_tensor()], |[x]| {
        let wide = x.widened()?;
        assert_eq!(wide.tensor().dtype(), DType::F32);
        let Saved::Recompute(again) = wide.saved() else { panic!("it saves the widened tensor") };
        assert_eq!(bits(&Saved::Recompute(again).tensor()?), bits(wide.tensor()));
        Ok(x)
    })
    .unwrap();
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
    for layout in [BlockLayout::Nf4, BlockLayout::Q6K, BlockLayout::Bf16] {
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
            let found = trace([&ids], |[ids]| embedding::forward(&ids, &table)).unwrap();
            let whole = table.dequantize().unwrap();
            let expected = whole.index_select(&ids.flatten_all().unwrap(), 0).unwrap();
            assert_eq!(
                found.to_vec3::<f32>().unwrap(),
                expected.reshape((2, 3, d)).unwrap().to_vec3::<f32>().unwrap()
            );
            let error = Tensor::new(&[40u32], device).unwrap();
            assert!(trace([&error], |[ids]| embedding::forward(&ids, &table)).is_err());
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
