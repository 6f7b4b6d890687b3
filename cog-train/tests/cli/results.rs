//! The publication of results: beside other files, after kills, by several processes.

use std::fs;
use std::process::Stdio;

use crate::sandbox::{Outcome, Sandbox};

fn probe() -> Sandbox {
    Sandbox::new("probe")
}

#[test]
fn a_name_that_the_file_system_refuses_is_refused_before_the_training() {
    let here = probe();
    let long = "n".repeat(300);
    for output in [long.clone(), format!("{long}/")] {
        let said = here.run(&["-o", &output]).expect(1);
        assert!(said.err.starts_with("error: cannot create `"), "{}", said.err);
        assert!(!said.err.contains("setup says"), "{}", said.err);
    }
    assert!(here.names().is_empty(), "{:?}", here.names());
}

#[test]
fn a_files_name_for_an_output_folder_is_refused_with_the_way_to_write_it() {
    let here = probe();
    let said = here.run(&["-o", "model.safetensors"]).expect(2);
    assert_eq!(
        said.err,
        "error: `-o model.safetensors` names a file, and the output is a folder\n\
         hint: write `-o model.safetensors/` for a folder of this name\n"
    );
    here.run(&["-o", "model.safetensors/"]).expect(0);
    assert!(here.path("model.safetensors/output.json").is_file());
}

#[test]
fn results_are_added_to_a_folder_of_others_and_replace_nothing_in_it() {
    let here = probe();
    here.file("out/notes.txt", "mine");
    here.run(&["-o", "out"]).expect(0);
    assert_eq!(here.read("out/notes.txt"), "mine");
    here.run(&["-o", "out"]).expect(0);

    for name in ["output.json", "weights.safetensors", "model.safetensors"] {
        let dir = format!("dir-{name}");
        here.file(&format!("{dir}/{name}"), "mine");
        let said = here.run(&["-o", &dir, "--run-dir", &format!("run-{name}")]);
        assert_eq!(said.code, Some(2), "{name}: {}", said.err);
        assert!(said.err.contains(&format!("`-o {dir}` holds ")), "{}", said.err);
        assert!(said.err.contains("replace with `--force`"), "{}", said.err);
        assert_eq!(here.read(&format!("{dir}/{name}")), "mine");
        assert_eq!(fs::read_dir(here.path(&dir)).unwrap().count(), 1);
        if name != "output.json" {
            assert!(!said.err.contains("setup says"), "refused before the training: {}", said.err);
        }
        here.run(&["-o", &dir, "--force"]).expect(0);
        assert!(here.read(&format!("{dir}/output.json")).contains("weights.safetensors"));
    }
}

#[test]
fn a_file_that_no_run_wrote_is_not_replaced_and_the_result_is_published_later() {
    let here = Sandbox::new("tiny_fit");
    let run =
        |dir: &str| here.run(&["-i", "steps=1", "-i", "pause=0", "-o", "out/", "--run-dir", dir]);
    run("r1").expect(0);
    let [name] = &fs::read_dir(here.path("out")).unwrap().collect::<Vec<_>>()[..] else { panic!() };
    let file = format!("out/{}", name.as_ref().unwrap().file_name().display());
    let trained = fs::read(here.path(&file)).unwrap();
    let longer = ["-i", "steps=2", "-i", "pause=0", "-o", "out/", "--run-dir", "r2"];
    here.run(&longer).expect(0);
    assert_ne!(
        fs::read(here.path(&file)).unwrap(),
        trained,
        "a run replaces what another one wrote"
    );

    fs::remove_dir_all(here.path("r1")).unwrap();
    fs::remove_dir_all(here.path("r2")).unwrap();
    fs::write(here.path(&file), "mine").unwrap();
    let said = run("r3").expect(2);
    assert!(said.err.contains("`-o out` holds other weights: `"), "{}", said.err);
    assert!(said.err.contains("replace with `--force`"), "{}", said.err);
    assert_eq!(here.read(&file), "mine");
    here.run(&["--resume", "--run-dir", "r3", "-o", "out/", "--force"]).expect(0);
    assert_eq!(fs::read(here.path(&file)).unwrap(), trained);
}

#[test]
fn first_runs_with_one_output_all_succeed() {
    let here = probe();
    let children: Vec<_> = (0..4)
        .map(|run| {
            let mut command = here.command(&["--run-dir", &format!("r{run}")]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        Outcome::from(child.wait_with_output().unwrap()).expect(0);
    }
    assert_eq!(here.names(), ["r0", "r1", "r2", "r3", "weights"]);
    assert_eq!(fs::read_dir(here.path("weights")).unwrap().count(), 2);
}

#[test]
fn partial_copies_of_dead_processes_are_removed_and_a_replaced_folder_is_put_back() {
    let here = probe();
    here.run::<&str>(&[]).expect(0);
    fs::rename(here.path("weights"), here.path(".weights.999999.replaced")).unwrap();
    here.file(".weights.AbCdEf0123.partial/content/weights.safetensors", "half");
    // Refused for its inputs only after the folder was looked at.
    here.run(&["-i", "mode=fail"]).expect(1);
    assert_eq!(here.names(), ["runs", "weights"]);
    assert!(here.path("weights/weights.safetensors").is_file());
}

#[test]
fn weights_that_lack_their_extension_are_named() {
    let here = Sandbox::new("tiny_fit");
    here.run(&["-i", "steps=1", "-i", "pause=0"]).expect(0);
    let mut command = here.command(&["-i", "steps=1", "-i", "pause=0", "--run-dir", "r"]);
    let said: Outcome = command.env("COG_WEIGHTS", "weights").output().unwrap().into();
    let expected = "error: COG_WEIGHTS: weights `weights`: no such file or folder\n\
                    hint: `weights.safetensors` is there: set `COG_WEIGHTS=weights.safetensors`\n";
    assert!(said.expect(1).err.contains(expected));
}

/// A rename would replace a device by a file, and who opens a pipe waits for its other end.
#[test]
fn a_device_or_a_pipe_is_no_place_for_an_output() {
    let here = probe();
    let pipe = std::process::Command::new("mkfifo").arg(here.path("pipe")).status().unwrap();
    assert!(pipe.success());
    here.file("rows.jsonl", "{\"prompt\": \"hi\"}\n");
    for output in ["pipe", "/dev/null", "/dev/stdout"] {
        for call in [
            &["-o", output][..],
            &["predict", "-i", "prompt=hi", "-o", output],
            &["predict", "--each", "rows.jsonl", "-o", output],
        ] {
            let said = here.run(call).expect(2);
            assert_eq!(
                said.err,
                format!(
                    "error: `-o {output}` is neither a file nor a folder\n\
                     hint: name another path with `-o`; `-o -` is standard output\n"
                )
            );
        }
    }
    assert_eq!(here.names(), ["pipe", "rows.jsonl"]);
}
