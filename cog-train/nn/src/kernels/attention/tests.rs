use candle_core::{DType, Device, Tensor, Var};

use super::super::parity;
use super::*;
use crate::kernels::tape::trace;

fn fast(operands: [&Tensor; 3], mask: &Mask) -> Result<Tensor, Error> {
    fast_with(operands, &Options::new(mask.clone()))
}

fn fast_with([q, k, v]: [&Tensor; 3], options: &Options) -> Result<Tensor, Error> {
    trace([q, k, v], |[q, k, v]| forward(&q, &k, &v, options))
}

fn fast_packed(qkv: &Tensor, heads: [usize; 2], mask: &Mask) -> Result<Tensor, Error> {
    trace([qkv], |[qkv]| packed(&qkv, heads[0], heads[1], &Options::new(mask.clone())))
}

fn expected(operands: [&Tensor; 3], mask: &Mask) -> Result<Tensor, Error> {
    expected_with(operands, &Options::new(mask.clone()))
}

fn expected_with(operands: [&Tensor; 3], options: &Options) -> Result<Tensor, Error> {
    let (q, k) = (operands[0].dims(), operands[1].dims());
    let geometry = Geometry {
        batch: q[0],
        queries: q[1],
        keys: k[1],
        heads: q[2],
        kv_heads: k[2],
        width: q[3],
        scale: options.scale.unwrap_or_else(|| default_scale(q[3])),
        softcap: options.softcap,
    };
    reference::forward(operands, &geometry, &options.host_mask(&geometry)?)
}

fn integers(shape: &[usize], value: impl Fn(usize) -> usize) -> Tensor {
    let values = (0..shape.iter().product()).map(|at| u32::try_from(value(at)).unwrap());
    Tensor::from_iter(values, &Device::Cpu).unwrap().reshape(shape).unwrap()
}

fn padding(lengths: &[u32], causal: bool) -> Mask {
    Mask::Padding { lengths: Tensor::new(lengths, &Device::Cpu).unwrap(), causal }
}

fn segments(ids: Tensor, causal: bool) -> Mask {
    Mask::Segments { ids, causal }
}

/// Queries, keys and values of two rows.
fn draw(queries: usize, keys: usize, [heads, kv_heads]: [usize; 2], width: usize) -> [Tensor; 3] {
    [(0, queries, heads), (1, keys, kv_heads), (2, keys, kv_heads)]
        .map(|(at, positions, heads)| parity::draw(&[2, positions, heads, width], at))
}

/// Returns the value and the gradients of a sum in which `dy` weights each element of the result.
fn gradients<const N: usize>(
    operands: [&Tensor; N],
    dy: &Tensor,
    compute: impl Fn([&Tensor; N]) -> Result<Tensor, Error>,
) -> Vec<Tensor> {
    let vars = operands.map(|operand| Var::from_tensor(&operand.contiguous().unwrap()).unwrap());
    let y = compute(vars.each_ref().map(Var::as_tensor)).unwrap();
    let store = (&y * dy).unwrap().sum_all().unwrap().backward().unwrap();
    std::iter::once(y.detach())
        .chain(vars.iter().map(|var| store.get(var).unwrap().clone()))
        .collect()
}

/// A sine of `factor` times the index, times `by`.
#[expect(clippy::cast_precision_loss, reason = "a dozen")]
fn wave(factor: f64, by: f64, shape: &[usize]) -> Tensor {
    let values = (0..shape.iter().product()).map(|at: usize| (factor * at as f64).sin() * by);
    Tensor::from_iter(values, &Device::Cpu).unwrap().reshape(shape).unwrap()
}

fn narrow(tensors: &[Tensor], from: usize, count: usize) -> Vec<Tensor> {
    tensors.iter().map(|tensor| tensor.narrow(1, from, count).unwrap()).collect()
}

fn all_close(found: &[Tensor], expected: &[Tensor], what: &str) {
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        parity::close(found, expected, 1e-5, &format!("{at}, {what}"));
    }
}

/// Lengths around the blocks', shared heads and others, every mask.
#[test]
fn fast_path_equals_reference() {
    for (length, heads, width) in [
        (7, [3, 3], 5),
        (7, [6, 2], 64),
        (64, [2, 2], 64),
        (65, [6, 2], 8),
        (130, [6, 2], 64),
        (130, [2, 1], 48),
    ] {
        let operands = draw(length, length, heads, width);
        let masks = [
            Mask::Full,
            Mask::Causal,
            padding(&[u32::try_from(length).unwrap(), 1], length % 2 == 0),
            segments(integers(&[2, length], |at| at % length * 3 / length + at / length), true),
            segments(integers(&[2, length], |at| at % 3), false),
        ];
        for mask in masks {
            parity::check(operands.each_ref(), |all| fast(all, &mask), |all| expected(all, &mask));
        }
    }
}

/// Windows within, at and over the blocks' lengths, with every mask, a scale and a bound of the scores that bends them.
#[test]
fn fast_path_equals_reference_with_a_window_and_a_bound() {
    for (queries, keys, heads) in [(140, 140, [2, 1]), (3, 140, [2, 2])] {
        let operands = draw(queries, keys, heads, 8);
        let length = u32::try_from(keys).unwrap();
        let mut masks = vec![
            Mask::Full,
            Mask::Causal,
            padding(&[length, 3], false),
            padding(&[3, length], true),
        ];
        if queries == keys {
            let ids = || integers(&[2, keys], |at| at % keys * 3 / keys + at / keys);
            masks.extend([segments(ids(), true), segments(ids(), false)]);
        }
        let parameters = [(Some(1), Some(0.7)), (Some(70), None), (Some(130), None)];
        for mask in masks {
            for (window, softcap) in parameters {
                let scale = Some(0.5);
                let options = Options { mask: mask.clone(), window, scale, softcap, dropped: None };
                parity::check(
                    operands.each_ref(),
                    |all| fast_with(all, &options),
                    |all| expected_with(all, &options),
                );
            }
        }
    }
}

/// The gradient of the mean of a query's own window is the window's share, from which the seen keys are read off.
#[test]
fn a_query_sees_the_keys_within_its_window() {
    let (queries, keys) = (150, 300);
    let q = Tensor::zeros((1, queries, 1, 4), DType::F32, &Device::Cpu).unwrap();
    let k = Tensor::zeros((1, keys, 1, 4), DType::F32, &Device::Cpu).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "300")]
    let positions: Vec<f32> = (0..keys).flat_map(|key| [key as f32; 4]).collect();
    let v = Tensor::from_vec(positions, k.shape(), &Device::Cpu).unwrap();
    for (mask, before, after) in
        [(Mask::Full, 100, 100), (Mask::Full, 0, 0), (Mask::Causal, 100, 0), (Mask::Causal, 0, 0)]
    {
        let options = Options { window: Some(before), ..Options::new(mask) };
        let y = fast_with([&q, &k, &v], &options).unwrap();
        let means = y.narrow(3, 0, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (query, mean) in means.into_iter().enumerate() {
            let at = query + keys - queries;
            let (first, last) = (at - before, (at + after).min(keys - 1));
            #[expect(clippy::cast_precision_loss, reason = "600")]
            let expected = (first + last) as f32 / 2.0;
            assert!((mean - expected).abs() < 1e-3, "query {query}: {mean}, not {expected}");
        }
    }
}

#[test]
fn attention_over_one_key_returns_its_value() {
    let operands = draw(1, 1, [6, 2], 8).map(|x| x.to_dtype(DType::F32).unwrap());
    let dy = Tensor::ones((2, 1, 6, 8), DType::F32, &Device::Cpu).unwrap();
    let found = gradients(operands.each_ref(), &dy, |all| fast(all, &Mask::Causal));
    let vec = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let values = operands[2].unsqueeze(3).unwrap().broadcast_as((2, 1, 2, 3, 8)).unwrap();
    assert_eq!(vec(&found[0]), vec(&values));
    assert!([1, 2].iter().all(|at| vec(&found[*at]).iter().all(|value| value.abs() < 1e-6)));
    assert!(vec(&found[3]).iter().all(|value| value.to_bits() == 3f32.to_bits()));
}

/// More keys than queries, and fewer.
#[test]
fn queries_and_keys_may_differ_in_number() {
    for (queries, keys) in [(1, 130), (70, 200), (130, 64), (3, 2)] {
        let operands = draw(queries, keys, [4, 2], 8);
        let least = u32::try_from(keys).unwrap().min(2);
        let mut masks = vec![Mask::Full, padding(&[least, 0], false)];
        if queries <= keys {
            masks.extend([Mask::Causal, padding(&[least, 1], true)]);
        }
        for mask in masks {
            parity::check(operands.each_ref(), |all| fast(all, &mask), |all| expected(all, &mask));
        }
    }
}

/// The same bits, in values and in gradients.
#[test]
fn packed_attention_equals_separate_operands() {
    let (length, heads, width) = (70, [6, 2], 8);
    let operands =
        draw(length, length, heads, width).map(|operand| operand.to_dtype(DType::F32).unwrap());
    let packed = Tensor::cat(&operands, 2).unwrap().reshape((2, length, 10 * width)).unwrap();
    let dy = parity::draw(&[2, length, 6, width], 7).to_dtype(DType::F32).unwrap();
    let expected = gradients(operands.each_ref(), &dy, |all| fast(all, &Mask::Causal));
    let found = gradients([&packed], &dy, |[qkv]| {
        fast_packed(qkv, heads, &Mask::Causal)?.reshape(dy.shape())
    });
    let vec = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(vec(&found[0]), vec(&expected[0]));
    let expected = Tensor::cat(&expected[1..], 2).unwrap();
    assert_eq!(vec(&found[1]), vec(&expected));
    // And in the reference, for other types and devices.
    let packed = packed.to_dtype(DType::F64).unwrap();
    parity::check(
        [&packed],
        |[x]| fast_packed(x, heads, &Mask::Causal),
        |[x]| fast_packed(x, heads, &Mask::Causal),
    );
}

/// Few heads and many threads, and the other way round: the two ways to share out the work.
#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for heads in [[1, 1], [4, 1], [6, 6]] {
        let all = draw(300, 300, heads, 8);
        let mask = segments(integers(&[2, 300], |at| at % 300 / 140), true);
        for mask in [Mask::Full, Mask::Causal, mask] {
            parity::threads(all.each_ref(), |operands| fast(operands, &mask));
        }
    }
}

#[test]
fn segments_equal_separate_texts() {
    let parts = [(0, 90), (90, 1), (91, 109)];
    let operands = draw(200, 200, [4, 2], 8);
    let dy = parity::draw(&[2, 200, 4, 8], 9).to_dtype(DType::F32).unwrap();
    let operands = operands.map(|operand| operand.to_dtype(DType::F32).unwrap());
    let ids = || integers(&[2, 200], |at| parts.iter().filter(|part| at % 200 >= part.0).count());
    for (causal, alone) in [(true, Mask::Causal), (false, Mask::Full)] {
        let whole = gradients(operands.each_ref(), &dy, |all| fast(all, &segments(ids(), causal)));
        for (from, count) in parts {
            let inputs = narrow(&operands, from, count);
            let dy = dy.narrow(1, from, count).unwrap();
            let inputs = [&inputs[0], &inputs[1], &inputs[2]];
            let part = gradients(inputs, &dy, |all| fast(all, &alone));
            all_close(&narrow(&whole, from, count), &part, &format!("from {from}"));
        }
    }
}

/// Positions beyond the length of a row change nothing and get no gradient.
#[test]
fn padding_equals_a_shorter_row() {
    let operands = draw(130, 130, [4, 2], 8).map(|x| x.to_dtype(DType::F32).unwrap());
    let dy = parity::draw(&[2, 70, 4, 8], 9).to_dtype(DType::F32).unwrap();
    let weights = dy.pad_with_zeros(1, 0, 60).unwrap();
    for (causal, alone) in [(true, Mask::Causal), (false, Mask::Full)] {
        let mask = padding(&[70, 70], causal);
        let whole = gradients(operands.each_ref(), &weights, |all| fast(all, &mask));
        let short = narrow(&operands, 0, 70);
        let short = gradients([&short[0], &short[1], &short[2]], &dy, |all| fast(all, &alone));
        all_close(&narrow(&whole, 0, 70), &short, "within the length");
        for gradient in narrow(&whole[1..], 70, 60) {
            let sum = gradient.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            assert_eq!(sum.to_bits(), 0);
        }
    }
}

/// As in PyTorch, though the softmax of nothing is undefined.
#[test]
fn a_query_that_sees_no_key_returns_zeros() {
    let operands = draw(5, 5, [2, 1], 4).map(|x| x.to_dtype(DType::F32).unwrap());
    let dy = Tensor::ones((2, 5, 2, 4), DType::F32, &Device::Cpu).unwrap();
    for tensor in gradients(operands.each_ref(), &dy, |all| fast(all, &padding(&[0, 5], true))) {
        let rows = tensor.abs().unwrap().flatten_from(1).unwrap().sum(1).unwrap();
        let rows = rows.to_vec1::<f32>().unwrap();
        assert!(rows[0] == 0.0 && rows[1] > 0.0, "{rows:?}");
    }
}

/// ```python
/// import torch, torch.nn.functional as F
/// wave = lambda n, f: torch.sin(f * torch.arange(n, dtype=torch.float64))
/// def show(mask, causal):
///     q = (2 * wave(12, 0.7)).reshape(1, 3, 2, 2).requires_grad_()
///     k = (2 * wave(6, 0.9)).reshape(1, 3, 1, 2).requires_grad_()
///     v = wave(6, 1.1).reshape(1, 3, 1, 2).requires_grad_()
///     heads = [x.transpose(1, 2) for x in (q, k, v)]
///     y = F.scaled_dot_product_attention(*heads, attn_mask=mask, is_causal=causal, enable_gqa=True).transpose(1, 2)
///     for x in (y, *torch.autograd.grad(y, (q, k, v), wave(12, 1.3).reshape(1, 3, 2, 2))):
///         print([round(v, 6) for v in x.flatten().tolist()])
/// show(None, True)
/// show(torch.tensor([[1, 0, 0], [0, 1, 1], [0, 1, 1]]).bool(), False)
/// ```
#[test]
fn values_and_gradients_equal_pytorchs() {
    let operands = [
        wave(0.7, 2.0, &[1, 3, 2, 2]),
        wave(0.9, 2.0, &[1, 3, 1, 2]),
        wave(1.1, 1.0, &[1, 3, 1, 2]),
    ];
    let dy = wave(1.3, 1.0, &[1, 3, 2, 2]);
    let causal: [&[f64]; 4] = [
        &[
            0.0, 0.891_207, 0.0, 0.891_207, 0.632_039, 0.071_193, 0.158_449, 0.685_634, -0.559_119,
            -0.176_882, 0.558_907, 0.163_295,
        ],
        &[
            0.0, 0.0, 0.0, 0.0, -0.220_864, 0.080_727, 0.102_56, -0.037_486, -0.373_777,
            -1.116_762, -0.201_187, 0.077_518,
        ],
        &[0.661_718, 0.221_544, -0.248_822, -0.230_458, -0.412_896, 0.008_914],
        &[0.995_601, 0.643_657, -0.248_705, 0.872_843, -0.523_965, -0.481_701],
    ];
    let blocks: [&[f64]; 4] = [
        &[
            0.0, 0.891_207, 0.0, 0.891_207, -0.094_389, -0.438_75, -0.950_522, -0.705_204,
            -0.813_332, -0.662_507, 0.806_004, -0.158_521,
        ],
        &[
            0.0, 0.0, 0.0, 0.0, -0.719_173, -0.713_355, 0.002_373, 0.002_354, -0.271_787,
            -0.269_588, 0.003_625, 0.003_596,
        ],
        &[0.0, 0.0, -0.048_738, 0.175_77, 0.048_738, -0.175_77],
        &[0.515_501, 0.275_792, -0.075_113, 1.030_48, -0.217_458, -0.271_473],
    ];
    let mask = segments(Tensor::new(&[[0u32, 1, 1]], &Device::Cpu).unwrap(), false);
    for (mask, expected) in [(Mask::Causal, causal), (mask, blocks)] {
        for dtype in [DType::F64, DType::F32] {
            let [q, k, v, dy] = [&operands[0], &operands[1], &operands[2], &dy]
                .map(|tensor| tensor.to_dtype(dtype).unwrap());
            let found = gradients([&q, &k, &v], &dy, |all| fast(all, &mask));
            for (found, expected) in found.iter().zip(expected) {
                let expected = Tensor::new(expected, &Device::Cpu).unwrap();
                parity::close(&found.flatten_all().unwrap(), &expected, 5e-6, "PyTorch's");
            }
        }
    }
}

/// ```python
/// import torch
/// wave = lambda n, f, by: (by * torch.sin(f * torch.arange(n, dtype=torch.float64)))
/// q, k, v = wave(12, 0.7, 4).reshape(1, 3, 2, 2), wave(6, 0.9, 4).reshape(1, 3, 1, 2), wave(6, 1.1, 1).reshape(1, 3, 1, 2)
/// for x in (q, k, v): x.requires_grad_()
/// s = 3 * torch.tanh(0.6 * torch.einsum("bthd,bsxd->bhts", q, k) / 3)
/// seen = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1]]).bool()
/// y = torch.einsum("bhts,bsxd->bthd", s.masked_fill(~seen, -torch.inf).softmax(-1), v)
/// for x in (y, *torch.autograd.grad(y, (q, k, v), wave(12, 1.3, 1).reshape(1, 3, 2, 2))):
///     print([round(v, 8) for v in x.flatten().tolist()])
/// ```
#[test]
fn bounded_scores_equal_pytorchs() {
    let operands = [
        wave(0.7, 4.0, &[1, 3, 2, 2]),
        wave(0.9, 4.0, &[1, 3, 1, 2]),
        wave(1.1, 1.0, &[1, 3, 1, 2]),
    ];
    let dy = wave(1.3, 1.0, &[1, 3, 2, 2]);
    let expected: [&[f64]; 4] = [
        &[
            0.0,
            0.891_207_36,
            0.0,
            0.891_207_36,
            0.788_043_55,
            -0.131_209_91,
            0.395_868_79,
            0.377_602_38,
            -0.939_087_87,
            -0.701_645_54,
            0.804_106_77,
            -0.159_111_88,
        ],
        &[
            0.0,
            0.0,
            0.0,
            0.0,
            -0.040_019_02,
            0.004_286_93,
            0.000_328_49,
            -0.006_211_16,
            -0.009_862_85,
            -0.017_481_08,
            0.000_037_51,
            0.000_024_15,
        ],
        &[0.016_415_22, -0.001_813_62, -0.012_460_69, 0.014_075_25, -0.010_605_94, 0.000_272_62],
        &[1.002_773_03, 0.444_090_38, 0.041_050_39, 1.344_813_32, -0.820_892_78, -0.754_104_94],
    ];
    let (scale, softcap) = (Some(0.6), Some(3.0));
    let options = Options { mask: Mask::Causal, window: Some(1), scale, softcap, dropped: None };
    for dtype in [DType::F64, DType::F32] {
        let [q, k, v, dy] = [&operands[0], &operands[1], &operands[2], &dy]
            .map(|tensor| tensor.to_dtype(dtype).unwrap());
        let found = gradients([&q, &k, &v], &dy, |all| fast_with(all, &options));
        for (found, expected) in found.iter().zip(expected) {
            let expected = Tensor::new(expected, &Device::Cpu).unwrap();
            parity::close(&found.flatten_all().unwrap(), &expected, 2e-5, "PyTorch's");
        }
    }
}

/// An undefined element reaches all queries that see it. A score of infinity has no softmax; a row of minus infinities
/// counts as one that sees nothing, as PyTorch's.
#[test]
fn non_finite_elements_propagate_as_in_pytorch() {
    for device in &parity::devices() {
        let operands = draw(70, 70, [2, 2], 8).map(|x| x.to_dtype(DType::F32).unwrap());
        let spoiled = |which: usize, bad: f32| -> Vec<Vec<bool>> {
            // Position 40 of head 1.
            let position = integers(&[1, 70, 1, 1], |at| usize::from(at == 40));
            let head = integers(&[1, 1, 2, 1], |at| at);
            let spoiled =
                position.broadcast_mul(&head).unwrap().broadcast_as((2, 70, 2, 8)).unwrap();
            let full = Tensor::full(bad, (2, 70, 2, 8), &Device::Cpu).unwrap();
            let mut operands = operands.clone();
            if bad.is_infinite() {
                operands[1] = operands[1].abs().unwrap();
            }
            operands[which] = spoiled.where_cond(&full, &operands[which]).unwrap();
            let operands = operands.map(|operand| operand.to_device(device).unwrap());
            let y = fast(operands.each_ref(), &Mask::Causal).unwrap();
            let sums = y.get(1).unwrap().sum(2).unwrap().t().unwrap().to_vec2::<f32>().unwrap();
            sums.iter().map(|head| head.iter().map(|sum| sum.is_nan()).collect()).collect()
        };
        let only = |bad: &dyn Fn(usize) -> bool| vec![vec![false; 70], (0..70).map(bad).collect()];
        assert_eq!(spoiled(0, f32::NAN), only(&|query| query == 40));
        assert_eq!(spoiled(1, f32::NAN), only(&|query| query >= 40));
        let of_values = spoiled(2, f32::NAN);
        assert!(!of_values[0].contains(&true) && of_values[1][40..].iter().all(|nan| *nan));
        assert_eq!(spoiled(0, f32::INFINITY), only(&|query| query == 40));
        // Tensor cores make a NaN of it.
        if device.is_cpu() {
            assert_eq!(spoiled(0, f32::NEG_INFINITY), only(&|_| false));
        }
    }
}

/// Scratch memory is for blocks and for one head, whatever the number of pairs.
#[test]
fn memory_is_linear_in_the_length() {
    let room = |keys| {
        let (queries, scale, softcap) = (keys, 1.0, None);
        let geometry =
            Geometry { batch: 1, queries, keys, heads: 1, kv_heads: 1, width: 64, scale, softcap };
        cpu::room(&geometry)
    };
    assert!(room(4096) < 2 * room(2048) && room(4096) < 4096 * 4096 / 10);
    // The values are one everywhere, and so is their mean.
    let x = Tensor::ones((1, 4096, 1, 8), DType::F32, &Device::Cpu).unwrap();
    let found = gradients([&x, &x, &x], &x, |all| fast(all, &Mask::Causal));
    let worst = (&found[0] - 1.0).unwrap().abs().unwrap().max_all().unwrap();
    assert!(worst.to_scalar::<f32>().unwrap() < 1e-5);
}

#[test]
fn mismatched_operands_are_errors_that_name_them() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let message = |q: &[usize], k: &[usize], mask: &Mask| {
        let (q, k) = (zeros(q), zeros(k));
        fast([&q, &k, &k], mask).unwrap_err().to_string()
    };
    let of_packed = |shape: &[usize], heads| {
        fast_packed(&zeros(shape), heads, &Mask::Full).unwrap_err().to_string()
    };
    let q = [2, 3, 4, 5];
    let ids = segments(integers(&[2, 4], |at| at), false);
    let floats = Mask::Padding { lengths: zeros(&[2]), causal: false };
    for (found, expected) in [
        (
            message(&q, &[2, 3, 4, 6], &Mask::Full),
            "attention: the shapes do not fit together: \
             q [2, 3, 4, 5], k [2, 3, 4, 6], v [2, 3, 4, 6]",
        ),
        (
            message(&q[1..], &q, &Mask::Full),
            "attention: not `[B, T, H, hd]`: q [3, 4, 5], k [2, 3, 4, 5], v [2, 3, 4, 5]",
        ),
        (
            message(&q, &[2, 3, 3, 5], &Mask::Full),
            "attention: 3 heads of keys do not divide 4 of queries",
        ),
        (
            message(&q, &[2, 1, 2, 5], &Mask::Causal),
            "attention: a causal mask needs a key for each query, not 1 for 3",
        ),
        (
            message(&q, &q, &padding(&[3, 4], false)),
            "attention: row 1 has a length of 4, and 3 keys",
        ),
        (message(&q, &q, &floats), "attention: `lengths` is [2] of F32, not [2] of U32"),
        (message(&q, &q, &ids), "attention: `ids` is [2, 4] of U32, not [2, 3] of U32"),
        (
            message(&q, &[2, 4, 4, 5], &ids),
            "attention: segments need as many keys as queries, not 4 for 3",
        ),
        (of_packed(&[2, 3], [1, 1]), "attention: not `[B, T, (H + 2 KV) hd]`: [2, 3]"),
        (of_packed(&[2, 3, 10], [2, 1]), "attention: 2 + 2 * 1 heads do not divide a row of 10"),
        (of_packed(&[2, 3, 10], [1, 2]), "attention: 2 heads of keys do not divide 1 of queries"),
    ] {
        assert!(found.starts_with(expected), "{found}");
    }
}

fn with_dropout(mask: Mask, p: f64) -> Options {
    let dropped = dropout::Mask::new(p, crate::rng::Rng::new(7, "attention").at(3));
    Options { dropped: Some(dropped), ..Options::new(mask) }
}

/// Lengths around the blocks' and the groups', shared heads, every mask, a window and a bound: fast path and reference drop the
/// same weights.
#[test]
fn fast_path_equals_reference_with_dropout() {
    for (queries, keys, heads) in [(7, 7, [3, 3]), (130, 130, [2, 1]), (3, 200, [2, 2])] {
        let operands = draw(queries, keys, heads, 8);
        let mut masks = vec![
            Mask::Full,
            Mask::Causal,
            padding(&[u32::try_from(keys).unwrap(), 3], queries == keys),
        ];
        if queries == keys {
            masks.push(segments(integers(&[2, keys], |at| at % keys * 3 / keys), true));
        }
        for (mask, p) in masks.into_iter().zip([0.5, 0.1, 0.5, 0.3]) {
            for (window, softcap) in [(None, None), (Some(70), Some(0.7))] {
                let options = Options { window, softcap, ..with_dropout(mask.clone(), p) };
                parity::check(
                    operands.each_ref(),
                    |all| fast_with(all, &options),
                    |all| expected_with(all, &options),
                );
            }
        }
    }
}

#[test]
fn packed_equals_apart_with_dropout() {
    let [q, k, v] = draw(70, 70, [4, 2], 8);
    let options = with_dropout(Mask::Causal, 0.4);
    let qkv = Tensor::cat(&[&q, &k, &v], 2).unwrap().reshape((2, 70, 8 * 8)).unwrap();
    let found = trace([&qkv], |[qkv]| packed(&qkv, 4, 2, &options)).unwrap();
    let apart = fast_with([&q, &k, &v], &options).unwrap().reshape((2, 70, 4 * 8)).unwrap();
    all_close(&[found], &[apart], "packed");
}

/// Of values of one, the result is the share of weights that stay, times 1 / (1 - p): its mean is one, and of equal weights the share
/// of those that are dropped is p. Five standard deviations.
#[test]
#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn the_dropped_share_of_weights_is_p() {
    let (length, heads) = (150, 4);
    let x = Tensor::zeros((2, length, heads, 8), DType::F32, &Device::Cpu).unwrap();
    for p in [0.1, 0.5] {
        let options = with_dropout(Mask::Full, p);
        let y = fast_with([&x, &x, &x.ones_like().unwrap()], &options).unwrap();
        let mean = f64::from(y.mean_all().unwrap().to_scalar::<f32>().unwrap());
        let weights = (2 * heads * length * length) as f64;
        let most = 5.0 * (p / (1.0 - p) / weights).sqrt();
        assert!((mean - 1.0).abs() < most, "{p}: {mean}");
        // Each query and each head drops others.
        let rows = y.narrow(3, 0, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let shares: std::collections::BTreeSet<u32> = rows.iter().map(|it| it.to_bits()).collect();
        assert!(shares.len() > 20, "{}", shares.len());
    }
}

/// The mean over streams is the result without dropout.
#[test]
fn the_mean_over_many_streams_is_the_evaluation() {
    let [q, k, v] = draw(9, 9, [2, 2], 4).map(|x| x.to_dtype(DType::F32).unwrap());
    let plain = fast([&q, &k, &v], &Mask::Causal).unwrap();
    let count = 4000;
    let mut sum = plain.zeros_like().unwrap();
    for index in 0..count {
        let dropped = dropout::Mask::new(0.3, crate::rng::Rng::new(1, "attention").at(index));
        let options = Options { dropped: Some(dropped), ..Options::new(Mask::Causal) };
        sum = (sum + fast_with([&q, &k, &v], &options).unwrap()).unwrap();
    }
    let mean = (sum / f64::from(u32::try_from(count).unwrap())).unwrap();
    let size = plain.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    let apart = (mean - plain).unwrap().abs().unwrap().max_all().unwrap();
    let apart = apart.to_scalar::<f32>().unwrap();
    assert!(apart < 0.05 * size, "{apart} of {size}");
}
