//! `generation_config.json`.

use std::fs;

use cog_train::models::{Generation, Pretrained};
use serde_json::{Value, json};

use crate::support::folder;

/// The options of a folder with such a file.
fn options(config: Option<&Value>) -> Result<Generation, String> {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(folder("llama3").join(file), dir.path().join(file)).unwrap();
    }
    if let Some(config) = config {
        fs::write(dir.path().join("generation_config.json"), config.to_string()).unwrap();
    }
    Pretrained::open(dir.path()).unwrap().generation(30).map_err(|error| error.to_string())
}

#[test]
fn options_are_those_of_transformers_generate() {
    let plain = || Generation::new(30).end_tokens([2, 7]);
    for (config, expected) in [
        (json!({}), plain()),
        // Without `do_sample` nothing is drawn, whatever the other keys say.
        (json!({"temperature": 0.6, "top_p": 0.9, "do_sample": false}), plain()),
        (json!({"do_sample": true}), plain().temperature(1.0).top_k(50)),
        (
            json!({
                "do_sample": true, "temperature": 0.6, "top_k": 0, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.1,
                "max_new_tokens": 5, "eos_token_id": 9, "bos_token_id": 1, "transformers_version": "4.1", "unknown": [1],
            }),
            Generation::new(5)
                .end_tokens([9])
                .temperature(0.6)
                .top_p(0.9)
                .min_p(0.05)
                .repetition_penalty(1.1),
        ),
        (
            json!({"eos_token_id": [2, 9], "repetition_penalty": 1.2, "top_k": null}),
            Generation::new(30).end_tokens([2, 9]).repetition_penalty(1.2),
        ),
    ] {
        assert_eq!(options(Some(&config)), Ok(expected), "{config}");
    }
    assert_eq!(options(None), Ok(plain()));
}

#[test]
fn options_that_cannot_be_meant_are_refused_by_name() {
    for (config, reason) in [
        (json!({"temperature": "hot"}), "`temperature` is \"hot\", not a number"),
        (json!({"temperature": -1.0}), "`temperature` is -1, not a number above 0"),
        (json!({"top_p": 1.5}), "`top_p` is 1.5, not a number from 0 to 1"),
        (json!({"top_k": 2.5}), "`top_k` is 2.5, not a whole number"),
        (json!({"do_sample": 1}), "`do_sample` is 1, not true or false"),
        (json!({"eos_token_id": [1, "a"]}), "`eos_token_id` is [1,\"a\"], not a token or a list"),
        (json!({"max_new_tokens": -3}), "`max_new_tokens` is -3, not a whole number"),
        (json!({"repetition_penalty": 0}), "`repetition_penalty` is 0, not a number above 0"),
        (json!([]), "is not a JSON object"),
    ] {
        let error = options(Some(&config)).unwrap_err();
        assert!(error.contains("generation_config.json") && error.contains(reason), "{error}");
    }
    // All of them at once.
    let error = options(Some(&json!({"top_p": "a", "top_k": "b"}))).unwrap_err();
    assert!(error.contains("2 problems") && error.contains("`top_p`"), "{error}");
}
