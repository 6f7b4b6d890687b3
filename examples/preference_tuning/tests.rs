use cog_train::serde_json::json;

use super::*;

fn inputs(method: Method) -> Inputs {
    Inputs {
        train_data: None,
        eval_data: None,
        base_model: None,
        method,
        beta: 0.1,
        lora_rank: 8,
        learning_rate: 2e-3,
        epochs: 1,
        batch_size: 8,
        max_length: None,
        seed: 42,
    }
}

fn train(dir: &std::path::Path, inputs: Inputs) -> Result<TrainingOutput> {
    PreferenceTuning::setup(&Setup::for_test()).unwrap().train(inputs, &mut Job::for_test(dir))
}

/// A file with some of the rows that are built in.
fn some_rows(dir: &std::path::Path, count: usize) -> Path {
    let lines: Vec<&str> = include_str!("data/train.jsonl").lines().take(count).collect();
    let file = dir.join("rows.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    file.into()
}

#[test]
fn dpo_prefers_the_chosen_answers_and_its_adapter_answers() {
    let dir = tempfile::tempdir().unwrap();
    let output = train(dir.path(), inputs(Method::Dpo)).unwrap();
    assert!(output.reward_accuracy_before.abs() < 1e-9, "the base is its own reference");
    assert!(output.reward_accuracy > 0.9, "{}", output.reward_accuracy);
    assert!(output.reward_margin > 1.0, "{}", output.reward_margin);
    let weights = Weights::open(output.weights.to_str().unwrap()).unwrap();
    let mut answers = Answers::setup(&Setup::for_test(), Some(&weights)).unwrap();
    let question = || Question {
        prompt: "Where is the cat?".to_owned(),
        max_tokens: 10,
        temperature: 0.0,
        seed: 42,
    };
    let mut job = Job::for_test(dir.path().join("predict"));
    let tuned = answers.predict(question(), &mut job).unwrap();
    let mut base = Answers::setup(&Setup::for_test(), None).unwrap();
    assert_ne!(tuned, base.predict(question(), &mut job).unwrap());
}

/// All weights, from a file whose prompts are implicit; the folder is a model.
#[test]
fn all_weights_are_tuned_against_kept_references() {
    let dir = tempfile::tempdir().unwrap();
    let rows = ["4", "5", "6", "7", "8", "9"].map(|it| {
        json!({"chosen": format!("What comes next? {it} apples"), "rejected": format!("What comes next? {it} pears")}).to_string()
    });
    let file = dir.path().join("rows.jsonl");
    std::fs::write(&file, rows.join("\n")).unwrap();
    for method in [Method::Dpo, Method::Orpo] {
        let inputs = Inputs {
            train_data: Some(file.clone().into()),
            lora_rank: 0,
            learning_rate: 1e-3,
            epochs: 4,
            ..inputs(method)
        };
        let output = train(&dir.path().join(format!("{method:?}")), inputs).unwrap();
        assert!((output.reward_accuracy - 1.0).abs() < 1e-9, "{method:?}");
        assert!(output.weights.join("config.json").is_file());
        let weights = Weights::open(output.weights.to_str().unwrap()).unwrap();
        assert!(Answers::setup(&Setup::for_test(), Some(&weights)).is_ok());
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = some_rows(dir.path(), 24);
    for method in [Method::Dpo, Method::Orpo] {
        let [one, two] = ["one", "two"].map(|name| {
            let inputs = Inputs { train_data: Some(file.clone()), ..inputs(method) };
            let output = train(&dir.path().join(format!("{name}-{method:?}")), inputs).unwrap();
            std::fs::read(output.weights.join("adapter_model.safetensors")).unwrap()
        });
        assert!(one == two, "{method:?}");
    }
}

#[test]
fn what_cannot_be_tuned_on_is_refused_before_the_training() {
    let dir = tempfile::tempdir().unwrap();
    let file = |text: &str| -> Path {
        let file = dir.path().join("rows.jsonl");
        std::fs::write(&file, text).unwrap();
        file.into()
    };
    let refused = |change: &dyn Fn(&mut Inputs)| {
        let mut inputs = inputs(Method::Dpo);
        change(&mut inputs);
        format!("{:#}", train(&dir.path().join("job"), inputs).unwrap_err())
    };
    let error = refused(&|inputs| inputs.train_data = Some(file(r#"{"text": "a"}"#)));
    assert!(
        error.contains("rows of `text`") && error.contains("hint: a preference has"),
        "{error}"
    );
    let same = r#"{"prompt": "a", "chosen": " b", "rejected": " b"}"#;
    let error = refused(&|inputs| inputs.train_data = Some(file(&[same; 3].join("\n"))));
    assert!(error.contains("no two answers to compare in 2 rows"), "{error}");
    let error = refused(&|inputs| inputs.max_length = Some(1000));
    assert!(error.contains("`max_length` is 1000, and the model sees at most 128"), "{error}");
    let error = refused(&|inputs| inputs.base_model = Some("nowhere".to_owned()));
    assert!(error.contains("nowhere"), "{error}");
    let error = refused(&|inputs| inputs.eval_data = Some(file(same)));
    assert!(error.contains("`eval_data` is given without `train_data`"), "{error}");
}
