//! Conversion of bytes to a [`Config`] and all notes on it.

use std::sync::Arc;

use super::node::Node;
use super::note::Note;
use super::read::{Fields, Reader};
use super::verify::Names;
use super::{Config, build, environment, keys, reference, repository, source, tree, weights};

/// Reads what is valid in the file, and collects the notes on it. `names` only makes hints more exact.
pub(super) fn load(bytes: &[u8], file_name: &str, names: &Names<'_>) -> (Config, Vec<Note>) {
    let file = Arc::from(file_name);
    let mut reader = Reader::new(&file);
    let root = root(&mut reader, bytes);
    let mut config = root.and_then(|root| read(&mut reader, &root, names)).unwrap_or_default();
    config.file = Some(file);
    (config, reader.notes)
}

/// Parses a file into its root, and notes each mistake. There is no root in an empty file, and in one that cannot be parsed.
pub(super) fn root(reader: &mut Reader, bytes: &[u8]) -> Option<Node> {
    let (root, mistakes) = match source::text(bytes) {
        Ok(text) => tree::parse(text),
        Err(mistake) => (None, vec![mistake]),
    };
    for mistake in mistakes {
        reader.wrong(mistake);
    }
    root.filter(|root| !root.is_null())
}

fn read(reader: &mut Reader, root: &Node, names: &Names<'_>) -> Option<Config> {
    let top = reader.fields(&keys::TOP, root)?;
    reader.exclusive(&top, ["run", "predict"], "keep `run`, which is `predict` by its new name");
    reader.exclusive(
        &top,
        ["image", "model"],
        "keep `model` for a model with weights, else `image`",
    );
    let run = reference::read(reader, &top, "run", names.predictor);
    let predict = reference::read(reader, &top, "predict", names.predictor);
    let model = reader.text(&top, "model");
    if let Some(Err(mistake)) = model.as_ref().map(repository::check) {
        reader.wrong(mistake);
    }
    let environment = environment::read(reader, &top);
    Some(Config {
        file: None,
        build: top.get("build").and_then(|(_, node)| build::read(reader, node)).unwrap_or_default(),
        train: reference::read(reader, &top, "train", names.trainer),
        predict: run.or(predict),
        image: reader.text(&top, "image").map(|text| text.text),
        model: model.map(|text| text.text),
        environment: environment.variables,
        environment_positions: environment.positions,
        concurrency_max: concurrency(reader, &top),
        weights: weights::read(reader, &top),
    })
}

fn concurrency(reader: &mut Reader, top: &Fields<'_>) -> Option<u32> {
    let (_, node) = top.get("concurrency")?;
    let fields = reader.fields(&keys::CONCURRENCY, node)?;
    reader.count(&fields, "default_target");
    if fields.get("max").is_none() {
        reader.missing(keys::CONCURRENCY.of, &fields, "max");
    }
    reader.count(&fields, "max")
}
