//! `new`: each template is a crate that builds, trains and passes its test.

use std::path::Path;
use std::process::Command;

use crate::inner_cargo::inner_cargo;
use crate::{TOOL, tool};

const TEMPLATES: [&str; 6] = ["function", "text", "classify", "embed", "image", "custom"];

#[test]
fn a_crate_has_all_its_files_or_is_not_there() {
    let here = tool();
    let said = here.run(&["new", "my-line"]).expect(0).out;
    assert!(said.starts_with("created: my-line/, a trainer that is one function"), "{said}");
    assert!(said.contains("\n  cd my-line\n  cargo run\n"), "{said}");
    let names: Vec<String> = here.tree().keys().map(|path| path.display().to_string()).collect();
    let expected =
        [".gitignore", "Cargo.toml", "README.md", "cog.yaml", "data/points.jsonl", "src/main.rs"];
    assert_eq!(names, expected.map(|name| format!("my-line/{name}")));

    let before = here.tree();
    let said = here.run(&["new", "my-line"]).expect(2).err;
    assert_eq!(said, "error: `my-line` exists\nhint: name another, or remove it first\n");
    let said = here.run(&["new", "my line"]).expect(2).err;
    assert!(said.ends_with("hint: `my-line` is one\n"), "{said}");
    let said = here.run(&["new", "x", "--path", "nowhere"]).expect(2).err;
    assert!(said.contains("is not the folder of the crate cog-train"), "{said}");
    let said = here.run(&["new", "x", "--git", "git@example.com:a/b.git"]).expect(2).err;
    assert!(said.ends_with("hint: write `ssh://git@example.com/a/b.git`\n"), "{said}");
    let said = here.run(&["new", "x", "--template", "imag"]).expect(2).err;
    assert!(said.contains("image"), "{said}");
    assert_eq!(here.tree(), before);

    let said = here.run(&["new", "x", "--git", "https://example.com/a"]).expect(0).out;
    assert!(!said.contains("registry"), "{said}");
    let manifest = here.read("x/Cargo.toml");
    assert!(manifest.contains("\ncog-train = { git = \"https://example.com/a\" }\n"), "{manifest}");
}

/// All templates in one workspace, with the target folder of this test: other crates are there, and cog-train is compiled once.
#[test]
fn each_template_builds_trains_and_passes_its_test() {
    let here = tool();
    for name in TEMPLATES {
        here.run(&["new", &format!("crates/new-{name}"), "--template", name]).expect(0);
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(repository.join(path)).unwrap();
    let dependencies = read("Cargo.toml");
    let dependencies = table(&dependencies, "[workspace.dependencies]");
    let profiles = include_str!("../../src/tool/new/profiles.toml");
    let profiles = profiles.replace("\ncog-train = { opt-level = 1 }", QUICK);
    assert!(profiles.contains(QUICK), "{profiles}");
    here.file("Cargo.toml", format!("{WORKSPACE}\n{dependencies}\n{profiles}"));
    here.file("crates/features/Cargo.toml", features(&read("cog-train/Cargo.toml")));
    here.file("crates/features/src/lib.rs", "");
    std::fs::copy(repository.join("Cargo.lock"), here.path("Cargo.lock")).unwrap();
    let profile = Path::new(TOOL).parent().unwrap();
    for command in ["build", "test"] {
        let output = inner_cargo()
            .current_dir(here.path("."))
            .args([command, "--quiet", "--offline", "--workspace", "--target-dir"])
            .arg(profile.parent().unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let all = format!("{said}\n{}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{all}");
        assert!(!said.contains("warning: unused") && !said.contains("never used"), "{all}");
    }
    for name in TEMPLATES {
        let program = profile.join(format!("new-{name}"));
        let folder = here.path(&format!("crates/new-{name}"));
        let run = |args: &[&str]| {
            Command::new(&program).args(args).current_dir(&folder).output().unwrap()
        };
        let trained = run(&[]);
        assert!(trained.status.success(), "{name}: {}", String::from_utf8_lossy(&trained.stderr));
        let is_result = |name: std::ffi::OsString| name.as_encoded_bytes().starts_with(b"weights");
        let mut entries = folder.read_dir().unwrap().flatten();
        assert!(entries.any(|entry| is_result(entry.file_name())), "{name}");
        let checked = run(&["check"]);
        assert_eq!(String::from_utf8_lossy(&checked.stdout), "cog.yaml is valid\n", "{name}");
    }
}

const WORKSPACE: &str = "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n";

/// cog-train itself is compiled without optimization: what it computes is in cog-train-nn and candle.
const QUICK: &str = "\ncog-train = { opt-level = 0 }";

/// A table of a manifest, with its head.
fn table<'a>(manifest: &'a str, head: &str) -> &'a str {
    let start = manifest.find(head).unwrap_or_else(|| panic!("there is no {head}"));
    let length = manifest[start + 1..].find("\n[").map_or(manifest.len() - start, |it| it + 2);
    &manifest[start..start + length]
}

/// A crate with the development dependencies of cog-train: they set features of other crates, which are compiled with them.
fn features(own: &str) -> String {
    let dependencies = table(own, "[dev-dependencies]").replace("[dev-dependencies]", "");
    let others = dependencies.lines().filter(|line| !line.starts_with("cog-train "));
    let others = others.collect::<Vec<_>>().join("\n");
    format!("[package]\nname = \"features\"\nedition = \"2024\"\n\n[dependencies]\n{others}\n")
}
