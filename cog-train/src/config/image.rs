//! The values of a `cog.yaml` that stand in a container's recipe, checked at their positions.

use super::Config;
use super::build::Command;
use super::note::{ConfigError, Note, NoteKind, Position, quoted};

/// Releases of CUDA that NVIDIA publishes images of for Ubuntu 22.04, one of each minor version.
const CUDA_RELEASES: &[&str] = &[
    "11.7.1", "11.8.0", "12.0.1", "12.1.1", "12.2.2", "12.3.2", "12.4.1", "12.5.1", "12.6.3",
    "12.8.1", "12.9.1", "13.0.2", "13.1.1",
];

impl Config {
    /// Returns the release of CUDA whose images have what `build.cuda` asks for; `None` when none is known.
    pub(crate) fn cuda_release(&self) -> Option<&str> {
        let Some(cuda) = self.cuda() else { return Some("12.8.1") };
        let is_whole = cuda.matches('.').count() == 2;
        let known = CUDA_RELEASES
            .iter()
            .copied()
            .find(|release| release.rsplit_once('.').is_some_and(|(minor, _)| minor == cuda));
        if is_whole { Some(cuda) } else { known }
    }

    /// Checks that each value that a container's recipe holds is of the form that it has there.
    ///
    /// # Errors
    ///
    /// Every value that is not, at its position.
    pub(crate) fn verify_image(&self) -> Result<(), ConfigError> {
        let mut mistakes = Vec::new();
        let mut wrong = |position: &Position, message: String, hint: &str| {
            mistakes.push(Note {
                position: position.clone(),
                kind: NoteKind::Mistake,
                message,
                hint: Some(hint.to_owned()),
            });
        };
        let build = &self.build;
        let positions = &build.positions;
        for (package, at) in build.system_packages.iter().zip(&positions.system_packages) {
            if !is_package(package) {
                let message = format!("{} is not the name of a package", quoted(package));
                wrong(at, message, "write `NAME` or `NAME=VERSION`, each package as an item");
            }
        }
        for (command, at) in build.run.iter().zip(&positions.run) {
            if let Some((message, hint)) = flaw_of(command) {
                wrong(at, message, hint);
            }
        }
        for ((name, value), at) in self.environment.iter().zip(&self.environment_positions) {
            if value.contains(is_control) {
                let message =
                    format!("the value of `{name}` has a line break or a control character");
                wrong(at, message, "an image's variable is one line: set this one with `-e`");
            }
        }
        if let Some(cuda) = &build.required_cuda
            && build.gpu
            && self.cuda_release().is_none()
        {
            let message =
                format!("no image of CUDA {} is known", build.cuda.as_deref().unwrap_or_default());
            wrong(&cuda.position, message, "name a release with its third number, as in `12.8.1`");
        }
        ConfigError::unless_empty(&self.file(), mistakes)
    }
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\t'
}

/// Whether a text is a package of apt: `libgl1`, `libgl1:amd64`, `libgl1=1.7.0-1+b2`.
fn is_package(text: &str) -> bool {
    let (name, version) =
        text.split_once('=').map_or((text, "1"), |(name, version)| (name, version));
    let of = |text: &str, also: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
    };
    of(name, "+-.:") && of(version, "+-.:~")
}

/// Returns the reason for which a command of `build.run` cannot stand in a recipe, and the remedy.
fn flaw_of(command: &Command) -> Option<(String, &'static str)> {
    let text = command.command.trim();
    if text.is_empty() {
        return Some(("the command is empty".to_owned(), "remove the item"));
    }
    if text.contains(is_control) {
        let message =
            format!("the command {} has a line break or a control character", quoted(text));
        return Some((message, "write each command as an item of its own, or join them by `&&`"));
    }
    let is_plain = |text: &str| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c)) && !text.is_empty()
    };
    let mount =
        command.mounts.iter().find(|mount| !is_plain(&mount.id) || !is_plain(&mount.target))?;
    let message =
        format!("the mount of {} at {} is not plain", quoted(&mount.id), quoted(&mount.target));
    Some((message, "`id` and `target` are of letters, digits, `_`, `-`, `.` and `/`"))
}
