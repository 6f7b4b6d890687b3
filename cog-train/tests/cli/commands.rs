//! Help, arguments, `check` and `schema`.

use serde_json::Value;

use crate::probe;

#[test]
fn help_shows_the_inputs_with_types_defaults_and_rules() {
    let here = probe();
    let help = here.run(&["--help"]).expect(0).out;
    for part in [
        "Does what its inputs select",
        "epochs=<INTEGER>",
        "[default: 3] [1 to 10]",
        "The way to end [default: succeed]",
        "[possible values: adamw, sgd]",
        "token=<SECRET>",
        "more=<FILE>...",
        "--run-dir",
        "--resume",
        "--dry-run",
        "--force",
        "predict",
        "schema",
        "check",
    ] {
        assert!(help.contains(part), "{part}:\n{help}");
    }
    let help = here.run(&["predict", "--help"]).expect(0).out;
    assert!(help.contains("The text to say [required] [at least 1 character]"), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}

#[test]
fn arguments_that_cannot_be_understood_are_refused_with_2() {
    let here = probe();
    here.file("plain", "");
    for call in [
        &["--epochs", "3"][..],
        &["-i", "epochs"],
        &["-i", "epochs=3", "--json", "{}"],
        &["--device", "gpu"],
        &["--seed", "x"],
        &["--format", "xml"],
        &["-e", "NAME"],
        &["--config", "gone.yaml"],
        &["trian"],
    ] {
        let said = here.run(call);
        assert_eq!(said.code, Some(2), "{call:?}: {}", said.err);
        assert_eq!(said.err.matches("error:").count(), 1, "{call:?}: {}", said.err);
        assert_eq!(said.out, "");
    }
    let said = here.run(&["-o", "plain/weights"]).expect(1);
    assert!(said.err.starts_with("error: cannot "), "refused before the training: {}", said.err);
    assert_eq!(here.names(), ["plain"]);
}

#[test]
fn check_holds_cog_yaml_against_the_binary() {
    let here = probe();
    here.file("good.yaml", "train: \"probe.rs:Probe\"\npredict: \"probe.rs:Speaker\"\n");
    assert_eq!(here.run(&["check", "--config", "good.yaml"]).expect(0).out, "good.yaml is valid\n");
    here.file("bad.yaml", "biuld:\n  gpu: true\ntrain: \"probe.rs:Other\"\n");
    let said = here.run(&["check", "--config", "bad.yaml"]).expect(2);
    for part in [
        "bad.yaml:1:1: unknown key `biuld`",
        "did you mean `build`?",
        "bad.yaml:3:8: `train` names `Other`",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    let said = here.run(&["--config", "bad.yaml"]).expect(2);
    assert!(
        said.err.contains("warning: bad.yaml:1:1: unknown key") && said.err.contains("`Other`"),
        "{}",
        said.err
    );
}

#[test]
fn check_and_run_refuse_the_same_files() {
    let here = probe();
    here.file("nul.yaml", "environment: [\"A=a\\0b\"]\n");
    for (file, message) in [
        ("nul.yaml", "nul.yaml:1:15: `A=a\\0b` holds a NUL character"),
        ("/dev/zero", "`--config`: cannot read `/dev/zero`: larger than the limit of 262144 bytes"),
    ] {
        for call in [&["check", "--config", file][..], &["--config", file]] {
            let said = here.run(call).expect(2);
            assert!(said.err.contains(message), "{call:?}: {}", said.err);
        }
    }
}

#[test]
fn the_schema_is_json_and_names_both_sides() {
    let document: Value = probe().run(&["schema"]).expect(0).json();
    for component in [
        "TrainingInput",
        "TrainingOutput",
        "Input",
        "Output",
        "TrainingRequest",
        "mode",
        "optimizer",
    ] {
        assert!(document["components"]["schemas"][component].is_object(), "{component}");
    }
}
