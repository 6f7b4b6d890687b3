//! `BIN dockerfile`: the recipe of a container image of this binary, with the contract of an image that Cog has built.
//!
//! Every value of `cog.yaml` that stands in the file is quoted, or of a form that needs no quotes, or refused at its line.

mod labels;
mod quote;
mod recipe;
mod sources;

use std::path::Path;

use clap::{Arg, ArgMatches};

use self::recipe::Recipe;
use self::sources::Sources;
use super::app::App;
use crate::config::Config;
use crate::error::Error;
use crate::run::Role;

/// The command.
pub(super) fn command() -> clap::Command {
    clap::Command::new("dockerfile").about("Print a Dockerfile for this binary").arg(
        Arg::new("features")
            .long("features")
            .value_name("LIST")
            .help("Features of cargo that the binary is built with, separated by commas")
            .value_delimiter(','),
    )
}

/// Returns the argument of `--features`.
pub(super) fn features(matches: &ArgMatches) -> Vec<String> {
    matches.get_many::<String>("features").into_iter().flatten().cloned().collect()
}

/// Returns the Dockerfile of a binary, built with these features beside those that it needs. `schema` is its OpenAPI
/// document on one line, and `cog_version` the version of Cog whose contract it keeps.
pub(super) fn dockerfile(
    app: &App,
    config: &Config,
    features: &[String],
    schema: &str,
    cog_version: &str,
) -> Result<String, Error> {
    config.verify_image()?;
    if let Some(name) = features.iter().find(|name| !is_feature(name)) {
        let reason = format!("`--features`: `{name}` is not the name of a feature");
        return Err(Error::Arguments { reason });
    }
    let cuda = config.cuda_release().filter(|_| config.gpu());
    let mut sources = Sources::find(Path::new(app.manifest_dir), app.target, cuda.is_some())?;
    for name in features {
        if !sources.features.contains(name) {
            sources.features.push(name.clone());
        }
    }
    let own = |role: Option<&Role>| role.map(|role| format!("{}:{}", app.source, role.name));
    let label = labels::config(config, own(app.trainer.as_ref()), own(app.predictor.as_ref()));
    let recipe = Recipe {
        sources: &sources,
        config,
        schema,
        label: &label,
        cog_version,
        cuda,
        predicts: app.predictor.is_some(),
    };
    Ok(recipe.text())
}

fn is_feature(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-+./".contains(c))
}

#[cfg(test)]
mod tests;
