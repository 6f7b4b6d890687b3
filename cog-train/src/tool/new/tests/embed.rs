use cog_train::Runner;
use cog_train::serde_json::json;

use super::*;

#[test]
fn a_training_brings_pairs_together() -> Result<()> {
    let mut runner = Runner::<Embed>::new(Setup::for_test())?;
    let output = runner.train(json!({}))?;
    assert!(output.recall > output.recall_before, "{output:?}");

    let weights = Weights::open(output.model.to_str().context("the path is UTF-8")?)?;
    let mut embedder = Embedder::setup(&Setup::for_test(), Some(&weights))?;
    let question = Question { text: "the shower is broken".to_owned() };
    let embedding = embedder.predict(question, &mut Job::for_test(tempfile::tempdir()?.path()))?;
    assert!(embedding.iter().all(|value| value.is_finite()));
    Ok(())
}
