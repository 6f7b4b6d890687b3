//! `cog.yaml`: every mistake is reported at its position, every valid document is read in full, and no input panics.

use std::collections::BTreeMap;
use std::fmt::Write;

use cog_train::config::{Config, ConfigError, Names, Note, NoteKind};
use proptest::prelude::*;

const MISTAKES: &str = include_str!("config/mistakes.txt");
const NAMES: Names<'_> = Names { trainer: Some("T"), predictor: Some("P") };

fn check(text: &str) -> Result<(Config, Vec<Note>), ConfigError> {
    Config::check(text, "cog.yaml", &NAMES, |_| true)
}

/// The lines of all notes, without the file's name.
fn said<'a>(notes: impl IntoIterator<Item = &'a Note>) -> Vec<String> {
    let text: Vec<_> = notes.into_iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    text.lines().map(|line| line.strip_prefix("cog.yaml:").unwrap_or(line).to_owned()).collect()
}

/// The name, the document and the expected lines.
fn cases() -> Vec<(&'static str, String, Vec<&'static str>)> {
    let cases = MISTAKES.split("\n=== ").skip(1).map(|case| {
        let (name, case) = case.split_once('\n').unwrap();
        let (document, said) = case.split_once("\n=>\n").unwrap();
        let said = said.lines().filter(|line| !line.is_empty()).collect();
        (name, format!("{document}\n"), said)
    });
    cases.collect()
}

/// The error of a document in which something is wrong.
fn mistakes(text: impl AsRef<[u8]>) -> Vec<String> {
    match Config::check(text, "cog.yaml", &NAMES, |_| true) {
        Ok(_) => Vec::new(),
        Err(error) => said(&error),
    }
}

#[test]
fn each_mistake_is_reported_at_its_position() {
    let cases = cases();
    assert!(cases.len() > 100, "{} cases", cases.len());
    for (name, document, expected) in cases {
        assert_eq!(mistakes(&document), expected, "{name}:\n{document}");
    }
}

#[test]
fn lines_before_a_document_only_move_its_mistakes() {
    for (name, document, _) in cases() {
        let before = check(&document).unwrap_err();
        let after = check(&format!("# one\n\n# three\n{document}")).unwrap_err();
        let position = |note: &Note, down| (note.position.line() + down, note.position.column());
        let moved: Vec<_> = before.iter().map(|note| position(note, 3)).collect();
        let found: Vec<_> = after.iter().map(|note| position(note, 0)).collect();
        assert_eq!(moved, found, "{name}");
    }
}

#[test]
fn line_endings_and_a_byte_order_mark_change_nothing() {
    for (name, document, expected) in cases() {
        assert_eq!(mistakes(document.replace('\n', "\r\n")), expected, "{name}");
        assert_eq!(mistakes(document.replace('\n', "\r")), expected, "{name}");
        assert_eq!(mistakes(format!("\u{feff}{document}")), expected, "{name}");
        assert_eq!(mistakes(document.trim_end()).len(), expected.len(), "{name}");
    }
}

#[test]
fn at_run_time_an_unknown_key_is_a_warning_and_at_check_a_mistake() {
    let text = "trian: src/main.rs:T\nbuild:\n  gpus: true\n  python_version: 3.10\npredict: src/main.rs:P\n";
    let (_, notes) = Config::parse(text, "cog.yaml").unwrap();
    assert_eq!(
        said(&notes),
        [
            "1:1: unknown key `trian`",
            "hint: did you mean `train`?",
            "3:3: unknown key `gpus`",
            "hint: did you mean `gpu`?",
            "5:1: `predict` is deprecated",
            "hint: write `run` instead",
        ]
    );
    assert_eq!(notes[0].kind, NoteKind::UnknownKey);
    assert_eq!(notes[2].kind, NoteKind::Deprecated);
    assert_eq!(
        check(text).unwrap_err().to_string(),
        "2 mistakes in `cog.yaml`
  cog.yaml:1:1: unknown key `trian`
  hint: did you mean `train`?
  cog.yaml:3:3: unknown key `gpus`
  hint: did you mean `gpu`?"
    );
}

/// Every key of Cog's schema, those too that have no effect here.
const EVERY_KEY: &str = r#"build:
  gpu: true
  cuda: 12.10
  cudnn: 9
  python_version: 3.10
  python_requirements: requirements.txt
  pre_install: [first]
  sdk_version: "0.18.0"
  system_packages:
    - git
    - "ffmpeg"
  run:
    - make
    - command: pip install
      mounts:
        - type: secret
          id: pip
          target: /etc/pip.conf
train: "src/main.rs:T"
run: examples/predict.rs:P
model: r8.im/owner/model
concurrency:
  max: 0x10
  default_target: 1
environment:
  - A=b=c
  - "EMPTY="
  - PATHS=not reserved
weights:
  - name: base-1.0
    target: /src/weights/base
    source: {uri: hf://owner/base}
  - name: extra
    target: /src/weights/extra
    source:
      - uri: ./a
        include: ["*.safetensors"]
        exclude: [b/**]
      - uri: https://host/file
"#;

#[test]
fn every_key_is_read() {
    let (config, notes) = check(EVERY_KEY).unwrap();
    let build = config.build();
    assert!(config.gpu());
    assert_eq!(config.cuda(), Some("12.10"));
    assert_eq!(build.cudnn.as_deref(), Some("9"));
    assert_eq!(build.python_version.as_deref(), Some("3.10"));
    assert_eq!(build.python_requirements.as_deref(), Some("requirements.txt"));
    assert_eq!(build.sdk_version.as_deref(), Some("0.18.0"));
    assert_eq!(build.pre_install, ["first"]);
    assert_eq!(build.system_packages, ["git", "ffmpeg"]);
    assert_eq!(build.run[0].command, "make");
    assert_eq!(build.run[1].command, "pip install");
    assert_eq!(build.run[1].mounts[0].id, "pip");
    assert_eq!(build.run[1].mounts[0].target, "/etc/pip.conf");
    assert_eq!(config.train().unwrap().name(), "T");
    assert_eq!(config.predict().unwrap().file(), "examples/predict.rs");
    assert_eq!(config.predict().unwrap().position().to_string(), "cog.yaml:20:6");
    assert_eq!((config.image(), config.model()), (None, Some("r8.im/owner/model")));
    assert_eq!(config.concurrency_max(), Some(16));
    let environment: Vec<_> = config.environment().collect();
    assert_eq!(environment, [("A", "b=c"), ("EMPTY", ""), ("PATHS", "not reserved")]);
    let weights = config.weights();
    assert_eq!(
        (weights[0].name.as_str(), weights[0].target.as_str()),
        ("base-1.0", "/src/weights/base")
    );
    assert_eq!(weights[0].sources[0].uri, "hf://owner/base");
    assert_eq!(weights[1].sources[0].include, ["*.safetensors"]);
    assert_eq!(weights[1].sources[0].exclude, ["b/**"]);
    assert_eq!(weights[1].sources[1].uri, "https://host/file");

    let no_effect: Vec<_> = notes
        .iter()
        .filter(|note| note.kind == NoteKind::NoEffect)
        .map(|note| note.position.line())
        .collect();
    assert_eq!(no_effect, [4, 5, 6, 8, 24, 29]);
    let deprecated: Vec<_> = notes
        .iter()
        .filter(|note| note.kind == NoteKind::Deprecated)
        .map(|note| note.position.line())
        .collect();
    assert_eq!(deprecated, [7, 23]);
    assert_eq!(
        notes[1].to_string(),
        "cog.yaml:5:3: `python_version` has no effect here: the program is not in Python"
    );
}

#[test]
fn empty_values_are_valid() {
    for text in [
        "",
        "\n\n",
        "# only a comment",
        "---\n",
        "--- # here\n...\n",
        "~",
        "null",
        "{}",
        "\u{feff}",
        "\u{feff}# comment\n",
        "%YAML 1.2\n---\n",
        "build:\ntrain:\nrun: ~\nenvironment: null\nweights:\nconcurrency:\nimage: ''\nmodel: ''\n",
        "build: {}\nenvironment: []\nweights: []\nimage: \"\"\nmodel: a/b\n",
        "build: {python_packages: [], python_requirements: r.txt, cuda: ''}",
    ] {
        let (config, notes) =
            Config::parse(text, "cog.yaml").unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert!(notes.iter().all(|note| note.kind == NoteKind::Deprecated), "{text:?}");
        assert!(
            !config.gpu() && config.train().is_none() && config.predict().is_none(),
            "{text:?}"
        );
        assert_eq!(config.environment().count(), 0, "{text:?}");
    }
}

#[test]
fn yaml_is_read_by_its_own_rules() {
    let read = |text: &str| check(text).unwrap_or_else(|error| panic!("{text}\n{error}")).0;
    // Anchors, and merges that the mapping's own keys override in any order.
    let config = read(
        "image: &x y\nenvironment: [&a A=1]\nbuild: &b {gpu: true, cuda: '12.1', system_packages: [*x]}\n",
    );
    assert_eq!(config.build().system_packages, ["y"]);
    let (config, _) = Config::parse(
        "base: &b {gpu: true, cuda: 12.1}\nmore: &m {cuda: 12.2, cudnn: 9}\nbuild:\n  <<: [*b, *m]\n  gpu: false\n",
        "cog.yaml",
    )
    .unwrap();
    assert!(!config.gpu());
    assert_eq!((config.cuda(), config.build().cudnn.as_deref()), (Some("12.1"), Some("9")));
    // Tags of YAML's own.
    assert!(read("build: !!map {gpu: !!bool true}").gpu());
    assert_eq!(mistakes("build: {gpu: !!str true}").len(), 2);
    assert_eq!(mistakes("build: {gpu: ! true}").len(), 2);
    // JSON is YAML.
    assert_eq!(read(r#"{"train": "src/main.rs:T"}"#).train().unwrap().position().column(), 11);
    // Text is as it was written; blocks and folds are texts, too.
    assert_eq!(read("image: 0x1F").image(), Some("0x1F"));
    assert_eq!(read("image: yes").image(), Some("yes"));
    assert_eq!(read("image: >-\n  a\n  b\n").image(), Some("a b"));
    assert_eq!(
        read("environment: ['A=# b', \"C=\\u00e4\"]").environment().last(),
        Some(("C", "ä"))
    );
}

#[test]
fn text_that_is_not_yaml_is_refused_at_its_position() {
    assert_eq!(
        mistakes(b"# gr\xc3\xbcn\nimage: \xff"),
        ["2:8: the file is not UTF-8", "hint: save it as UTF-8"]
    );
    assert_eq!(mistakes(b"a\r\xff")[0], "2:1: the file is not UTF-8");
    assert_eq!(mistakes(b"\xef\xbb\xbf\xff")[0], "1:1: the file is not UTF-8");
    for utf16 in [b"\xff\xfea\0", b"\xfe\xff\0a"] {
        assert_eq!(mistakes(utf16), ["1:1: the file is UTF-16", "hint: save it as UTF-8"]);
    }
    for (text, expected) in [
        ("image: a\0b", "1:9: the character U+0000 may not stand in YAML"),
        ("image: a\nb: \u{1b}[31m", "2:4: the character U+001B may not stand in YAML"),
        ("image: ä\u{7f}", "1:9: the character U+007F may not stand in YAML"),
        ("image: a\r\n\u{ffff}", "2:1: the character U+FFFF may not stand in YAML"),
    ] {
        assert_eq!(mistakes(text)[0], expected);
    }
    let long = format!("image: {}", "a".repeat(300_000));
    assert_eq!(
        mistakes(long),
        ["1:1: the file has more than 262144 bytes, the most that are read"]
    );
}

#[test]
fn texts_of_the_file_are_escaped_in_messages() {
    let error = mistakes("image: x\ntrain: \"\\e]0;\\a\\n\\u202e\"\n");
    assert_eq!(
        error[0],
        r"2:8: `\u{1b}]0;\u{7}\n\u{202e}` is not a Rust file and a name, `FILE.rs:NAME`"
    );
    // In a hint, too.
    let error = mistakes("model: \"a/b\\tx:c\"\n");
    assert_eq!(error[1], r"hint: write `model: a/b\tx`");
    let error = mistakes(format!("train: {}", "ä".repeat(1000)));
    assert!(error[0].chars().count() < 140, "{}", error[0]);
}

#[test]
fn every_variable_of_a_valid_file_can_be_set() {
    // The panics of the standard library's `set_var`: an empty name, `=` or NUL in a name, NUL in a value.
    for text in [
        r#"["A=a\0b"]"#,
        r#"["A\0=b"]"#,
        r#"["A=\x00"]"#,
        r#"["=b"]"#,
        r#"[&a "A=\0", *a]"#,
        "[\"A=\\u0000\"]",
    ] {
        assert!(Config::parse(format!("environment: {text}"), "cog.yaml").is_err(), "{text}");
    }
    let (config, _) = Config::parse(r#"environment: ["A=\n\e=\u1234"]"#, "cog.yaml").unwrap();
    assert_eq!(config.environment().collect::<Vec<_>>(), [("A", "\n\u{1b}=\u{1234}")]);
}

#[test]
fn the_expansion_of_aliases_is_bounded() {
    // Each line names the one before ten times: 10^25 values.
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..25 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        writeln!(text, "a{n}: &a{n} [{list}]").unwrap();
    }
    assert!(
        mistakes(&text)
            .iter()
            .any(|line| line.ends_with("expand to more than 10000 values of 64 bytes"))
    );
    // The same by merges.
    let mut text = String::from("a: &a\n");
    (0..900).for_each(|n| writeln!(text, "  k{n}: 1").unwrap());
    (0..5000).for_each(|n| writeln!(text, "m{n}: {{<<: *a}}").unwrap());
    assert!(
        mistakes(&text)
            .iter()
            .any(|line| line.ends_with("expand to more than 10000 values of 64 bytes"))
    );
    // One long text, named 5000 times: 500 MB.
    let text =
        format!("image: &a {}\nenvironment: [{}*a]\n", "x".repeat(100_000), "*a, ".repeat(4999));
    assert!(
        mistakes(&text)
            .iter()
            .any(|line| line.ends_with("expand to more than 10000 values of 64 bytes"))
    );
    // A certificate in two variables is no attack.
    let text = format!("environment: [&a A={}]\nweights: [*a]\n", "x".repeat(4_000));
    assert!(!mistakes(&text).iter().any(|line| line.contains("expand")));
}

#[test]
fn a_cog_yaml_for_python_says_what_to_write() {
    // As three projects with a Python trainer have it.
    let text = "build:\n  python_version: \"3.11\"\ntrain: \"train.py:train\"\n";
    assert_eq!(
        Config::parse(text, "cog.yaml").unwrap_err().to_string(),
        "1 mistake in `cog.yaml`
  cog.yaml:3:8: `train.py:train` is in Python, and this program is in Rust
  hint: write `train: \"src/main.rs:NAME\"`"
    );
    let names = Names { trainer: Some("TextFinetune"), predictor: None };
    let error = Config::check(text, "cog.yaml", &names, |_| true).unwrap_err();
    assert!(error.to_string().ends_with("hint: write `train: \"src/main.rs:TextFinetune\"`"));
}

#[test]
fn references_must_name_the_program_and_existing_files() {
    let text = "train: src/main.rs:Text\npredict: src/predict.rs:Old\n";
    let (config, _) = Config::parse(text, "cog.yaml").unwrap();
    let right = Names { trainer: Some("Text"), predictor: Some("Old") };
    assert_eq!(config.verify(&right), Ok(()));
    assert_eq!(config.verify(&Names { trainer: Some("r#Text"), ..right }), Ok(()));
    assert_eq!(Config::default().verify(&Names::default()), Ok(()));
    assert_eq!(
        said(&config.verify(&Names { trainer: None, predictor: Some("New") }).unwrap_err()),
        [
            "1:8: `train` names `Text`, and this program has no trainer",
            "hint: remove `train`, or give `run!` a trainer",
            "2:10: `predict` names `Old`, and this program predicts with `New`",
            "hint: write `predict: \"src/predict.rs:New\"`",
        ]
    );
    let error = Config::check(text, "cog.yaml", &right, |file| file == "src/main.rs").unwrap_err();
    assert_eq!(
        said(&error),
        [
            "2:10: `predict` names the file `src/predict.rs`, which is not there",
            "hint: write its path from the folder of this file",
        ]
    );
}

#[test]
fn cuda_must_not_be_newer_than_the_driver() {
    let (config, _) = Config::parse("build:\n  cuda: \"12.8.1\"\n", "cog.yaml").unwrap();
    for driver in [(12, 8), (12, 9), (13, 0)] {
        assert_eq!(config.cuda_runs_on(driver), Ok(()), "{driver:?}");
    }
    for driver in [(12, 7), (11, 8)] {
        assert!(config.cuda_runs_on(driver).is_err(), "{driver:?}");
    }
    assert_eq!(
        said(&config.cuda_runs_on((12, 4)).unwrap_err()),
        [
            "2:9: `cuda` asks for CUDA 12.8, and the driver runs CUDA up to 12.4",
            "hint: install a newer NVIDIA driver, or lower `cuda`",
        ]
    );
    assert_eq!(Config::default().cuda_runs_on((1, 0)), Ok(()));
}

#[test]
fn a_file_is_read_and_named_in_its_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.yaml");
    let error = Config::read(&path).unwrap_err();
    assert!(error.to_string().starts_with("cannot read `"), "{error}");
    assert_eq!(error.exit_code(), 1);
    std::fs::write(&path, "image: a\nbuild: 1\n").unwrap();
    let error = Config::read(&path).unwrap_err();
    assert!(error.to_string().contains("my.yaml:2:8: `build` must be a mapping"), "{error}");
    assert_eq!(error.exit_code(), 2);
    std::fs::write(&path, "image: a\n").unwrap();
    assert_eq!(Config::read(&path).unwrap().0.image(), Some("a"));
}

/// The laws that hold for any bytes.
fn laws(bytes: &[u8]) -> Result<(), TestCaseError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let widths: Vec<_> =
        text.replace("\r\n", "\n").split(['\n', '\r']).map(|line| line.chars().count()).collect();
    let strict = Config::check(bytes, "cog.yaml", &NAMES, |_| false);
    let lax = Config::parse(bytes, "cog.yaml");
    // A mistake at run time is a mistake under `check`.
    prop_assert!(lax.is_ok() || strict.is_err());
    let notes = |result: &Result<(Config, Vec<Note>), ConfigError>| match result {
        Ok((_, notes)) => notes.clone(),
        Err(error) => error.iter().cloned().collect(),
    };
    for notes in [notes(&strict), notes(&lax)] {
        let positions: Vec<_> =
            notes.iter().map(|note| (note.position.line(), note.position.column())).collect();
        prop_assert!(positions.is_sorted(), "{positions:?}");
        for (line, column) in positions {
            prop_assert!((1..=widths.len()).contains(&line), "{line}:{column} in {widths:?}");
            prop_assert!(
                (1..=widths[line - 1] + 1).contains(&column),
                "{line}:{column} in {widths:?}"
            );
        }
    }
    if let Err(error) = strict {
        let shown = error.to_string();
        prop_assert!(!shown.replace('\n', "").chars().any(char::is_control), "{shown:?}");
        let lines =
            1 + error.iter().map(|note| 1 + usize::from(note.hint.is_some())).sum::<usize>();
        prop_assert_eq!(shown.split('\n').count(), lines);
    }
    Ok(())
}

/// A document of the tests with some pieces put in, doubled or taken out.
fn mutated() -> impl Strategy<Value = String> {
    let documents: Vec<_> =
        cases().into_iter().map(|(_, text, _)| text).chain([EVERY_KEY.to_owned()]).collect();
    let piece = prop::sample::select(vec![
        "\n",
        "\r",
        "\r\n",
        "\t",
        " ",
        "  ",
        ":",
        ": ",
        "- ",
        "-",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "|\n",
        ">",
        "#",
        " #",
        "&a ",
        "*a",
        "<<: ",
        "? ",
        "!x ",
        "!!str ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "~",
        "\\",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "\u{1f600}",
        "ä",
        "@",
        "`",
        "=",
        "train: ",
        "build:\n  ",
        "environment:\n- A=1\n",
    ]);
    let edit = (any::<prop::sample::Index>(), 0..4_u8, any::<prop::sample::Index>(), piece);
    (prop::sample::select(documents), prop::collection::vec(edit, 1..8)).prop_map(
        |(text, edits)| {
            let mut chars: Vec<char> = text.chars().collect();
            for (at, kind, other, piece) in edits {
                let at = at.index(chars.len() + 1);
                let to = other.index(chars.len() + 1);
                let (from, to) = (at.min(to), at.max(to).min(at.min(to) + 20));
                let piece: Vec<char> = match kind {
                    0 | 1 => piece.chars().collect(),
                    2 => chars[from..to].to_vec(),
                    _ => {
                        chars.drain(from..to);
                        continue;
                    }
                };
                chars.splice(at..at, piece);
            }
            chars.into_iter().collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_document_is_an_error_inside_it(text in mutated()) {
        laws(text.as_bytes())?;
    }

    #[test]
    fn any_bytes_are_a_config_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        laws(&bytes)?;
    }

    #[test]
    fn every_written_config_is_read_back(
        gpu: bool,
        cuda in (11..30_u32, 0..30_u32),
        environment in prop::collection::btree_map("[a-z_][a-z0-9_]{0,8}", "[^\\p{C}]{0,12}", 0..5),
        image in "[^\\p{C}]{1,20}",
        max in 1..=u32::MAX,
    ) {
        let items: Vec<_> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let json = |value: &str| serde_json::to_string(value).unwrap();
        let items: Vec<_> = items.iter().map(|item| json(item)).collect();
        let text = format!(
            "train: src/a.rs:T\nbuild: {{gpu: {gpu}, cuda: {}.{}}}\nimage: {}\nconcurrency: {{max: {max}}}\nenvironment: [{}]\n",
            cuda.0, cuda.1, json(&image), items.join(", "),
        );
        let (config, _) = check(&text).unwrap();
        prop_assert_eq!(config.gpu(), gpu);
        let version = format!("{}.{}", cuda.0, cuda.1);
        prop_assert_eq!(config.cuda(), Some(version.as_str()));
        prop_assert_eq!(config.image(), Some(image.as_str()));
        prop_assert_eq!(config.concurrency_max(), Some(max));
        let read: BTreeMap<_, _> = config.environment().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        prop_assert_eq!(read, environment);
        prop_assert_eq!(config.train().unwrap().file(), "src/a.rs");
    }
}
