use super::*;
use cog_train::candle_core;

fn inputs() -> Inputs {
    Inputs {
        train_data: None,
        learning_rate: 5e-3,
        epochs: 2,
        batch_size: 8,
        max_steps: Some(4),
        optimizer: Method::AdamW,
        seed: 42,
    }
}

fn trainer() -> TextFinetune {
    TextFinetune::setup(&Setup::for_test()).unwrap()
}

fn prompt(temperature: f64) -> Question {
    Question { prompt: "How are you today?".to_owned(), max_tokens: 20, temperature, seed: 42 }
}

#[test]
fn the_same_training_twice_gives_the_same_bytes_and_leaves_the_base_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = trainer();
    let mut train =
        |name| trainer.train(inputs(), &mut Job::for_test(dir.path().join(name))).unwrap();
    let (one, two) = (train("one"), train("two"));
    assert_eq!(one.steps, 4);
    assert!(one.final_loss < one.eval_loss_before, "{one:?}");
    assert!(one.eval_loss_after < 0.95 * one.eval_loss_before, "{one:?}");
    assert_eq!(one.eval_loss_before.to_bits(), two.eval_loss_before.to_bits());
    assert!(std::fs::read(&one.weights).unwrap() == std::fs::read(&two.weights).unwrap());

    // The log holds both samples, before and after.
    let log = std::fs::read_to_string(dir.path().join("one/log.txt")).unwrap();
    assert_eq!(log.lines().filter(|line| line.starts_with("  ")).count(), 4, "{log}");
}

#[test]
fn what_was_trained_answers_and_can_be_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let output = trainer().train(inputs(), &mut Job::for_test(dir.path())).unwrap();
    let weights = Weights::open(output.weights.to_str().unwrap()).unwrap();

    let mut job = Job::for_test(dir.path());
    let mut answer = |weights: Option<&Weights>, temperature| {
        let mut generator = TextGenerator::setup(&Setup::for_test(), weights).unwrap();
        generator.predict(prompt(temperature), &mut job).unwrap()
    };
    let base = answer(None, 0.0);
    assert_ne!(answer(Some(&weights), 0.0), base);
    assert_eq!(answer(None, 0.0), base);
    assert_eq!(answer(None, 1.0), answer(None, 1.0));
    assert!(base.starts_with(' ') && base.ends_with('.'), "{base}");

    let setup = Setup::new(candle_core::Device::Cpu, Some(weights), cog_train::Config::default());
    let mut trainer = TextFinetune::setup(&setup).unwrap();
    let next = trainer.train(Inputs { max_steps: Some(1), ..inputs() }, &mut job).unwrap();
    assert!((next.eval_loss_before - output.eval_loss_after).abs() < 1e-6, "{next:?} {output:?}");
}

#[test]
fn a_file_of_ones_own_is_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("text.txt");
    std::fs::write(&file, "The quick brown fox jumps over the lazy dog. ".repeat(100)).unwrap();
    let inputs = Inputs {
        train_data: Some(file.into()),
        optimizer: Method::Sgd,
        learning_rate: 0.5,
        ..inputs()
    };
    let output = trainer().train(inputs, &mut Job::for_test(dir.path())).unwrap();
    assert!(output.eval_loss_after < output.eval_loss_before, "{output:?}");
}

#[test]
fn a_training_that_is_cancelled_ends_and_leaves_no_weights() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::for_test(dir.path());
    job.cancel_token().cancel();
    let error = trainer().train(inputs(), &mut job).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(cog_train::Error::Cancelled)), "{error}");
    assert!(!dir.path().join("weights.safetensors").exists());
}
