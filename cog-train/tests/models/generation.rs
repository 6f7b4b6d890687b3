//! Generation with the cache against the model itself.

use std::ops::ControlFlow;

use cog_train::candle_core::{DType, Device};
use cog_train::models::{CausalLm, Finish, Generation, Tokens};

use crate::support::{folder, load};

/// Models whose caches differ: apart or packed projections, windows, local positions, positions that change with the length.
const MODELS: &[&str] = &[
    "llama",
    "llama3",
    "mistral",
    "qwen3",
    "smollm3",
    "phi3",
    "phi3_long",
    "rope_dynamic",
    "gemma2",
    "gemma3",
    "gpt2_causal",
    "gpt2_scaled",
];

/// Chooses tokens from the scores of the whole text each time.
fn without_cache(model: &CausalLm, prompt: &[u32], options: &Generation, count: u64) -> Vec<u32> {
    let mut text = prompt.to_vec();
    for step in 0..count {
        let tokens = Tokens::padded(&[text.clone()], 0, &Device::Cpu).unwrap();
        let logits = model.logits(&tokens).unwrap().to_dtype(DType::F32).unwrap();
        let rows: Vec<Vec<f32>> = logits.squeeze(0).unwrap().to_vec2().unwrap();
        text.push(options.next_token(rows.last().unwrap(), &text, step));
    }
    text.split_off(prompt.len())
}

#[test]
fn the_cache_changes_no_token() {
    for name in MODELS {
        let model = load(&folder(name)).unwrap();
        let greedy = Generation::new(24);
        let sampled = Generation::new(24).temperature(1.2).top_p(0.95).repetition_penalty(1.3);
        for (prompt, options) in [
            (&[5][..], &greedy),
            (&[9, 4, 33, 8], &greedy),
            (&[9, 4, 33, 8], &sampled.clone().seed(3)),
        ] {
            let expected = without_cache(&model, prompt, options, 24);
            let mut streamed = Vec::new();
            let found = model
                .generate(prompt, options, |token| {
                    streamed.push(token);
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(found.tokens, expected, "{name}");
            assert_eq!((streamed, found.finish), (found.tokens, Finish::Length));
        }
    }
}

#[test]
fn a_text_ends_at_any_of_its_end_tokens_or_when_it_is_stopped() {
    let model = load(&folder("llama")).unwrap();
    let keep = |_| ControlFlow::Continue(());
    let all = model.generate(&[5, 6], &Generation::new(12), keep).unwrap().tokens;
    let end = all[6];
    let first = all.iter().position(|token| *token == end).unwrap();
    let options = Generation::new(12).end_tokens([60_000, end]);
    let ended = model.generate(&[5, 6], &options, keep).unwrap();
    assert_eq!((&ended.tokens[..], ended.finish), (&all[..first], Finish::EndToken(end)));
    let mut seen = 0;
    let stopped = model
        .generate(&[5, 6], &Generation::new(12), |_| {
            seen += 1;
            if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((&stopped.tokens[..], stopped.finish), (&all[..3], Finish::Stopped));
}

#[test]
fn a_prompt_that_cannot_be_continued_is_refused() {
    let model = load(&folder("llama")).unwrap();
    let refused = |prompt: &[u32], options: &Generation| {
        let keep = |_| ControlFlow::Continue(());
        model.generate(prompt, options, keep).unwrap_err().to_string()
    };
    assert_eq!(refused(&[], &Generation::new(3)), "the prompt has no token");
    let out_of_range = Generation::new(3).temperature(f64::NAN);
    assert!(refused(&[1], &out_of_range).starts_with("`temperature` is NaN"));
    assert!(
        refused(&[61], &Generation::new(3)).contains(
            "the token 61 at position 0 of the prompt has no embedding: the model has 61"
        )
    );
}
