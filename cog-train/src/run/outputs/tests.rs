use super::*;
use crate::run::role::Kind;
use crate::run::staging::names_in;
use serde_json::json;
use tempfile::TempDir;

struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn write(&self, kind: Kind, given: &str, output: &Output) -> Result<Published, Error> {
        Destination::new(kind, Some(&format!("{}/{given}", self.dir.path().display())), false)
            .write(output, &self.run_dir(), &Map::new())
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("runs/1")
    }

    /// Every file below `name` with its content, hidden ones too.
    fn tree(&self, name: &str) -> Vec<(String, String)> {
        fn walk(dir: &Path, base: &Path, into: &mut Vec<(String, String)>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, base, into);
                } else {
                    let name = path.strip_prefix(base).unwrap().display().to_string();
                    into.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
        let mut files = Vec::new();
        let base = self.dir.path().join(name);
        walk(&base, &base, &mut files);
        files.sort();
        files
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

#[test]
fn a_value_too_deep_for_a_reader_of_json_is_refused() {
    let here = Sandbox::new();
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    for (levels, fits) in [(98, true), (99, false)] {
        let output =
            Output::Object(vec![("a".into(), Output::List(vec![Output::Value(nested(levels))]))]);
        match here.write(Kind::Train, "out/", &output) {
            Ok(_) => assert!(fits, "{levels}"),
            Err(error) => {
                assert!(!fits, "{levels}");
                assert_eq!(
                    error.to_string(),
                    "output `output`: nested 101 levels deep, more than the maximum of 100"
                );
            }
        }
    }
}

#[test]
fn one_file_takes_the_name_and_its_own_extension() {
    for (source, given, published) in [
        ("src/m.safetensors", "out/weights", "weights.safetensors"),
        ("src/m.tar.gz", "out/weights", "weights.tar.gz"),
        ("src/plain", "out/weights", "weights"),
        ("src/m.safetensors", "out/final.st", "final.st"),
        ("src/m.safetensors", "out/m.1", "m.1.safetensors"),
        ("src/m.safetensors", "out/", "m.safetensors"),
    ] {
        let here = Sandbox::new();
        let source = here.file(source, "w");
        let written = here.write(Kind::Train, given, &Output::File(source)).unwrap();
        assert_eq!(here.tree("out"), pairs(&[(published, "w")]), "{given}");
        assert!(written.value.as_str().unwrap().ends_with(published));
    }
}

#[test]
fn a_list_of_files_is_numbered() {
    let here = Sandbox::new();
    let list = Output::List(vec![
        Output::File(here.file("a.bin", "a")),
        Output::File(here.file("b.txt", "b")),
    ]);
    here.write(Kind::Train, "out/weights", &list).unwrap();
    here.write(Kind::Train, "out/x.bin", &list).unwrap();
    assert_eq!(
        here.tree("out"),
        pairs(&[
            ("weights.0.bin", "a"),
            ("weights.1.txt", "b"),
            ("x.0.bin", "a"),
            ("x.1.txt", "b")
        ])
    );
}

fn structured(here: &Sandbox, content: &str) -> Output {
    Output::Object(vec![
        ("weights".to_owned(), Output::File(here.file("src/model.safetensors", content))),
        ("final_loss".to_owned(), Output::Value(json!(0.5))),
        ("plots".to_owned(), Output::List(vec![Output::File(here.file("src/p.png", content))])),
    ])
}

#[test]
fn a_struct_with_files_is_a_folder_and_its_values_are_beside_them() {
    let here = Sandbox::new();
    let written = here.write(Kind::Train, "weights", &structured(&here, "1")).unwrap();
    let tree = here.tree("weights");
    assert_eq!(tree[1..], pairs(&[("plots.0.png", "1"), ("weights.safetensors", "1")]));
    let json: Value = serde_json::from_str(&tree[0].1).unwrap();
    assert_eq!(
        json,
        json!({"weights": "weights.safetensors", "final_loss": 0.5, "plots": ["plots.0.png"]})
    );
    assert!(written.value["plots"][0].as_str().unwrap().ends_with("weights/plots.0.png"));
}

#[test]
fn a_folder_of_ours_is_exchanged_and_stale_files_go() {
    let here = Sandbox::new();
    here.write(Kind::Train, "weights", &structured(&here, "1")).unwrap();
    let second = Output::Object(vec![(
        "weights".to_owned(),
        Output::File(here.file("src/new.safetensors", "2")),
    )]);
    here.write(Kind::Train, "weights", &second).unwrap();
    let tree = here.tree("weights");
    assert_eq!(tree.len(), 2, "{tree:?}");
    assert_eq!(tree[1], ("weights.safetensors".to_owned(), "2".to_owned()));
    assert_eq!(names_in(here.dir.path()).unwrap().len(), 2, "nothing staged stays");
}

#[test]
fn a_folder_with_anything_else_in_it_keeps_it() {
    let here = Sandbox::new();
    here.write(Kind::Train, "weights", &structured(&here, "1")).unwrap();
    here.file("weights/notes.txt", "mine");
    here.write(Kind::Train, "weights", &structured(&here, "2")).unwrap();
    assert_eq!(
        here.tree("weights")[..2],
        [("notes.txt".to_owned(), "mine".to_owned()), here.tree("weights")[1].clone()]
    );
    assert!(here.tree("weights").contains(&("weights.safetensors".to_owned(), "2".to_owned())));
}

#[test]
fn values_are_text_or_json() {
    let here = Sandbox::new();
    for (name, value, content) in [
        ("text", json!("hello"), "hello"),
        ("number", json!(3), "3"),
        ("object", json!({"a": 1}), "{\n  \"a\": 1\n}\n"),
    ] {
        here.write(Kind::Train, name, &Output::Value(value)).unwrap();
        assert_eq!(fs::read_to_string(here.dir.path().join(name)).unwrap(), content);
    }
    let nothing = Destination::new(Kind::Predict, None, false)
        .write(&Output::Value(json!("hi")), Path::new("runs/1"), &Map::new())
        .unwrap();
    assert_eq!((nothing.value, nothing.paths.len()), (json!("hi"), 0));
}

#[test]
fn a_file_that_is_not_there_is_named_and_nothing_is_touched() {
    let here = Sandbox::new();
    here.write(Kind::Train, "weights", &structured(&here, "1")).unwrap();
    let before = here.tree("");
    let missing = Output::Object(vec![
        ("weights".to_owned(), Output::File(here.dir.path().join("src/model.safetensors"))),
        ("extra".to_owned(), Output::File(here.dir.path().join("gone.bin"))),
    ]);
    let error = here.write(Kind::Train, "weights", &missing).unwrap_err().to_string();
    assert!(
        error.starts_with("output `extra`: the file `")
            && error.ends_with("gone.bin` does not exist"),
        "{error}"
    );
    assert_eq!(here.tree(""), before);
}

#[test]
fn a_map_cannot_name_a_file_out_of_the_folder() {
    let here = Sandbox::new();
    let file = here.file("src/a.txt", "a");
    let map = Output::Object(vec![("../../evil".to_owned(), Output::File(file))]);
    here.write(Kind::Train, "weights", &map).unwrap();
    assert_eq!(here.tree("weights")[0], ("_.._evil.txt".to_owned(), "a".to_owned()));
}

#[test]
fn a_file_in_the_way_of_a_folder_is_refused_and_kept() {
    let here = Sandbox::new();
    here.file("weights", "mine");
    let error =
        here.write(Kind::Train, "weights", &structured(&here, "1")).unwrap_err().to_string();
    assert!(error.contains("is a file"), "{error}");
    assert_eq!(fs::read_to_string(here.dir.path().join("weights")).unwrap(), "mine");
}

#[test]
fn a_file_that_a_value_happens_to_name_is_not_ours() {
    let here = Sandbox::new();
    let output = |here: &Sandbox| {
        let mut fields = vec![("note".to_owned(), Output::Value(json!("done")))];
        fields.push(("weights".to_owned(), Output::File(here.file("src/m.safetensors", "w"))));
        Output::Object(fields)
    };
    here.write(Kind::Train, "weights", &output(&here)).unwrap();
    here.file("weights/done", "mine");
    here.write(Kind::Train, "weights", &output(&here)).unwrap();
    assert!(here.tree("weights").contains(&("done".to_owned(), "mine".to_owned())));
}

#[test]
fn a_folder_in_the_output_is_merged_and_keeps_foreign_files() {
    let here = Sandbox::new();
    let output = |content: &str| {
        here.file("src/model/a.txt", content);
        Output::Object(vec![("model".to_owned(), Output::File(here.dir.path().join("src/model")))])
    };
    here.write(Kind::Train, "weights", &output("1")).unwrap();
    here.file("weights/model/mine.txt", "mine");
    here.write(Kind::Train, "weights", &output("2")).unwrap();
    let tree = here.tree("weights");
    assert_eq!(tree[1..3], pairs(&[("model/a.txt", "2"), ("model/mine.txt", "mine")]));
}

/// Else the weights of an earlier model would be read in place of the new ones.
#[test]
fn stale_files_in_a_folder_of_ours_go() {
    let here = Sandbox::new();
    let write = |name: &str| {
        let folder = here.dir.path().join("src/model");
        let _ = std::fs::remove_dir_all(&folder);
        here.file(&format!("src/model/deep/{name}"), name);
        let output = Output::Object(vec![("model".to_owned(), Output::File(folder))]);
        here.write(Kind::Train, "weights", &output).unwrap();
        let tree = here.tree("weights").into_iter().map(|(path, _)| path);
        tree.filter(|path| path.starts_with("model/")).collect::<Vec<_>>()
    };
    write("model.safetensors");
    assert_eq!(write("adapter.safetensors"), ["model/deep/adapter.safetensors"]);
    here.file("weights/model/deep/mine.txt", "mine");
    let names = ["mine.txt", "other.safetensors"].map(|name| format!("model/deep/{name}"));
    assert_eq!(write("other.safetensors"), names);
    here.file("weights/.output-files.json", "[\"../src/model/deep/other.safetensors\"]");
    write("last.safetensors");
    assert!(here.dir.path().join("src/model/deep/last.safetensors").is_file());
}

#[test]
fn destinations_that_cannot_be_written_are_refused_before_the_training() {
    let here = Sandbox::new();
    here.file("plain", "mine");
    here.file("folder.bin/x", "mine");
    let fields = OutputType::Fields(vec![crate::output::OutputField {
        name: "weights",
        ty: OutputType::Path,
        optional: false,
    }]);
    for (given, ty, fine) in [
        ("plain", &fields, false),
        ("plain", &OutputType::String, true),
        ("plain", &OutputType::Path, true),
        ("folder.bin", &OutputType::Path, true),
        ("folder.bin", &OutputType::Integer, true),
        ("folder.bin", &fields, true),
        ("folder.bin/.", &OutputType::Path, true),
        ("new/deep/", &OutputType::Path, true),
        ("plain/deeper", &OutputType::Path, false),
    ] {
        let given = format!("{}/{given}", here.dir.path().display());
        assert_eq!(
            Destination::new(Kind::Train, Some(&given), false).prepare(ty, &here.run_dir()).is_ok(),
            fine,
            "{given} {ty:?}"
        );
    }
}

#[test]
fn an_exchange_in_steps_is_undone_when_the_process_dies_between_them() {
    let here = Sandbox::new();
    here.write(Kind::Train, "weights", &structured(&here, "1")).unwrap();
    let target = here.dir.path().join("weights");
    let aside = here.dir.path().join(".weights.4000000.replaced");
    fs::rename(&target, &aside).unwrap();
    let living = fs::File::open(&aside).unwrap();
    living.lock().unwrap();
    super::publish::recover(&target).unwrap();
    assert!(!target.exists(), "the other process lives");
    drop(living);
    super::publish::recover(&target).unwrap();
    assert_eq!(here.tree("weights").len(), 3);
    assert!(!aside.exists());

    here.file("new/output.json", "{}");
    super::publish::exchange_in_steps(&here.dir.path().join("new"), &target).unwrap();
    assert_eq!(here.tree("weights"), pairs(&[("output.json", "{}")]));
    assert_eq!(here.tree("new").len(), 3);
    assert_eq!(names_in(here.dir.path()).unwrap().len(), 3, "nothing is left aside");
}

#[test]
fn a_file_that_appears_before_the_exchange_survives_it() {
    let here = Sandbox::new();
    here.write(Kind::Train, "old", &structured(&here, "1")).unwrap();
    here.write(Kind::Train, "weights", &structured(&here, "2")).unwrap();
    here.file("old/mine.txt", "mine");
    here.file("old/weights.txt", "mine");
    let (old, target) = (here.dir.path().join("old"), here.dir.path().join("weights"));
    super::publish::rescue_foreign(&old, &target).unwrap();
    let tree = here.tree("weights");
    assert_eq!(tree.len(), 5, "{tree:?}");
    assert!(tree.contains(&("mine.txt".to_owned(), "mine".to_owned())));
    assert!(tree.contains(&("weights.safetensors".to_owned(), "2".to_owned())));
}

/// The record of a run in the folder of `Sandbox::run_dir` that published to `given`.
fn recorded(
    here: &Sandbox,
    run: &str,
    given: &str,
    output: &Output,
    force: bool,
) -> Result<(), Error> {
    let given = format!("{}/{given}", here.dir.path().display());
    let run_dir = here.dir.path().join("runs").join(run);
    fs::create_dir_all(&run_dir).unwrap();
    let published =
        Destination::new(Kind::Train, Some(&given), force).write(output, &run_dir, &Map::new())?;
    fs::write(run_dir.join("run.json"), json!({"output": published.value}).to_string()).unwrap();
    Ok(())
}

#[test]
fn a_file_in_a_named_folder_replaces_the_outputs_of_runs_and_no_other_file() {
    let here = Sandbox::new();
    let file = |content: &str| Output::File(here.file("src/model.safetensors", content));
    here.file("out/model.safetensors", "mine");
    here.file("beside/other.safetensors", "mine");
    for (folder, name) in [("out", "model"), ("beside", "other")] {
        let error = recorded(&here, "1", &format!("{folder}/"), &file("1"), false).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(&format!("/{folder}` holds other weights: `{name}.safetensors`\n")));
        assert!(error.ends_with("name another folder with `-o`, or replace with `--force`"));
        assert_eq!(here.tree(folder).len(), 1, "{:?}", here.tree(folder));
        assert_eq!(here.tree(folder)[0].1, "mine");
    }
    recorded(&here, "1", "out/", &file("1"), true).unwrap();
    assert_eq!(here.tree("out"), pairs(&[("model.safetensors", "1")]));
    // The next run replaces what the first one wrote.
    recorded(&here, "2", "out/", &file("2"), false).unwrap();
    assert_eq!(here.tree("out"), pairs(&[("model.safetensors", "2")]));
    // A file that the user names is replaced, as by any program.
    here.file("out/named.safetensors", "mine");
    recorded(&here, "3", "out/named.safetensors", &file("3"), false).unwrap();
    assert_eq!(here.tree("out").len(), 2);
    // A run that was killed before its end was recorded publishes the same bytes once more.
    fs::remove_dir_all(here.dir.path().join("runs")).unwrap();
    recorded(&here, "1", "out/", &file("2"), false).unwrap();
    assert!(recorded(&here, "1", "out/", &file("4"), true).is_ok());
    assert!(recorded(&here, "1", "out/", &file("5"), false).is_ok());
}

#[test]
fn values_lists_and_folders_replace_the_outputs_of_runs_and_no_other_file() {
    let here = Sandbox::new();
    let folder = |content: &str| {
        Output::File(here.file("src/model/config.json", content).parent().unwrap().to_owned())
    };
    let list = |content: &str| Output::List(vec![Output::File(here.file("src/a.bin", content))]);
    let value = |content: &str| Output::Value(json!(content));
    for path in ["value/output", "list/output.0.bin", "folder/model/config.json"] {
        let output = |content: &str| match path.split('/').next() {
            Some("value") => value(content),
            Some("list") => list(content),
            _ => folder(content),
        };
        let given = format!("{}/", path.split('/').next().unwrap());
        here.file(path, "mine");
        let error = recorded(&here, "1", &given, &output("1"), false).unwrap_err().to_string();
        assert!(error.contains("holds a file that this program did not write: `"), "{error}");
        let content = || fs::read_to_string(here.dir.path().join(path)).unwrap();
        assert_eq!(content(), "mine");
        recorded(&here, "1", &given, &output("1"), true).unwrap();
        recorded(&here, "2", &given, &output("2"), false).unwrap();
        assert_eq!(content(), "2");
    }
}

#[test]
fn a_value_in_the_way_of_which_there_is_a_file_is_refused_before_the_training() {
    let here = Sandbox::new();
    here.file("out/output", "mine");
    let given = format!("{}/out/", here.dir.path().display());
    let prepare = |force, ty: &OutputType| {
        Destination::new(Kind::Train, Some(&given), force)
            .prepare(ty, &here.dir.path().join("runs"))
    };
    assert!(prepare(false, &OutputType::Integer).unwrap_err().to_string().contains("`output`"));
    assert!(prepare(true, &OutputType::Integer).is_ok());
    assert!(prepare(false, &OutputType::Path).is_ok());
}

/// Publishes to a path in the sandbox as `--json` does.
fn answered(here: &Sandbox, given: &str, output: &Output) -> Result<Published, Error> {
    let given = format!("{}/{given}", here.dir.path().display());
    let metrics = Map::from_iter([("rows".to_owned(), json!(7))]);
    Destination::new(Kind::Train, Some(&given), false).with_answer().write(
        output,
        &here.run_dir(),
        &metrics,
    )
}

#[test]
fn a_result_that_is_json_lies_beside_its_answer() {
    let here = Sandbox::new();
    let file = Output::File(here.file("src/line.json", "{}"));
    for _ in 0..2 {
        let published = answered(&here, "out/a.json", &file).unwrap();
        let path = here.dir.path().join("out/a.output.json").display().to_string();
        assert_eq!(published.value, path);
        let tree: Vec<String> = here.tree("out").into_iter().map(|(name, _)| name).collect();
        assert_eq!(tree, ["a.json", "a.output.json"]);
        let answer = fs::read_to_string(here.dir.path().join("out/a.json")).unwrap();
        assert!(answer.contains("a.output.json"), "{answer}");
        assert_eq!(fs::read_to_string(path).unwrap(), "{}");
    }
}

#[test]
fn a_result_goes_into_a_folder_that_exists_under_its_own_name() {
    let here = Sandbox::new();
    let file = Output::File(here.file("src/model.safetensors", "w"));
    here.file("out.d/notes.txt", "mine");
    here.write(Kind::Train, "out.d", &file).unwrap();
    here.write(Kind::Predict, "out.d", &Output::Value(json!(3))).unwrap();
    let list = Output::List(vec![Output::File(here.file("src/a.bin", "a"))]);
    here.write(Kind::Train, "out.d", &list).unwrap();
    assert_eq!(
        here.tree("out.d"),
        pairs(&[
            ("model.safetensors", "w"),
            ("notes.txt", "mine"),
            ("output", "3"),
            ("output.0.bin", "a")
        ])
    );
    assert_eq!(names_in(here.dir.path()).unwrap().len(), 2, "nothing stands beside it");
    // What is there and no run wrote stays.
    here.file("other/model.safetensors", "mine");
    assert!(here.write(Kind::Train, "other", &file).is_err());
    assert_eq!(here.tree("other"), pairs(&[("model.safetensors", "mine")]));
}

#[test]
fn a_folder_as_the_result_keeps_its_place_when_it_is_written_again() {
    let here = Sandbox::new();
    let folder = |content: &str| {
        Output::File(here.file("src/model/config.json", content).parent().unwrap().to_owned())
    };
    for content in ["1", "2"] {
        recorded(&here, content, "out", &folder(content), false).unwrap();
        assert_eq!(here.tree("out"), pairs(&[("config.json", content)]));
    }
}

#[test]
fn standard_output_takes_values_and_refuses_files_before_the_training() {
    let here = Sandbox::new();
    let file = Output::File(here.file("src/m.bin", "w"));
    for (given, written) in [("-", "-"), ("", "''"), ("@-", "-")] {
        for kind in [Kind::Train, Kind::Predict] {
            let stdout = Destination::new(kind, Some(given), false);
            let runs = here.dir.path().join("runs");
            assert!(stdout.prepare(&OutputType::Integer, &runs).is_ok());
            let refused = stdout.prepare(&OutputType::Path, &runs).unwrap_err().to_string();
            let expected = format!(
                "`-o {written}` is standard output, and the output holds files\nhint: name a file or a folder with `-o`"
            );
            assert_eq!(refused, expected);
            let value = Output::Value(json!({"a": 1}));
            let published = stdout.write(&value, &here.run_dir(), &Map::new()).unwrap();
            assert_eq!((published.value, published.paths.len()), (json!({"a": 1}), 0));
            // A map's type does not say that it holds files.
            let map = Output::Object(vec![("a".to_owned(), file.clone())]);
            let error = stdout.write(&map, &here.run_dir(), &Map::new()).unwrap_err().to_string();
            assert!(error.starts_with("output `output`: holds files, and `-o "), "{error}");
        }
    }
    assert_eq!(names_in(here.dir.path()).unwrap(), ["src"], "nothing is written");
}

#[test]
fn the_file_of_json_holds_the_answer() {
    let here = Sandbox::new();
    let answer = |output: Value| {
        let answer =
            json!({"status": "succeeded", "output": output, "error": "", "metrics": {"rows": 7}});
        format!("{answer:#}\n")
    };
    let published = answered(&here, "answer", &Output::Value(json!("hi"))).unwrap();
    assert_eq!(published.value, json!("hi"), "the record has the output alone");
    assert_eq!(fs::read_to_string(here.dir.path().join("answer")).unwrap(), answer(json!("hi")));

    let file = Output::File(here.file("src/model.safetensors", "w"));
    answered(&here, "one.json", &file).unwrap();
    let path = here.dir.path().join("one");
    assert_eq!(fs::read_to_string(path.with_extension("safetensors")).unwrap(), "w");
    assert_eq!(
        fs::read_to_string(path.with_extension("json")).unwrap(),
        answer(json!(path.with_extension("safetensors")))
    );

    answered(&here, "many.json", &structured(&here, "1")).unwrap();
    let many = fs::read_to_string(here.dir.path().join("many.json")).unwrap();
    let many: Value = serde_json::from_str(&many).unwrap();
    assert!(here.dir.path().join("many/weights.safetensors").is_file());
    assert_eq!(many["output"]["weights"], json!(here.dir.path().join("many/weights.safetensors")));
}

#[test]
fn an_answer_replaces_an_answer_of_a_run_and_no_folders_record() {
    let here = Sandbox::new();
    here.write(Kind::Train, "out", &structured(&here, "1")).unwrap();
    let record = fs::read_to_string(here.dir.path().join("out/output.json")).unwrap();
    let refused = answered(&here, "out", &Output::Value(json!(1))).unwrap_err().to_string();
    assert!(refused.contains("did not write: `output.json`"), "{refused}");
    assert_eq!(fs::read_to_string(here.dir.path().join("out/output.json")).unwrap(), record);

    fs::create_dir(here.dir.path().join("answers")).unwrap();
    for value in [1, 2] {
        answered(&here, "answers", &Output::Value(json!(value))).unwrap();
        fs::create_dir_all(here.run_dir()).unwrap();
        let record = json!({"output": value, "metrics": {"rows": 7}});
        fs::write(here.run_dir().join("run.json"), record.to_string()).unwrap();
    }
    assert!(here.tree("answers")[0].1.contains("\"output\": 2"));
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_result_is_refused_and_stays() {
    use std::os::unix::fs::FileTypeExt;
    let here = Sandbox::new();
    for pipe in ["value.json", "file.safetensors", "out/output", "out/model.safetensors"] {
        let path = here.dir.path().join(pipe);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    }
    let file = Output::File(here.file("src/model.safetensors", "1"));
    let value = Output::Value(json!(1));
    for (given, output) in
        [("value.json", &value), ("file", &file), ("out/", &value), ("out/", &file)]
    {
        let error = here.write(Kind::Train, given, output).unwrap_err();
        assert!(error.to_string().contains("is neither a file nor a folder\nhint: "), "{error}");
    }
    for pipe in ["value.json", "file.safetensors", "out/output", "out/model.safetensors"] {
        let data = fs::symlink_metadata(here.dir.path().join(pipe)).unwrap();
        assert!(data.file_type().is_fifo(), "{pipe}");
    }
}
