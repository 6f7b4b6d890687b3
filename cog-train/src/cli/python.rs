//! The binary under the name `python`, as an image links it: the calls of Cog and its platforms, and no others.

use std::ffi::OsString;
use std::path::Path;

use super::stop::{Stop, wrong};

/// The version of Python that `python --version` names, Cog's default: callers look for a version there.
const VERSION: &str = "3.13.0";

/// Answers `python --version` and `python -m pip freeze`, and refuses what needs a real Python. `None` for the server's call
/// and for calls by the binary's own name.
pub(super) fn answer(args: &[OsString]) -> Option<Stop> {
    let name = args.first().and_then(|path| Path::new(path).file_name())?.to_str()?;
    let is_python = name
        .strip_prefix("python")
        .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'));
    let args: Vec<&str> = args[1..].iter().map(|arg| arg.to_str().unwrap_or_default()).collect();
    match after_options(&args) {
        // An image has no packages of Python.
        ["-m", "pip", "freeze", ..] => Some(Stop::Shown(String::new())),
        ["-V" | "--version", ..] if is_python => Some(Stop::Shown(format!(
            "Python {VERSION} (cog-train {}, which answers in its place)\n",
            env!("CARGO_PKG_VERSION")
        ))),
        ["-m", module, ..] if *module == "cog.server.http" => None,
        _ if is_python => Some(wrong(
            "there is no Python here: `python` is a program of cog-train, and answers `-m cog.server.http`, `-m pip freeze` and `--version`",
        )),
        _ => None,
    }
}

/// Skips Python's own options that Cog passes.
fn after_options<'a>(args: &'a [&'a str]) -> &'a [&'a str] {
    match args {
        ["--check-hash-based-pycs", _, rest @ ..] | ["-u", rest @ ..] => after_options(rest),
        rest => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The printed text, or the refusal.
    fn call(line: &str) -> Option<Result<String, String>> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Some(match answer(&args)? {
            Stop::Shown(text) => Ok(text),
            Stop::Wrong(text) => Err(text),
        })
    }

    #[test]
    fn cogs_calls_are_answered_under_the_name_of_python() {
        let version = call("python --version").unwrap().unwrap();
        assert!(version.starts_with("Python 3.13.0 (cog-train "), "{version}");
        assert_eq!(call("/usr/local/bin/python3.13 -V"), Some(Ok(version)));
        for line in [
            "python -m pip freeze",
            "python -u -m pip freeze --all",
            "python --check-hash-based-pycs never -m pip freeze",
            "my-trainer -m pip freeze",
        ] {
            assert_eq!(call(line), Some(Ok(String::new())), "{line}");
        }
    }

    #[test]
    fn the_servers_call_and_the_binarys_own_are_left_alone() {
        for line in [
            "python -m cog.server.http",
            "python -m cog.server.http --x-mode train",
            "python --check-hash-based-pycs never -m cog.server.http --await-explicit-shutdown true",
            "my-trainer -m cog.server.http",
            "my-trainer --version",
            "my-trainer -i epochs=3",
            "pythonic --version",
            "my-trainer",
        ] {
            assert_eq!(call(line), None, "{line}");
        }
    }

    #[test]
    fn what_needs_a_real_python_is_refused() {
        for line in
            ["python", "python train.py", "python -c 1", "python -m pip install x", "python train"]
        {
            assert!(call(line).is_some_and(|said| said.is_err()), "{line}");
        }
    }
}
