use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::job::{Job, Setup};
use crate::trainer::Trainer;

struct Any;

impl Trainer for Any {
    type Inputs = crate::__private::InvalidInputs;
    type Output = bool;

    fn setup(_setup: &Setup) -> anyhow::Result<Self> {
        Ok(Self)
    }

    fn train(&mut self, _inputs: Self::Inputs, _job: &mut Job) -> anyhow::Result<bool> {
        Ok(true)
    }
}

/// A folder with crates in it, each file by its path and text.
struct Crates(TempDir);

impl Crates {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The paths in cargo's answer have no links in them.
        for (path, text) in files {
            let path = dir.path().canonicalize().unwrap().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn lock(self, folder: &str) -> Self {
        let cargo = env!("CARGO");
        let mut command = Command::new(cargo);
        command.args(["generate-lockfile", "--offline", "--quiet"]);
        assert!(command.current_dir(self.0.path().join(folder)).status().unwrap().success());
        self
    }

    /// The Dockerfile of the binary `name` of the package in `folder`.
    fn dockerfile(&self, folder: &str, name: &'static str, config: &str) -> Result<String, String> {
        let manifest_dir = self.0.path().canonicalize().unwrap().join(folder);
        let manifest_dir = manifest_dir.to_str().unwrap().to_owned().leak();
        let app = App {
            target: name,
            ..App::new(manifest_dir, "src/main.rs").trainer::<Any>("MyTrainer")
        };
        let (config, _) = Config::parse(config, "cog.yaml").map_err(|error| error.to_string())?;
        dockerfile(&app, &config, &[], r#"{"openapi":"3.0.2"}"#, "0.22.0")
            .map_err(|error| error.to_string())
    }
}

const MY_TRAINER: &str =
    "[package]\nname = \"my-trainer\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";

fn my_trainer() -> Crates {
    let dependency = "[dependencies]\ncog-train = { path = \"../cog-train/cog-train\" }\n";
    Crates::new(&[
        ("my-trainer/Cargo.toml", &format!("{MY_TRAINER}{dependency}")),
        ("my-trainer/src/main.rs", "fn main() {}"),
        ("cog-train/Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"cog-train\"]\n"),
        (
            "cog-train/cog-train/Cargo.toml",
            "[package]\nname = \"cog-train\"\nversion = \"0.1.0\"\n",
        ),
        ("cog-train/cog-train/src/lib.rs", ""),
    ])
    .lock("my-trainer")
}

/// Whether the lines are those, where a line `...` stands for any lines.
fn fits(expected: &[&str], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((&"...", rest)) => (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..])),
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, others)| line == first && fits(rest, others))
        }
    }
}

#[test]
fn the_readme_shows_what_the_command_writes() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/container.md");
    let readme = fs::read_to_string(readme).unwrap();
    let block = readme.split("```dockerfile\n").nth(1).unwrap().split("```").next().unwrap();
    let written = my_trainer()
        .dockerfile(
            "my-trainer",
            "my-trainer",
            "build:\n  system_packages: [ffmpeg]\n  run: [\"ffmpeg -version\"]\nenvironment: [RAYON_NUM_THREADS=4]\n",
        )
        .unwrap();
    let lines = |text: &'static str| text.lines().collect::<Vec<_>>();
    let (block, written) = (block.to_owned().leak(), written.leak());
    assert!(fits(&lines(block), &lines(written)), "{written}");
}

#[test]
fn a_workspace_is_its_own_context_and_every_member_has_stubs() {
    let crates = Crates::new(&[
        ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"jobs\", \"common\"]\n"),
        ("rust-toolchain.toml", "[toolchain]\nchannel = \"1.95.0\"\n"),
        (
            "jobs/Cargo.toml",
            "[package]\nname = \"jobs\"\nversion = \"0.1.0\"\nedition = \"2024\"\nrust-version = \"1.97.1\"\n[dependencies]\ncommon = { path = \"../common\" }\n[features]\ncuda = []\n[[bin]]\nname = \"two\"\npath = \"src/bin/two.rs\"\nrequired-features = [\"cuda\"]\n",
        ),
        ("jobs/src/bin/one.rs", ""),
        ("jobs/src/bin/two.rs", ""),
        ("common/Cargo.toml", "[package]\nname = \"common\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
        ("common/src/lib.rs", ""),
        ("common/build.rs", ""),
    ])
    .lock(".");
    let text = crates.dockerfile("jobs", "one", "").unwrap();
    for line in [
        "#   docker build --platform linux/amd64 --tag one --file Dockerfile ..",
        "FROM rust:1.97-trixie AS build",
        "WORKDIR /build",
        "COPY Cargo.toml Cargo.lock rust-toolchain.toml /build/",
        "COPY common/Cargo.toml /build/common/",
        "RUN mkdir -p /build/common /build/common/src /build/jobs/src/bin \\",
        " && echo 'fn main() {}' > /build/common/build.rs \\",
        " && echo 'fn main() {}' > /build/jobs/src/bin/two.rs \\",
        " && cargo build --release --locked --package jobs --bin one",
        "COPY . /build",
        "CMD [\"python\", \"-m\", \"cog.server.http\", \"--x-mode\", \"train\"]",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    let text = crates.dockerfile("jobs", "two", "build: {gpu: true, cuda: \"12.6\"}").unwrap();
    for part in [
        "\nFROM nvidia/cuda:12.6.3-devel-ubuntu22.04 AS build\n",
        "install --yes --no-install-recommends build-essential ca-certificates pkg-config \\\n",
        "\nFROM nvidia/cuda:12.6.3-runtime-ubuntu22.04\n",
        "cargo build --release --locked --package jobs --bin two --features cuda\n",
        "run.cog.config=\"{\\\"build\\\":{\\\"gpu\\\":true,\\\"cuda\\\":\\\"12.6\\\"},\\\"train\\\":\\\"src/main.rs:MyTrainer\\\"}\"\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let gone = crates.dockerfile("jobs", "three", "").unwrap_err();
    assert_eq!(
        gone,
        "the package `jobs` has no binary `three` any more\nhint: build the binary again"
    );
}

#[test]
fn values_of_cog_yaml_stay_within_their_instructions() {
    let config = r#"
build:
  system_packages: ["libgl1=1.7.0-1+b2"]
  run:
    - "echo \"$HOME\" '<<EOF' \\"
    - command: pip list
      mounts: [{type: secret, id: token, target: /run/token}]
environment:
  - 'A=x" LABEL b="$HOME\'
"#;
    let crates = Crates::new(&[("a/Cargo.toml", MY_TRAINER), ("a/src/main.rs", "")]).lock("a");
    let text = crates.dockerfile("a", "my-trainer", config).unwrap();
    for line in [
        r#"RUN ["/bin/sh","-c","echo \"$HOME\" '<<EOF' \\"]"#,
        r#"RUN --mount=type=secret,id=token,target=/run/token ["/bin/sh","-c","pip list"]"#,
        r#"ENV A="x\" LABEL b=\"\$HOME\\""#,
        "#   docker build --platform linux/amd64 --tag my-trainer --file Dockerfile .",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert!(text.contains("ca-certificates tini libgl1=1.7.0-1+b2 \\\n"), "{text}");
}

#[test]
fn values_that_a_dockerfile_cannot_hold_are_refused_at_their_lines() {
    let config = "build:
  gpu: true
  cuda: \"12.99\"
  system_packages: [\"git curl\", \"--force\", \"a;reboot\", \"b\\nRUN c\"]
  run:
    - |
      first
      second
    - command: x
      mounts: [{type: secret, id: \"a,target=/etc\", target: /b}]
environment:
  - \"KEY=a\\nRUN b\"
";
    let crates = Crates::new(&[]);
    assert_eq!(
        crates.dockerfile("a", "a", config).unwrap_err(),
        "8 mistakes in `cog.yaml`
  cog.yaml:3:9: no image of CUDA 12.99 is known
  hint: name a release with its third number, as in `12.8.1`
  cog.yaml:4:21: `git curl` is not the name of a package
  hint: write `NAME` or `NAME=VERSION`, each package as an item
  cog.yaml:4:33: `--force` is not the name of a package
  hint: write `NAME` or `NAME=VERSION`, each package as an item
  cog.yaml:4:44: `a;reboot` is not the name of a package
  hint: write `NAME` or `NAME=VERSION`, each package as an item
  cog.yaml:4:56: `b\\nRUN c` is not the name of a package
  hint: write `NAME` or `NAME=VERSION`, each package as an item
  cog.yaml:7:7: the command `first\\nsecond` has a line break or a control character
  hint: write each command as an item of its own, or join them by `&&`
  cog.yaml:9:7: the mount of `a,target=/etc` at `/b` is not plain
  hint: `id` and `target` are of letters, digits, `_`, `-`, `.` and `/`
  cog.yaml:12:5: the value of `KEY` has a line break or a control character
  hint: an image's variable is one line: set this one with `-e`"
    );
}

#[test]
fn sources_that_are_not_at_hand_or_not_locked_are_refused() {
    let crates = Crates::new(&[("a/Cargo.toml", MY_TRAINER), ("a/src/main.rs", "")]);
    let refused = crates.dockerfile("b", "b", "").unwrap_err();
    assert!(refused.starts_with("the sources of this binary are not at hand"), "{refused}");
    let refused = crates.dockerfile("a", "my-trainer", "").unwrap_err();
    assert!(refused.starts_with("`cargo metadata` failed\n"), "{refused}");
    let crates = Crates::new(&[("a $b/Cargo.toml", MY_TRAINER), ("a $b/src/main.rs", "")]);
    assert!(crates.lock("a $b").dockerfile("a $b", "my-trainer", "").is_ok(), "below the context");
}
