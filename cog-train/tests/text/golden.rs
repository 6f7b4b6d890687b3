//! The goldens of `tests/python/chat_templates.py`.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use cog_train::serde_json::{self, Value};
use cog_train::text::{Chat, ChatTemplate, Ending, Tokenizer};

use crate::folders::folder;

pub(crate) fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text"))
}

pub(crate) fn json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixtures().join(name)).unwrap()).unwrap()
}

fn array(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn ids(value: &Value) -> Vec<u32> {
    array(value).iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

fn tokenizer(case: &Value) -> Tokenizer {
    let name = case["tokenizer"].as_str().unwrap_or("bytes");
    Tokenizer::open(fixtures().join(name)).unwrap()
}

#[test]
fn ids_and_texts_equal_those_of_transformers() {
    for case in array(&json("chats.golden.json")["texts"]) {
        let tokenizer = tokenizer(&case);
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text).unwrap(), ids(&case["ids"]), "{text:?}");
        assert_eq!(tokenizer.encode_plain(text).unwrap(), ids(&case["plain"]), "{text:?}");
        assert_eq!(tokenizer.decode_all(&ids(&case["ids"])).unwrap(), case["decoded"]);
        assert_eq!(tokenizer.decode(&ids(&case["ids"])).unwrap(), case["skipped"]);
        let mut stream = tokenizer.stream();
        let mut streamed = String::new();
        for id in ids(&case["ids"]) {
            streamed += &stream.push(id).unwrap();
        }
        streamed += &stream.finish().unwrap();
        assert_eq!(streamed, case["skipped"]);
    }
}

#[test]
fn ids_of_the_class_llama_tokenizer_equal_those_of_transformers() {
    let classes = array(&json("chats.golden.json")["classes"]);
    for group in classes
        .chunk_by(|one, other| one["changes"] == other["changes"] && one["model"] == other["model"])
    {
        let mut config = json("pieces/tokenizer_config.json");
        let changes = group[0]["changes"].as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(changes);
        let mut files = vec![("tokenizer_config.json", config.to_string())];
        if let Some(model) = group[0]["model"].as_str() {
            files.push(("config.json", serde_json::json!({ "model_type": model }).to_string()));
        }
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let dir = folder("pieces", &files);
        let tokenizer = Tokenizer::open(dir.path()).unwrap();
        for case in group {
            let what = format!("{} {} {}", case["changes"], case["model"], case["text"]);
            assert_eq!(
                tokenizer.encode(case["text"].as_str().unwrap()).unwrap(),
                ids(&case["ids"]),
                "{what}"
            );
            assert_eq!(tokenizer.decode(&ids(&case["ids"])).unwrap(), case["skipped"], "{what}");
        }
    }
    assert!(classes.len() > 50);
}

#[test]
fn special_tokens_equal_those_of_transformers() {
    let golden = json("chats.golden.json");
    for (name, special) in golden["special"].as_object().unwrap() {
        let tokenizer = Tokenizer::open(fixtures().join(name)).unwrap();
        assert_eq!(tokenizer.vocab_size() as u64, golden["sizes"][name].as_u64().unwrap());
        let id = |key: &str| special[key].as_str().map(|token| tokenizer.id(token).unwrap());
        let found = tokenizer.special();
        assert_eq!(found.bos, id("bos_token"));
        assert_eq!(found.eos, id("eos_token"));
        assert_eq!(found.pad, id("pad_token"));
        assert_eq!(found.unk, id("unk_token"));
    }
}

#[test]
fn chats_equal_those_of_transformers() {
    let chats = json("chats.json");
    let mut wrong = Vec::new();
    let cases = array(&json("chats.golden.json")["cases"]);
    for case in &cases {
        let name = case["template"].as_str().unwrap();
        let path = fixtures().join("templates").join(format!("{name}.jinja"));
        let tokenizer = tokenizer(case);
        let template = ChatTemplate::new(&std::fs::read_to_string(path).unwrap(), &tokenizer);
        // 2026-03-07 09:05:03, as in the script.
        let now = UNIX_EPOCH + Duration::from_secs(1_772_874_303);
        let template = template.unwrap_or_else(|error| panic!("{name}: {error}")).at(now);
        let mut chat = Chat::new(array(&chats["chats"][case["chat"].as_str().unwrap()]));
        if case.get("tools").is_some() {
            chat = chat.tools(array(&chats["tools"]));
        }
        if case.get("documents").is_some() {
            chat = chat.documents(array(&chats["documents"]));
        }
        let mut ending = Ending::Closed;
        for (option, value) in case["options"].as_object().into_iter().flatten() {
            match (option.as_str(), value) {
                ("add_generation_prompt", _) => ending = Ending::GenerationPrompt,
                ("continue_final_message", Value::Bool(_)) => ending = Ending::Continue,
                ("continue_final_message", _) => ending = Ending::ContinueReasoning,
                _ => chat = chat.variable(option, value.clone()),
            }
        }
        let what = format!("{name} {} {}", case["chat"], case["options"]);
        match (template.render(&chat, ending), case["error"].as_str()) {
            (Ok(rendered), None) if case["text"] == *rendered.text => {
                let encoded = template.encode(&chat, ending, &tokenizer).unwrap();
                assert_eq!(encoded.ids, ids(&case["ids"]), "{what}");
                if let Some(mask) = case["mask"].as_str() {
                    let mask: Vec<bool> = mask.chars().map(|bit| bit == '1').collect();
                    assert_eq!(encoded.assistant.unwrap(), mask, "{what}");
                }
                let bos = |id: &&u32| Some(**id) == tokenizer.special().bos;
                assert!(name == "llama2" || encoded.ids.iter().filter(bos).count() <= 1, "{what}");
            }
            (Ok(rendered), None) => {
                wrong.push(format!(
                    "{what}\n  expected {}\n  found    {:?}",
                    case["text"], rendered.text
                ));
            }
            (Err(error), Some(raised)) => {
                assert!(
                    error.to_string().ends_with(&format!(": it raised: {raised}")),
                    "{what}: {error}"
                );
            }
            (found, expected) => {
                wrong.push(format!("{what}: expected {expected:?}, found {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
