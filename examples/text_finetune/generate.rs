//! Going on from a prompt, one token at a time.

use candle_core::{D, Tensor};
use cog_train::candle_core;
use cog_train::prelude::*;
use cog_train::rng::Stream;

use crate::model::Llama;
use crate::text::Text;

/// When to stop and how to choose.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    pub max_tokens: usize,
    /// 0 takes the likeliest token; 1 draws from the model's own distribution; above 1 is wilder.
    pub temperature: f64,
}

/// The text after `prompt`, up to the end that the model sets or `max_tokens`. It calls
/// `check_cancelled` before each token.
pub fn generate(
    model: &Llama,
    text: &Text,
    prompt: &str,
    sampling: Sampling,
    stream: &mut Stream,
    mut check_cancelled: impl FnMut() -> Result<(), cog_train::Error>,
) -> Result<String> {
    let mut tokens = text.encode(prompt)?;
    tokens.insert(0, text.end());
    let given = tokens.len();
    for _ in 0..sampling.max_tokens {
        check_cancelled()?;
        let seen = &tokens[tokens.len().saturating_sub(model.context())..];
        let logits = model.logits(&Tensor::new(seen, model.device())?.unsqueeze(0)?)?;
        let last = logits.get(seen.len() - 1)?;
        let token = if sampling.temperature == 0.0 {
            last.argmax(D::Minus1)?.to_scalar::<u32>()?
        } else {
            draw(&last.to_vec1::<f32>()?, sampling.temperature, stream)?
        };
        if token == text.end() {
            break;
        }
        tokens.push(token);
    }
    text.decode(&tokens[given..])
}

/// A token with the probability that softmax gives to its score over the temperature.
fn draw(scores: &[f32], temperature: f64, stream: &mut Stream) -> Result<u32> {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shares: Vec<f64> =
        scores.iter().map(|score| (f64::from(score - max) / temperature).exp()).collect();
    let mut left = stream.uniform() * shares.iter().sum::<f64>();
    let chosen = shares.iter().position(|share| {
        left -= share;
        left < 0.0
    });
    // Rounding may leave a rest after the last one.
    Ok(u32::try_from(chosen.unwrap_or(shares.len() - 1))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cog_train::rng::Rng;

    #[test]
    fn draws_follow_the_softmax_and_cold_draws_the_maximum() {
        let scores = [0.0, f32::ln(3.0), f32::NEG_INFINITY];
        let mut stream = Rng::new(1, "test").at(0);
        let mut counts = [0u32; 3];
        for _ in 0..10_000 {
            counts[draw(&scores, 1.0, &mut stream).unwrap() as usize] += 1;
        }
        // Five standard deviations of a binomial with n = 10000, p = 1/4 are 217.
        assert!(counts[0].abs_diff(2500) < 217 && counts[2] == 0, "{counts:?}");
        assert!((0..100).all(|_| draw(&scores, 0.01, &mut stream).unwrap() == 1));
    }
}
