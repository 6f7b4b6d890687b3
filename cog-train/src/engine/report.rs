//! The lines of a training in the log.

use super::evaluation::Evaluation;
use super::state::State;
use super::step::{Skip, Stats};
use super::training_config::TrainingConfig;
use crate::data::Loader;
use crate::error::{Error, counted};
use crate::job::Job;
use crate::progress::{Record, json_number};
use crate::table::{Align, Table};

/// The most classes of a confusion matrix in the log.
const MOST_CLASSES_SHOWN: usize = 12;
/// The most classes of a confusion matrix among the records of the answer.
const MOST_CLASSES_RECORDED: usize = 200;

/// Reports an evaluation, as a line and as metrics named `eval_...`.
pub(super) fn evaluation(job: &mut Job, eval: &Evaluation) {
    let others = eval.metrics.iter().map(|(name, number)| (name.as_str(), *number));
    let all: Vec<(&str, f64)> = std::iter::once(("loss", eval.loss)).chain(others).collect();
    let values =
        all.iter().map(|(name, number)| (format!("eval_{name}"), json_number(*number))).collect();
    job.step(eval.step, &values);
    let texts: Vec<String> =
        all.iter().map(|(name, number)| format!("{name} {}", short(*number))).collect();
    let when = match eval.step {
        0 => "before the first step".to_owned(),
        step => format!("step {step}"),
    };
    job.line(format_args!("{when}: eval {}", texts.join(", ")));
}

/// Reports that a training stops early.
pub(super) fn early_stopping(job: &mut Job, config: &TrainingConfig, state: &State) {
    let by = match config.min_improvement {
        0.0 => String::new(),
        least => format!(" by more than {least}"),
    };
    let name = config.best_by.metric();
    let name = name.strip_prefix("eval_").unwrap_or(name);
    let (improved, most) =
        if config.best_by.is_highest() { ("risen", "highest") } else { ("fallen", "lowest") };
    let value = |best: &Evaluation| best.value(name).map_or_else(String::new, short);
    let best = state.best.as_ref().map_or_else(
        || format!("no {name} was finite"),
        |best| format!("the {most} was {} at step {}", value(best), best.step),
    );
    let (step, times) = (state.step, state.without_improvement);
    let times =
        if times == 1 { "the last evaluation".to_owned() } else { format!("{times} evaluations") };
    job.line(format_args!(
        "step {step}: stopped early, the eval {name} has not {improved}{by} in {times}; {best}"
    ));
}

/// Reports the evaluations of a training that has ended, as a table: before the first step, the best one, and of the weights that
/// are returned. The confusion matrix of the last is also recorded.
pub(super) fn finished(job: &mut Job, state: &State) {
    let Some(last) = state.last_eval.as_ref() else { return };
    let best = state.best.as_ref().filter(|best| best.step != 0 && best.step != last.step);
    let columns: Vec<(&str, &Evaluation)> =
        [("before", state.initial_eval.as_ref()), ("best", best), ("after", Some(last))]
            .into_iter()
            .filter_map(|(name, eval)| Some((name, eval?)))
            .collect();
    let heads = columns.iter().map(|(name, _)| (*name, Align::Right));
    let mut table = Table::new(std::iter::once(("", Align::Left)).chain(heads));
    let mut row = |name: &str, value: &dyn Fn(&Evaluation) -> String| {
        let values = columns.iter().map(|(_, eval)| value(eval));
        table.row(std::iter::once(name.to_owned()).chain(values).collect::<Vec<_>>());
    };
    row("step", &|eval| eval.step.to_string());
    for name in std::iter::once("loss").chain(last.metrics.keys().map(String::as_str)) {
        row(name, &|eval| eval.value(name).map_or_else(String::new, short));
    }
    job.table(&table);
    let Some(matrix) = &last.confusion else { return };
    if matrix.classes() <= MOST_CLASSES_SHOWN {
        job.line("confusion matrix (rows are true classes, columns predicted ones)");
        job.table(&matrix.table());
    }
    if matrix.classes() <= MOST_CLASSES_RECORDED {
        let record = serde_json::to_value(matrix).unwrap_or_default();
        job.record("confusion_matrix", record, Record::Replace);
    }
}

/// Reports that the author's hook ends the training.
pub(super) fn stopped_by_hook(job: &mut Job, step: u64) {
    job.line(format_args!("step {step}: stopped by `on_step`"));
}

/// Reports the mean loss over an epoch that has ended.
pub(super) fn epoch(job: &mut Job, epoch: u64, config: &TrainingConfig, state: &State) {
    let loss = state.epoch.value().map_or_else(|| "not finite".to_owned(), short);
    job.line(format_args!("epoch {epoch}/{}, step {}: loss {loss}", config.epochs, state.step));
}

/// Reports a step that was skipped, with its first rows.
///
/// # Errors
///
/// [`Error::Diverged`] after too many in a row, with the first rows of the last.
pub(super) fn skipped<B: Send + 'static>(
    job: &mut Job,
    config: &TrainingConfig,
    state: &State,
    done: &Stats,
    rows: &[u32],
    train: &Loader<B>,
) -> Result<(), Error> {
    /// The most rows that are named.
    const SHOWN: usize = 8;
    let step = state.step;
    match done.skipped {
        None => return Ok(()),
        Some(Skip::Empty) => {
            job.line(format_args!("step {step} is skipped: its rows have nothing to learn"));
            return Ok(());
        }
        Some(Skip::Scale) => {
            let scale = state.scale.value();
            job.line(format_args!("step {step} is skipped: half precision overflows, and the loss is now scaled by {scale}"));
            return Ok(());
        }
        Some(Skip::NotFinite) => {}
    }
    let what = if done.sum.is_finite() {
        format!("the gradient is {}", done.norm)
    } else {
        format!("the loss is {}", done.sum)
    };
    let mut locations: Vec<String> =
        rows.iter().take(SHOWN).map(|row| train.location(*row)).collect();
    if rows.len() > SHOWN {
        locations.push(format!("and {} more", rows.len() - SHOWN));
    }
    let locations = locations.join(", ");
    if state.skipped_in_a_row < config.max_skipped_steps {
        job.line(format_args!("step {step} is skipped: {what} (rows: {locations})"));
        return Ok(());
    }
    Err(Error::Diverged {
        step,
        reason: format!(
            "{what}, and so it was at {} in a row\n  rows of the last: {locations}\nhint: try a lower learning rate, or look at these rows",
            counted(state.skipped_in_a_row, "step")
        ),
    })
}

/// Returns [`Error::Diverged`] for a run that has skipped all its steps.
pub(super) fn every_step_skipped(state: &State) -> Error {
    Error::Diverged {
        step: state.step,
        reason: "every step of the run was skipped, so nothing was trained\n\
                 hint: `log.txt` gives the reason of each, and its rows"
            .to_owned(),
    }
}

/// A number with four digits.
pub(super) fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() || (1e-3..1e6).contains(&value.abs()) {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}
