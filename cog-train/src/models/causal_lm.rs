//! Language models: the scores of the next token, and their loss.

use std::ops::Range;

use candle_core::{DType, Device, Error as TensorError, Tensor};
use cog_train_nn::{self as nn, CrossEntropy, Init, Linear, Node};

use super::adapter_base::AdapterBase;
use super::body::Body;
use super::cache::KvCache;
use super::config::{Config, causal_families};
use super::targets::Targets;
use super::tokens::Tokens;
use crate::error::Error;

/// The name of the output layer, where it is not the embedding.
pub(crate) const HEAD: &str = "lm_head";

/// The most scores that are held at a time where they cannot be avoided.
const SCORES: usize = 8 << 20;

/// A language model (`AutoModelForCausalLM`).
#[derive(Debug, Clone)]
pub struct CausalLm {
    body: Body,
    head: Linear,
    logit_cap: Option<f64>,
    adapter_base: AdapterBase,
}

impl CausalLm {
    /// Builds the model that `config` describes from its tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a tensor is missing or has another shape; within [`Init::build`] all of them are reported.
    pub fn new(init: &Init, config: &Config) -> Result<Self, Error> {
        let body = Body::new(init, config)?;
        let body = body.ok_or_else(|| config.without_head("the next token", causal_families()))?;
        let (hidden, vocabulary) = (config.hidden(), config.vocabulary());
        let own = init.at(HEAD);
        let head = if config.tied() {
            Linear::tied(&own, body.embedding())?
        } else {
            Linear::without_bias(&own, hidden, vocabulary)?
        };
        let adapter_base = AdapterBase::of(init);
        Ok(Self { body, head, logit_cap: config.logit_cap(), adapter_base })
    }

    /// Sets activation checkpointing: the backward pass computes the activations of each layer again instead of keeping them,
    /// which takes about a third more time and memory for one layer instead of all. The gradients are the same bits.
    #[must_use]
    pub fn checkpoint_layers(mut self, on: bool) -> Self {
        self.body.set_checkpointed(on);
        self
    }

    /// The device of its tensors.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.body.embedding().device()
    }

    /// Computes a score for each token of the vocabulary to come next, at each position: `[B, T, vocabulary]`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when a token has no embedding, a text is longer than the model can see, or the device fails.
    pub fn logits(&self, tokens: &Tokens) -> Result<Tensor, Error> {
        let logits =
            nn::trace([tokens.ids()], |[ids]| self.scores(&self.body.hidden(&ids, tokens)?))?;
        Ok(logits)
    }

    /// Computes the last layer's output at each position, behind its norm: `[B, T, hidden]`.
    ///
    /// # Errors
    ///
    /// Those of [`CausalLm::logits`].
    pub fn hidden(&self, tokens: &Tokens) -> Result<Tensor, Error> {
        Ok(nn::trace([tokens.ids()], |[ids]| self.body.hidden(&ids, tokens))?)
    }

    /// Computes the cross-entropy of the targets, added up. Scores are computed only where there is a target, some rows at a
    /// time.
    ///
    /// # Errors
    ///
    /// Those of [`CausalLm::logits`]; a target that is not of `tokens` or no token.
    pub fn loss(&self, tokens: &Tokens, targets: &Targets) -> Result<Tensor, Error> {
        self.loss_by(&CrossEntropy::new(), tokens, targets)
    }

    /// Computes [`loss`](Self::loss) by a cross-entropy of one's own: with label smoothing, as `label_smoothing_factor` of
    /// transformers.
    ///
    /// # Errors
    ///
    /// Those of [`CausalLm::loss`] and of [`CrossEntropy::forward_linear`].
    pub fn loss_by(
        &self,
        loss: &CrossEntropy,
        tokens: &Tokens,
        targets: &Targets,
    ) -> Result<Tensor, Error> {
        let sum = nn::trace([tokens.ids()], |[ids]| {
            let rows = self.target_rows(&ids, tokens, targets)?;
            match self.logit_cap {
                None => self.head.loss(&rows, targets.ids(), loss),
                Some(_) => self.bounded_loss(&rows, targets.ids(), loss),
            }
        })?;
        Ok(sum)
    }

    /// Computes the log-probability that the model gives the targets of each row, added up over the row: `[B]`. A row without
    /// a target has 0. Losses of preferences compare them: [`dpo_loss`](super::dpo_loss).
    ///
    /// # Errors
    ///
    /// Those of [`CausalLm::loss`].
    pub fn log_probs(&self, tokens: &Tokens, targets: &Targets) -> Result<Tensor, Error> {
        let (batch, length) = tokens.ids().dims2()?;
        let device = self.device();
        if targets.count() == 0 {
            return Ok(Tensor::zeros(batch, DType::F32, device)?);
        }
        let length = u32::try_from(length).map_err(TensorError::wrap)?;
        let groups: Vec<u32> = targets.rows().to_vec1()?;
        let groups: Vec<u32> = groups.into_iter().map(|position| position / length).collect();
        let losses = nn::trace([tokens.ids()], |[ids]| {
            let rows = self.target_rows(&ids, tokens, targets)?;
            if self.logit_cap.is_none() && self.head.is_product() {
                let groups = Tensor::new(groups.as_slice(), device)?;
                let (weight, ids) = (self.head.weight(), targets.ids());
                return nn::grouped_linear_cross_entropy(&rows, weight, ids, &groups, batch);
            }
            self.losses_of_texts(&rows, targets.ids(), &groups, batch)
        })?;
        Ok(losses.neg()?)
    }

    /// The number of tokens that it has an embedding for.
    pub(crate) fn vocabulary(&self) -> Result<usize, TensorError> {
        Ok(self.body.embedding().dims2()?.0)
    }

    /// The model that is left when its adapter is switched off.
    pub(crate) fn adapter_base(&self) -> &AdapterBase {
        &self.adapter_base
    }

    /// Allocates a cache for a text of `capacity` tokens.
    pub(crate) fn cache(&self, capacity: usize) -> Result<KvCache, Error> {
        Ok(self.body.cache(capacity)?)
    }

    /// A number that changes when the cached keys of a text of `length` tokens cannot be used for a longer one.
    pub(crate) fn cache_variant(&self, length: usize) -> [usize; 2] {
        self.body.cache_variant(length)
    }

    /// The scores after the last of the next tokens of a text, `[1, T]`, whose earlier ones are in the cache.
    pub(crate) fn last_logits(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, Error> {
        let last = ids.dim(1)?.saturating_sub(1);
        Ok(nn::trace([ids], |[ids]| {
            let hidden = self.body.next_hidden(&ids, cache)?;
            self.scores(&nn::narrow(&hidden, 1, last, 1)?)
        })?)
    }

    /// The output at the positions that have a target, `[n, hidden]`.
    fn target_rows(
        &self,
        ids: &Node,
        tokens: &Tokens,
        targets: &Targets,
    ) -> Result<Node, TensorError> {
        let hidden = self.body.hidden(ids, tokens)?;
        let width = hidden.dims().last().copied().unwrap_or(0);
        nn::index_select(&nn::reshape(&hidden, ((), width))?, 0, targets.rows())
    }

    /// The losses of groups of rows that follow each other, `[count]`, from scores that are stored for one group at a time.
    fn losses_of_texts(
        &self,
        hidden: &Node,
        targets: &Tensor,
        groups: &[u32],
        count: usize,
    ) -> Result<Node, TensorError> {
        let mut losses: Option<Node> = None;
        let mut start = 0;
        for group in 0..count {
            let length = groups[start..].iter().take_while(|of| **of as usize == group).count();
            // A group without a row takes that of another, and its loss does not count.
            let (from, taken) = if length > 0 { (start, length) } else { (0, 1) };
            let loss =
                self.loss_of_rows(hidden, targets, from..from + taken, &CrossEntropy::new())?;
            let loss = if length > 0 { loss } else { nn::scale(&loss, 0.0)? };
            let loss = nn::reshape(&loss, 1)?;
            losses = Some(match losses {
                None => loss,
                Some(before) => nn::cat([&before, &loss], 0)?,
            });
            start += length;
        }
        losses.ok_or_else(|| TensorError::Msg("there are no rows".to_owned()))
    }

    /// The loss of scores with a bound, of some rows at a time.
    fn bounded_loss(
        &self,
        hidden: &Node,
        targets: &Tensor,
        loss: &CrossEntropy,
    ) -> Result<Node, TensorError> {
        let (vocabulary, _) = self.head.weight().dims2()?;
        let (count, at_once) = (hidden.dims()[0], (SCORES / vocabulary.max(1)).clamp(64, 512));
        let part = |start: usize| {
            self.loss_of_rows(hidden, targets, start..count.min(start + at_once), loss)
        };
        let mut sum = part(0)?;
        for start in (at_once..count).step_by(at_once) {
            sum = nn::add(&sum, &part(start)?)?;
        }
        Ok(sum)
    }

    /// The loss of some rows from stored scores. The backward pass computes the scores again.
    fn loss_of_rows(
        &self,
        hidden: &Node,
        targets: &Tensor,
        rows: Range<usize>,
        loss: &CrossEntropy,
    ) -> Result<Node, TensorError> {
        let (model, targets) = (self.clone(), targets.narrow(0, rows.start, rows.len())?);
        let loss = loss.clone();
        nn::recompute(&nn::narrow(hidden, 0, rows.start, rows.len())?, move |rows| {
            loss.forward(&model.scores(rows)?, &targets)
        })
    }

    fn scores(&self, hidden: &Node) -> Result<Node, TensorError> {
        let scores = self.head.forward(hidden)?;
        match self.logit_cap {
            None => Ok(scores),
            Some(cap) => nn::scale(&nn::tanh(&nn::scale(&scores, 1.0 / cap)?)?, cap),
        }
    }
}
