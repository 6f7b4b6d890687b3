use super::*;

fn keys(value: Value) -> Keys {
    let Value::Object(values) = value else { panic!("an object") };
    Keys::new(values)
}

fn problems(keys: Keys) -> String {
    keys.finish(Path::new("config.json")).map_or_else(|error| error.to_string(), |()| String::new())
}

#[test]
fn every_problem_is_reported_with_its_key_and_value() {
    let mut keys = keys(serde_json::json!({
        "hidden_size": "8", "n_layer": 0, "hidden_siz": 9, "dtype": "float32", "torch_dtype": "bfloat16",
        "rope": {"factor": 2.0, "type": null, "odd": 1}, "off": false, "none": null, "use_cache": true,
        "dropout": 0, "scale": 2.0,
    }));
    assert_eq!(keys.require::<usize>(&["hidden_size"]), 0);
    assert_eq!(keys.size(&["num_layers", "n_layer"]), 1);
    assert_eq!(keys.get::<String>(&["dtype", "torch_dtype"]).unwrap(), "float32");
    assert_eq!(keys.require::<f64>(&["eps"]).to_bits(), 0);
    keys.only("dropout", &serde_json::json!(0.0));
    keys.only("scale", &serde_json::json!(1.0));
    let mut rope = keys.object(&["rope"]).unwrap();
    assert_eq!(rope.get::<f64>(&["factor"]), Some(2.0));
    assert_eq!(rope.get::<String>(&["type"]), None);
    keys.close(rope);
    assert_eq!(
        problems(keys),
        "model `config.json`: 7 problems\n  \
         `hidden_size` is \"8\", not a whole number below 2^31\n  \
         `num_layers` is 0\n  \
         `dtype` is \"float32\", and `torch_dtype` is \"bfloat16\"\n  \
         `eps` is missing\n  \
         `scale` is 2.0, and only 1.0 is supported\n  \
         `rope.odd` is 1, and is not supported\n  \
         `hidden_siz` is 9, and is not supported; did you mean `hidden_size`?"
    );
}

#[test]
fn keys_that_are_off_or_harmless_are_accepted() {
    let keys =
        keys(serde_json::json!({"a": null, "use_b": false, "use_cache": true, "top_p": 0.5}));
    assert_eq!(problems(keys), "");
}

#[test]
fn sizes_that_cannot_be_meant_are_refused_by_name() {
    use crate::models::Config;
    for (key, value, expected) in [
        ("num_hidden_layers", "4611686018427387904", "not a whole number below 2^31"),
        ("num_hidden_layers", "2000000000", "and at most 10000 are supported"),
        ("head_dim", "4611686018427387904", "not a whole number below 2^31"),
        ("rms_norm_eps", "-1e-5", "`rms_norm_eps` is -0.00001, not a number from 0 to 1"),
        ("rms_norm_eps", "1e300", "not a number from 0 to 1"),
        ("rope_theta", "0", "`rope_theta` is 0, not a number above 0"),
        ("rope_theta", "-10000", "`rope_theta` is -10000, not a number above 0"),
        (
            "rope_scaling",
            r#"{"rope_type": "yarn", "factor": 0}"#,
            "`rope_scaling.factor` is 0, not a number above 0",
        ),
        ("hidden_act", r#""\u001b[31mred""#, r"the activation is `\u{1b}[31mred`"),
        ("rope_scaling", r#"{"rope_type": "\u001b[2J"}"#, r"is `\u{1b}[2J`"),
    ] {
        let mut config = serde_json::json!({
            "model_type": "llama", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8,
            "num_attention_heads": 2, "num_hidden_layers": 1, "max_position_embeddings": 8,
        });
        config[key] = serde_json::from_str(value).unwrap();
        let Value::Object(values) = config else { panic!("an object") };
        let error = Config::of_json(values, Path::new("config.json")).unwrap_err().to_string();
        assert!(error.contains(expected), "{key} {value}: {error}");
    }
}
