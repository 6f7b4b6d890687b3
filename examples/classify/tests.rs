use std::path::PathBuf;

use cog_train::serde_json::{Value, from_str};

use super::*;

/// A path of the repository.
fn repository(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

/// The inputs of `classify`.
struct Inputs {
    base_model: String,
    train_data: Path,
    eval_data: Option<Path>,
    lora_rank: Option<u16>,
    epochs: u32,
    balanced: bool,
    label_smoothing: f64,
    precision: Precision,
    checkpoint_layers: bool,
}

fn inputs(epochs: u32) -> Inputs {
    Inputs {
        base_model: repository("examples/classify/base"),
        train_data: repository("examples/classify/data/reviews.jsonl").into(),
        eval_data: None,
        lora_rank: None,
        epochs,
        balanced: false,
        label_smoothing: 0.0,
        precision: Precision::F32,
        checkpoint_layers: false,
    }
}

fn train(dir: impl AsRef<std::path::Path>, inputs: Inputs) -> Result<TrainingOutput> {
    let Inputs { base_model, train_data, eval_data, lora_rank, epochs, .. } = inputs;
    classify(
        base_model,
        train_data,
        eval_data,
        lora_rank,
        3e-3,
        epochs,
        16,
        64,
        inputs.balanced,
        inputs.label_smoothing,
        inputs.precision,
        inputs.checkpoint_layers,
        42,
        &mut Job::for_test(dir),
    )
}

fn error(inputs: Inputs) -> String {
    let dir = tempfile::tempdir().unwrap();
    format!("{:#}", train(dir.path(), inputs).err().unwrap())
}

fn rows(dir: &tempfile::TempDir, rows: &[(&str, &str)]) -> PathBuf {
    let path = dir.path().join("rows.jsonl");
    let line = |(text, label): &(&str, &str)| {
        format!("{{\"text\": \"{text}\", \"label\": \"{label}\"}}\n")
    };
    std::fs::write(&path, rows.iter().map(line).collect::<String>()).unwrap();
    path
}

fn labeller(model: &std::path::Path) -> Labeller {
    let weights = Weights::open(model.to_str().unwrap()).unwrap();
    Labeller::setup(&Setup::for_test(), Some(&weights)).unwrap()
}

fn label(labeller: &mut Labeller, text: &str) -> LabelScores {
    let dir = tempfile::tempdir().unwrap();
    let question = Question { text: text.to_owned() };
    labeller.predict(question, &mut Job::for_test(dir.path())).unwrap()
}

/// A third of the reviews has each label. A word alone does not say it: `not bad` is good.
#[test]
fn it_learns_and_the_saved_model_labels_new_texts() {
    let dir = tempfile::tempdir().unwrap();
    let output = train(dir.path(), inputs(5)).unwrap();
    assert!(output.accuracy_before < 0.6, "{output:?}");
    assert!(output.accuracy > 0.9 && output.macro_f1 > 0.9, "{output:?}");
    assert!(output.adapter.is_none());

    let config = std::fs::read_to_string(output.model.join("config.json")).unwrap();
    let config: Value = from_str(&config).unwrap();
    assert_eq!(config["architectures"][0], "BertForSequenceClassification");
    assert_eq!(config["id2label"]["2"], "positive");
    assert_eq!(config["label2id"]["neutral"], 1);

    let mut labeller = labeller(&output.model);
    for (text, expected) in [
        ("The pool was awful, but we loved the garden!", "positive"),
        ("we loved the garden but the pool was awful", "negative"),
        ("the station is three minutes away", "neutral"),
    ] {
        let LabelScores { label, scores, .. } = label(&mut labeller, text);
        assert_eq!(label, expected, "{text}: {scores:?}");
        assert!((scores.values().sum::<f64>() - 1.0).abs() < 1e-6 && scores[expected] > 0.5);
    }
    let names: Vec<String> = label(&mut labeller, "").scores.into_keys().collect();
    assert_eq!(names, ["negative", "neutral", "positive"]);
    label(&mut labeller, &"long ".repeat(1000));
}

#[test]
fn an_adapter_learns_with_the_head_and_its_merged_model_labels_texts() {
    let dir = tempfile::tempdir().unwrap();
    let output = train(dir.path(), Inputs { lora_rank: Some(8), ..inputs(5) }).unwrap();
    assert!(output.accuracy_before < 0.6 && output.accuracy > 0.6, "{output:?}");
    let adapter = output.adapter.unwrap();
    let lora = LoraConfig::open(&adapter).unwrap();
    let base = Pretrained::open(repository("examples/classify/base")).unwrap();
    let base = base.with_head(Head::SequenceClassification).unwrap();
    let base =
        base.with_labels(cog_train::models::Labels::new(["negative", "neutral", "positive"]));
    let found = lora.on(|init| SequenceClassifier::new(init, base.config())).unwrap();
    let trained = found.load(&adapter).unwrap();
    assert!(trained.keys().any(|name| name == "classifier.weight"), "{:?}", trained.keys());
    let labelled = label(&mut labeller(&output.model), "the station is three minutes away");
    assert_eq!(labelled.label, "neutral");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = |name: &str| {
        let output = train(dir.path().join(name), inputs(1)).unwrap();
        std::fs::read(output.model.join("model.safetensors")).unwrap()
    };
    assert!(bytes("one") == bytes("two"));
}

#[test]
fn a_classifier_that_knows_the_labels_keeps_their_ids_and_its_head() {
    let dir = tempfile::tempdir().unwrap();
    let first = train(dir.path().join("one"), inputs(5)).unwrap();
    let data = rows(
        &dir,
        &[("the bed was awful", "negative"), ("we loved the pool", "positive")].repeat(5),
    );
    let again = Inputs {
        base_model: first.model.to_str().unwrap().to_owned(),
        train_data: data.into(),
        eval_data: Some(repository("examples/classify/data/reviews.jsonl").into()),
        ..inputs(1)
    };
    let second = train(dir.path().join("two"), again).unwrap();
    assert!(second.accuracy_before > 0.9, "{second:?}");
}

#[test]
fn a_label_that_only_the_evaluation_has_is_named_with_its_line_and_the_known_ones() {
    let dir = tempfile::tempdir().unwrap();
    let eval = rows(&dir, &[("it is good", "positive"), ("it is fine", "fine")]);
    let error = error(Inputs { eval_data: Some(eval.into()), ..inputs(1) });
    assert!(
        error.contains(
            "line 2`: the label `fine` is not one of `negative`, `neutral`, `positive`\nhint: "
        ),
        "{error}"
    );
}

#[test]
fn data_without_two_labels_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = rows(&dir, &[("a", "good"), ("b", "good")]);
    let found = error(Inputs { train_data: data.into(), ..inputs(1) });
    assert_eq!(found, "all rows have the label `good`, and a classifier needs two");
    let pairs = repository("examples/embed/data/pairs.jsonl");
    let found = error(Inputs { train_data: pairs.into(), ..inputs(1) });
    assert!(found.contains("and this task needs `text` and `label`"), "{found}");
}

#[test]
fn a_base_that_cannot_classify_is_refused() {
    let base = repository("examples/text_finetune/base");
    let error = error(Inputs { base_model: base, ..inputs(1) });
    assert!(error.contains("sequence classification"), "{error}");
}

#[test]
fn without_weights_there_is_nothing_to_label_with() {
    let error = Labeller::setup(&Setup::for_test(), None).err().unwrap().to_string();
    assert!(error.contains("COG_WEIGHTS"), "{error}");
}

#[test]
fn class_weights_smoothing_and_recomputed_layers_learn_too() {
    let dir = tempfile::tempdir().unwrap();
    let inputs =
        Inputs { balanced: true, label_smoothing: 0.1, checkpoint_layers: true, ..inputs(5) };
    let output = train(dir.path(), inputs).unwrap();
    assert!(output.accuracy > 0.85 && output.macro_f1 > 0.85, "{output:?}");
}

#[test]
fn a_model_that_computes_in_16_bits_is_saved_in_16() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = Inputs { precision: Precision::Bf16, ..inputs(1) };
    let output = train(dir.path(), inputs).unwrap();
    let config = std::fs::read_to_string(output.model.join("config.json")).unwrap();
    assert!(config.contains("\"bfloat16\""), "{config}");
    label(&mut labeller(&output.model), "the bed was awful");
}
