//! Trainings that no ranks can share.

use cog_train::Error;
use cog_train::candle_core::Device;
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{Loss, Params, StepContext, Training, TrainingConfig, fit};
use cog_train::nn::{BatchNorm2d, Init};
use cog_train::optim::{AdamW, Optimizer};
use cog_train::prelude::*;
use cog_train::rng::Rng;

use super::run::{Run, adamw};
use crate::threads::on_ranks;

/// Returns the error of a training on `world` ranks that `fit` refuses.
fn refusal(world: usize, run: &Run) -> String {
    let temp = tempfile::tempdir().unwrap();
    let errors: Vec<String> = run
        .on(world, &temp.path().join("run"), false)
        .into_iter()
        .map(|result| result.unwrap_err().to_string())
        .collect();
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
    errors[0].clone()
}

#[test]
fn ranks_that_cannot_share_a_batch_are_refused() {
    assert_eq!(
        refusal(3, &adamw()),
        "3 ranks are not a power of two: they share the micro-batches of a batch (`micro_batch`) in equal blocks\n\
         hint: start 2 or 4 ranks"
    );
    let mut run = adamw();
    run.config.micro_batch = None;
    assert_eq!(
        refusal(4, &run),
        "a batch of 9 rows is 1 micro-batch (`micro_batch`), too few for 4 ranks\nhint: take a `micro_batch` of 2, or 1 rank"
    );
    run.batching = Batching::Rows(1);
    assert_eq!(
        refusal(2, &run),
        "a batch of 1 row is 1 micro-batch (`micro_batch`), too few for 2 ranks\nhint: take larger batches, or 1 rank"
    );
}

/// Running statistics depend on the order of micro-batches.
#[test]
fn a_model_that_updates_itself_is_refused_on_ranks() {
    let errors = on_ranks(2, |threads| {
        let temp = tempfile::tempdir().unwrap();
        let init = Init::random(Rng::new(1, "init"), &Device::Cpu);
        let tensors = init.tensors_of(|init| BatchNorm2d::new(&init.at("bn"), 2)).unwrap();
        let params = Params::new(tensors).unwrap().buffers("*.running_*").unwrap();
        let loss = |_: &Vec<f32>, _: &StepContext| -> Result<Loss> { unreachable!() };
        let training = Training {
            config: TrainingConfig { micro_batch: Some(1), ..TrainingConfig::default() },
            params: &params,
            optimizer: Optimizer::new(AdamW::default()),
            train: Loader::new(Rows::new(vec![1f32; 12]), |rows, _| Ok(rows)),
            eval: None,
        };
        let mut job = Job::for_test(temp.path()).on_rank(threads);
        fit(training, &loss, &mut job).unwrap_err().to_string()
    });
    let expected = "the model updates `bn.running_mean` in each forward pass, in the order of micro-batches, and 2 ranks compute \
                    them at the same time\nhint: train it in one process, or take a model without such buffers";
    assert_eq!(errors, [expected, expected]);
}

/// Ranks with other data would train something that no single process can.
#[test]
fn ranks_that_would_train_different_things_are_refused() {
    let errors = on_ranks(2, |threads| {
        let rank = cog_train::parallel::Communicator::rank(&*threads);
        let temp = tempfile::tempdir().unwrap();
        let run = Run { rows: 23 + rank, ..adamw() };
        run.train(&mut Job::for_test(temp.path()).on_rank(threads)).unwrap_err()
    });
    for error in errors {
        assert!(matches!(error.downcast_ref(), Some(Error::Ranks { .. })), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("rank 1: it would not train the same as rank 0\n  "), "{text}");
        assert!(text.contains("`data.settings.rows`: 23 on rank 0, 24"), "{text}");
    }
}
