use cog_train::Runner;
use cog_train::serde_json::json;

use super::*;

#[test]
fn a_training_improves_the_labels_of_its_predictor() -> Result<()> {
    let mut runner = Runner::<classify>::new(Setup::for_test())?;
    let output = runner.train(json!({"epochs": 3}))?;
    assert!(output.accuracy > output.accuracy_before, "{output:?}");

    let weights = Weights::open(output.model.to_str().context("the path is UTF-8")?)?;
    let mut labeller = Labeller::setup(&Setup::for_test(), Some(&weights))?;
    let question = Question { text: "the room was lovely".to_owned() };
    let answer = labeller.predict(question, &mut Job::for_test(tempfile::tempdir()?.path()))?;
    assert!((answer.scores.values().sum::<f64>() - 1.0).abs() < 1e-5, "{answer:?}");
    Ok(())
}
