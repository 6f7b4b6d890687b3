//! Weights that the environment names by `hf://`.

use std::process::Command;

use cog_train::Weights;
use cog_train::candle_core::{Device, Tensor};

use crate::fake::{Entry, Plan};
use crate::tiny;

#[test]
#[expect(clippy::print_stdout, reason = "the child reports to its parent")]
fn weights_are_opened_from_a_hub_by_the_variables_of_python() {
    const CHILD: &str = "COG_TRAIN_TEST_HUB";
    if std::env::var_os(CHILD).is_some() {
        match Weights::from_env() {
            Ok(Some(weights)) => {
                let names: Vec<&str> = weights.names().collect();
                println!("opened {names:?} in {}", weights.path().display());
                assert!(weights.path().join("tokenizer.json").is_file());
            }
            other => println!("refused {other:?}"),
        }
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.safetensors");
    let scale = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
    Weights::save([("scale", scale)], &file).unwrap();
    let mut files = tiny();
    files[1].1 = Entry::large(std::fs::read(&file).unwrap());
    let fake = Plan { token: Some("hf_secret"), ..Plan::new(files) }.start();
    let home = dir.path().join("home");
    let test = std::thread::current().name().unwrap().to_owned();
    let child = |variables: &[(&str, &str)]| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", &test, "--nocapture"]).env(CHILD, "1");
        for name in [
            "HF_HUB_CACHE",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN",
            "HF_HUB_OFFLINE",
            "HOME",
            "HUGGINGFACE_HUB_CACHE",
            "TRANSFORMERS_OFFLINE",
        ] {
            child.env_remove(name);
        }
        child.env("HF_HOME", &home).env("HF_ENDPOINT", fake.origin.url(""));
        child.env("HF_TOKEN", "hf_secret").envs(variables.iter().copied());
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let answers = ["opened ", "refused "];
        said.lines().find(|line| answers.iter().any(|it| line.starts_with(it))).unwrap().to_owned()
    };
    let named = ("COG_WEIGHTS", "hf://org/tiny@v1.0");
    let said = child(&[named]);
    assert!(said.contains("opened [\"scale\"] in "), "{said}");
    assert!(said.contains("home/hub/models--org--tiny/snapshots/"), "{said}");
    let before = fake.origin.seen().len();
    assert_eq!(child(&[named, ("HF_HUB_OFFLINE", "1")]), said);
    assert_eq!(fake.origin.seen().len(), before);
    // A folder has no digest.
    let named = format!("hf://org/tiny@main#sha256={}", "0".repeat(64));
    let said = child(&[("COG_WEIGHTS", &named)]);
    assert!(said.contains("0` is not a branch, a tag or a commit"), "{said}");
}
