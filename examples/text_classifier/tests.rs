use super::*;

fn inputs(epochs: u32) -> Inputs {
    Inputs { reviews: None, epochs, batch_size: 16, learning_rate: 2e-3, seed: 42 }
}

fn train(dir: &std::path::Path, inputs: Inputs) -> Result<TrainingOutput> {
    TextClassifier::setup(&Setup::for_test()).unwrap().train(inputs, &mut Job::for_test(dir))
}

/// A third of the reviews has each label. A word alone does not say it: `not bad` is good.
#[test]
fn it_learns_and_what_it_learned_labels_new_reviews() {
    let dir = tempfile::tempdir().unwrap();
    let output = train(dir.path(), inputs(8)).unwrap();
    assert!(output.accuracy > 0.85, "{}", output.accuracy);

    let mut classifier = Classifier::setup(&Setup::for_test(), Some(&output.weights)).unwrap();
    let mut job = Job::for_test(dir.path());
    let mut label =
        |text: &str| classifier.predict(Question { text: text.to_owned() }, &mut job).unwrap();
    assert_eq!(label("The pool was awful, but we loved the garden!"), "positive");
    assert_eq!(label("we loved the garden but the pool was awful"), "negative");
    assert_eq!(label("the station is three minutes away"), "neutral");
    assert!(LABELS.contains(&label("").as_str())); // no word at all
    assert!(LABELS.contains(&label(&"long ".repeat(1000)).as_str()));
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| train(&dir.path().join(name), inputs(1)).unwrap());
    assert!(
        std::fs::read(one.weights.path()).unwrap() == std::fs::read(two.weights.path()).unwrap()
    );
}

#[test]
fn a_label_that_does_not_exist_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.jsonl");
    let rows =
        "{\"text\": \"a\", \"label\": \"neutral\"}\n{\"text\": \"b\", \"label\": \"fine\"}\n";
    std::fs::write(&file, rows).unwrap();
    let inputs = Inputs { reviews: Some(file.into()), ..inputs(1) };
    let error = format!("{:#}", train(dir.path(), inputs).unwrap_err());
    assert!(error.contains("line 2") && error.contains("`fine` is none of"), "{error}");
}

#[test]
fn without_weights_there_is_nothing_to_label_with() {
    let error = Classifier::setup(&Setup::for_test(), None).err().unwrap().to_string();
    assert!(error.contains("COG_WEIGHTS"), "{error}");
}
