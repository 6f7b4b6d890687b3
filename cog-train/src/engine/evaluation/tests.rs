use candle_core::{Device, Tensor};

use super::*;
use crate::metrics::{Regression, Retrieval, TopK};

fn scores(sum: f32, weight: usize) -> EvalScores {
    EvalScores::new(&Loss::sum(Tensor::new(sum, &Device::Cpu).unwrap(), weight).unwrap()).unwrap()
}

#[test]
fn the_mean_of_batches_is_the_quotient_of_their_sums() {
    let class = format!("accuracy_{}", "owl"); // a name from the data
    let mut all = scores(6.0, 3).with(class.as_str(), 1.0, 3.0);
    all.add(scores(2.0, 1).with(class, 1.0, 1.0).with("rare", 1.0, 2.0));
    let found = all.evaluation(7);
    assert_eq!((found.step, found.loss), (7, 2.0));
    let metrics = [("accuracy_owl", 0.5), ("rare", 0.5)].map(|(name, it)| (name.to_owned(), it));
    assert_eq!(found.metrics, BTreeMap::from(metrics));
}

/// The F1 of all rows is not the mean of those of the batches.
#[test]
fn f1_is_computed_from_the_counts_of_all_batches() {
    let batch = |found: &[u32], labels: &[u32]| {
        let one_hot = |class: &u32| (0..2).map(|at| f32::from(u8::from(at == *class))).collect();
        let logits: Vec<Vec<f32>> = found.iter().map(one_hot).collect();
        let logits = Tensor::new(logits, &Device::Cpu).unwrap();
        let labels = Tensor::new(labels, &Device::Cpu).unwrap();
        scores(1.0, 1).with_metric(ConfusionMatrix::of(&logits, &labels).unwrap())
    };
    let mut all = batch(&[0, 0, 1], &[0, 0, 0]);
    all.add(batch(&[1], &[1]));
    let metrics = all.evaluation(1).metrics;
    let names: Vec<&str> = metrics.keys().map(String::as_str).collect();
    assert_eq!(names, ["accuracy", "macro_f1", "macro_precision", "macro_recall", "weighted_f1"]);
    // Of class 0: precision 1, recall 2/3; of class 1: precision 1/2, recall 1.
    assert!((metrics["accuracy"] - 0.75).abs() < 1e-12);
    assert!((metrics["macro_f1"] - f64::midpoint(0.8, 2.0 / 3.0)).abs() < 1e-12);
    assert!((metrics["weighted_f1"] - (0.8 * 3.0 + 2.0 / 3.0) / 4.0).abs() < 1e-12);
}

#[test]
fn an_evaluation_that_is_not_finite_survives_json() {
    let found = scores(f32::NAN, 2).with("low", f64::NEG_INFINITY, 1.0).evaluation(3);
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(text, r#"{"step":3,"loss":"NaN","metrics":{"low":"-Infinity"}}"#);
    let read: Evaluation = serde_json::from_str(&text).unwrap();
    assert!(read.loss.is_nan() && read.metrics["low"] == f64::NEG_INFINITY);
}

/// Scores go from rank to rank as JSON, which has neither NaN nor infinities.
#[test]
fn scores_of_batches_keep_every_bit_in_json() {
    let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
    let logits = Tensor::new(&[[0.1f32, 0.7], [0.4, 0.3]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[1u32, 1], &Device::Cpu).unwrap();
    let batch = || {
        scores(f32::INFINITY, 3)
            .with("third", 1.0 / 3.0, 0.1)
            .with_perplexity()
            .with_metric(TopK::of(&logits, &labels, 1).unwrap())
            .with_metric(ConfusionMatrix::of(&logits, &labels).unwrap().with_labels(["a", "b"]))
            .with_metric(Retrieval::of(&logits, &labels, &[1, 2]).unwrap())
            .with_metric(Regression::of(&tensor(&[0.1, 0.7]), &tensor(&[1.0, 0.2])).unwrap())
    };
    let text = serde_json::to_string(&batch()).unwrap();
    let mut read: EvalScores = serde_json::from_str(&text).unwrap();
    assert_eq!(read, batch());
    read.add(batch());
    let (one, two) = (batch().evaluation(1), read.evaluation(1));
    assert_eq!(one.metrics, two.metrics, "twice the same batch has the same means");
    assert_eq!(one.confusion.unwrap().count(1, 0), 1);
    assert_eq!(two.confusion.unwrap().count(1, 0), 2);
    assert!(one.metrics["perplexity"].is_infinite());
    let names: Vec<&str> = one.metrics.keys().map(String::as_str).collect();
    for name in ["mae", "mse", "r2", "mrr", "recall@1", "recall@2", "top_1_accuracy", "third"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn values_are_found_by_the_names_of_the_evaluation_and_of_its_records() {
    let found = scores(6.0, 3).with("accuracy", 1.0, 2.0).evaluation(1);
    for name in ["loss", "eval_loss"] {
        assert_eq!(found.value(name), Some(2.0));
    }
    assert_eq!(found.value("eval_accuracy"), Some(0.5));
    assert_eq!(found.value("f1"), None);
}
