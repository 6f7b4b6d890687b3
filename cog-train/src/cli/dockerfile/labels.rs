//! The labels by which Cog and its platforms know an image.

use serde_json::{Map, Value, json};

use crate::config::{Command, Config, Reference};

/// Returns the configuration as the label `run.cog.config` has it. `train` and `predict` are the binary's own where the
/// file does not name them.
pub(super) fn config(config: &Config, train: Option<String>, predict: Option<String>) -> Value {
    let build = config.build();
    let mut section = Map::new();
    if build.gpu {
        section.insert("gpu".to_owned(), true.into());
    }
    let texts = [
        ("cuda", &build.cuda),
        ("cudnn", &build.cudnn),
        ("python_version", &build.python_version),
        ("python_requirements", &build.python_requirements),
        ("sdk_version", &build.sdk_version),
    ];
    for (key, text) in texts {
        section.extend(text.as_ref().map(|text| (key.to_owned(), json!(text))));
    }
    let lists = [
        ("python_packages", json!(build.python_packages)),
        ("system_packages", json!(build.system_packages)),
        ("run", build.run.iter().map(command).collect()),
        ("pre_install", json!(build.pre_install)),
    ];
    let is_given = |list: &Value| list.as_array().is_some_and(|items| !items.is_empty());
    section.extend(
        lists.into_iter().filter(|(_, it)| is_given(it)).map(|(key, it)| (key.to_owned(), it)),
    );
    let written = |it: Option<&Reference>| it.map(|it| format!("{}:{}", it.file(), it.name()));
    let variables: Vec<String> =
        config.environment().map(|(name, value)| format!("{name}={value}")).collect();
    let mut label = Map::from_iter([("build".to_owned(), Value::Object(section))]);
    let fields = [
        ("image", config.image().map(str::to_owned)),
        ("model", config.model().map(str::to_owned)),
        // `run` has this name inside of Cog.
        ("predict", written(config.predict()).or(predict)),
        ("train", written(config.train()).or(train)),
    ];
    label.extend(fields.into_iter().filter_map(|(key, it)| Some((key.to_owned(), it?.into()))));
    if !variables.is_empty() {
        label.insert("environment".to_owned(), json!(variables));
    }
    Value::Object(label)
}

fn command(command: &Command) -> Value {
    if command.mounts.is_empty() {
        return command.command.trim().into();
    }
    let mounts: Vec<Value> = command
        .mounts
        .iter()
        .map(|mount| json!({"type": "secret", "id": mount.id, "target": mount.target}))
        .collect();
    json!({"command": command.command.trim(), "mounts": mounts})
}
