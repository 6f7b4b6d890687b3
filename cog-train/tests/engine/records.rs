//! The numbers of each step: what the run decides, and beside it what the clock and the machine decide.

use cog_train::data::{Batching, Dataset, Loader, Rows};
use cog_train::engine::{Every, Training, TrainingConfig, fit};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::prelude::*;
use cog_train::serde_json::Value;

use super::job::{At, Batch, Net, collate, loader, params, rows};

/// The lines of `metrics.jsonl` that have a number of this name.
fn lines(dir: &std::path::Path, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let all = text.lines().map(|line| cog_train::serde_json::from_str::<Value>(line).unwrap());
    all.filter(|line| line.get(name).is_some()).collect()
}

fn run(dir: &std::path::Path, config: TrainingConfig, train: Loader<Batch>) -> u64 {
    let params = params();
    let mut job = Job::for_test(dir);
    let net = Net::new(&params, 0.0, At::Nothing, &job);
    let training = Training {
        config,
        params: &params,
        optimizer: Optimizer::new(AdamW::default()),
        train,
        eval: Some(loader(rows(8), Batching::Rows(8))),
    };
    fit(training, &net, &mut job).unwrap().steps
}

/// It is over within a moment, and early: no step is without its numbers.
#[test]
fn each_step_has_its_rates_its_memory_and_the_time_that_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainingConfig {
        epochs: 9,
        learning_rate: 0.0,
        eval_every: Every::Steps(5),
        patience: Some(1),
        ..TrainingConfig::default()
    };
    let steps = run(dir.path(), config, loader(rows(19), Batching::Rows(6)));
    assert_eq!(steps, 5, "stopped early");
    let of = |lines: &[Value]| -> Vec<u64> {
        lines.iter().map(|line| line["step"].as_u64().unwrap()).collect()
    };
    let records = lines(dir.path(), "time/rows_per_second");
    assert_eq!(of(&records), of(&lines(dir.path(), "loss")));
    assert_eq!(of(&records), [1, 2, 3, 4, 5]);
    for line in &records {
        let number = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
        assert!(number("time/rows_per_second") > 1.0, "{line}");
        assert!((0.0..=1.0).contains(&number("time/data_wait")), "{line}");
        assert!(number("time/memory_bytes") > 1e6, "{line}");
        assert!(number("time/eta_seconds") > 0.0, "there are steps left: {line}");
        assert!(line.get("time/tokens_per_second").is_none(), "no length is known: {line}");
        assert!(line.get("loss").is_none(), "the clock has lines of its own: {line}");
    }
}

#[test]
fn where_rows_have_lengths_tokens_are_counted_too() {
    let dir = tempfile::tempdir().unwrap();
    let rows = Rows::new(rows(12)).with_tokens(|_| 50).unwrap();
    let train = Loader::new(rows, |rows, batch| collate(&rows, batch.device()));
    run(dir.path(), TrainingConfig::default(), train.batch(Batching::Rows(6)));
    let records = lines(dir.path(), "time/tokens_per_second");
    assert_eq!(records.len(), 2);
    for line in &records {
        let rate = |name: &str| line[name].as_f64().unwrap();
        let per_row = rate("time/tokens_per_second") / rate("time/rows_per_second");
        assert!((per_row - 50.0).abs() < 1e-6, "{line}");
    }
    assert_eq!(records[1]["time/eta_seconds"].as_f64(), Some(0.0), "the last step");
}
