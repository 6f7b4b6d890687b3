//! The `cog.yaml` of this binary, and `BIN check`.

use std::path::{Path, PathBuf};

use super::app::{App, EmbeddedConfig};
use super::terminal::{Terminal, print_answer};
use crate::config::{Config, Names};
use crate::error::Error;
use crate::run::Role;

/// The name of a file where nothing names one.
const COG_YAML: &str = "cog.yaml";

/// The file that `--config` names, else the one compiled in, else an empty one. Its warnings go to the terminal, and its
/// `train` and `predict` must name what this binary has.
pub(crate) fn load(app: &App, given: Option<&Path>, terminal: &Terminal) -> Result<Config, Error> {
    let (config, notes) = match (given, app.config) {
        (Some(path), _) => Config::read(path).map_err(unreadable)?,
        (None, Some(embedded)) => Config::parse(embedded.text, embedded.file)?,
        (None, None) => return Ok(Config::default()),
    };
    for note in notes {
        terminal.warning(&note.to_string());
    }
    match config.verify(&names(app)) {
        Err(_) if given.is_none() && app.config.is_some_and(|it| is_of_another_binary(app, it)) => {
            terminal.warning(
                "cog.yaml is another binary's of this package, and is not used\n\
                 hint: name this binary's own in its source: `run!(.., config = \"FILE\")`",
            );
            Ok(Config::default())
        }
        verified => verified.map(|()| config).map_err(Error::from),
    }
}

/// Whether the `cog.yaml` beside Cargo.toml names no type of the source that calls `run!`.
fn is_of_another_binary(app: &App, config: EmbeddedConfig) -> bool {
    let source = Path::new(app.source).file_name().unwrap_or_default().to_string_lossy();
    let separators = ['/', '"', '\'', ' '];
    let reference = format!("{source}:");
    let mut named = config.text.match_indices(&reference);
    config.is_shared && !named.any(|(at, _)| config.text[..at].ends_with(separators))
}

/// `BIN check`: checks the file and prints every note; returns the exit code.
pub(crate) fn check(app: &App, given: Option<&Path>, terminal: &Terminal) -> u8 {
    match strictly(app, given) {
        Ok(None) => {
            terminal.note("no cog.yaml was compiled in\nhint: put one beside Cargo.toml, or name one with `--config FILE`");
            0
        }
        Ok(Some((file, notes))) => {
            for note in notes {
                terminal.note(&format!("note: {note}"));
            }
            print_answer(terminal, &format!("{file} is valid\n"))
        }
        Err(error) => {
            terminal.error(&error.to_string());
            error.exit_code()
        }
    }
}

/// A `--config` that names no file is a wrong argument.
fn unreadable(error: Error) -> Error {
    match error {
        Error::File { .. } => Error::Arguments { reason: format!("`--config`: {error}") },
        other => other,
    }
}

fn strictly(app: &App, given: Option<&Path>) -> Result<Option<(String, Vec<String>)>, Error> {
    let folders = source_folders(app, given);
    let exists =
        |name: &str| folders.is_empty() || folders.iter().any(|folder| folder.join(name).is_file());
    let names = names(app);
    let (file, (_, notes)) = match (given, app.config) {
        (Some(path), _) => (
            path.display().to_string(),
            Config::check_file(path, &names, exists).map_err(unreadable)?,
        ),
        (None, Some(embedded)) => {
            (embedded.file.to_owned(), Config::check(embedded.text, embedded.file, &names, exists)?)
        }
        (None, None) => return Ok(None),
    };
    Ok(Some((file, notes.iter().map(ToString::to_string).collect())))
}

fn names(app: &App) -> Names<'static> {
    let name = |role: Option<&Role>| role.map(|role| role.name);
    Names { trainer: name(app.trainer.as_ref()), predictor: name(app.predictor.as_ref()) }
}

/// The folders from which `train: FILE:NAME` may be written: that of the file itself, of the source that calls `run!`,
/// and of Cargo.toml. Empty when the source is not at hand, as in a container with nothing but the binary.
fn source_folders(app: &App, given: Option<&Path>) -> Vec<PathBuf> {
    let manifest = Path::new(app.manifest_dir);
    // The compiler names a source from the workspace's root, which is the manifest's folder or one above it.
    let source =
        manifest.ancestors().map(|folder| folder.join(app.source)).find(|path| path.is_file());
    let Some(source) = source else { return Vec::new() };
    let beside = given.unwrap_or(Path::new(COG_YAML)).parent().filter(|_| given.is_some());
    [beside, source.parent(), Some(manifest)].into_iter().flatten().map(Path::to_owned).collect()
}
