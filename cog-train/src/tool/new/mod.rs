//! `new`: a crate that builds and trains at once.
//!
//! The sources are those of the repository's examples, with the paths of the new crate: they are tested where they are.

mod manifest;
mod readme;
mod sources;

use std::path::Path;

use self::manifest::{Dependency, VERSION};
use super::args::NewArgs;
use super::staging::{begin, refuse_existing};
use crate::error::Error;
use crate::run::shown;

/// A file of a crate, by its path there.
struct File {
    path: String,
    content: Vec<u8>,
}

impl File {
    fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: content.into() }
    }
}

/// Writes a crate; the text says what to type next.
pub(super) fn new(args: &NewArgs) -> Result<String, Error> {
    let name = crate_name(&args.folder)?;
    refuse_existing(&args.folder)?;
    let dependency = Dependency::choose(args)?;
    let manifest = manifest::manifest(&name, args.template, &dependency, &args.folder);
    let mut files = vec![
        File::new("Cargo.toml", manifest),
        File::new("README.md", readme::readme(&name, args.template)),
        File::new(".gitignore", "/target\n/runs\n/weights*\n"),
    ];
    files.extend(sources::files(args.template));
    let folder = begin(&args.folder)?;
    let content = folder.content();
    for file in &files {
        let path = content.join(&file.path);
        let parent = path.parent().unwrap_or(&content);
        std::fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
        std::fs::write(&path, &file.content).map_err(Error::file("write", &path))?;
    }
    folder.finish(&args.folder)?;
    let shown = shown(&args.folder);
    let about = args.template.about();
    Ok(format!(
        "created: {shown}/, {about}\n{}\n  cd {shown}\n  cargo run\n\n`README.md` there has the next steps.\n",
        note(&dependency)
    ))
}

/// Returns the line on a dependency that cargo may not find.
fn note(dependency: &Dependency) -> String {
    if *dependency != Dependency::Unpublished {
        return String::new();
    }
    format!(
        "note: its `Cargo.toml` names cog-train {VERSION} of the registry\n\
         hint: where the registry has no such version, write the `path` or `git` of a clone in its place, as `--path DIR` and `--git URL` do\n"
    )
}

/// Returns the crate's name: the last part of its folder's path.
fn crate_name(folder: &Path) -> Result<String, Error> {
    let refused = |reason: String| Err(Error::Arguments { reason });
    let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
        return refused(format!("`{}` does not end in the name of a crate", folder.display()));
    };
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_part) {
        let fixed: String = name.chars().map(|c| if is_part(c) { c } else { '-' }).collect();
        let fixed = fixed.trim_matches(|c: char| !c.is_ascii_alphabetic()).to_ascii_lowercase();
        let fixed = if fixed.is_empty() { "my-trainer".to_owned() } else { fixed };
        return refused(format!(
            "`{name}` is not a crate's name: it begins with a letter, and has letters, digits, `-` and `_` of ASCII\n\
             hint: `{fixed}` is one"
        ));
    }
    let module = name.replace('-', "_");
    if RESERVED.contains(&module.as_str()) {
        return refused(format!(
            "`{name}` cannot name a crate: the word belongs to Rust, or to a crate that this one uses\nhint: `my-{name}` can"
        ));
    }
    Ok(name.to_owned())
}

/// Keywords, and crates whose names would be ambiguous.
const RESERVED: [&str; 55] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "cog_train",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "tempfile",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "unsafe",
    "use",
    "virtual",
    "while",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_crate_is_the_last_part_of_its_path() {
        for (path, name) in [("a", "a"), ("x/my-trainer", "my-trainer"), ("/tmp/T_1/", "T_1")] {
            assert_eq!(crate_name(Path::new(path)).unwrap(), name);
        }
        for (path, hint) in [
            ("my trainer", "hint: `my-trainer` is one"),
            ("1st", "hint: `st` is one"),
            ("caf\u{e9}", "hint: `caf` is one"),
            ("\u{1f600}", "hint: `my-trainer` is one"),
            ("self", "hint: `my-self` can"),
            ("cog-train", "hint: `my-cog-train` can"),
            ("..", "`..` does not end in the name of a crate"),
        ] {
            let error = crate_name(Path::new(path)).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().ends_with(hint), "{error}");
        }
    }

    #[test]
    fn a_version_that_may_be_missing_is_named_with_the_remedy() {
        for known in [Dependency::Registry, Dependency::Git(String::new())] {
            assert_eq!(note(&known), "");
        }
        let note = note(&Dependency::Unpublished);
        assert!(note.contains(VERSION) && note.contains("`--path DIR` and `--git URL`"), "{note}");
    }

    #[test]
    fn keywords_are_sorted() {
        assert!(RESERVED.is_sorted());
    }
}
