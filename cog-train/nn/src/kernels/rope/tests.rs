use candle_core::{Device, Var};

use super::super::parity;
use super::*;
use crate::kernels::tape::trace;

fn fast([x, cos, sin]: [&Tensor; 3], positions: Option<&Tensor>) -> Result<Tensor, Error> {
    trace([x], |[x]| forward(&x, cos, sin, positions))
}

fn fast_packed(
    [x, cos, sin]: [&Tensor; 3],
    rotated: usize,
    positions: Option<&Tensor>,
) -> Result<Tensor, Error> {
    trace([x], |[x]| packed(&x, rotated, cos, sin, positions))
}

/// The definition in the module's header, element by element.
fn written_out(
    [x, cos, sin]: [&Tensor; 3],
    rotated: usize,
    positions: &[Vec<u32>],
) -> Result<Tensor, Error> {
    let half = cos.dims()[1];
    let (batch, length) = (x.dims()[0], x.dims()[1]);
    let heads = x.elem_count() / (batch * length * 2 * half);
    let all = x.reshape((batch, length, heads, 2 * half))?;
    let mut values = Vec::new();
    for row in 0..batch {
        for (at, position) in positions[row % positions.len()].iter().enumerate() {
            let (cos, sin) = (cos.get(*position as usize)?, sin.get(*position as usize)?);
            for head in 0..heads {
                let x = all.get(row)?.get(at)?.get(head)?;
                let (one, other) = (x.narrow(0, 0, half)?, x.narrow(0, half, half)?);
                if head >= rotated {
                    values.extend([one, other]);
                    continue;
                }
                values.push(((&one * &cos)? - (&other * &sin)?)?);
                values.push(((&other * &cos)? + (&one * &sin)?)?);
            }
        }
    }
    Tensor::cat(&values, 0)?.reshape(x.shape())
}

fn tables(count: usize, half: usize) -> [Tensor; 2] {
    let angles = parity::draw(&[count, half], 5);
    [angles.cos().unwrap(), angles.sin().unwrap()]
}

fn draw_positions(rows: usize, length: usize, below: usize) -> Vec<Vec<u32>> {
    let position = |row, at| u32::try_from((row * 31 + at * 7 + 3) % below).unwrap();
    (0..rows).map(|row| (0..length).map(|at| position(row, at)).collect()).collect()
}

/// All heads and some, positions in order, for all rows and for each.
#[test]
fn fast_path_equals_definition() {
    for (length, heads, width) in [(1, 1, 2), (7, 3, 8), (65, 2, 64), (5, 2, 10)] {
        let x = parity::draw(&[2, length, heads, width], 0);
        let row = parity::draw(&[2, length, heads * width], 1);
        let [cos, sin] = tables(70, width / 2);
        let in_order = vec![(0..u32::try_from(length).unwrap()).collect::<Vec<_>>()];
        let all = [in_order, draw_positions(1, length, 70), draw_positions(2, length, 70)];
        for (at, wanted) in all.iter().enumerate() {
            let given = Tensor::new(wanted.clone(), &Device::Cpu).unwrap();
            let given = if wanted.len() == 1 { given.get(0).unwrap() } else { given };
            let given = (at > 0).then_some(&given);
            let check =
                |x: &Tensor, rotated, fast: &dyn Fn([&Tensor; 3]) -> Result<Tensor, Error>| {
                    parity::check(
                        [x],
                        |[x]| {
                            let like_x = |t: &Tensor| t.to_device(x.device())?.to_dtype(x.dtype());
                            fast([x, &like_x(&cos)?, &like_x(&sin)?])
                        },
                        |[x]| written_out([x, &cos, &sin], rotated, wanted),
                    );
                };
            check(&x, heads, &|operands| fast(operands, given));
            for rotated in [0, heads - 1, heads] {
                check(&row, rotated, &|operands| fast_packed(operands, rotated, given));
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let x = parity::draw(&[3, 301, 2, 64], 0);
    let [cos, sin] = tables(301, 32).map(|table| table.to_dtype(DType::F32).unwrap());
    parity::threads([&x], |[x]| fast([x, &cos, &sin], None));
}

/// There and back is nothing, and lengths stay.
#[test]
fn a_rotation_keeps_lengths_and_its_gradient_turns_back() {
    let x =
        Var::from_tensor(&parity::draw(&[1, 9, 2, 8], 0).to_dtype(DType::F32).unwrap()).unwrap();
    let [cos, sin] = tables(9, 4).map(|table| table.to_dtype(DType::F32).unwrap());
    let y = fast([x.as_tensor(), &cos, &sin], None).unwrap();
    // The gradient of half the squares is y itself, and rotated back it is x.
    let back = (y.sqr().unwrap().sum_all().unwrap() / 2.0).unwrap().backward().unwrap();
    parity::close(back.get(&x).unwrap(), &x, 1e-6, "rotated back");
    let lengths = |x: &Tensor| x.sqr().unwrap().sum(3).unwrap();
    parity::close(&lengths(&y), &lengths(&x), 1e-6, "lengths");
}

/// ```python
/// import torch
/// from transformers import LlamaConfig
/// from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, LlamaRotaryEmbedding
/// x = torch.sin(0.7 * torch.arange(8.)).reshape(1, 1, 2, 4) # [B, H, T, hd]
/// rope = LlamaRotaryEmbedding(LlamaConfig(hidden_size=4, num_attention_heads=1, head_dim=4))
/// y = apply_rotary_pos_emb(x, x, *rope(x, torch.tensor([[3, 100]])))[0]
/// print([round(v, 6) for v in y.flatten().tolist()])
/// ```
#[test]
fn values_are_those_of_transformers() {
    let x = Tensor::from_iter((0..8u8).map(|at| (0.7 * f64::from(at)).sin()), &Device::Cpu);
    let x = x.unwrap().to_dtype(DType::F32).unwrap().reshape((1, 2, 1, 4)).unwrap();
    let rope = crate::Rope::new(4, 128, 10_000.0, &Device::Cpu).unwrap();
    let positions = Tensor::new(&[3u32, 100], &Device::Cpu).unwrap();
    let y = rope.forward_at(&x, &positions).unwrap().flatten_all().unwrap();
    let expected = [
        -0.139_067, 0.618_035, -0.975_588, 0.882_145, -0.152_469, 0.637_176, -0.921_203, -0.825_995,
    ];
    parity::close(&y, &Tensor::new(&expected, &Device::Cpu).unwrap(), 2e-6, "transformers'");
}

#[test]
fn what_is_undefined_stays_in_its_pair() {
    let [cos, sin] = tables(1, 2).map(|table| table.to_dtype(DType::F32).unwrap());
    let x = Tensor::new(&[[[[1f32, f32::NAN, 2.0, 3.0]]]], &Device::Cpu).unwrap();
    let y = fast([&x, &cos, &sin], None).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(y.iter().map(|y| y.is_nan()).collect::<Vec<_>>(), [false, true, false, true]);
}

#[test]
fn mismatched_operands_are_errors_that_name_them() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let (table, x) = (zeros(&[5, 2]), zeros(&[2, 3, 1, 4]));
    let message = |x: &Tensor, sin: &Tensor, positions: Option<&Tensor>| {
        fast([x, &table, sin], positions).unwrap_err().to_string()
    };
    let far = Tensor::new(&[0u32, 9, 1], &Device::Cpu).unwrap();
    for (found, expected) in [
        (message(&zeros(&[2, 3, 4]), &table, None), "rope: not `[B, T, H, hd]`: [2, 3, 4]"),
        (
            message(&zeros(&[2, 3, 1, 6]), &table, None),
            "rope: heads of 6, cosines [5, 2] and sines [5, 2]",
        ),
        (message(&x, &zeros(&[4, 2]), None), "rope: heads of 4, cosines [5, 2] and sines [4, 2]"),
        (message(&zeros(&[1, 6, 1, 4]), &table, None), "rope: position 5, and tables of 5"),
        (message(&x, &table, Some(&far)), "rope: position 9, and tables of 5"),
        (
            message(&x, &table, Some(&zeros(&[3]))),
            "rope: `positions` is [3] of F32, not [3] or [2, 3] of U32",
        ),
        (
            fast_packed([&zeros(&[2, 3, 8]), &table, &table], 3, None).unwrap_err().to_string(),
            "rope: a row of 8 does not hold heads of 4, with 3 to rotate",
        ),
    ] {
        assert!(found.starts_with(expected), "{found}");
    }
}
