//! The checks before a training, and the number of its steps.

use super::training_config::TrainingConfig;
use crate::cancellable::cancellable;
use crate::data::{Loader, slots};
use crate::error::{Error, counted};
use crate::job::Job;
use crate::optim::{Limits, Optimizer};
use crate::params::Params;

/// Checks all settings before anything is read or computed.
pub(super) fn check(
    config: &TrainingConfig,
    optimizer: &Optimizer,
    has_eval: bool,
) -> Result<(), Error> {
    let mut limits = Limits::default();
    limits.include(config.check());
    limits.include(optimizer.check());
    let needs_eval = config.patience.is_some() || config.restore_best;
    limits.require(has_eval || !needs_eval, || {
        "the config's `patience` and `restore_best` need held-out rows, and there are none"
            .to_owned()
    });
    limits.finish()
}

/// Checks that each rank has a share of a full batch, and that the order of micro-batches has no part in the result.
pub(super) fn check_shares<B: Send + 'static>(
    config: &TrainingConfig,
    train: &Loader<B>,
    params: &Params,
    job: &Job,
) -> Result<(), Error> {
    let world = job.communicator().world_size();
    if world == 1 {
        return Ok(());
    }
    let fail = |reason| Err(Error::InvalidConfig { reason });
    if let Some((name, _)) = params.iter().find(|(_, param)| param.is_buffer()) {
        return fail(format!(
            "the model updates `{name}` in each forward pass, in the order of micro-batches, and {world} ranks compute them at \
             the same time\nhint: train it in one process, or take a model without such buffers"
        ));
    }
    let (read, seed) = (train.clone(), job.seed());
    let rows = cancellable(&job.cancel_token(), move || read.largest_batch(seed))??;
    let micro_batches = rows.div_ceil(config.micro_batch.unwrap_or(rows));
    if slots(micro_batches) >= world {
        return Ok(());
    }
    let hint = match rows / world {
        0 => format!("larger batches, or {}", counted(slots(rows), "rank")),
        rows => format!("a `micro_batch` of {rows}, or {}", counted(slots(micro_batches), "rank")),
    };
    fail(format!(
        "a batch of {} is {} (`micro_batch`), too few for {world} ranks\nhint: take {hint}",
        counted(rows, "row"),
        match micro_batches {
            1 => "1 micro-batch".to_owned(),
            many => format!("{many} micro-batches"),
        },
    ))
}

/// Counts the steps. Where batches are by tokens, each epoch's rows are put in order for it.
pub(super) fn count_steps<B: Send + 'static>(
    config: &TrainingConfig,
    train: &Loader<B>,
    job: &Job,
) -> Result<u64, Error> {
    let (config, train, cancel, seed) =
        (config.clone(), train.clone(), job.cancel_token(), job.seed());
    cancellable(&job.cancel_token(), move || {
        let sampler = train.sampler(seed)?;
        let steps_in =
            |epoch| if cancel.is_cancelled() { u64::MAX } else { sampler.steps_in(epoch) };
        Ok(config.steps(steps_in))
    })?
}
