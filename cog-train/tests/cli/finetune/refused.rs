//! Inputs, weights and bases that are refused, each with one error.

use std::fs;
use std::path::Path;

use cog_train::Weights;
use cog_train::candle_core::{Device, Tensor};
use serde_json::{Value, json};

use super::{CHAT, TENSORS, answer, args, base, copy, train, train_on, with_chat_model};
use crate::sandbox::Outcome;

/// Each is refused before a step, with one error; the run's folder is all that is left.
#[test]
fn what_cannot_be_trained_is_refused_in_one_sentence() {
    let here = with_chat_model();
    copy(&base(), &here.path("plain"));
    fs::remove_file(here.path("plain/chat_template.jinja")).unwrap();
    here.file("text.jsonl", "{\"text\": \"Anna is happy.\"}\n".repeat(3));
    let preference = json!({"prompt": "p", "chosen": "c", "rejected": "r"});
    here.file("preferences.jsonl", format!("{preference}\n").repeat(3));
    here.file("unknown.jsonl", "{\"promt\": \"a\", \"completion\": \"b\"}\n");
    let tool = json!({"messages": [{"role": "tool", "content": "1"}]});
    here.file("tool.jsonl", format!("{tool}\n").repeat(3));
    here.file("nothing/notes.txt", "");
    let config = |name: &str, change: &dyn Fn(&mut Value)| {
        copy(&base(), &here.path(name));
        let file = format!("{name}/config.json");
        let mut config: Value = serde_json::from_str(&here.read(&file)).unwrap();
        change(&mut config);
        here.file(&file, config.to_string());
    };
    config("family", &|config| config["model_type"] = json!("lama"));
    config("key", &|config| config["hidden_act"] = json!("tanhh"));
    // A model with fewer tokens than its tokenizer has.
    config("small", &|config| config["vocab_size"] = json!(1000));
    rewrite(&here.path("small"), |name, tensor| {
        if name == "model.embed_tokens.weight" {
            tensor.narrow(0, 0, 1000).unwrap()
        } else {
            tensor
        }
    });
    for (inputs, code, expected) in [
        (&["base_model=../no/model"][..], 1, "is not the name of a model"),
        (&["base_model=nothing"], 1, "model `nothing`: has no `config.json`\nhint: "),
        (
            &["base_model=family"],
            1,
            "`model_type` is `lama`, which is not supported\nhint: did you mean `llama`?",
        ),
        (&["base_model=key"], 1, "tanhh"),
        (&["base_model=small"], 1, "and the model's embedding has 1000 rows\nhint: "),
        (
            &["train_data=preferences.jsonl"],
            1,
            "its rows have `prompt`, `chosen`, `rejected`, and this trains on",
        ),
        (
            &["train_data=unknown.jsonl"],
            1,
            "the nearest is `prompt`, `completion`, where `prompt` is missing",
        ),
        (&["train_data=tool.jsonl"], 1, "it raised: no role tool"),
        (
            &["base_model=plain"],
            1,
            "conversations need a chat template, and the model has none\nhint: ",
        ),
        (&["max_length=3"], 1, "18 with the whole answer beyond the limit of 3 tokens"),
        (&["max_length=129"], 1, "`max_length` is 129, and the model sees at most 128 tokens"),
        (&["lora_rank=2", "lora_targets=q_prj"], 1, "q_prj"),
        (&["merge=true"], 1, "`merge` is true, and no adapter is trained\nhint: "),
        (&["precision=fp4"], 2, "fp4"),
    ] {
        let run = "refused";
        let _ = fs::remove_dir_all(here.path(run));
        let said = here.run(&args(&[&CHAT, inputs].concat(), run));
        assert_eq!(said.code, Some(code), "{inputs:?}: {}", said.err);
        assert!(said.err.contains(expected), "{inputs:?}: {}", said.err);
        assert_eq!(said.err.matches("error: ").count(), 1, "{inputs:?}: {}", said.err);
        assert!(!said.err.contains("before the first step"), "{inputs:?}: {}", said.err);
        assert!(!here.path("refused-out").exists(), "{inputs:?}");
    }
}

/// Writes the tensors of a model again, each changed.
fn rewrite(folder: &Path, change: impl Fn(&str, Tensor) -> Tensor) {
    let file = folder.join(TENSORS);
    let tensors = Weights::open(file.to_str().unwrap()).unwrap().tensors(&Device::Cpu).unwrap();
    let tensors = tensors.into_iter().map(|(name, tensor)| {
        let tensor = change(&name, tensor);
        (name, tensor)
    });
    Weights::save(tensors, file).unwrap();
}

#[test]
fn weights_and_bases_that_do_not_fit_are_refused() {
    let here = with_chat_model();
    train(&here, &["lora_rank=2"], "lora");
    // A base of the same family, half as deep.
    copy(&here.path("chat"), &here.path("other"));
    let config = here.read("chat/config.json");
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["num_hidden_layers"] = json!(2);
    here.file("other/config.json", config.to_string());
    let tensors = Weights::open(here.path("chat").to_str().unwrap()).unwrap();
    let tensors = tensors.tensors(&Device::Cpu).unwrap().into_iter();
    let kept = tensors.filter(|(name, _)| !name.contains(".2.") && !name.contains(".3."));
    Weights::save(kept, here.path("other").join(TENSORS)).unwrap();

    let said = answer(&here, "lora-out", &["-e", "BASE_MODEL=other"]).expect(1);
    assert!(said.err.contains("has the base `other`"), "{}", said.err);
    assert!(said.err.contains("the adapter does not fit the model: 28 problems\n"), "{}", said.err);
    let said = train_on(&here, "lora-out", &["base_model=other"], "misfit").expect(1);
    assert!(said.err.contains("the adapter does not fit the model: 28 problems\n"), "{}", said.err);
    let said = train_on(&here, "chat", &["base_model=chat"], "both").expect(1);
    assert!(
        said.err.contains("`base_model` is `chat`, and `COG_WEIGHTS` names a whole model"),
        "{}",
        said.err
    );
    let long = format!("prompt={}", "no ".repeat(200));
    let said = here.command(&["predict", "-i", &long]).env("COG_WEIGHTS", "chat").output();
    let said = Outcome::from(said.unwrap()).expect(1);
    assert!(
        said.err.contains(" tokens, and the model sees at most 128\nhint: shorten it by "),
        "{}",
        said.err
    );
}
