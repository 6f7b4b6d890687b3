//! `text_finetune` on bases of its user: every form of a result.

mod gguf;
mod refused;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use cog_train::Weights;
use serde_json::{Value, json};

use crate::sandbox::{Outcome, Sandbox};

/// Of a chat model; roles that it does not know raise.
const TEMPLATE: &str = "{% for m in messages %}{% if m.role not in ['system', 'user', 'assistant'] %}\
    {{ raise_exception('no role ' + m.role) }}{% endif %}{{ m.role }}\n{{ m.content }}{{ eos_token }}\
    {% endfor %}{% if add_generation_prompt %}assistant\n{% endif %}";
const TENSORS: &str = "model.safetensors";

/// The program in a folder with a chat model, `chat/`, and conversations for it.
fn with_chat_model() -> Sandbox {
    let here = Sandbox::new("text_finetune");
    copy(&base(), &here.path("chat"));
    here.file("chat/chat_template.jinja", TEMPLATE);
    let turns = |at: usize| {
        let question = format!("How many birds are on mast {at}?");
        let messages = [("user", question), ("assistant", format!("Aye, {at} o' them!"))];
        let messages = messages.map(|(role, content)| json!({"role": role, "content": content}));
        format!("{}\n", json!({"messages": messages}))
    };
    here.file("chat.jsonl", (0..20).map(turns).collect::<String>());
    here
}

/// The example's own base.
fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/text_finetune/base")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Arguments of a training: inputs, of which the last of a name counts, and a run folder that is also the name of the output.
fn args(inputs: &[&str], run: &str) -> Vec<String> {
    let name = |input: &str| input.split('=').next().unwrap().to_owned();
    let inputs: BTreeMap<String, &str> = inputs.iter().map(|input| (name(input), *input)).collect();
    let inputs = inputs.values().flat_map(|input| ["-i", input]);
    inputs.chain(["--run-dir", run, "-o", &format!("{run}-out")]).map(str::to_owned).collect()
}

const CHAT: [&str; 3] = ["base_model=chat", "train_data=chat.jsonl", "max_steps=3"];

fn train(here: &Sandbox, inputs: &[&str], run: &str) -> Outcome {
    here.run(&args(&[&CHAT, inputs].concat(), run)).expect(0)
}

/// The training's `output.json`.
fn output(here: &Sandbox, run: &str) -> Value {
    serde_json::from_str(&here.read(&format!("{run}-out/output.json"))).unwrap()
}

fn names(here: &Sandbox, folder: &str) -> Vec<String> {
    let names = fs::read_dir(here.path(folder)).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn answer(here: &Sandbox, weights: &str, more: &[&str]) -> Outcome {
    let prompt = ["predict", "-i", "prompt=How many birds are on mast 7?", "-i", "temperature=0"];
    let args = [&prompt[..], &["-i", "max_tokens=12"], more].concat();
    here.command(&args).env("COG_WEIGHTS", weights).output().unwrap().into()
}

/// Trains on from an earlier result for one step.
fn train_on(here: &Sandbox, weights: &str, inputs: &[&str], run: &str) -> Outcome {
    let inputs = [&["train_data=chat.jsonl", "max_steps=1"], inputs].concat();
    let args = args(&inputs, run);
    here.command(&args).env("COG_WEIGHTS", here.path(weights)).output().unwrap().into()
}

#[track_caller]
fn same_loss(one: &Value, other: &Value) {
    let difference = (one.as_f64().unwrap() - other.as_f64().unwrap()).abs();
    assert!(difference < 1e-6, "{one} {other}");
}

#[test]
fn a_whole_model_answers_and_is_trained_on() {
    let here = with_chat_model();
    let said = train(&here, &["learning_rate=0.003"], "full");
    let err = &said.err;
    assert!(err.contains("examples: 18 to train on, 2 held out\ntrain: 18 examples"), "{err}");
    // An assistant's turn and its end are trained, and nothing of the user's.
    assert!(err.contains(" birds are on mast "), "{err}");
    assert!(err.contains("?<|endoftext|>assistant\\n⟦Aye, "), "{err}");
    assert!(err.contains(" o' them!<|endoftext|>⟧\n"), "{err}");
    let files =
        ["chat_template.jinja", "config.json", TENSORS, "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(names(&here, "full-out/weights"), files);
    let config: Value = serde_json::from_str(&here.read("full-out/weights/config.json")).unwrap();
    assert_eq!(config["torch_dtype"], "float32");

    let trained = answer(&here, "full-out", &[]).expect(0).out;
    assert_ne!(trained, answer(&here, "chat", &[]).expect(0).out);
    // The template is applied, unless the prompt is to be continued as it is.
    assert_ne!(trained, answer(&here, "full-out", &["-i", "raw=true"]).expect(0).out);

    train_on(&here, "full-out", &[], "more").expect(0);
    same_loss(
        &output(&here, "full")["eval_loss_after"],
        &output(&here, "more")["eval_loss_before"],
    );
}

#[test]
fn an_adapter_answers_is_trained_on_and_merges_into_the_same_model() {
    let here = with_chat_model();
    let lora = ["lora_rank=4", "learning_rate=0.01"];
    train(&here, &lora, "lora");
    let files = ["adapter_config.json", "adapter_model.safetensors", "chat_template.jinja"];
    let files = [&files[..], &["tokenizer.json", "tokenizer_config.json"]].concat();
    assert_eq!(names(&here, "lora-out/weights"), files);
    let config = here.read("lora-out/weights/adapter_config.json");
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["base_model_name_or_path"], "chat");
    assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(4), &json!(8)));
    assert_eq!(config["task_type"], "CAUSAL_LM");
    assert_eq!(config["target_modules"].as_array().unwrap().len(), 7);

    let said = train(&here, &[&lora[..], &["merge=true"]].concat(), "merged");
    assert!(said.err.contains("merged and unmerged scores differ by "), "{}", said.err);
    assert!(names(&here, "merged-out/weights").contains(&TENSORS.to_owned()));
    let trained = answer(&here, "lora-out", &[]).expect(0).out;
    assert_eq!(trained, answer(&here, "merged-out", &[]).expect(0).out);
    assert_ne!(trained, answer(&here, "chat", &[]).expect(0).out);

    // It is found by its file too, and its base by the variable.
    fs::rename(here.path("chat"), here.path("moved")).unwrap();
    let file = "lora-out/weights/adapter_model.safetensors";
    assert_eq!(trained, answer(&here, file, &["-e", "BASE_MODEL=moved"]).expect(0).out);
    let said = train_on(&here, "lora-out", &["base_model=moved", "merge=true"], "more").expect(0);
    assert!(said.err.contains("merged and unmerged scores differ by "), "{}", said.err);
    same_loss(
        &output(&here, "lora")["eval_loss_after"],
        &output(&here, "more")["eval_loss_before"],
    );
    let said = train_on(&here, "lora-out", &["base_model=moved", "lora_rank=4"], "twice").expect(1);
    assert!(said.err.contains("an adapter, which keeps its own settings\nhint: "), "{}", said.err);
}

#[test]
fn a_base_of_a_hub_is_found_in_its_cache_and_named_with_its_revision() {
    let here = with_chat_model();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    copy(&here.path("chat"), &here.path(&format!("hub/models--org--tiny/snapshots/{commit}")));
    here.file("hub/models--org--tiny/refs/v1", commit);
    let offline = |args: &[String], weights: &str| -> Outcome {
        let mut command = here.command(args);
        command.env("HF_HUB_CACHE", here.path("hub")).env("HF_HUB_OFFLINE", "1");
        command.env("COG_WEIGHTS", weights).output().unwrap().into()
    };
    let inputs = ["base_model=org/tiny@v1", "lora_rank=2", "train_data=chat.jsonl", "max_steps=1"];
    offline(&args(&inputs, "run"), "").expect(0);
    let config = here.read("run-out/weights/adapter_config.json");
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["base_model_name_or_path"], "org/tiny");
    assert_eq!(config["revision"], "v1");

    let ask = ["predict", "-i", "prompt=How are you?"].map(str::to_owned);
    offline(&ask, "run-out").expect(0);
    fs::remove_file(here.path("hub/models--org--tiny/refs/v1")).unwrap();
    let said = offline(&ask, "run-out").expect(1);
    assert!(said.err.contains("has the base `org/tiny@v1`: "), "{}", said.err);
    assert!(said.err.contains("`HF_HUB_OFFLINE` turns downloads off"), "{}", said.err);
}

/// An adapter takes the place of a whole model in the output folder.
#[test]
fn the_output_of_another_form_replaces_the_earlier_one() {
    let here = with_chat_model();
    train(&here, &[], "run");
    fs::remove_dir_all(here.path("run")).unwrap();
    train(&here, &["lora_rank=2"], "run");
    assert!(!names(&here, "run-out/weights").contains(&TENSORS.to_owned()));
    answer(&here, "run-out", &[]).expect(0);
}

#[test]
fn packs_train_the_same_tokens_in_fewer_steps() {
    let here = with_chat_model();
    let all = ["base_model=chat", "train_data=chat.jsonl", "epochs=1", "batch_size=2"];
    here.run(&args(&all, "rows")).expect(0);
    here.run(&args(&[&all[..], &["packing=true"]].concat(), "packs")).expect(0);
    let (rows, packs) = (output(&here, "rows"), output(&here, "packs"));
    // Of examples that have some 30 tokens each, a pack of 128 holds more than two.
    assert_eq!(rows["steps"], 9);
    assert!(packs["steps"].as_u64().unwrap() < 5, "{packs}");
    let before = |output: &Value| output["eval_loss_before"].as_f64().unwrap();
    assert!((before(&rows) - before(&packs)).abs() < 1e-4, "{rows} {packs}");
}

#[test]
fn half_precision_is_kept_in_the_result() {
    let here = with_chat_model();
    let bf16 = "precision=bf16";
    for (inputs, run) in [(&[bf16][..], "full"), (&[bf16, "lora_rank=4", "merge=true"], "merged")] {
        train(&here, inputs, run);
        let folder = here.path(&format!("{run}-out/weights"));
        let weights = Weights::open(folder.to_str().unwrap()).unwrap();
        let types: Vec<_> = weights.names().map(|name| weights.describe(name).unwrap().0).collect();
        assert!(types.iter().all(|dtype| dtype == "BF16"), "{types:?}");
        let output = output(&here, run);
        let loss = |name: &str| output[name].as_f64().unwrap();
        assert!(loss("eval_loss_after") < loss("eval_loss_before"), "{output}");
        answer(&here, &format!("{run}-out"), &[]).expect(0);
    }
}

#[test]
fn a_killed_training_resumes_to_the_result_of_a_straight_one() {
    let here = with_chat_model();
    let inputs = ["base_model=chat", "train_data=chat.jsonl", "epochs=12", "lora_rank=4"];
    let inputs = [&inputs[..], &["lora_dropout=0.1", "packing=true", "batch_size=2"]].concat();
    here.run(&args(&inputs, "straight")).expect(0);

    let mut command = here.command(&args(&inputs, "killed"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !here.path("killed/checkpoints").is_dir() || names(&here, "killed/checkpoints").is_empty()
    {
        assert!(start.elapsed() < Duration::from_mins(2), "there is no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!here.path("killed-out").exists(), "it was done before it was killed");
    here.run(&["--resume", "--run-dir", "killed", "-o", "killed-out"]).expect(0);
    let adapter =
        |run| fs::read(here.path(&format!("{run}-out/weights/adapter_model.safetensors")));
    assert!(adapter("straight").unwrap() == adapter("killed").unwrap());
    assert_eq!(output(&here, "straight"), output(&here, "killed"));
}

#[test]
fn an_answer_is_streamed_and_printed_once() {
    let here = Sandbox::new("text_finetune");
    let ask = ["predict", "-i", "prompt=How are you today?", "-i", "temperature=0"];
    let text = here.run(&ask).expect(0).out;
    assert!(text.starts_with(' ') && text.ends_with(".\n") && text.lines().count() == 1, "{text}");
    let said = here.run(&[&ask[..], &["--format", "json"]].concat()).expect(0);
    assert_eq!(said.json()["output"], text.trim_end_matches('\n'));
    let pieces = said.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let pieces: Vec<Value> = pieces.filter(|line| line["type"] == "output").collect();
    assert!(pieces.len() > 3, "{}", said.err);
    let whole: String = pieces.iter().map(|piece| piece["text"].as_str().unwrap()).collect();
    assert_eq!(whole + "\n", text);
    // Into a file it goes whole.
    let said = here.run(&[&ask[..], &["-o", "answer.txt"]].concat()).expect(0);
    assert_eq!(said.out, "predicted: answer.txt\n");
    assert_eq!(here.read("answer.txt") + "\n", text);
}
