//! The command that tries what was trained.

use std::path::Path;

use serde_json::Value;

use super::folder::shown;
use super::outputs::Published;
use super::role::Role;

/// The fields of an output that a predictor starts from, the likeliest first.
const WEIGHTS: [&str; 2] = ["weights", "model"];

/// Returns the command that predicts with a published output, if the program has a predictor: with the inputs that it needs.
pub(super) fn next_command(role: &Role, published: &Published) -> Option<String> {
    let inputs = role.predictor?;
    let field = |name: &&str| published.value.get(name).and_then(Value::as_str);
    let named = WEIGHTS.iter().find_map(field).map(Path::new);
    let path = named.or(published.paths.first().map(AsRef::as_ref)).filter(|it| it.exists())?;
    let program = std::env::args_os().next()?;
    let command = role.command.map(|command| format!(" {command}")).unwrap_or_default();
    let needed = inputs.iter().filter(|spec| spec.default.is_none() && !spec.ty.optional);
    let needed = needed.fold(String::new(), |all, spec| format!("{all} -i {}=...", spec.name));
    let program = shown(Path::new(&program));
    Some(format!("COG_WEIGHTS={} {program}{command} predict{needed}", shown(path)))
}
