//! The program `cog-train`, seen from outside.

#[path = "../cli/pattern.rs"]
mod pattern;
#[allow(dead_code, reason = "shared with tests/cli, which uses the rest")]
#[path = "../cli/sandbox.rs"]
mod sandbox;
#[path = "../cli/transcript.rs"]
mod transcript;

mod created;
mod inner_cargo;
mod inputs;
mod models;
mod runs;
mod trainers;

use sandbox::Sandbox;

const TOOL: &str = env!("CARGO_BIN_EXE_cog-train");

/// A folder in which the tool is run.
fn tool() -> Sandbox {
    Sandbox::of(TOOL.into())
}

#[test]
fn without_a_command_the_tool_lists_commands_and_trainers() {
    let here = tool();
    let said = here.run::<&str>(&[]).expect(2);
    for name in ["doctor", "inspect", "runs", "ui", "sft", "classify", "embed", "dpo"] {
        assert!(said.err.contains(&format!("  {name} ")), "{name} in {}", said.err);
    }
    let said = here.run(&["clasify"]).expect(2);
    assert!(said.err.contains("a similar subcommand exists: 'classify'"), "{}", said.err);
    assert!(here.run(&["--version"]).expect(0).out.starts_with("cog-train "));
}

#[test]
fn doctor_finds_this_machine_ready() {
    let here = tool();
    let said = here.run(&["doctor", "--json"]).expect(0).json();
    let names: Vec<_> =
        said["findings"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    for name in ["build", "threads", "runs", "temporary files", "driver"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(here.run(&["doctor"]).expect(0).out.ends_with("\nready to train\n"));
    assert!(here.names().iter().all(|name| name == ".cache"), "{:?}", here.names());
}

#[test]
fn doctor_fails_where_a_folder_that_is_needed_cannot_be_written() {
    let here = tool();
    here.file("runs", "a file");
    let said = here.run(&["doctor"]).expect(1);
    assert!(said.out.contains("hint: `--run-dir` names another folder"), "{}", said.out);
    assert!(said.out.ends_with("\nsomething that is needed is broken\n"), "{}", said.out);
}

/// The transcripts of `docs/tool.md`.
#[test]
fn the_document_shows_what_the_tool_prints() {
    transcript::check("cog-train/docs/tool.md", |command| {
        command.replace("cog-train ", &format!("'{TOOL}' "))
    });
}
