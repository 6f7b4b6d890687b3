//! The `cog.yaml` of this binary, and `BIN check`.

use std::path::{Component, Path, PathBuf};

use super::app::App;
use super::terminal::{Terminal, print_answer};
use crate::config::{Config, Names, Reference};
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
    if given.is_none() && is_of_another_binary(app, &config) {
        terminal.warning(&format!("{OF_ANOTHER}, and is not used\n{NAME_ONE}"));
        return Ok(Config::default());
    }
    config.verify(&names(app, given, &config))?;
    Ok(config)
}

const OF_ANOTHER: &str = "cog.yaml is another binary's of this package";
const NAME_ONE: &str = "hint: name this binary's own in its source: `run!(.., config = \"FILE\")`";

/// Whether the `cog.yaml` beside Cargo.toml names types of other sources alone, which this binary does not have.
fn is_of_another_binary(app: &App, config: &Config) -> bool {
    let mut references = config.train().into_iter().chain(config.predict());
    config.verify(&own_names(app)).is_err()
        && references.all(|reference| is_elsewhere(app, reference))
}

/// Whether a reference of the `cog.yaml` beside Cargo.toml names another source than the one that calls `run!`.
fn is_elsewhere(app: &App, reference: &Reference) -> bool {
    let file: PathBuf = Path::new(reference.file())
        .components()
        .skip_while(|it| *it == Component::CurDir)
        .collect();
    app.config.is_some_and(|config| config.is_shared) && !Path::new(app.source).ends_with(file)
}

/// `BIN check`: checks the file and prints every note; returns the exit code.
pub(crate) fn check(app: &App, given: Option<&Path>, terminal: &Terminal) -> u8 {
    match strictly(app, given) {
        Ok(Checked::OfAnother) => {
            terminal.note(&format!("{OF_ANOTHER}, and says nothing of this one\n{NAME_ONE}"));
            0
        }
        Ok(Checked::None) => {
            terminal.note("no cog.yaml was compiled in\nhint: put one beside Cargo.toml, or name one with `--config FILE`");
            0
        }
        Ok(Checked::Valid { file, notes }) => {
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

/// A file without a mistake.
#[derive(Debug, PartialEq)]
enum Checked {
    None,
    OfAnother,
    Valid { file: String, notes: Vec<String> },
}

fn strictly(app: &App, given: Option<&Path>) -> Result<Checked, Error> {
    let folders = source_folders(app, given);
    let exists =
        |name: &str| folders.is_empty() || folders.iter().any(|folder| folder.join(name).is_file());
    let (file, (_, notes)) = match (given, app.config) {
        (Some(path), _) => (
            path.display().to_string(),
            Config::check_file(path, &own_names(app), exists).map_err(unreadable)?,
        ),
        (None, Some(embedded)) => {
            let (config, _) = Config::parse(embedded.text, embedded.file)?;
            if is_of_another_binary(app, &config) {
                return Ok(Checked::OfAnother);
            }
            let names = names(app, given, &config);
            (embedded.file.to_owned(), Config::check(embedded.text, embedded.file, &names, exists)?)
        }
        (None, None) => return Ok(Checked::None),
    };
    Ok(Checked::Valid { file, notes: notes.iter().map(ToString::to_string).collect() })
}

fn own_names(app: &App) -> Names<'static> {
    let name = |role: Option<&Role>| role.map(|role| role.name);
    Names { trainer: name(app.trainer.as_ref()), predictor: name(app.predictor.as_ref()) }
}

/// The names that a file must have. Of a file that binaries share, the references to other sources are theirs, and are
/// right as they stand.
fn names<'a>(app: &App, given: Option<&Path>, config: &'a Config) -> Names<'a> {
    let own = own_names(app);
    if given.is_some() {
        return own;
    }
    let theirs = |reference: Option<&'a Reference>| {
        reference.filter(|it| is_elsewhere(app, it)).map(Reference::name)
    };
    Names {
        trainer: theirs(config.train()).or(own.trainer),
        predictor: theirs(config.predict()).or(own.predictor),
    }
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

#[cfg(test)]
mod tests {
    use super::super::terminal::Format;
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

    const FILE: &str = "train: src/bin/one/main.rs:One\n";

    fn binary(source: &'static str, trainer: &'static str, text: &'static str) -> App {
        App::new("/none", source).trainer::<Any>(trainer).shared_config("../cog.yaml", text)
    }

    /// The name that `train` of the loaded file has.
    fn loaded(app: &App) -> Result<Option<String>, String> {
        let config = load(app, None, &Terminal::new(Format::Text));
        let config = config.map_err(|error| error.to_string())?;
        Ok(config.train().map(|it| it.name().to_owned()))
    }

    #[test]
    fn binaries_of_one_package_share_the_file_beside_its_manifest() {
        for (source, trainer) in [
            ("src/bin/one/main.rs", "One"),
            // As the compiler names it from the workspace's root.
            ("jobs/src/bin/one/main.rs", "One"),
            // `run!` in one file, and the type in another.
            ("src/main.rs", "One"),
        ] {
            let one = binary(source, trainer, FILE);
            assert_eq!(loaded(&one), Ok(Some("One".to_owned())), "{source}");
            assert!(matches!(strictly(&one, None), Ok(Checked::Valid { .. })), "{source}");
        }
        for source in ["src/bin/two/main.rs", "src/bin/two.rs", "src/main.rs"] {
            let two = binary(source, "Two", FILE);
            assert_eq!(loaded(&two), Ok(None), "{source}");
            assert_eq!(strictly(&two, None).unwrap(), Checked::OfAnother, "{source}");
        }
    }

    #[test]
    fn each_of_two_binaries_has_a_reference_of_its_own_in_a_shared_file() {
        let text = "train: ./src/bin/one.rs:One\npredict: src/bin/two.rs:Two\n";
        let one = binary("src/bin/one.rs", "One", text);
        assert_eq!(loaded(&one), Ok(Some("One".to_owned())));
    }

    #[test]
    fn a_wrong_name_of_a_type_in_the_binarys_own_source_is_a_mistake() {
        let app = binary("src/bin/one/main.rs", "Two", FILE);
        let error = loaded(&app).unwrap_err();
        assert!(error.contains("`train` names `One`, and this program trains `Two`"), "{error}");
        assert_eq!(strictly(&app, None).unwrap_err().to_string(), error);
        // A file that is this binary's alone.
        let text = "train: src/other.rs:One\n";
        let own = App::new("/none", "src/main.rs").trainer::<Any>("Two").config("cog.yaml", text);
        assert!(loaded(&own).is_err());
    }
}
