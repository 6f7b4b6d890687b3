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
         `hidden_size` is \"8\", not a whole number\n  \
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
