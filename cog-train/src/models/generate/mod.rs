//! Generation of text, token by token, with the keys and values of earlier tokens in a cache.

mod defaults;
mod sampling;

use std::ops::ControlFlow;

use candle_core::{DType, Tensor};
use cog_train_nn::__private::tape::without_gradients;

use super::cache::KvCache;
use super::causal_lm::CausalLm;
use super::tokens::without_embedding;
use crate::error::{Error, counted};

pub use defaults::GenerationConfig;
pub use sampling::Generation;

/// A generated text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The tokens after the prompt, without the one that ended the text.
    pub tokens: Vec<u32>,
    /// The reason for which there are no more.
    pub finish: Finish,
}

/// The reason for which a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it with this token.
    EndToken(u32),
    /// It has as many tokens as were wanted.
    Length,
    /// The callback broke it off.
    Stopped,
}

impl CausalLm {
    /// Continues a text. `on_token` is called with each new token as soon as it is known, and may break the text off.
    ///
    /// The same prompt, options and seed give the same tokens. On the CPU a model of 32-bit floats is the fastest: others are
    /// widened for each token.
    ///
    /// ```no_run
    /// use std::ops::ControlFlow;
    /// use cog_train::models::{CausalLm, Generation};
    ///
    /// # fn f(model: CausalLm) -> Result<(), cog_train::Error> {
    /// let options = Generation::new(64).temperature(0.8).top_p(0.95).end_tokens([2]);
    /// let text = model.generate(&[1, 530, 89], &options, |token| {
    ///     println!("{token}");
    ///     ControlFlow::Continue(())
    /// })?;
    /// println!("{} tokens", text.tokens.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when the prompt is empty or an option is out of range; [`Error::Tensor`] when a token of the prompt
    /// has no embedding, the scores are not numbers, or the device fails.
    pub fn generate(
        &self,
        prompt: &[u32],
        options: &Generation,
        mut on_token: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Generated, Error> {
        options.check()?;
        if prompt.is_empty() {
            return Err(Error::InvalidConfig { reason: "the prompt has no token".to_owned() });
        }
        let rows = self.vocabulary()?;
        if let Some(at) = prompt.iter().position(|id| *id as usize >= rows) {
            let place = format!("at position {at} of the prompt");
            return Err(without_embedding(prompt[at], &place, rows).into());
        }
        let mut text = prompt.to_vec();
        let most = options.most_tokens();
        let mut cache = self.cache(prompt.len() + most)?;
        let mut finish = Finish::Length;
        for step in 0..most {
            let logits = without_gradients(|| self.next_logits(&text, &mut cache))?;
            let token = options.next_token(&logits, &text, step as u64);
            if options.ends(token) {
                finish = Finish::EndToken(token);
                break;
            }
            text.push(token);
            if on_token(token).is_break() {
                finish = Finish::Stopped;
                break;
            }
        }
        Ok(Generated { tokens: text.split_off(prompt.len()), finish })
    }

    /// The scores of the token after `text`, of which the cache holds the first ones.
    fn next_logits(&self, text: &[u32], cache: &mut KvCache) -> Result<Vec<f32>, Error> {
        // Scaled positions may change with the length, and with them all keys.
        if self.cache_variant(cache.length()) != self.cache_variant(text.len()) {
            cache.clear();
        }
        let new = &text[cache.length()..];
        let ids = Tensor::new(new, self.device())?.unsqueeze(0)?;
        let logits = self.last_logits(&ids, cache)?;
        let logits: Vec<f32> = logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
        if logits.iter().any(|logit| logit.is_nan()) {
            let reason =
                format!("the scores after {} are not numbers", counted(text.len(), "token"));
            return Err(candle_core::Error::Msg(reason).into());
        }
        Ok(logits)
    }
}
