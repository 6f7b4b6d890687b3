//! `merge` and `convert`.

use crate::tool;

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/text_finetune/base");

#[test]
fn an_adapter_is_merged_into_its_base_and_answers_as_before() {
    let here = tool();
    let base = format!("base_model={BASE}");
    let inputs =
        ["-i", &base, "-i", "lora_rank=4", "-i", "max_steps=5", "-i", "learning_rate=0.01"];
    here.run(&[&["sft", "-o", "adapter"], &inputs[..]].concat()).expect(0);
    // `output.json` of the result names the folder of the adapter.
    let said = here.run(&["merge", "adapter", "-o", "merged"]).expect(0).out;
    assert!(said.starts_with("merged: merged/\nmerged and unmerged scores differ by "), "{said}");
    let answer = |weights: &str| {
        let args = ["sft", "predict", "-i", "prompt=Where is the boat?"];
        let mut command = here.command(&args);
        let output = command.env("COG_WEIGHTS", here.path(weights)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(answer("merged"), answer("adapter/weights"));

    let said = here.run(&["inspect", "adapter/weights"]).expect(0).out;
    assert!(said.starts_with("adapter/weights: an adapter in PEFT's format\n"), "{said}");
    assert!(said.contains("\nr ") && said.contains("q_proj.lora_A"), "{said}");
    let said = here.run(&["merge", "adapter/weights", "-o", "merged"]).expect(2).err;
    assert!(said.contains("`merged` exists\nhint: "), "{said}");
    let said = here.run(&["merge", "merged", "-o", "x"]).expect(2).err;
    assert!(said.contains("`merged` is no adapter: it has no `adapter_config.json`"), "{said}");
    assert!(!here.path("x").exists());
}

#[test]
fn a_model_survives_the_way_to_gguf_and_back() {
    let here = tool();
    let said = here.run(&["convert", BASE, "-o", "m.gguf"]).expect(0).out;
    assert_eq!(said, "converted: m.gguf\n");
    here.run(&["convert", "m.gguf", "-o", "back"]).expect(0);
    let tensors = |path: &str| here.run(&["inspect", path, "--json"]).expect(0).json();
    let (before, after) = (tensors(BASE), tensors("back"));
    assert_eq!(before["parameters"], after["parameters"]);
    let names = |it: &serde_json::Value| {
        let tensors = it["tensors"].as_array().unwrap();
        tensors.iter().map(|it| it["name"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&before), names(&after));
    let said = here.run(&["inspect", "m.gguf"]).expect(0).out;
    assert!(said.starts_with("m.gguf: a GGUF file\n"), "{said}");
    assert!(
        said.contains("general.architecture") && said.contains("blk.0.attn_q.weight"),
        "{said}"
    );

    here.run(&["convert", BASE, "-o", "half", "--dtype", "f16"]).expect(0);
    assert!(tensors("half")["tensors"].as_array().unwrap().iter().all(|it| it["dtype"] == "F16"));
    let said = here.run(&["convert", BASE, "-o", "copy"]).expect(2).err;
    assert!(said.contains("hint: name a file `NAME.gguf`, or another `--dtype`"), "{said}");
    let said = here.run(&["convert", "m.gguf", "-o", "n.gguf"]).expect(2).err;
    assert!(said.contains("is a GGUF file already"), "{said}");
    assert!(!here.path("copy").exists() && !here.path("n.gguf").exists());
}
