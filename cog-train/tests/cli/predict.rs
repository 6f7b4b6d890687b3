//! `predict`: its answer and its weights.

use serde_json::Value;

use crate::probe;
use crate::sandbox::Outcome;

#[test]
fn predict_answers_on_standard_output_and_writes_nothing() {
    let here = probe();
    let said = here.run(&["predict", "-i", "prompt=hi"]).expect(0);
    assert_eq!(said.out, "{\n  \"text\": \"hi\",\n  \"first\": null\n}\n");
    assert!(said.err.contains("predicting\n"));
    assert!(here.names().is_empty(), "{:?}", here.names());
    let said = here.run(&["run", "-i", "prompt=hi", "-o", "answer.json"]).expect(0);
    assert_eq!(said.out, "predicted: answer.json\n");
    assert_eq!(here.names(), ["answer.json"]);
}

#[test]
fn a_predictor_loads_the_trained_weights() {
    let here = probe();
    here.run(&["-i", "seed=3"]).expect(0);
    let first = |weights: &str| {
        let mut command = here.command(&["predict", "--json", r#"{"prompt": "hi"}"#]);
        let said: Outcome = command.env("COG_WEIGHTS", weights).output().unwrap().into();
        said.expect(0).json()["output"]["first"].clone()
    };
    let value = first("weights");
    assert!(value.is_f64());
    assert_eq!(value, first("weights/weights.safetensors"));
    assert_eq!(first(""), Value::Null, "an empty COG_WEIGHTS is none");
}

#[test]
fn weights_that_cannot_be_opened_fail_before_setup() {
    let here = probe();
    here.file("torch.pt", b"PK\x03\x04");
    for (value, word) in
        [("nowhere.safetensors", "nowhere.safetensors"), ("torch.pt", "safetensors")]
    {
        let said: Outcome = here
            .command(&["predict", "-i", "prompt=hi"])
            .env("COG_WEIGHTS", value)
            .output()
            .unwrap()
            .into();
        let said = said.expect(1);
        assert!(
            said.err.contains("error: COG_WEIGHTS: ") && said.err.contains(word),
            "{}",
            said.err
        );
        assert!(!said.err.contains("setting up"), "{}", said.err);
    }
}
