//! The choice of the next token from scores: a function of the scores, the tokens before, the seed and the step.

use cog_train_nn::Rng;

use crate::error::Error;

/// Options of [`CausalLm::generate`](super::CausalLm::generate). Each new token is the one with the highest score, until
/// [`temperature`](Generation::temperature) is called.
///
/// The scores pass through the steps of transformers, in its order: repetition penalty, temperature, top-k, top-p, min-p.
///
/// ```
/// use cog_train::models::Generation;
///
/// let greedy = Generation::new(10);
/// assert_eq!(greedy.next_token(&[0.5, 2.0, 1.0], &[], 0), 1);
/// let sampled = Generation::new(10).temperature(1.0).top_k(2).seed(7);
/// let probabilities = sampled.probabilities(&[0.5, 2.0, 1.0], &[]);
/// assert!(probabilities[0] == 0.0 && (probabilities[1] - 0.7311).abs() < 1e-4);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    most_tokens: usize,
    /// `None` for the token with the highest score.
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    end_tokens: Vec<u32>,
    seed: u64,
}

/// A token that may come next.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    token: usize,
    score: f32,
}

impl Generation {
    /// Up to `most_tokens` tokens, each the one with the highest score.
    #[must_use]
    pub fn new(most_tokens: usize) -> Self {
        Self {
            most_tokens,
            temperature: None,
            top_k: None,
            top_p: None,
            min_p: None,
            repetition_penalty: None,
            end_tokens: Vec::new(),
            seed: 0,
        }
    }

    /// Draws each token at random, from scores that are divided by `temperature`. 0 draws nothing, as before.
    #[must_use]
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.temperature = Some(temperature).filter(|temperature| *temperature != 0.0);
        self
    }

    /// Draws from the `k` tokens with the highest scores; 0 for all.
    #[must_use]
    pub fn top_k(mut self, k: usize) -> Self {
        self.top_k = Some(k).filter(|k| *k > 0);
        self
    }

    /// Draws from the most probable tokens whose probabilities add up to `p` (Holtzman et al., "The Curious Case of Neural
    /// Text Degeneration", 2019).
    #[must_use]
    pub fn top_p(mut self, p: f64) -> Self {
        self.top_p = Some(p);
        self
    }

    /// Draws from the tokens that are at least `p` times as probable as the most probable one.
    #[must_use]
    pub fn min_p(mut self, p: f64) -> Self {
        self.min_p = Some(p);
        self
    }

    /// Makes tokens that are in the text already less probable: positive scores are divided by `penalty`, negative ones
    /// multiplied (Keskar et al., "CTRL", 2019).
    #[must_use]
    pub fn repetition_penalty(mut self, penalty: f64) -> Self {
        self.repetition_penalty = Some(penalty);
        self
    }

    /// Sets the tokens that end a text.
    #[must_use]
    pub fn end_tokens(mut self, tokens: impl IntoIterator<Item = u32>) -> Self {
        self.end_tokens = tokens.into_iter().collect();
        self
    }

    /// Sets the seed of random choices; 0 unless it is called.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Returns the probability of each token to come after the tokens `seen`; without a temperature, 1 for the one with the
    /// highest score.
    #[must_use]
    pub fn probabilities(&self, logits: &[f32], seen: &[u32]) -> Vec<f64> {
        let scores = self.penalized(logits, seen);
        let mut probabilities = vec![0.0; scores.len()];
        let Some(temperature) = self.temperature else {
            if let Some(best) = highest(&scores) {
                probabilities[best] = 1.0;
            }
            return probabilities;
        };
        let candidates = self.candidates(&scores, temperature);
        for (candidate, probability) in candidates.iter().zip(softmax(&candidates)) {
            probabilities[candidate.token] = probability;
        }
        probabilities
    }

    /// Chooses the token after the tokens `seen`: a function of the scores, the options and `step`.
    ///
    /// # Panics
    ///
    /// When there are more than 2^32 scores, or none.
    #[must_use]
    pub fn next_token(&self, logits: &[f32], seen: &[u32], step: u64) -> u32 {
        let scores = self.penalized(logits, seen);
        let best = highest(&scores).expect("there are scores");
        let token = match self.temperature {
            None => best,
            Some(temperature) => {
                let mut candidates = self.candidates(&scores, temperature);
                candidates.sort_unstable_by_key(|candidate| candidate.token);
                let mut rest = Rng::new(self.seed, "generation").at(step).uniform();
                let pairs = candidates.iter().zip(softmax(&candidates));
                let mut drawn = pairs.skip_while(|(_, probability)| {
                    rest -= probability;
                    rest >= 0.0
                });
                // Of probabilities that add up to a little less than one.
                drawn.next().map_or(best, |(candidate, _)| candidate.token)
            }
        };
        u32::try_from(token).expect("tokens are below 2^32")
    }

    pub(super) fn most_tokens(&self) -> usize {
        self.most_tokens
    }

    pub(super) fn ends(&self, token: u32) -> bool {
        self.end_tokens.contains(&token)
    }

    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when an option is out of range.
    pub(super) fn check(&self) -> Result<(), Error> {
        let share = |p: f64| (0.0..=1.0).contains(&p);
        let positive = |number: f64| number > 0.0 && number.is_finite();
        for (name, value, fits, needed) in [
            ("temperature", self.temperature, positive as fn(f64) -> bool, "above 0"),
            ("top_p", self.top_p, share, "from 0 to 1"),
            ("min_p", self.min_p, share, "from 0 to 1"),
            ("repetition_penalty", self.repetition_penalty, positive, "above 0"),
        ] {
            if let Some(value) = value.filter(|value| !fits(*value)) {
                let reason = format!("`{name}` is {value}, not a number {needed}");
                return Err(Error::InvalidConfig { reason });
            }
        }
        Ok(())
    }

    fn penalized(&self, logits: &[f32], seen: &[u32]) -> Vec<f32> {
        let mut scores = logits.to_vec();
        let Some(penalty) = self.repetition_penalty else { return scores };
        let penalty = round(penalty);
        for token in seen {
            let at = *token as usize;
            if let (Some(score), Some(logit)) = (scores.get_mut(at), logits.get(at)) {
                *score = if *logit < 0.0 { logit * penalty } else { logit / penalty };
            }
        }
        scores
    }

    /// The tokens to draw from, with their scores divided by the temperature.
    fn candidates(&self, scores: &[f32], temperature: f64) -> Vec<Candidate> {
        let temperature = round(temperature);
        let scaled = scores.iter().map(|score| score / temperature).enumerate();
        let mut candidates: Vec<Candidate> =
            scaled.map(|(token, score)| Candidate { token, score }).collect();
        if let Some(k) = self.top_k.filter(|k| *k < candidates.len()) {
            let descending = |a: &Candidate, b: &Candidate| b.score.total_cmp(&a.score);
            let (_, weakest, _) = candidates.select_nth_unstable_by(k - 1, descending);
            let least = weakest.score;
            // Of equal scores all stay.
            candidates.retain(|candidate| candidate.score >= least);
        }
        if let Some(p) = self.top_p.filter(|p| *p < 1.0) {
            candidates
                .sort_unstable_by(|a, b| a.score.total_cmp(&b.score).then(a.token.cmp(&b.token)));
            let mut sum = 0.0;
            let probabilities = softmax(&candidates);
            let small = probabilities.iter().take_while(|probability| {
                sum += **probability;
                sum <= 1.0 - p
            });
            let removed = small.count().min(candidates.len().saturating_sub(1));
            candidates.drain(..removed);
        }
        if let Some(p) = self.min_p {
            let probabilities = softmax(&candidates);
            let least = p * probabilities.iter().fold(0.0, |most: f64, p| most.max(*p));
            let mut probabilities = probabilities.iter();
            candidates.retain(|_| probabilities.next().is_some_and(|p| *p >= least));
        }
        candidates
    }
}

/// The index of the highest score, the first of several.
fn highest(scores: &[f32]) -> Option<usize> {
    let best =
        scores.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(at, _)| at)
}

fn softmax(candidates: &[Candidate]) -> Vec<f64> {
    let most = candidates.iter().fold(f32::NEG_INFINITY, |most, next| most.max(next.score));
    let powers: Vec<f64> =
        candidates.iter().map(|candidate| f64::from(candidate.score - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "scores have 32 bits")]
fn round(number: f64) -> f32 {
    number as f32
}

#[cfg(test)]
mod tests;
