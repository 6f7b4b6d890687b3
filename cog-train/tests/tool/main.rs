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
fn what_belongs_to_a_trainer_is_refused_with_the_call_that_has_it() {
    const ALL: &str = "`sft`, `classify`, `embed` and `dpo` have it";
    let here = tool();
    for (call, what, hint) in [
        (&["predict", "-i", "prompt=a"][..], "`predict` is a command", "cog-train sft predict"),
        (&["train"], "`train` is a command", "cog-train sft train"),
        (&["serve", "--port", "0"], "`serve` is a command", "cog-train sft serve"),
        (&["--dry-run"], "`--dry-run` is an option", "cog-train sft --dry-run"),
        (&["dry-run"], "`dry-run` is an option", "cog-train sft --dry-run"),
        (&["resume"], "`resume` is an option", "cog-train sft --resume"),
        (&["-i", "epochs=3"], "`-i` is an option", "cog-train sft -i"),
        (&["--epochs=3"], "`--epochs` is an input", "cog-train sft -i epochs=3"),
    ] {
        let said = here.run(call).expect(2).err;
        let expected = format!(
            "error: {what} of a trainer\nhint: name the trainer before it: `{hint}`; {ALL}\n"
        );
        assert_eq!(said, expected, "{call:?}");
    }
    let said = here.run(&["beta=0.2"]).expect(2).err;
    assert!(said.ends_with(": `cog-train dpo -i beta=0.2`; no other trainer has it\n"), "{said}");
}

#[test]
fn words_of_other_programs_are_refused_with_the_command_that_is_meant() {
    let here = tool();
    for (word, hint) in [
        ("finetune", "`cog-train sft` fine-tunes a language model"),
        ("create", "`cog-train new` writes a crate"),
        ("list", "`cog-train runs` lists"),
        ("help", "write `--help`"),
        ("--doctor", "write `doctor`, before all options"),
    ] {
        let said = here.run(&[word]).expect(2).err;
        assert!(said.starts_with(&format!("error: `{word}` is ")), "{said}");
        assert!(said.contains(&format!("\nhint: {hint}")), "{said}");
    }
}

#[test]
fn a_trainer_names_the_right_form_of_what_it_does_not_know() {
    let here = tool();
    let help = here.run(&["--help"]).expect(0).out;
    let commands = help.split("Commands:\n").nth(1).unwrap().lines();
    let commands = commands.map_while(|line| line.split_whitespace().next());
    // Every trainer has the command `ui`.
    let commands: Vec<_> = commands.filter(|name| *name != "ui").collect();
    assert!(commands.len() > 5, "{help}");
    for name in commands {
        let said = here.run(&["sft", name]).expect(2).err;
        let expected = format!(
            "error: `{name}` is a command of the program `cog-train`\nhint: write `cog-train {name}`\n"
        );
        assert_eq!(said, expected);
    }
    for (word, hint) in [
        ("resume=force", "write `--resume=force`"),
        ("--predict", "write `predict`, before all options"),
    ] {
        let said = here.run(&["sft", word]).expect(2).err;
        assert!(said.ends_with(&format!("\nhint: {hint}\n")), "{said}");
    }
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
