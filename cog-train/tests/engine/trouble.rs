//! Faults are reported with their location, and end the run where they must.

use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::data::{Batching, Loader, Rows};
use cog_train::engine::{Loss, Params, Precision, StepContext, Training, TrainingConfig, fit};
use cog_train::optim::{Adafactor, AdamW, Clip, Muon, Optimizer, Sgd};
use cog_train::prelude::*;
use cog_train::{Error, anyhow, candle_nn, serde_json};

fn numbers(rows: Vec<f32>) -> Loader<Tensor> {
    Loader::new(Rows::new(rows).named("numbers"), |rows: Vec<f32>, batch| {
        Ok(Tensor::new(rows, batch.device())?)
    })
    .batch(Batching::Rows(2))
    .shuffle(false)
}

fn weight() -> Params {
    Params::new([("weight", Tensor::ones(1, DType::F32, &Device::Cpu).unwrap())]).unwrap()
}

fn run(
    dir: &std::path::Path,
    params: &Params,
    rows: Vec<f32>,
    config: TrainingConfig,
    loss: impl Fn(&Tensor, &StepContext) -> Result<Loss>,
) -> anyhow::Result<cog_train::engine::TrainingSummary> {
    let training = Training {
        config,
        params,
        optimizer: Optimizer::new(Sgd::default()),
        train: numbers(rows),
        eval: None,
    };
    fit(training, &loss, &mut Job::for_test(dir))
}

/// The rows times the weight.
fn product(params: &Params) -> impl Fn(&Tensor, &StepContext) -> Result<Loss> {
    let weight = params.tensors()["weight"].clone();
    move |rows, _| {
        let sum = (rows.to_dtype(weight.dtype())?.broadcast_mul(&weight)?).sum_all()?;
        Ok(Loss::sum(sum.to_dtype(DType::F32)?, rows.dim(0)?)?)
    }
}

#[test]
fn a_step_that_is_not_finite_is_skipped_and_logged() {
    let temp = tempfile::tempdir().unwrap();
    let nan = f32::NAN;
    let params = weight();
    let rows = vec![1.0, 1.0, nan, 1.0, 1.0, 1.0];
    let config = TrainingConfig { learning_rate: 0.5, ..TrainingConfig::default() };
    run(temp.path(), &params, rows, config, product(&params)).unwrap();
    // Two steps of 0.5 times a gradient of 1.
    assert_eq!(params.masters()["weight"].to_vec1::<f32>().unwrap(), [0.0]);
    let log = std::fs::read_to_string(temp.path().join("log.txt")).unwrap();
    assert!(
        log.contains("step 2 is skipped: the loss is NaN (rows: numbers row 3, numbers row 4)"),
        "{log}"
    );
    let metrics = std::fs::read_to_string(temp.path().join("metrics.jsonl")).unwrap();
    let second: serde_json::Value = metrics
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .find(|line| line["step"] == 2 && line.get("loss").is_some())
        .unwrap();
    assert_eq!((&second["loss"], &second["skipped"]), (&"NaN".into(), &"not finite".into()));
}

#[test]
fn too_many_in_a_row_end_the_run_and_name_the_rows() {
    let temp = tempfile::tempdir().unwrap();
    let params = weight();
    let rows = vec![1.0, 1.0, f32::INFINITY, 1.0, 1.0, f32::NAN, 1.0, f32::NAN];
    let config = TrainingConfig { max_skipped_steps: 3, ..TrainingConfig::default() };
    let error = run(temp.path(), &params, rows, config, product(&params)).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::Diverged { step: 4, .. })), "{error}");
    assert_eq!(
        error.to_string(),
        "step 4: the loss is NaN, and so it was at 3 steps in a row\n  rows of the last: numbers row 7, numbers row 8\n\
         hint: try a lower learning rate, or look at these rows"
    );
}

#[test]
fn the_error_of_a_large_batch_names_few_of_its_rows() {
    let temp = tempfile::tempdir().unwrap();
    let params = weight();
    let train = numbers(vec![f32::NAN; 24]).batch(Batching::Rows(12));
    let training = Training {
        config: TrainingConfig { max_skipped_steps: 2, ..TrainingConfig::default() },
        params: &params,
        optimizer: Optimizer::new(Sgd::default()),
        train,
        eval: None,
    };
    let error = fit(training, &product(&params), &mut Job::for_test(temp.path())).unwrap_err();
    let named: Vec<String> = (13..=20).map(|row| format!("numbers row {row}")).collect();
    let text = error.to_string();
    let line = format!("\n  rows of the last: {}, and 4 more\n", named.join(", "));
    assert!(text.contains(&line), "{text}");
    let log = std::fs::read_to_string(temp.path().join("log.txt")).unwrap();
    assert!(log.contains("numbers row 8, and 4 more)") && !log.contains("numbers row 9,"), "{log}");
}

#[test]
fn a_half_that_overflows_is_a_matter_of_scale() {
    let temp = tempfile::tempdir().unwrap();
    let params = weight().precision(Precision::F16).unwrap();
    // The gradient of the sum is 64, and it is multiplied by 2^14 at first, for two rows: it fits from 2^9 on.
    let config = TrainingConfig { epochs: 8, learning_rate: 0.001, ..TrainingConfig::default() };
    let fitted = run(temp.path(), &params, vec![32.0, 32.0], config, product(&params)).unwrap();
    let log = std::fs::read_to_string(temp.path().join("log.txt")).unwrap();
    let skipped = log.matches("half precision overflows").count();
    assert_eq!(skipped, 5, "{log}");
    // Every other step moved the weight by 0.001 times 32.
    let moved = 1.0 - f64::from(params.masters()["weight"].to_vec1::<f32>().unwrap()[0]);
    assert!((moved - 0.032 * (8 - skipped) as f64).abs() < 1e-6, "{moved} {skipped}");
    assert_eq!(fitted.steps, 8);
}

#[test]
fn parameters_without_a_gradient_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let tensor = |at: u64| {
        cog_train::rng::Rng::new(0, "test")
            .at(at)
            .normal_tensor((2, 2), 0.0, 1.0, DType::F32, &Device::Cpu)
            .unwrap()
    };
    let params = Params::new([("before", tensor(0)), ("behind", tensor(1))]).unwrap();
    let tensors = params.tensors();
    // `softmax_last_dim` has no backward pass: it cuts the graph.
    let loss = |rows: &Tensor, _: &StepContext| {
        let x = rows.reshape((1, 2))?.matmul(&tensors["before"])?;
        let x = candle_nn::ops::softmax_last_dim(&x)?.matmul(&tensors["behind"])?;
        Ok(Loss::sum(x.sqr()?.sum_all()?, 2)?)
    };
    let error =
        run(temp.path(), &params, vec![1.0, 2.0], TrainingConfig::default(), loss).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("step 1: 1 of 2 trained parameters gets no gradient: `before`\nhint: "),
        "{text}"
    );
    assert!(text.contains("softmax_last_dim"), "{text}");
    assert!(text.contains("`cog_train::nn` has a differentiable `LayerNorm`, `RmsNorm`"), "{text}");
    // Frozen, it is meant to be so.
    let params = Params::new(params.masters()).unwrap().freeze("before").unwrap();
    let tensors = params.tensors();
    let loss = |rows: &Tensor, _: &StepContext| {
        let x = rows.reshape((1, 2))?.matmul(&tensors["before"])?;
        let x = candle_nn::ops::softmax_last_dim(&x)?.matmul(&tensors["behind"])?;
        Ok(Loss::sum(x.sqr()?.sum_all()?, 2)?)
    };
    run(&temp.path().join("frozen"), &params, vec![1.0, 2.0], TrainingConfig::default(), loss)
        .unwrap();
}

#[test]
fn a_gradient_that_stays_zero_is_named_and_one_that_begins_late_is_not() {
    let temp = tempfile::tempdir().unwrap();
    let zeros = || Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
    let ones = || Tensor::ones(2, DType::F32, &Device::Cpu).unwrap();
    // As with LoRA: `a` has no gradient as long as `b` is zero.
    let params = Params::new([("a", ones()), ("b", zeros())]).unwrap();
    let tensors = params.tensors();
    let loss = |rows: &Tensor, _: &StepContext| {
        let product = ((&tensors["a"] * &tensors["b"])? - rows)?;
        Ok(Loss::sum(product.sqr()?.sum_all()?, 2)?)
    };
    let config = TrainingConfig { epochs: 10, learning_rate: 0.1, ..TrainingConfig::default() };
    run(temp.path(), &params, vec![1.0, 2.0], config.clone(), loss).unwrap();

    let params = Params::new([("a", ones()), ("dead", ones())]).unwrap();
    let tensors = params.tensors();
    let loss = |rows: &Tensor, _: &StepContext| {
        let dead = (&tensors["dead"] - 100.0)?.relu()?;
        Ok(Loss::sum(((&tensors["a"] - rows)?.sqr()? + dead)?.sum_all()?, 2)?)
    };
    let error = run(&temp.path().join("dead"), &params, vec![1.0, 2.0], config, loss).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("1 of 2 trained parameters gets a gradient of zero at every step: `dead`"),
        "{error}"
    );
}

#[test]
fn a_run_that_skips_every_step_is_an_error() {
    let temp = tempfile::tempdir().unwrap();
    let params = weight();
    let config = TrainingConfig { max_skipped_steps: 9, ..TrainingConfig::default() };
    let rows = vec![f32::NAN; 6];
    let error = run(temp.path(), &params, rows, config, product(&params)).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::Diverged { step: 3, .. })), "{error:?}");
    assert!(error.to_string().starts_with("step 3: every step of the run was skipped"), "{error}");
    // Without targets too.
    let weight = params.tensors()["weight"].clone();
    let empty = |_: &Tensor, _: &StepContext| Ok(Loss::sum((weight.sum_all()? * 0.0)?, 0)?);
    let dir = temp.path().join("empty");
    let error = run(&dir, &params, vec![1.0; 6], TrainingConfig::default(), empty).unwrap_err();
    assert!(error.to_string().starts_with("step 3: every step of the run was skipped"), "{error}");
}

#[test]
fn a_parameter_without_elements_is_trained_along() {
    let temp = tempfile::tempdir().unwrap();
    for (name, optimizer) in [
        ("adafactor", Optimizer::new(Adafactor::default())),
        ("muon", Optimizer::muon(Muon::default(), AdamW::default())),
        ("adamw", Optimizer::new(AdamW::default())),
    ] {
        let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        let params = Params::new([("empty", ones(&[0, 4])), ("weight", ones(&[2, 2]))]).unwrap();
        let tensors = params.tensors();
        let loss = |rows: &Tensor, _: &StepContext| {
            let empty = tensors["empty"].sum_all()?;
            let sum = (tensors["weight"].broadcast_mul(&rows.mean_all()?)?.sum_all()? + empty)?;
            Ok(Loss::sum(sum, rows.dim(0)?)?)
        };
        let training = Training {
            config: TrainingConfig {
                clip: Clip::Norm(1.0),
                ema: Some(0.9),
                ..TrainingConfig::default()
            },
            params: &params,
            optimizer,
            train: numbers(vec![1.0; 8]),
            eval: None,
        };
        let summary = fit(training, &loss, &mut Job::for_test(temp.path().join(name))).unwrap();
        assert_eq!((summary.steps, summary.skipped_steps), (4, 0), "{name}");
        assert!(params.masters()["weight"].to_vec2::<f32>().unwrap()[0][0] < 1.0, "{name}");
    }
}

#[test]
fn a_batch_with_nothing_to_learn_is_skipped() {
    let temp = tempfile::tempdir().unwrap();
    let params = weight();
    let weight = params.tensors()["weight"].clone();
    let loss = move |rows: &Tensor, context: &StepContext| {
        let count = if context.step() == 1 { 0 } else { rows.dim(0)? };
        Ok(Loss::sum((weight.sum_all()? * count as f64)?, count)?)
    };
    let config = TrainingConfig { learning_rate: 0.25, ..TrainingConfig::default() };
    let fitted = run(temp.path(), &params, vec![1.0; 6], config, loss).unwrap();
    assert_eq!(params.masters()["weight"].to_vec1::<f32>().unwrap(), [0.5]);
    assert!(fitted.loss.is_finite());
}

#[test]
fn invalid_settings_are_refused_before_the_first_step() {
    let temp = tempfile::tempdir().unwrap();
    let params = weight();
    let refused = |rows: Vec<f32>, config: TrainingConfig| {
        let error = run(temp.path(), &params, rows, config, product(&params)).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Error::InvalidConfig { .. })), "{error}");
        error.to_string()
    };
    assert_eq!(refused(vec![], TrainingConfig::default()), "the data has no rows");
    let patient = TrainingConfig { patience: Some(1), ..TrainingConfig::default() };
    assert!(refused(vec![1.0], patient).contains("need held-out rows"));
    assert!(
        refused(vec![1.0], TrainingConfig { epochs: 0, ..TrainingConfig::default() })
            .contains("`epochs`")
    );
    let error = Params::new(params.masters()).unwrap().freeze("nothing*").unwrap_err().to_string();
    assert_eq!(
        error,
        "no parameter is called `nothing*`\nhint: the model has 1 parameter, such as `weight`"
    );
    // All at once, and the optimizer's too.
    let training = Training {
        config: TrainingConfig {
            clip: Clip::Norm(-1.0),
            min_improvement: f64::NAN,
            ..TrainingConfig::default()
        },
        params: &params,
        optimizer: Optimizer::new(AdamW { beta1: 1.5, ..AdamW::default() }),
        train: numbers(vec![1.0]),
        eval: None,
    };
    let error = fit(training, &product(&params), &mut Job::for_test(temp.path())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`Clip::Norm` is -1, expected a number above 0\n`min_improvement` is NaN, expected a number of 0 or more\n\
         `adamw.beta1` is 1.5, expected a number from 0 to below 1"
    );
    for weight in [-1.0, f64::NAN] {
        let sum = Tensor::zeros((), DType::F32, &Device::Cpu).unwrap();
        let error = Loss::weighted(&sum, weight).unwrap_err().to_string();
        assert!(error.starts_with("the weight of a loss is "), "{error}");
    }
    let error = Loss::sum(Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap(), 2).unwrap_err();
    assert!(error.to_string().contains("the shape [2]"), "{error}");
}

/// Gradients are clipped as means over the whole batch, each element by itself: not those of a micro-batch.
#[test]
fn a_limit_on_values_holds_for_the_mean_gradient_of_a_batch() {
    let temp = tempfile::tempdir().unwrap();
    let start = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
    for (micro, name) in [(None, "whole"), (Some(1), "parts")] {
        let params = Params::new([("weight", start.clone())]).unwrap();
        let weight = params.tensors()["weight"].clone();
        // The gradient of a row is (row, row / 8).
        let loss = |rows: &Tensor, _: &StepContext| {
            let sum = rows.sum_all()?;
            let product = ((weight.get(0)? * &sum)? + (weight.get(1)? * (sum / 8.0)?)?)?;
            Ok(Loss::sum(product, rows.dim(0)?)?)
        };
        let config = TrainingConfig {
            learning_rate: 1.0,
            micro_batch: micro,
            clip: Clip::Value(0.5),
            ..TrainingConfig::default()
        };
        // Means of 2 and -3: (2, 0.25) and (-3, -0.375) are clipped to (0.5, 0.25) and (-0.5, -0.375). Row by row, the
        // first elements of 5 and -1 would have cancelled each other.
        let rows = vec![5.0, -1.0, -4.0, -2.0];
        run(&temp.path().join(name), &params, rows, config, loss).unwrap();
        assert_eq!(params.masters()["weight"].to_vec1::<f32>().unwrap(), [0.0, 0.125], "{name}");
    }
}

/// A step that is skipped is no update: not of the weights, and not of their average.
#[test]
fn a_skipped_step_is_as_if_it_had_not_been() {
    let temp = tempfile::tempdir().unwrap();
    let nan = f32::NAN;
    let trained = |name: &str, ema, rows: Vec<f32>| {
        let params = weight();
        let weight = params.tensors()["weight"].clone();
        let loss = |rows: &Tensor, _: &StepContext| {
            let errors = rows.broadcast_sub(&weight)?.sqr()?;
            Ok(Loss::sum(errors.sum_all()?, rows.dim(0)?)?)
        };
        let config = TrainingConfig { learning_rate: 0.1, ema, ..TrainingConfig::default() };
        let dir = temp.path().join(format!("{name} {}", ema.is_some()));
        let training = Training {
            config,
            params: &params,
            // It counts its updates.
            optimizer: Optimizer::new(AdamW::default()),
            train: numbers(rows),
            eval: None,
        };
        fit(training, &loss, &mut Job::for_test(dir)).unwrap();
        params.masters()["weight"].to_vec1::<f32>().unwrap()
    };
    for ema in [None, Some(0.5)] {
        let whole = trained("whole", ema, vec![3.0, 4.0, 5.0, 6.0, -1.0, 2.0]);
        let skipped = vec![nan, 1.0, 3.0, 4.0, 5.0, 6.0, 1.0, nan, -1.0, 2.0, nan, nan];
        assert_eq!(trained("skipped", ema, skipped), whole, "{ema:?}");
        assert!(whole[0] > 1.0);
    }
    let rows = vec![3.0, 4.0, 5.0, 6.0];
    assert_ne!(trained("with", Some(0.5), rows.clone()), trained("without", None, rows));
}
