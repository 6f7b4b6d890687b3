//! `runs` and `inspect` on what a trainer of the tool leaves.

use std::path::Path;

use serde_json::{Value, json};

use crate::tool;

/// The files of a classifier whose training takes a second, as arguments.
fn classify(run: &str, more: &[&str]) -> Vec<String> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/classify");
    let input = |name: &str, file: &str| format!("{name}={}", examples.join(file).display());
    let args = ["classify", "--run-dir", run, "-i", "epochs=1"].map(str::to_owned);
    let mut args = args.to_vec();
    for text in [input("base_model", "base"), input("train_data", "data/reviews.jsonl")] {
        args.extend(["-i".to_owned(), text]);
    }
    args.extend(more.iter().map(|text| (*text).to_owned()));
    args
}

#[test]
fn a_trainers_runs_are_listed_compared_and_inspected() {
    let here = tool();
    here.run(&classify("runs/a", &[])).expect(0);
    here.run(&classify("runs/b", &["-i", "learning_rate=0.001"])).expect(0);

    let said = here.run(&["runs"]).expect(0).out;
    let lines: Vec<Vec<&str>> = said.lines().map(|it| it.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..3], ["b", "classify", "succeeded"], "{said}");
    assert_eq!((lines[2][0], lines[2][5]), ("a", "75"), "{said}");

    let said = here.run(&["runs", "--json"]).expect(0).json();
    assert_eq!(said["runs"][0]["id"], "b");
    assert!(said["runs"][1]["best_eval_loss"].as_f64().unwrap() < 1.0);

    let said = here.run(&["runs", "--diff", "a", "runs/b", "--json"]).expect(0).json();
    let differences = said["differences"].as_array().unwrap();
    assert_eq!(
        differences[0],
        json!({"of": "input", "name": "learning_rate", "a": 0.003, "b": 0.001})
    );
    assert!(differences[1..].iter().all(|it| it["of"] == "metric"), "{differences:?}");

    let said = here.run(&["inspect", "runs/a/checkpoints/step-000075"]).expect(0).out;
    assert!(said.contains(": a checkpoint at step 75, the best so far\n"), "{said}");
    assert!(said.contains("\nevery file has the size and the digest that the manifest records\n"));
    // A checkpoint is read once, for the digests of its manifest: those of XXH3 have 128 bits.
    let said = here.run(&["inspect", "runs/a/checkpoints/step-000075", "--json"]).expect(0).json();
    let manifest = here.read("runs/a/checkpoints/step-000075/manifest.json");
    let digest = said["files"][0]["xxh3"].as_str().unwrap();
    assert!(digest.len() == 32 && manifest.contains(digest), "{said}");
    let said = here.run(&["inspect", "weights/model", "--json"]).expect(0).json();
    assert_eq!(said["kind"], "a model in Hugging Face's format");
    assert_eq!(said["metadata"]["id2label.1"], "neutral");
    let bytes: u64 =
        said["tensors"].as_array().unwrap().iter().filter_map(|it| it["bytes"].as_u64()).sum();
    assert_eq!(said["bytes"], bytes);
    assert!(bytes < said["files"][0]["bytes"].as_u64().unwrap());
    let said = here.run(&["inspect", "runs/a"]).expect(2).err;
    assert!(
        said.ends_with("hint: inspect `runs/a/checkpoints/step-000075` or `runs/a/model`\n"),
        "{said}"
    );
}

#[test]
fn a_file_is_described_by_its_digest() {
    let here = tool();
    let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 12]].concat();
    here.file("w.safetensors", &bytes);
    let said = here.run(&["inspect", "w.safetensors"]).expect(0).out;
    // sha256sum w.safetensors
    let digest = "39a16779cf9c34e03e07f43c971e6359e23f07098d98a5436a13bcdf1fa7695c";
    let expected = format!(
        "w.safetensors: a safetensors file

metadata
format    pt

tensor  dtype  shape   size
b       BF16   [2, 3]  12 B

1 tensor, 6 parameters, 12 B

file            size  sha256
w.safetensors  {} B  {digest}
",
        bytes.len()
    );
    assert_eq!(said, expected);
}

#[test]
fn what_is_not_there_is_named_with_a_remedy() {
    let here = tool();
    let said = here.run(&["runs"]).expect(2).err;
    assert_eq!(
        said,
        "error: there is no folder `runs`\nhint: name the folder of runs: `cog-train runs DIR`\n"
    );
    here.file("runs/a/run.json", "{\"status\":");
    let said = here.run(&["runs"]).expect(0).out;
    assert!(said.contains("\na    -        damaged"), "{said}");
    let said = here.run(&["runs", "--diff", "a", "b"]).expect(2).err;
    assert!(said.contains("there is no run `b`, in `runs` or as a path"), "{said}");
    assert!(said.ends_with("hint: the newest runs there are `a`\n"), "{said}");
    let said = here.run(&["inspect", "none.safetensors"]).expect(1).err;
    assert_eq!(said.matches("no such file or directory").count(), 1, "{said}");
    assert!(!said.contains("os error"), "{said}");
    let said: Value = here.run(&["runs", "--json"]).expect(0).json();
    assert_eq!(said["runs"][0]["status"], "damaged");
}
