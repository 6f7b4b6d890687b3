//! Log-probabilities of texts, and a preference loss over a whole model.

use cog_train::candle_core::{Device, Tensor, Var};
use cog_train::models::{
    AnswerLogProbs, CausalLm, Config, Pretrained, Targets, Tokens, dpo_loss, orpo_loss,
};
use cog_train::nn::Init;

use crate::support::{folder, load};

/// Two pairs of answers: the chosen ones, then the rejected ones. The first tokens are prompts, and one row has no target.
fn batch() -> (Tokens, Targets, [Vec<u32>; 4], [Vec<u32>; 4]) {
    let ignored = Targets::IGNORED;
    let texts = [vec![5, 6, 7, 8, 9], vec![3, 4, 11], vec![5, 6, 12, 13], vec![3, 4, 1, 2, 10, 14]];
    let labels = [
        vec![ignored, ignored, 7, 8, 9],
        vec![ignored; 3],
        vec![ignored, ignored, 12, 13],
        vec![ignored, ignored, 1, 2, ignored, 14],
    ];
    let tokens = Tokens::padded(&texts, 0, &Device::Cpu).unwrap();
    let targets = Targets::of_labels(&labels, &Device::Cpu).unwrap();
    (tokens, targets, texts, labels)
}

/// A head that is a product, a tied one with a bound of its scores, and one of GPT-2.
#[test]
fn log_probabilities_are_the_losses_of_the_texts_alone() {
    let (tokens, targets, texts, labels) = batch();
    for name in ["llama3", "gemma2", "gpt2_causal"] {
        let model = load(&folder(name)).unwrap();
        let found = model.log_probs(&tokens, &targets).unwrap().to_vec1::<f32>().unwrap();
        for (at, found) in found.iter().enumerate() {
            let tokens = Tokens::padded(&texts[at..=at], 0, &Device::Cpu).unwrap();
            let targets = Targets::of_labels(&labels[at..=at], &Device::Cpu).unwrap();
            if targets.count() == 0 {
                assert!(found.abs() < 1e-6, "{name}: {found}");
                continue;
            }
            let loss = model.loss(&tokens, &targets).unwrap().to_scalar::<f32>().unwrap();
            assert!((found + loss).abs() < 1e-4, "{name}, row {at}: {found} and {loss}");
        }
    }
}

/// Steps down the gradient of each loss prefer the chosen answers more and more, and leave the reference as it was.
#[test]
fn preference_losses_fall_and_margins_grow() {
    let ignored = Targets::IGNORED;
    let texts = [[5, 6, 7, 8], [3, 4, 11, 9], [5, 6, 12, 13], [3, 4, 1, 2]].map(|row| row.to_vec());
    let labels = texts.clone().map(|row| vec![ignored, ignored, row[2], row[3]]);
    let tokens = Tokens::padded(&texts, 0, &Device::Cpu).unwrap();
    let targets = Targets::of_labels(&labels, &Device::Cpu).unwrap();
    for name in ["llama3", "gemma2"] {
        let base = Pretrained::open(folder(name)).unwrap();
        let build = |init: &Init, config: &Config| CausalLm::new(init, config);
        let frozen = base.tensors(&Device::Cpu).unwrap();
        let vars: Vec<(String, Var)> = frozen
            .iter()
            .map(|(name, tensor)| (name.clone(), Var::from_tensor(tensor).unwrap()))
            .collect();
        let reference =
            Init::from_tensors(frozen).build(|init| build(init, base.config())).unwrap();
        let named = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone()));
        let policy = Init::from_tensors(named).build(|init| build(init, base.config())).unwrap();
        let log_probs = |model: &CausalLm, share: f64| {
            let log_probs: Tensor = model.log_probs(&tokens, &targets).unwrap();
            AnswerLogProbs::split(&(log_probs * share).unwrap()).unwrap()
        };
        let before = log_probs(&reference, 1.0);
        for orpo in [false, true] {
            let loss = || {
                if orpo {
                    orpo_loss(&log_probs(&policy, 0.5), 1.0).unwrap()
                } else {
                    dpo_loss(&log_probs(&policy, 1.0), &before, 0.5).unwrap()
                }
            };
            let value = |tensor: &Tensor| tensor.to_scalar::<f32>().unwrap();
            let first = value(&loss().sum);
            for _ in 0..5 {
                let gradients = loss().sum.backward().unwrap();
                for (name, var) in &vars {
                    let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name} has none"));
                    var.set(&(var.detach() - (gradient * 0.05).unwrap()).unwrap()).unwrap();
                }
            }
            let last = value(&loss().sum);
            assert!(last < 0.9 * first, "{name}, orpo {orpo}: {first} to {last}");
        }
        let loss = dpo_loss(&log_probs(&policy, 1.0), &before, 0.5).unwrap();
        assert_eq!(loss.agreements().unwrap(), 2);
        let after = log_probs(&reference, 1.0);
        assert_eq!(after.chosen.to_vec1::<f32>().unwrap(), before.chosen.to_vec1::<f32>().unwrap());
    }
}
