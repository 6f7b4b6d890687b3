use std::collections::BTreeMap;

use candle_core::Var;
use cog_train::nn::Initializer;
use cog_train::rng::Rng;

use super::*;
use crate::text::Example;

fn config() -> Config {
    Config {
        vocab_size: 11,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        max_position_embeddings: 16,
        rms_norm_eps: 1e-5,
        rope_theta: 100.0,
    }
}

/// Parameters large enough that every part of the model bends the result.
fn variables(config: &Config) -> BTreeMap<String, Var> {
    let init = Init::random(Rng::new(3, "test"), &Device::Cpu)
        .with("*", Initializer::Normal { std: 0.4 })
        .with("*norm.weight", Initializer::Constant(1.2));
    let tensors = init.tensors_of(|init| Llama::new(init, config)).unwrap();
    tensors.into_iter().map(|(name, tensor)| (name, Var::from_tensor(&tensor).unwrap())).collect()
}

fn batch(rows: &[(&[u32], usize)]) -> Batch {
    let examples: Vec<Example> = rows
        .iter()
        .map(|(tokens, learn_from)| Example {
            tokens: tokens.to_vec(),
            learn_from: *learn_from,
            cut: false,
        })
        .collect();
    Batch::new(&examples, &Device::Cpu).unwrap()
}

fn value(loss: &Tensor) -> f64 {
    f64::from(loss.to_scalar::<f32>().unwrap())
}

fn of(config: &Config, variables: &BTreeMap<String, Var>) -> Llama {
    let tensors = variables.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone()));
    Init::from_tensors(tensors).build(|init| Llama::new(init, config)).unwrap()
}

fn mean(model: &Llama, batch: &Batch) -> Tensor {
    let loss = model.loss(batch).unwrap();
    (loss.tensor() / loss.weight()).unwrap()
}

/// The slope of the loss along the gradient is the gradient's length: a tensor that gets none, or a wrong one, fails.
#[test]
fn every_parameter_gets_the_gradient_that_differences_show() {
    let config = config();
    let variables = variables(&config);
    let model = of(&config, &variables);
    let batch = batch(&[(&[0, 4, 2, 9, 1, 7], 1), (&[0, 3, 3, 10], 2)]);
    let gradients = mean(&model, &batch).backward().unwrap();
    for (name, var) in &variables {
        let gradient = gradients.get(var).unwrap_or_else(|| panic!("`{name}` has no gradient"));
        let length = value(&gradient.sqr().unwrap().sum_all().unwrap().sqrt().unwrap());
        assert!(length > 1e-4, "`{name}` has the gradient {length}");
        let before = var.as_tensor().copy().unwrap();
        let step = 1e-2;
        let loss_at = |distance: f64| {
            var.set(&(&before + (gradient * (distance / length)).unwrap()).unwrap()).unwrap();
            value(&mean(&model, &batch))
        };
        let slope = (loss_at(step) - loss_at(-step)) / (2.0 * step);
        var.set(&before).unwrap();
        assert!((slope - length).abs() < 0.01 * length + 1e-4, "`{name}`: {slope} and {length}");
    }
}

#[test]
fn a_token_sees_what_is_before_it_and_nothing_after() {
    let config = config();
    let model = of(&config, &variables(&config));
    let scores = |tokens: [u32; 4]| {
        let tokens = Tensor::new(&[tokens], &Device::Cpu).unwrap();
        model.logits(&tokens).unwrap().to_vec2::<f32>().unwrap()
    };
    let (one, other) = (scores([1, 2, 3, 4]), scores([1, 2, 5, 4]));
    assert_eq!(one[..2], other[..2]);
    assert_ne!(one[2], other[2]);
    assert_ne!(one[3], other[3]);
}

#[test]
fn positions_matter() {
    let config = config();
    let model = of(&config, &variables(&config));
    let last = |tokens: [u32; 3]| {
        let tokens = Tensor::new(&[tokens], &Device::Cpu).unwrap();
        model.logits(&tokens).unwrap().to_vec2::<f32>().unwrap().pop().unwrap()
    };
    assert_ne!(last([1, 2, 3]), last([2, 1, 3]));
}

#[test]
fn padding_and_company_change_no_loss() {
    let config = config();
    let model = of(&config, &variables(&config));
    let (short, long): (&[u32], &[u32]) = (&[0, 5, 6], &[0, 1, 2, 3, 4, 5, 6]);
    let (a, b) = (batch(&[(short, 1)]), batch(&[(long, 4)]));
    let both = batch(&[(short, 1), (long, 4)]);
    assert_eq!((a.weight, b.weight, both.weight), (2, 3, 5));
    let loss = |batch: &Batch| value(&mean(&model, batch));
    let expected = loss(&a).mul_add(2.0, 3.0 * loss(&b)) / 5.0;
    assert!((loss(&both) - expected).abs() < 1e-5, "{} and {expected}", loss(&both));
}

/// With every score equal, each token has the probability 1/11.
#[test]
fn the_loss_of_knowing_nothing_is_the_logarithm_of_the_vocabulary() {
    let config = config();
    let variables = variables(&config);
    let norm = &variables["model.norm.weight"];
    norm.set(&norm.zeros_like().unwrap()).unwrap();
    let model = of(&config, &variables);
    let loss = value(&mean(&model, &batch(&[(&[0, 1, 2], 1)])));
    assert!((loss - f64::ln(11.0)).abs() < 1e-6, "{loss}");
}

#[test]
fn tensors_of_another_model_are_refused_by_name() {
    let config = config();
    let mut tensors: BTreeMap<String, Tensor> =
        variables(&config).into_iter().map(|(name, var)| (name, var.as_tensor().clone())).collect();
    let norm = tensors.remove("model.norm.weight").unwrap();
    tensors.insert("lm_head.weight".to_owned(), norm.clone());
    tensors.insert("model.embed_tokens.weight".to_owned(), norm);
    let built = Init::from_tensors(tensors).build(|init| Llama::new(init, &config));
    assert_eq!(
        built.unwrap_err().to_string(),
        "the tensors do not fit the model: 3 problems\n  \
         `model.embed_tokens.weight` has the shape [8], and the model needs [11, 8]\n  \
         `model.norm.weight` is missing\n  \
         `lm_head.weight` is not of this model"
    );
}
