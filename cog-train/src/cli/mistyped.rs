//! Inputs that were written as options or as bare words.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error};

use super::app::App;
use crate::input::Kind as InputKind;

/// Returns the message for an unknown argument that is an input's name: `--epochs 3`, `--epochs=3`, `epochs=3`.
pub(super) fn message(app: &App, args: &[OsString], error: &Error) -> Option<String> {
    let unknown = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand]
        .into_iter()
        .find_map(|kind| error.get(kind));
    let Some(ContextValue::String(unknown)) = unknown else { return None };
    let at =
        args.iter().position(|arg| arg.to_str().is_some_and(|arg| arg.starts_with(unknown)))?;
    let text = args[at].to_str()?;
    let bare = text.strip_prefix("--");
    let (name, value) = match bare.unwrap_or(text).split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (bare?, args.get(at + 1).and_then(|next| next.to_str())),
    };
    let name = name.replace('-', "_");
    let roles = [&app.trainer, &app.predictor].into_iter().flatten();
    let spec = roles.flat_map(|role| role.table).find(|spec| spec.name == name)?;
    let value = value.filter(|value| spec.ty.kind != InputKind::Secret && !value.starts_with('-'));
    let what = if bare.is_some() { format!("--{}", name.replace('_', "-")) } else { name.clone() };
    Some(format!(
        "`{what}` is an input and not an option\nhint: write `-i {name}={}`",
        value.unwrap_or("VALUE")
    ))
}
