use std::path::PathBuf;

use super::*;

/// A path of the repository.
fn repository(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

fn inputs(epochs: u32) -> Inputs {
    Inputs {
        base_model: repository("examples/classify/base"),
        train_data: repository("examples/embed/data/pairs.jsonl").into(),
        eval_data: None,
        temperature: 0.05,
        normalize: true,
        learning_rate: 2e-3,
        epochs,
        batch_size: 32,
        seed: 42,
    }
}

fn train(dir: impl AsRef<std::path::Path>, inputs: Inputs) -> Result<TrainingOutput> {
    Embed.train(inputs, &mut Job::for_test(dir))
}

fn embed(model: &std::path::Path, texts: &[&str]) -> Vec<Vec<f32>> {
    let weights = Weights::open(model.to_str().unwrap()).unwrap();
    let mut embedder = Embedder::setup(&Setup::for_test(), Some(&weights)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut job = Job::for_test(dir.path());
    let questions = texts.iter().map(|text| Question { text: (*text).to_owned() });
    questions.map(|question| embedder.predict(question, &mut job).unwrap()).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn rows(dir: &tempfile::TempDir, lines: &str) -> PathBuf {
    let path = dir.path().join("rows.jsonl");
    std::fs::write(&path, lines).unwrap();
    path
}

/// Guests and staff have no words in common: what belongs together is learned.
#[test]
fn recall_rises_and_the_saved_model_finds_what_belongs_together() {
    let dir = tempfile::tempdir().unwrap();
    let output = train(dir.path(), inputs(8)).unwrap();
    assert!(output.recall_before < 0.2 && output.recall > 0.8, "{output:?}");
    let [said, own, other] = &embed(
        &output.model,
        &[
            "the shower in the attic is dirty",
            "clean the washroom under the roof",
            "renew the screen near the water",
        ],
    )[..] else {
        panic!()
    };
    assert_eq!(said.len(), 64);
    assert!((dot(said, said) - 1.0).abs() < 1e-5, "the length is 1, as modules.json says");
    assert!(dot(said, own) > dot(said, other) + 0.2, "{} {}", dot(said, own), dot(said, other));
    for name in ["modules.json", "1_Pooling/config.json", "tokenizer.json", "config.json"] {
        assert!(output.model.join(name).is_file(), "{name}");
    }
}

#[test]
fn a_model_that_does_not_normalize_is_saved_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let output = train(dir.path(), Inputs { normalize: false, ..inputs(1) }).unwrap();
    let embeddings = embed(&output.model, &["the shower is dirty"]);
    assert!((dot(&embeddings[0], &embeddings[0]) - 1.0).abs() > 0.1);
    assert!(!Pooling::open(&output.model).unwrap().is_normalized());
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

/// Rows with a hard negative and rows without one may stand in one file, and a long text is cut.
#[test]
fn negatives_are_optional_and_long_texts_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let long = "word ".repeat(500);
    let data = rows(
        &dir,
        &format!(
            "{{\"anchor\": \"a\", \"positive\": \"b\"}}\n{{\"anchor\": \"{long}\", \"positive\": \"d\", \"negative\": \"e\"}}\n\
             {{\"anchor\": \"f\", \"positive\": \"b\", \"negative\": null}}\n"
        ),
    );
    let output =
        train(dir.path().join("run"), Inputs { train_data: data.into(), ..inputs(1) }).unwrap();
    assert!((0.0..=1.0).contains(&output.recall));
}

#[test]
fn other_rows_and_other_bases_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = |inputs| format!("{:#}", train(dir.path(), inputs).err().unwrap());
    let reviews = repository("examples/classify/data/reviews.jsonl");
    let found = error(Inputs { train_data: reviews.into(), ..inputs(1) });
    assert!(
        found.contains(
            "the rows have `text` and `label`, and this task needs `anchor` and `positive`"
        ),
        "{found}"
    );
    let base = repository("examples/text_finetune/base");
    let found = error(Inputs { base_model: base, ..inputs(1) });
    assert!(found.contains("embeddings of texts"), "{found}");
    let data = rows(&dir, "{\"anchor\": \"a\", \"positive\": \"b\"}\n{\"anchor\": \"c\"}\n");
    let found = error(Inputs { train_data: data.into(), ..inputs(1) });
    assert!(found.contains("line 2") && found.contains("`positive`"), "{found}");
}
