use super::generator::Question;
use super::inputs::{Method, Quantization, Trained};
use super::*;
use cog_train::candle_core;
use cog_train::engine::Precision;
use cog_train::serde_json;

fn inputs() -> Inputs {
    Inputs {
        base_model: None,
        train_data: None,
        eval_data: None,
        train_on: Trained::Completions,
        max_length: None,
        packing: false,
        lora_rank: 0,
        lora_alpha: None,
        lora_dropout: 0.0,
        lora_targets: vec!["all-linear".to_owned()],
        merge: false,
        quantize: Quantization::None,
        gguf: None,
        learning_rate: None,
        epochs: 2,
        label_smoothing: 0.0,
        batch_size: 8,
        micro_batch: None,
        max_steps: Some(4),
        precision: Precision::F32,
        checkpoint_layers: false,
        optimizer: Method::AdamW,
        seed: 42,
    }
}

fn trainer() -> TextFinetune {
    TextFinetune::setup(&Setup::for_test()).unwrap()
}

fn prompt(temperature: f64) -> Question {
    Question {
        prompt: "How are you today?".to_owned(),
        max_tokens: 20,
        do_sample: None,
        temperature: Some(temperature),
        top_p: None,
        top_k: None,
        repetition_penalty: None,
        raw: false,
        seed: 42,
    }
}

fn bytes(output: &TrainingOutput, name: &str) -> Vec<u8> {
    std::fs::read(output.weights.join(name)).unwrap()
}

#[test]
fn the_same_training_twice_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = trainer();
    let mut train =
        |name| trainer.train(inputs(), &mut Job::for_test(dir.path().join(name))).unwrap();
    let (one, two) = (train("one"), train("two"));
    assert_eq!(one.steps, 4);
    assert!(one.final_loss < one.eval_loss_before, "{one:?}");
    assert!(one.eval_loss_after < 0.95 * one.eval_loss_before, "{one:?}");
    assert_eq!(one.eval_loss_before.to_bits(), two.eval_loss_before.to_bits());
    assert!(bytes(&one, "model.safetensors") == bytes(&two, "model.safetensors"));

    // The log holds the samples, before and after.
    let log = std::fs::read_to_string(dir.path().join("one/log.txt")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains(" |")).count(), 4, "{log}");
}

/// A batch in parts, and one whose layers are computed twice, have the gradients of the whole.
#[test]
fn parts_of_a_batch_and_checkpointed_layers_change_no_result() {
    let dir = tempfile::tempdir().unwrap();
    let loss = |name, inputs| {
        let job = &mut Job::for_test(dir.path().join(name));
        trainer()
            .train(Inputs { max_steps: Some(2), lora_rank: 4, ..inputs }, job)
            .unwrap()
            .final_loss
    };
    let whole = loss("whole", inputs());
    let parts = loss("parts", Inputs { micro_batch: Some(3), ..inputs() });
    assert!((whole - parts).abs() < 1e-4, "{whole} {parts}");
    let twice = loss("twice", Inputs { checkpoint_layers: true, ..inputs() });
    assert_eq!(whole.to_bits(), twice.to_bits());
}

#[test]
fn what_was_trained_answers_and_can_be_trained_on() {
    for lora_rank in [0, 4] {
        let dir = tempfile::tempdir().unwrap();
        let inputs = Inputs { lora_rank, ..inputs() };
        let output = trainer().train(inputs.clone(), &mut Job::for_test(dir.path())).unwrap();
        let weights = Weights::open(output.weights.to_str().unwrap()).unwrap();

        let mut job = Job::for_test(dir.path());
        let mut answer = |weights: Option<&Weights>, temperature| {
            let mut generator = TextGenerator::setup(&Setup::for_test(), weights).unwrap();
            generator.predict(prompt(temperature), &mut job).unwrap()
        };
        let base = answer(None, 0.0);
        assert_ne!(answer(Some(&weights), 0.0), base);
        assert_eq!(answer(None, 1.0), answer(None, 1.0));
        assert!(base.starts_with(' ') && base.ends_with('.'), "{base}");

        let config = cog_train::Config::default();
        let setup = Setup::new(candle_core::Device::Cpu, Some(weights), config);
        let mut trainer = TextFinetune::setup(&setup).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let one_more = Inputs { lora_rank: 0, max_steps: Some(1), ..inputs };
        let next = trainer.train(one_more, &mut Job::for_test(dir.path())).unwrap();
        let difference = (next.eval_loss_before - output.eval_loss_after).abs();
        assert!(difference < 1e-6, "{lora_rank}: {next:?} {output:?}");
    }
}

#[test]
fn options_that_draw_draw_unless_the_user_says_otherwise() {
    let question = |change: &dyn Fn(&mut Question)| {
        let mut question = Question { temperature: None, ..prompt(0.0) };
        change(&mut question);
        question.given().do_sample
    };
    assert_eq!(question(&|_| {}), None);
    assert_eq!(question(&|it| it.temperature = Some(0.0)), Some(false));
    assert_eq!(question(&|it| it.temperature = Some(0.7)), Some(true));
    assert_eq!(question(&|it| it.top_p = Some(0.9)), Some(true));
    assert_eq!(question(&|it| it.top_k = Some(5)), Some(true));
    assert_eq!(question(&|it| it.repetition_penalty = Some(1.2)), None);
    assert_eq!(question(&|it| (it.do_sample, it.top_k) = (Some(false), Some(5))), Some(false));
}

/// The perplexity of held-out rows is the exponential of their loss, with label smoothing in training too.
#[test]
fn held_out_rows_are_measured_without_smoothing() {
    let dir = tempfile::tempdir().unwrap();
    let train = |name: &str, label_smoothing| {
        let mut job = Job::for_test(dir.path().join(name));
        let output = trainer().train(Inputs { label_smoothing, ..inputs() }, &mut job).unwrap();
        let metrics = std::fs::read_to_string(dir.path().join(name).join("metrics.jsonl")).unwrap();
        let line = metrics.lines().rfind(|line| line.contains("eval_loss")).unwrap();
        let values: serde_json::Value = serde_json::from_str(line).unwrap();
        let [loss, perplexity] =
            ["eval_loss", "eval_perplexity"].map(|name| values[name].as_f64().unwrap());
        assert!((loss - output.eval_loss_after).abs() < 1e-12, "{values}");
        assert!((perplexity / loss.exp() - 1.0).abs() < 1e-12, "{values}");
        output
    };
    let (plain, smoothed) = (train("plain", 0.0), train("smoothed", 0.3));
    assert_eq!(plain.eval_loss_before.to_bits(), smoothed.eval_loss_before.to_bits());
    assert!(smoothed.final_loss > plain.final_loss, "{smoothed:?} {plain:?}");
    assert_ne!(plain.eval_loss_after.to_bits(), smoothed.eval_loss_after.to_bits());
}

#[test]
fn a_plain_text_is_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("text.txt");
    std::fs::write(&file, "The quick brown fox jumps over the lazy dog. ".repeat(100)).unwrap();
    let inputs = Inputs {
        train_data: Some(file.into()),
        optimizer: Method::Sgd,
        learning_rate: Some(0.5),
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
    assert!(!dir.path().join("weights").exists());
}
