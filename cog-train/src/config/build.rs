//! The `build` section: the recipe of an image. A trainer reads `gpu` and `cuda`, `BIN dockerfile` also `system_packages`
//! and `run`.

use super::keys;
use super::node::{Content, Mistake, Node};
use super::note::{Location, Position, quoted};
use super::read::{Fields, Reader, Text};
use super::version;

/// The `build` section. `gpu` and `cuda` have an effect on a trainer, `system_packages` and `run` on its image; the rest is
/// kept as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Build {
    /// Whether the program needs CUDA.
    pub gpu: bool,
    /// The version of CUDA, `12.8` or `12.8.1`.
    pub cuda: Option<String>,
    /// The version of cuDNN.
    pub cudnn: Option<String>,
    /// The version of Python, `3.13` or `3.13.1`.
    pub python_version: Option<String>,
    /// A pip requirements file.
    pub python_requirements: Option<String>,
    /// Python packages; deprecated.
    pub python_packages: Vec<String>,
    /// The version of Cog's Python package.
    pub sdk_version: Option<String>,
    /// Packages of the image's system.
    pub system_packages: Vec<String>,
    /// Commands that run after the packages are installed.
    pub run: Vec<Command>,
    /// Commands that run before the Python packages are installed; deprecated.
    pub pre_install: Vec<String>,
    pub(super) required_cuda: Option<RequiredCuda>,
    pub(super) positions: Positions,
}

/// An item of `build.run`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Command {
    /// The shell's command line.
    pub command: String,
    /// Secrets that the command may read.
    pub mounts: Vec<Mount>,
}

/// A secret that a command of `build.run` may read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mount {
    /// The secret's name.
    pub id: String,
    /// The path of the mounted secret.
    pub target: String,
}

/// The positions of the values that an image is built from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Positions {
    pub(super) system_packages: Vec<Position>,
    pub(super) run: Vec<Position>,
}

/// `build.cuda` as numbers, with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequiredCuda {
    pub(super) version: (u32, u32),
    pub(super) position: Position,
}

pub(super) fn read(reader: &mut Reader, node: &Node) -> Option<Build> {
    let fields = reader.fields(&keys::BUILD, node)?;
    reader.exclusive(
        &fields,
        ["python_packages", "python_requirements"],
        "keep `python_requirements`",
    );
    let cuda = reader.text(&fields, "cuda");
    let required_cuda = cuda.as_ref().and_then(|text| required_cuda(reader, text));
    let python_version = reader.text(&fields, "python_version");
    if let Some(Err(mistake)) = python_version.as_ref().map(version::python) {
        reader.wrong(mistake);
    }
    let mut text = |name| reader.text(&fields, name).map(|text| text.text);
    let cudnn = text("cudnn");
    let (python_requirements, sdk_version) = (text("python_requirements"), text("sdk_version"));
    let packages = reader.texts(&fields, "system_packages");
    let mut texts = |name| self::texts(reader.texts(&fields, name));
    let (python_packages, pre_install) = (texts("python_packages"), texts("pre_install"));
    let run = commands(reader, &fields);
    let positions = Positions {
        system_packages: packages.iter().map(|text| reader.position(text.at)).collect(),
        run: run.iter().map(|(_, at)| reader.position(*at)).collect(),
    };
    Some(Build {
        gpu: reader.boolean(&fields, "gpu").unwrap_or(false),
        cuda: cuda.map(|text| text.text),
        cudnn,
        python_version: python_version.map(|text| text.text),
        python_requirements,
        python_packages,
        sdk_version,
        system_packages: self::texts(packages),
        run: run.into_iter().map(|(command, _)| command).collect(),
        pre_install,
        required_cuda,
        positions,
    })
}

pub(super) fn texts(texts: Vec<Text>) -> Vec<String> {
    texts.into_iter().map(|text| text.text).collect()
}

fn required_cuda(reader: &mut Reader, text: &Text) -> Option<RequiredCuda> {
    match version::cuda(text) {
        Ok(version) => Some(RequiredCuda { version, position: reader.position(text.at) }),
        Err(mistake) => {
            reader.wrong(mistake);
            None
        }
    }
}

/// Reads `build.run`: a list of texts, or of mappings with a command and its mounts.
fn commands(reader: &mut Reader, fields: &Fields<'_>) -> Vec<(Command, Location)> {
    let mut commands = Vec::new();
    for item in reader.items(fields, "run") {
        match &*item.content {
            Content::Scalar { text, .. } if !item.is_null() => {
                commands.push((Command { command: text.clone(), mounts: Vec::new() }, item.at));
            }
            Content::Map(_) => {
                commands.extend(command(reader, item).map(|command| (command, item.at)));
            }
            _ => reader.wrong_type("an item of `run`", "text or a mapping", item),
        }
    }
    commands
}

fn command(reader: &mut Reader, item: &Node) -> Option<Command> {
    let fields = reader.fields(&keys::COMMAND, item)?;
    let mut mounts = Vec::new();
    for item in reader.items(&fields, "mounts") {
        mounts.extend(mount(reader, item));
    }
    let command = reader.required(keys::COMMAND.of, &fields, "command")?.text;
    Some(Command { command, mounts })
}

fn mount(reader: &mut Reader, item: &Node) -> Option<Mount> {
    let fields = reader.fields(&keys::MOUNT, item)?;
    let mut required = |name| reader.required(keys::MOUNT.of, &fields, name);
    let (kind, id, target) = (required("type"), required("id"), required("target"));
    if let Some(kind) = kind.filter(|kind| kind.text != "secret") {
        let message = format!("`type` must be `secret`, found {}", quoted(&kind.text));
        reader.wrong(Mistake::new(kind.at, message));
    }
    Some(Mount { id: id?.text, target: target?.text })
}
