//! Bases in blocks of few bits: GGUF files, and NF4 made of a folder.

use std::fs;

use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::gguf::{self, Entry, Gguf, TensorType};
use cog_train::models::Pretrained;
use cog_train::nn::{BlockLayout, Quantized};
use serde_json::{Value, json};

use super::{
    CHAT, TENSORS, answer, args, names, output, same_loss, train, train_on, with_chat_model,
};
use crate::sandbox::{Outcome, Sandbox};

/// The program in a folder with the chat model as `chat.gguf`, with matrices in blocks of 8 bits, and its tokenizer and template in
/// the file alone.
fn with_gguf() -> Sandbox {
    let here = with_chat_model();
    let (wide, file) = (here.path("wide.gguf"), here.path("chat.gguf"));
    let base = Pretrained::open(here.path("chat")).unwrap();
    let tensors = base.tensors(&Device::Cpu).unwrap().into_iter();
    let tensors = tensors.map(|(name, tensor)| (name, tensor.to_dtype(DType::F32).unwrap()));
    base.save_gguf(&wide, tensors).unwrap();
    let base = Gguf::open(&wide).unwrap();
    let entries = base.names().map(|name| {
        let shape = base.tensor(name).unwrap().shape();
        let kind = if shape.len() == 2 { TensorType::Q8_0 } else { TensorType::F32 };
        Entry::new(name, kind, shape)
    });
    gguf::save(&file, base.metadata(), &entries.collect::<Vec<_>>(), |entry| {
        let bytes = base.read(&entry.name)?;
        if entry.kind == TensorType::F32 {
            return Ok(bytes);
        }
        let tensor =
            Tensor::from_raw_buffer(&bytes, DType::F32, entry.shape.as_slice(), &Device::Cpu)?;
        Ok(Quantized::quantize(&tensor, BlockLayout::Q8_0)?.to_bytes()?)
    })
    .unwrap();
    fs::remove_dir_all(here.path("chat")).unwrap();
    fs::remove_file(wide).unwrap();
    here
}

/// The answer of a base without an adapter.
fn answer_of(here: &Sandbox, base: &str, more: &[&str]) -> Outcome {
    answer(here, "", &[more, &["-e", &format!("BASE_MODEL={base}")]].concat())
}

#[test]
fn an_adapter_of_a_gguf_base_answers_is_trained_on_and_is_written_for_llama_cpp() {
    let here = with_gguf();
    let lora = ["base_model=chat.gguf", "lora_rank=4", "learning_rate=0.01"];
    let said = train(&here, &lora, "lora");
    // The template of the metadata.
    assert!(said.err.contains("?<|endoftext|>assistant\\n⟦Aye, "), "{}", said.err);
    let files = ["adapter.gguf", "adapter_config.json", "adapter_model.safetensors"];
    let files = [&files[..], &["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]];
    assert_eq!(names(&here, "lora-out/weights"), files.concat());
    let config = here.read("lora-out/weights/adapter_config.json");
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["base_model_name_or_path"], "chat.gguf");
    let adapter = Gguf::open(here.path("lora-out/weights/adapter.gguf")).unwrap();
    assert_eq!(adapter.tensors().len(), 4 * 7 * 2);

    let (trained, base) =
        (answer(&here, "lora-out", &[]).expect(0).out, answer_of(&here, "chat.gguf", &[]));
    assert_ne!(trained, base.expect(0).out);
    train_on(&here, "lora-out", &[], "more").expect(0);
    same_loss(
        &output(&here, "lora")["eval_loss_after"],
        &output(&here, "more")["eval_loss_before"],
    );

    // Merged, for transformers in floats and for llama.cpp in the blocks of the base.
    let said = train(&here, &[&lora[..], &["merge=true"]].concat(), "merged");
    assert!(said.err.contains("merged and unmerged scores differ by "), "{}", said.err);
    let files = ["chat_template.jinja", "config.json", "model.gguf", TENSORS];
    let files = [&files[..], &["tokenizer.json", "tokenizer_config.json"]].concat();
    assert_eq!(names(&here, "merged-out/weights"), files);
    assert_eq!(trained, answer(&here, "merged-out", &[]).expect(0).out);
    answer_of(&here, "merged-out/weights/model.gguf", &[]).expect(0);
    let (one, other) = (here.path("chat.gguf"), here.path("merged-out/weights/model.gguf"));
    let (base, merged) = (Gguf::open(one).unwrap(), Gguf::open(other).unwrap());
    assert_eq!(base.metadata(), merged.metadata());
    let kind = |file: &Gguf| file.tensor("blk.0.attn_q.weight").unwrap().kind();
    assert_eq!((kind(&base), kind(&merged)), (TensorType::Q8_0, TensorType::Q8_0));
}

#[test]
fn an_adapter_over_nf4_answers_and_is_trained_on() {
    let here = with_chat_model();
    let lora = ["lora_rank=4", "learning_rate=0.01", "quantize=nf4"];
    train(&here, &lora, "lora");
    assert!(!names(&here, "lora-out/weights").contains(&"adapter.gguf".to_owned()));
    let floats = answer(&here, "lora-out", &[]).expect(0).out;
    answer(&here, "lora-out", &["-e", "QUANTIZE=nf4"]).expect(0);
    assert_ne!(floats, answer(&here, "chat", &[]).expect(0).out);
    train_on(&here, "lora-out", &["quantize=nf4"], "more").expect(0);
    same_loss(
        &output(&here, "lora")["eval_loss_after"],
        &output(&here, "more")["eval_loss_before"],
    );
    // The base in floats is another one.
    train_on(&here, "lora-out", &[], "floats").expect(0);
    assert_ne!(
        output(&here, "lora")["eval_loss_after"],
        output(&here, "floats")["eval_loss_before"]
    );
}

#[test]
fn a_whole_model_is_written_for_llama_cpp_on_request() {
    let here = with_chat_model();
    train(&here, &["learning_rate=0.003", "gguf=true"], "full");
    let trained = answer(&here, "full-out", &[]).expect(0).out;
    assert_ne!(trained, answer(&here, "chat", &[]).expect(0).out);
    assert_eq!(trained, answer_of(&here, "full-out/weights/model.gguf", &[]).expect(0).out);
    // A GGUF file of floats is trained in full.
    let inputs = ["base_model=full-out/weights/model.gguf", "max_steps=1"];
    train(&here, &inputs, "again");
    same_loss(
        &output(&here, "full")["eval_loss_after"],
        &output(&here, "again")["eval_loss_before"],
    );
    assert!(names(&here, "again-out/weights").contains(&"model.gguf".to_owned()));
}

#[test]
fn bases_in_blocks_are_refused_where_they_cannot_be_trained() {
    let here = with_gguf();
    let tokenizer = |change: &dyn Fn(&mut Value), folder: &str| {
        super::copy(&super::base(), &here.path(folder));
        let file = format!("{folder}/tokenizer.json");
        let mut json: Value = serde_json::from_str(&here.read(&file)).unwrap();
        change(&mut json);
        here.file(&file, json.to_string());
    };
    tokenizer(&|json| json["normalizer"] = json!({"type": "Lowercase"}), "lower");
    for (inputs, expected) in [
        (
            &["base_model=chat.gguf"][..],
            "the base is quantized (`model.embed_tokens.weight`), and what is quantized is not trained in full\nhint: give `lora_rank`",
        ),
        (
            &["base_model=lower", "quantize=nf4"],
            "the base is quantized (`model.layers.0.mlp.down_proj.weight`)",
        ),
        (
            &["base_model=chat.gguf", "quantize=nf4", "lora_rank=2"],
            "NF4 is wanted, and the weights of `chat.gguf` are quantized already\nhint: leave out `quantize`",
        ),
        (
            &["base_model=chat.gguf", "lora_rank=2", "lora_targets=embed_tokens"],
            "there can be no file for llama.cpp, which `gguf=false` leaves out: ",
        ),
        (
            &["base_model=lower", "gguf=true"],
            "the normalizer is `Lowercase`, which a GGUF file cannot express\nhint: save a folder",
        ),
        (&["base_model=absent.gguf"], "absent.gguf"),
    ] {
        let run = "refused";
        let _ = fs::remove_dir_all(here.path(run));
        let said = here.run(&args(&[&CHAT, inputs].concat(), run)).expect(1);
        assert!(said.err.contains(expected), "{inputs:?}: {}", said.err);
        assert_eq!(said.err.matches("error: ").count(), 1, "{inputs:?}: {}", said.err);
        assert!(!said.err.contains("before the first step"), "{inputs:?}: {}", said.err);
    }
    let said = answer_of(&here, "chat.gguf", &["-e", "QUANTIZE=q4"]).expect(1);
    assert!(said.err.contains("`QUANTIZE` is `q4`, not none or nf4"), "{}", said.err);
}

/// The user's options precede those of the model's `generation_config.json`, which precede greedy decoding.
#[test]
fn options_of_generation_are_the_users_then_those_of_the_model() {
    let here = with_chat_model();
    let ask = |more: &[&str]| {
        let ask = ["predict", "-i", "prompt=How many birds are on mast 7?", "-i", "max_tokens=12"];
        let ask = [&ask[..], more, &["-e", "BASE_MODEL=chat"]].concat();
        here.run(&ask).expect(0).out
    };
    let greedy = ask(&[]);
    assert_eq!(greedy, ask(&["-i", "temperature=0"]));
    let config =
        json!({"do_sample": true, "temperature": 5.0, "top_k": 0, "repetition_penalty": 3.0});
    here.file("chat/generation_config.json", config.to_string());
    let drawn = ask(&[]);
    assert_ne!(drawn, greedy);
    assert_eq!(drawn, ask(&["-i", "do_sample=true", "-i", "temperature=5.0", "-i", "top_k=0"]));
    assert_ne!(drawn, ask(&["-i", "seed=7"]));
    let plain = "repetition_penalty=1";
    for off in ["do_sample=false", "temperature=0", "top_k=1"] {
        assert_eq!(greedy, ask(&["-i", off, "-i", plain]), "{off}");
    }
    assert_ne!(greedy, ask(&["-i", "do_sample=false"]), "the penalty of the file counts");
}
