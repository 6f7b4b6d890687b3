//! A pack computes what its parts compute, in each family of decoders: with sliding windows, bounds of scores and logits, layers
//! without positions and learned positions.

use cog_train::candle_core::{Device, Tensor};
use cog_train::engine::{Gradients, Params};
use cog_train::models::{CausalLm, Pretrained, Targets, Tokens};
use cog_train::nn::Init;

use crate::support::folder;

/// The families, and the lengths of the texts. Positions that are scaled by the longest text of a batch are the same for texts of
/// one length alone.
const CASES: &[(&str, [usize; 3])] = &[
    ("gemma", [7, 9, 3]),
    ("gemma2", [7, 9, 3]),
    ("gemma3", [7, 9, 3]),
    ("gpt2_causal", [7, 9, 3]),
    ("gpt2_scaled", [7, 9, 3]),
    ("llama", [7, 9, 3]),
    ("llama3", [7, 9, 3]),
    ("mistral", [7, 9, 3]),
    ("phi3", [7, 7, 7]),
    ("phi3_long", [7, 7, 7]),
    ("qwen2", [7, 9, 3]),
    ("qwen3", [7, 9, 3]),
    ("rope_dynamic", [7, 7, 7]),
    ("rope_linear", [7, 9, 3]),
    ("rope_yarn", [7, 9, 3]),
    ("smollm3", [7, 9, 3]),
];

fn texts(lengths: [usize; 3]) -> Vec<Vec<u32>> {
    let text = |(at, length): (u32, usize)| {
        (0..)
            .take(length)
            .map(|position: u32| 3 + (11 * at + 7 * position * position) % 45)
            .collect()
    };
    (1..).zip(lengths).map(text).collect()
}

/// Every second token is predicted.
fn next(text: &[u32]) -> Vec<u32> {
    let mut next: Vec<u32> = text[1..].to_vec();
    next.push(Targets::IGNORED);
    next.iter_mut().step_by(2).for_each(|token| *token = Targets::IGNORED);
    next
}

fn close(found: &Tensor, expected: &Tensor, name: &str) {
    let size = expected.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    let apart = (found - expected).unwrap().abs().unwrap().max_all().unwrap();
    let apart = apart.to_scalar::<f32>().unwrap();
    assert!(apart <= 2e-5 * size.max(1.0), "{name}: {apart} of {size}");
}

#[test]
fn logits_losses_and_gradients_of_a_pack_equal_those_of_its_parts() {
    let device = &Device::Cpu;
    for (name, lengths) in CASES {
        let base = Pretrained::open(folder(name)).unwrap();
        let params = Params::new(base.tensors(device).unwrap()).unwrap();
        let build = |init: &Init| CausalLm::new(init, base.config());
        let model = Init::from_tensors(params.tensors()).build(build).unwrap();
        let texts = texts(*lengths);
        // Two in one row, the third in a shorter one.
        let packs = [texts[..2].to_vec(), texts[2..].to_vec()];
        let tokens = Tokens::packed(&packs, 0, device).unwrap();
        let of_packs = packs.each_ref().map(|pack| pack.iter().flat_map(|it| next(it)).collect());
        let targets = Targets::of_next(&of_packs, device).unwrap();
        let gradients =
            |sum: Tensor| Gradients::take(&params, &mut sum.backward().unwrap()).unwrap();
        let logits = model.logits(&tokens).unwrap();
        let packed = model.loss(&tokens, &targets).unwrap();

        let mut sum: Option<Tensor> = None;
        for ((row, start), text) in [(0, 0), (0, lengths[0]), (1, 0)].into_iter().zip(&texts) {
            let alone = Tokens::padded(std::slice::from_ref(text), 0, device).unwrap();
            let expected = model.logits(&alone).unwrap().squeeze(0).unwrap();
            let found = logits.get(row).unwrap().narrow(0, start, text.len()).unwrap();
            close(&found, &expected, &format!("{name}: logits"));
            let targets = Targets::of_next(&[next(text)], device).unwrap();
            let loss = model.loss(&alone, &targets).unwrap();
            sum = Some(sum.map_or(loss.clone(), |sum| (sum + loss).unwrap()));
        }
        let sum = sum.unwrap();
        close(&packed, &sum, &format!("{name}: loss"));
        let (found, expected) = (gradients(packed), gradients(sum));
        assert!(found.iter().count() > 5, "{name}");
        for ((tensor, found), (_, expected)) in found.iter().zip(expected.iter()) {
            close(found, expected, &format!("{name}: gradient of {tensor}"));
        }
    }
}
