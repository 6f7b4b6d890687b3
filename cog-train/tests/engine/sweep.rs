//! The sweep that finds a learning rate leaves everything as it was.

use cog_train::data::Batching;
use cog_train::engine::{Training, TrainingConfig, find_learning_rate, fit};
use cog_train::optim::{Optimizer, Sgd};
use cog_train::prelude::*;

use super::job::{At, Net, loader, params, rows};
use super::laws::numbers;

/// Trains, after a sweep or without one.
fn trained(sweeps: bool) -> (Vec<f32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let params = params();
    let start = numbers(&params);
    let mut job = Job::for_test(dir.path());
    let net = Net::new(&params, 0.0, At::Nothing, &job);
    let training = Training {
        config: TrainingConfig { epochs: 2, learning_rate: 0.05, ..TrainingConfig::default() },
        params: &params,
        optimizer: Optimizer::new(Sgd { momentum: 0.9, ..Sgd::default() }),
        train: loader(rows(19), Batching::Rows(6)),
        eval: Some(loader(rows(5), Batching::Rows(6))),
    };
    if sweeps {
        let found = find_learning_rate(&training, &net, &mut job).unwrap();
        assert_eq!(numbers(&params), start, "the weights are as they were");
        assert!((20..=100).contains(&found.points.len()), "{found:?}");
        let rates: Vec<f64> = found.points.iter().map(|point| point.learning_rate).collect();
        assert!(rates.is_sorted() && (rates[0] - 1e-7).abs() < 1e-12);
        let suggestion = found.suggestion.unwrap();
        assert!((1e-5..=1.0).contains(&suggestion), "{suggestion}");
        let lowest = found.points.iter().min_by(|a, b| a.loss.total_cmp(&b.loss)).unwrap();
        assert!(suggestion <= lowest.learning_rate, "it falls before it is lowest");
    }
    fit(training, &net, &mut job).unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let steps = read("metrics.jsonl").lines().filter(|line| !line.contains("time/")).collect();
    (numbers(&params), steps, read("log.txt"))
}

#[test]
fn a_training_behind_a_sweep_is_the_training_without_it() {
    let (with, without) = (trained(true), trained(false));
    assert_eq!(with.0, without.0);
    assert_eq!(with.1, without.1);
    let (plot, rest) = with.2.split_once("longest fall\n").unwrap();
    assert!(plot.contains('•'), "{plot}");
    assert!(rest.ends_with(&without.2), "{rest}");
}
