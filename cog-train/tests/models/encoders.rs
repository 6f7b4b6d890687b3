//! Encoders and GPT-2 with their heads. `tests/python/encoders.py` makes the fixtures.

use cog_train::Error;
use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::engine::{Gradients, Params};
use cog_train::models::{
    CausalLm, Config, ImageClassifier, MaskedLm, Pooling, PoolingMode, Pretrained,
    SequenceClassifier, Targets, TextEmbedder, TokenClassifier, Tokens,
};
use cog_train::nn::{Init, Rng};
use cog_train::optim::{AdamW, Group, Optimizer};

use crate::encoder_golden::{Golden, greatest};
use crate::support::{LOGITS, LOSSES, folder};

/// A model with a head.
trait Model: Sized {
    fn new(init: &Init, config: &Config) -> Result<Self, Error>;
    fn checkpointed(&self) -> Self;
    fn logits(&self, golden: &Golden) -> Tensor;
    /// The loss added up, and the number of what it is added up over.
    fn loss(&self, golden: &Golden) -> (Tensor, usize);
}

impl Model for SequenceClassifier {
    fn new(init: &Init, config: &Config) -> Result<Self, Error> {
        Self::new(init, config)
    }

    fn checkpointed(&self) -> Self {
        self.clone().checkpoint_layers(true)
    }

    fn logits(&self, golden: &Golden) -> Tensor {
        self.logits(&golden.tokens()).unwrap()
    }

    fn loss(&self, golden: &Golden) -> (Tensor, usize) {
        (self.loss(&golden.tokens(), &golden.labels()).unwrap(), golden.ids.len())
    }
}

impl Model for ImageClassifier {
    fn new(init: &Init, config: &Config) -> Result<Self, Error> {
        Self::new(init, config)
    }

    fn checkpointed(&self) -> Self {
        self.clone().checkpoint_layers(true)
    }

    fn logits(&self, golden: &Golden) -> Tensor {
        self.logits(&golden.images()).unwrap()
    }

    fn loss(&self, golden: &Golden) -> (Tensor, usize) {
        (self.loss(&golden.images(), &golden.labels()).unwrap(), golden.pixels.len())
    }
}

/// Heads with a result for each token.
macro_rules! of_tokens {
    ($($model:ident $targets:ident,)*) => {$(
        impl Model for $model {
            fn new(init: &Init, config: &Config) -> Result<Self, Error> {
                Self::new(init, config)
            }

            fn checkpointed(&self) -> Self {
                self.clone().checkpoint_layers(true)
            }

            fn logits(&self, golden: &Golden) -> Tensor {
                self.logits(&golden.tokens()).unwrap()
            }

            fn loss(&self, golden: &Golden) -> (Tensor, usize) {
                let targets = Targets::$targets(&golden.rows(), &Device::Cpu).unwrap();
                (self.loss(&golden.tokens(), &targets).unwrap(), targets.count())
            }
        }
    )*};
}

of_tokens! { TokenClassifier of_next, MaskedLm of_next, CausalLm of_labels, }

/// Compares logits, gradients and the losses of 20 steps.
fn check<M: Model>(name: &str) {
    let golden = Golden::read(name);
    let base = Pretrained::open(folder(name)).unwrap();
    let build = |init: &Init| M::new(init, base.config());
    let loaded = base.load(&Device::Cpu, Rng::new(0, "init"), build).unwrap();
    assert_eq!(loaded.drawn(), [""; 0], "{name}");
    assert_eq!(loaded.unused(), [""; 0], "{name}");
    let params = Params::new(loaded.into_tensors()).unwrap();
    let model = Init::from_tensors(params.tensors()).build(build).unwrap();
    let distance = golden.distance(&model.logits(&golden));
    assert!(distance < LOGITS, "{name}: logits are {distance} apart");

    // Computed again or kept, activations give the same bits.
    let gradients = |model: &M| {
        Gradients::take(&params, &mut model.loss(&golden).0.backward().unwrap()).unwrap()
    };
    let (kept, again) = (gradients(&model), gradients(&model.checkpointed()));
    for ((name, kept), (_, again)) in kept.iter().zip(again.iter()) {
        let difference = (kept - again).unwrap().abs().unwrap().sum_all().unwrap();
        assert_eq!(difference.to_scalar::<f32>().unwrap().to_bits(), 0, "{name}");
    }
    let without: Vec<&str> =
        params.iter().map(|(name, _)| name).filter(|name| kept.get(name).is_none()).collect();
    assert_eq!(without, golden.without_gradient, "{name}: parameters without a gradient");

    // PyTorch's AdamW with its defaults.
    let mut optimizer =
        Optimizer::new(AdamW::default()).group("*", Group::new().weight_decay(0.01));
    optimizer.prepare(&params).unwrap();
    for (step, expected) in (1..).zip(&golden.losses) {
        let (sum, count) = model.loss(&golden);
        let scale = 1.0 / f64::from(u32::try_from(count).unwrap());
        let loss = f64::from(sum.to_scalar::<f32>().unwrap()) * scale;
        let apart = (loss - expected).abs() / expected;
        assert!(apart < LOSSES, "{name}: step {step}: {loss}, and PyTorch's {expected}");
        let gradients = Gradients::take(&params, &mut sum.backward().unwrap()).unwrap();
        optimizer.step(&params, &gradients, step, 1e-3, scale).unwrap();
    }
}

#[test]
fn bert_equals_transformers() {
    check::<SequenceClassifier>("bert_sequence");
    check::<TokenClassifier>("bert_token");
    check::<MaskedLm>("bert_masked");
}

#[test]
fn roberta_equals_transformers() {
    check::<SequenceClassifier>("roberta_sequence");
    check::<TokenClassifier>("roberta_token");
    check::<MaskedLm>("roberta_masked");
}

/// Positions begin behind the padding's, and there is one token type.
#[test]
fn xlm_roberta_equals_transformers() {
    check::<SequenceClassifier>("xlm_roberta_sequence");
    check::<MaskedLm>("xlm_roberta_masked");
    let base = Pretrained::open(folder("xlm_roberta_masked")).unwrap();
    assert_eq!((base.config().model_type(), base.config().max_positions()), ("xlm-roberta", 14));
}

#[test]
fn distilbert_equals_transformers() {
    check::<SequenceClassifier>("distilbert_sequence");
    check::<TokenClassifier>("distilbert_token");
    check::<MaskedLm>("distilbert_masked");
}

#[test]
fn gpt2_equals_transformers() {
    check::<CausalLm>("gpt2_causal");
    check::<CausalLm>("gpt2_scaled");
    check::<SequenceClassifier>("gpt2_sequence");
}

#[test]
fn modernbert_equals_transformers() {
    check::<SequenceClassifier>("modernbert_sequence");
    check::<TokenClassifier>("modernbert_token");
    check::<MaskedLm>("modernbert_masked");
}

#[test]
fn vit_equals_transformers() {
    check::<ImageClassifier>("vit_image");
}

/// Hidden states of transformers, pooled here by hand.
#[test]
fn embeddings_are_pooled_hidden_states() {
    let golden = Golden::read("bert_base");
    let base = Pretrained::open(folder("bert_base")).unwrap();
    let embedder = |pooling: Pooling| {
        let build = |init: &Init| TextEmbedder::new(init, base.config(), pooling);
        let tensors = base.tensors_of(&Device::Cpu, build).unwrap();
        Init::from_tensors(tensors).build(build).unwrap()
    };
    let tokens = golden.tokens();
    let cls = embedder(Pooling::new(PoolingMode::Cls));
    let distance = golden.distance_of_tokens(&golden.hidden, &cls.hidden(&tokens).unwrap());
    assert!(distance < LOGITS, "{distance}");
    let first = golden.hidden.iter().flat_map(|row| &row[0]);
    let found = cls.embed(&tokens).unwrap().to_vec2::<f32>().unwrap();
    assert!(greatest(first, found.iter().flatten()) < LOGITS);

    let mean = embedder(Pooling::new(PoolingMode::Mean).normalize(true));
    let expected: Vec<Vec<f32>> = golden
        .hidden
        .iter()
        .zip(&golden.lengths)
        .map(|(row, length)| {
            let sum = |at: usize| row[..*length].iter().map(|token| token[at]).sum::<f32>();
            let sums: Vec<f32> = (0..row[0].len()).map(sum).collect();
            let norm = sums.iter().map(|sum| sum * sum).sum::<f32>().sqrt();
            sums.iter().map(|sum| sum / norm).collect()
        })
        .collect();
    let found = mean.embed(&tokens).unwrap();
    assert_eq!(found.dtype(), DType::F32);
    let found = found.to_vec2::<f32>().unwrap();
    assert!(greatest(expected.iter().flatten(), found.iter().flatten()) < LOGITS);
}

/// Padding costs nothing, and changes nothing.
#[test]
fn a_row_by_itself_has_the_logits_that_it_has_beside_longer_ones() {
    let golden = Golden::read("bert_token");
    let base = Pretrained::open(folder("bert_token")).unwrap();
    let build = |init: &Init| TokenClassifier::new(init, base.config());
    let tensors = base.tensors_of(&Device::Cpu, build).unwrap();
    let model = Init::from_tensors(tensors).build(build).unwrap();
    let all = model.logits(&golden.tokens()).unwrap();
    assert_eq!(all.dims(), [3, 9, 3]);
    for (row, length) in golden.lengths.iter().enumerate() {
        let ids = vec![golden.ids[row][..*length].to_vec()];
        let types = vec![golden.types.as_ref().unwrap()[row][..*length].to_vec()];
        let tokens = Tokens::padded(&ids, 0, &Device::Cpu).unwrap();
        let tokens = tokens.token_types(Tensor::new(types, &Device::Cpu).unwrap()).unwrap();
        let alone = model.logits(&tokens).unwrap().squeeze(0).unwrap();
        let beside = all.get(row).unwrap().narrow(0, 0, *length).unwrap();
        let apart = (alone - beside).unwrap().abs().unwrap().max_all().unwrap();
        assert!(apart.to_scalar::<f32>().unwrap() < 1e-5);
        let padding = all.get(row).unwrap().narrow(0, *length, 9 - length).unwrap();
        let sum = padding.abs().unwrap().sum_all().unwrap();
        assert_eq!(sum.to_scalar::<f32>().unwrap().to_bits(), 0);
    }
}
