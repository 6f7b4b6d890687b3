//! The saved folder: the base's files, its configuration, and tensors that read back equal.

use std::fs;
use std::path::Path;

use cog_train::candle_core::{DType, Device};
use cog_train::models::Pretrained;
use serde_json::{Value, json};

use crate::support::{Golden, LOGITS, bits, folder, load};

fn files(folder: &Path) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap();
                found.push(name.display().to_string().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_files_of_the_base_are_carried_over_but_not_its_weights() {
    let (base, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for file in ["config.json", "model.safetensors"] {
        fs::copy(folder("llama").join(file), base.path().join(file)).unwrap();
    }
    let carried = [
        "1_Pooling/config.json",
        "LICENSE",
        "chat_template.jinja",
        "generation_config.json",
        "merges.txt",
        "modules.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let others = [
        ".gitattributes",
        ".cache/x.json",
        "README.md",
        "onnx/model.onnx",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ];
    for file in carried.iter().chain(&others) {
        let file = base.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, file.display().to_string()).unwrap();
    }
    let model = Pretrained::open(base.path()).unwrap();
    model.save(out.path(), model.tensors(&Device::Cpu).unwrap()).unwrap();
    let mut expected = [&carried[..], &["config.json", "model.safetensors"]].concat();
    expected.sort_unstable();
    assert_eq!(files(out.path()), expected);
    for file in carried {
        assert_eq!(
            fs::read(out.path().join(file)).unwrap(),
            fs::read(base.path().join(file)).unwrap()
        );
    }
}

/// `config.json` keeps its keys and their order; only the type of the tensors changes, in its own spelling.
#[test]
fn the_configuration_is_kept_but_for_the_type_of_the_tensors() {
    let base = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(folder("llama3").join(file), base.path().join(file)).unwrap();
    }
    let read = |folder: &Path| -> Value {
        serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
    };
    for spelling in ["dtype", "torch_dtype"] {
        let mut config = read(&folder("llama3"));
        let keys = config.as_object_mut().unwrap();
        let dtype = keys.remove("dtype").unwrap();
        keys.insert(spelling.to_owned(), dtype);
        keys.insert("odd".to_owned(), Value::Null);
        fs::write(base.path().join("config.json"), config.to_string()).unwrap();

        let model = Pretrained::open(base.path()).unwrap();
        let tensors = model.tensors(&Device::Cpu).unwrap().into_iter();
        let half = tensors.map(|(name, tensor)| (name, tensor.to_dtype(DType::BF16).unwrap()));
        let out = tempfile::tempdir().unwrap();
        model.save(out.path(), half.collect::<Vec<_>>()).unwrap();
        config[spelling] = json!("bfloat16");
        let saved = read(out.path());
        assert_eq!(saved.to_string(), config.to_string());
        let again = Pretrained::open(out.path()).unwrap();
        assert_eq!(again.config().dtype(), Some(DType::BF16));
        let tensors = again.tensors(&Device::Cpu).unwrap();
        assert!(tensors.values().all(|tensor| tensor.dtype() == DType::BF16));
    }
}

#[test]
fn a_saved_model_has_equal_logits() {
    for name in ["llama", "phi3", "gemma3"] {
        let (golden, out) = (Golden::read(name), tempfile::tempdir().unwrap());
        let base = Pretrained::open(folder(name)).unwrap();
        base.save(out.path(), base.tensors(&Device::Cpu).unwrap()).unwrap();
        let (first, again) = (load(&folder(name)).unwrap(), load(out.path()).unwrap());
        let [first, again] = [first, again].map(|model| model.logits(&golden.tokens()).unwrap());
        assert_eq!(bits(&first), bits(&again), "{name}");
        assert!(golden.distance(&again) < LOGITS, "{name}");
    }
}
