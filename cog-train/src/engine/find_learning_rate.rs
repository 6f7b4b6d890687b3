//! The sweep that finds a learning rate.

use candle_core::Tensor;
use serde_json::json;

use super::learner::Learner;
use super::objective::Objective;
use super::prepare::check_shares;
use super::ranks::Ranks;
use super::reduce::reduce;
use super::report::short;
use super::state::State;
use super::step;
use super::stream::Stream;
use super::training::Training;
use crate::error::Error;
use crate::job::Job;
use crate::progress::{Record, json_number};

/// The steps of a sweep, and the rates of the first and of the last.
const STEPS: u32 = 100;
const FIRST: f64 = 1e-7;
const LAST: f64 = 10.0;
/// The weight of the past in the smoothed loss.
const SMOOTHING: f64 = 0.98;
/// The sweep ends when the smoothed loss is so many times its lowest value.
const DIVERGED: f64 = 4.0;
/// The least number of points that make a valley.
const VALLEY: usize = 5;

/// The losses of a sweep over learning rates.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LearningRateSweep {
    /// The steps, by ascending learning rate.
    pub points: Vec<SweepPoint>,
    /// The learning rate in the middle of the loss's longest fall. `None` where it does not fall, and in a dry run.
    pub suggestion: Option<f64>,
}

/// A step of a sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SweepPoint {
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// The loss before the step, smoothed over the steps before it.
    pub loss: f64,
}

/// Finds a learning rate: trains for at most 100 steps with a rate that grows from 1e-7 to 10, until the loss diverges, and then puts the
/// weights back as they were (Smith, "Cyclical Learning Rates for Training Neural Networks", 2017).
///
/// The losses are plotted in the log and in the run's report, and recorded as `learning_rate_sweep`. The suggestion is the rate in the middle of
/// the longest fall of the smoothed loss, its longest decreasing subsequence (fastai's `valley`): a peak for a schedule with a warm-up. It is a
/// function of the run's seed; a training that follows is the same as without the sweep. A trainer offers it as an input of its own:
///
/// ```
/// use cog_train::engine::{Objective, Training, TrainingSummary, find_learning_rate, fit};
/// use cog_train::prelude::*;
///
/// fn train(
///     mut training: Training<'_, Vec<f32>>,
///     learning_rate: Option<f64>, // an input: without it, one is found
///     objective: &impl Objective<Vec<f32>>,
///     job: &mut Job,
/// ) -> Result<TrainingSummary> {
///     let found = match learning_rate {
///         None => find_learning_rate(&training, objective, job)?.suggestion,
///         given => given,
///     };
///     training.config.learning_rate = found.unwrap_or(training.config.learning_rate);
///     fit(training, objective, job)
/// }
/// ```
///
/// # Errors
///
/// Those of [`fit`](super::fit()), among them [`Error::Cancelled`]. The weights are put back all the same.
pub fn find_learning_rate<B: Send + 'static>(
    training: &Training<'_, B>,
    objective: &impl Objective<B>,
    job: &mut Job,
) -> anyhow::Result<LearningRateSweep> {
    if job.is_dry_run() {
        return Ok(LearningRateSweep { points: Vec::new(), suggestion: None });
    }
    training.config.check()?;
    let before = training
        .params
        .changing()
        .map(|(name, param)| Ok((name.to_owned(), param.master().detach().copy()?)))
        .collect::<Result<Vec<(String, Tensor)>, candle_core::Error>>()
        .map_err(Error::from)?;
    let swept = sweep(training, objective, job);
    for (name, tensor) in &before {
        if let Some(param) = training.params.get(name) {
            param.hold(param.all_rows())?;
            param.set(tensor)?;
        }
    }
    let points = swept?;
    let found = LearningRateSweep { suggestion: valley(&points), points };
    report(job, &found);
    Ok(found)
}

fn sweep<B: Send + 'static>(
    training: &Training<'_, B>,
    objective: &impl Objective<B>,
    job: &mut Job,
) -> anyhow::Result<Vec<SweepPoint>> {
    let Training { config, params, optimizer, train, .. } = training;
    let ranks = Ranks::of(job)?;
    let train = &train.clone().for_rank(ranks.shard());
    ranks.all_done(check_shares(config, train, params, job))?;
    let learner = Learner::new(config, params, optimizer.without_state(), &ranks);
    let mut learner = ranks.all_done(learner)?;
    learner.align()?;
    let order = job.reduce().unwrap_or(config.reduce);
    let mut state = State::new(config, params.computes_in());
    // A parameter without a gradient is the training's to report.
    state.without_gradient = None;
    let mut stream = Stream::new(train, params.device());
    let mut points: Vec<SweepPoint> = Vec::new();
    let (mut mean, mut lowest) = (0.0, f64::INFINITY);
    for number in 0..STEPS {
        let learning_rate = FIRST * (LAST / FIRST).powf(f64::from(number) / f64::from(STEPS - 1));
        let computed =
            step::compute_next(&mut stream, &mut learner, objective, &mut state, job, order)?;
        let Some((batch, computed)) = computed else {
            stream.leave();
            return Err(Error::Cancelled.into());
        };
        let reduced = reduce(&learner, computed)?;
        let applied = step::apply(&mut learner, config.clip, &mut state, reduced, learning_rate)?;
        state.position = batch.next;
        let loss = applied.loss();
        if !loss.is_finite() {
            break;
        }
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * loss;
        let steps = i32::try_from(points.len()).unwrap_or(i32::MAX - 1) + 1;
        let loss = mean / (1.0 - SMOOTHING.powi(steps));
        lowest = lowest.min(loss);
        points.push(SweepPoint { learning_rate, loss });
        if loss > DIVERGED * lowest {
            break;
        }
    }
    stream.leave();
    Ok(points)
}

/// Returns the learning rate in the middle of the longest decreasing subsequence of the losses.
fn valley(points: &[SweepPoint]) -> Option<f64> {
    // Of the longest subsequence that ends at each point: its length and its first point.
    let mut ending: Vec<(usize, usize)> = Vec::new();
    for (at, point) in points.iter().enumerate() {
        let higher = ending.iter().zip(points).filter(|(_, before)| before.loss > point.loss);
        let longest = higher.map(|(&(length, first), _)| (length, first)).max_by_key(|it| it.0);
        ending.push(longest.map_or((1, at), |(length, first)| (length + 1, first)));
    }
    // Of equally long ones that which ends first.
    let (last, &(length, first)) = ending.iter().enumerate().rev().max_by_key(|(_, it)| it.0)?;
    (length >= VALLEY).then(|| points[first.midpoint(last)].learning_rate)
}

fn report(job: &mut Job, found: &LearningRateSweep) {
    for line in plot(&found.points) {
        job.line(line);
    }
    job.line(match found.suggestion {
        Some(rate) => {
            format!("learning rate: {} is in the middle of the loss's longest fall", short(rate))
        }
        None => "learning rate: the loss does not fall between 1e-7 and 10".to_owned(),
    });
    let rates: Vec<f64> = found.points.iter().map(|point| point.learning_rate).collect();
    let losses: Vec<_> = found.points.iter().map(|point| json_number(point.loss)).collect();
    let sweep = json!({"learning_rate": rates, "loss": losses, "suggestion": found.suggestion});
    job.record("learning_rate_sweep", sweep, Record::Replace);
}

/// The rows of a plot, and its columns.
const ROWS: usize = 10;
const COLUMNS: usize = 60;

/// Plots the losses over the logarithm of the rate, as lines of text.
fn plot(points: &[SweepPoint]) -> Vec<String> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let low = points.iter().map(|point| point.loss).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|point| point.loss).fold(f64::NEG_INFINITY, f64::max);
    let mut rows = vec![vec![' '; COLUMNS]; ROWS];
    for column in 0..COLUMNS {
        let point = points[column * (points.len() - 1) / (COLUMNS - 1)];
        let share = if high > low { (high - point.loss) / (high - low) } else { 1.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a row from 0 to 9"
        )]
        let row = (share * (ROWS - 1) as f64).round() as usize;
        rows[row.min(ROWS - 1)][column] = '•';
    }
    let label = |row: usize| match row {
        0 => short(high),
        row if row == ROWS - 1 => short(low),
        _ => String::new(),
    };
    let line = |(at, row): (usize, &Vec<char>)| {
        format!("{:>10} │{}", label(at), row.iter().collect::<String>()).trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.iter().enumerate().map(line).collect();
    let (from, to) =
        (format!("{:.0e}", first.learning_rate), format!("{:.0e}", last.learning_rate));
    let width = COLUMNS - from.len();
    lines.push(format!("{:>10} └{from}{to:>width$}  learning rate", "loss"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(loss: impl Fn(f64) -> f64) -> Vec<SweepPoint> {
        let rate = |at: u32| 1e-7 * 1e8f64.powf(f64::from(at) / 99.0);
        (0..100).map(|at| SweepPoint { learning_rate: rate(at), loss: loss(rate(at)) }).collect()
    }

    #[test]
    fn the_suggestion_is_in_the_middle_of_the_longest_fall() {
        // A sigmoid of the logarithm, which falls everywhere, and one that rises from 1e-3 on.
        let sigmoid = |rate: f64| 1.0 / (1.0 + (rate / 1e-3).powi(2));
        let found = valley(&points(sigmoid)).unwrap();
        assert!((5e-4..2e-3).contains(&found), "{found}");
        let found = valley(&points(|rate| if rate < 1e-3 { sigmoid(rate) } else { rate })).unwrap();
        assert!((5e-6..2e-5).contains(&found), "{found}");
        // A short fall by noise at the start is not the longest.
        let noise = |rate: f64| if rate < 1.5e-7 { 5.0 } else { 1.0 + (rate.ln() + 3.0).powi(2) };
        let found = valley(&points(noise)).unwrap();
        assert!((1e-6..1e-3).contains(&found), "{found}");
        assert_eq!(valley(&points(|rate| rate)), None);
        assert_eq!(valley(&points(sigmoid)[..4]), None);
    }

    #[test]
    fn a_plot_has_its_limits_and_a_dot_in_each_column() {
        let lines = plot(&points(|rate| 2.0 - rate.powf(0.1)));
        assert_eq!(lines.len(), ROWS + 1);
        let dots: usize = lines.iter().map(|line| line.matches('•').count()).sum();
        assert_eq!(dots, COLUMNS);
        assert!(lines[ROWS].contains("1e-7") && lines[ROWS].contains("1e1"), "{lines:?}");
        assert!(plot(&[]).is_empty());
    }
}
