//! PEFT's rules for the names of layers, as regular expressions.

use cog_train_nn::{Layer, LayerKind};
use regex::Regex;

use super::config::{LoraConfig, Modules, invalid};
use crate::error::{Error, printable_name};

/// The output layers of language models, which `all-linear` leaves out.
const OUTPUTS: &[&str] = &[
    "cls.predictions.decoder",
    "decoder",
    "embed_out",
    "lm_head",
    "lm_head.decoder",
    "vocab_projector",
];

/// The compiled rules of a configuration.
pub(super) struct Rules<'a> {
    targets: Rule<'a>,
    exclude: Option<Rule<'a>>,
    saved: Vec<Regex>,
    layers: Option<&'a [usize]>,
    /// Captures the number of a block.
    index: Vec<Regex>,
    ranks: Vec<Regex>,
    alphas: Vec<Regex>,
}

enum Rule<'a> {
    AllLinear,
    Named(&'a [String]),
    Regex(Regex),
}

impl<'a> Rules<'a> {
    pub(super) fn new(config: &'a LoraConfig, saved: &[String]) -> Result<Self, Error> {
        let Some(targets) = &config.targets else {
            return Err(invalid(
                "an adapter needs targets\nhint: `Modules::AllLinear`, names of modules, or `Modules::default_of` a model type"
                    .to_owned(),
            ));
        };
        let end = |key: &str, pattern: &String| whole(key, &format!(r"(?:.*\.)?(?:{pattern})"));
        let ranks = config.ranks.iter().map(|(pattern, _)| end("rank_pattern", pattern));
        let alphas = config.alphas.iter().map(|(pattern, _)| end("alpha_pattern", pattern));
        let saved = saved
            .iter()
            .map(|module| whole("modules_to_save", &format!(r"(?:.*\.)?(?:{module})(?:\..*)?")));
        let named = config
            .layers_pattern
            .iter()
            .map(|name| prefix("layers_pattern", &format!(r"(?:.*?\.)?(?:{name})\.(\d+)\.")));
        let index: Vec<Regex> = if config.layers_pattern.is_empty() {
            vec![prefix("layers_pattern", r".*?\.[^.]*\.(\d+)\.")?]
        } else {
            named.collect::<Result<_, _>>()?
        };
        Ok(Self {
            targets: Rule::new("target_modules", targets)?,
            exclude: config
                .exclude
                .as_ref()
                .map(|it| Rule::new("exclude_modules", it))
                .transpose()?,
            saved: saved.collect::<Result<_, _>>()?,
            layers: config.layers.as_deref().filter(|layers| !layers.is_empty()),
            index,
            ranks: ranks.collect::<Result<_, _>>()?,
            alphas: alphas.collect::<Result<_, _>>()?,
        })
    }

    /// Whether a layer is adapted.
    pub(super) fn targets(&self, path: &str, layer: Layer) -> bool {
        let linear = matches!(layer.kind, LayerKind::Linear { .. });
        let is = |rule: &Rule<'_>| rule.matches(path, linear);
        if self.exclude.as_ref().is_some_and(is) || self.saved.iter().any(|it| it.is_match(path)) {
            return false;
        }
        let Rule::Named(names) = self.targets else { return is(&self.targets) };
        // A path that is named in full is adapted in every block.
        if names.iter().any(|name| name == path) {
            return true;
        }
        let (Some(layers), true) = (self.layers, is(&self.targets)) else {
            return is(&self.targets);
        };
        let index = self.index.iter().find_map(|pattern| pattern.captures(path));
        let index = index.and_then(|found| found[1].parse().ok());
        index.is_some_and(|index: usize| layers.contains(&index))
    }

    /// The place of the first pattern of a rank that a layer matches.
    pub(super) fn rank(&self, path: &str) -> Option<usize> {
        self.ranks.iter().position(|pattern| pattern.is_match(path))
    }

    /// The same of an alpha.
    pub(super) fn alpha(&self, path: &str) -> Option<usize> {
        self.alphas.iter().position(|pattern| pattern.is_match(path))
    }
}

impl<'a> Rule<'a> {
    fn new(key: &str, modules: &'a Modules) -> Result<Self, Error> {
        Ok(match modules {
            Modules::AllLinear => Self::AllLinear,
            Modules::Named(names) => Self::Named(names),
            Modules::Regex(pattern) => Self::Regex(whole(key, pattern)?),
        })
    }

    fn matches(&self, path: &str, linear: bool) -> bool {
        match self {
            Self::AllLinear => linear && !OUTPUTS.contains(&path),
            Self::Named(names) => names.iter().any(|name| {
                path.strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }),
            Self::Regex(pattern) => pattern.is_match(path),
        }
    }
}

/// A pattern that matches a whole path, as Python's `re.fullmatch`.
fn whole(key: &str, pattern: &str) -> Result<Regex, Error> {
    compile(key, pattern, &format!("^(?:{pattern})$"))
}

/// A pattern that matches the start of a path, as Python's `re.match`.
fn prefix(key: &str, pattern: &str) -> Result<Regex, Error> {
    compile(key, pattern, &format!("^{pattern}"))
}

fn compile(key: &str, pattern: &str, anchored: &str) -> Result<Regex, Error> {
    Regex::new(anchored).map_err(|error| {
        let cause = error.to_string();
        let cause = cause.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        invalid(format!(
            "`{key}` has `{}`, which is no regular expression here: {cause}\nhint: look-around and back-references are not \
             supported; name the modules",
            printable_name(pattern)
        ))
    })
}
