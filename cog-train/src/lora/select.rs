//! The layers that an adapter adapts, by PEFT's rules.

use std::collections::{BTreeMap, BTreeSet};

use cog_train_nn::{Layer, LayerKind, Layout, LowRank};
use regex::Regex;

use super::config::{Bias, LoraConfig, Modules};
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
/// The heads of classifiers, which are trained in full.
const HEADS: &[&str] = &["classifier", "score"];

/// The result of a selection.
pub(super) struct Selected {
    /// By path.
    pub(super) branches: BTreeMap<String, (Layer, LowRank)>,
    /// The tensors of the base that are trained.
    pub(super) in_full: BTreeSet<String>,
}

impl LoraConfig {
    /// Selects layers and tensors of a model.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for settings out of range, and when targets or modules match nothing.
    pub(super) fn select(&self, layout: &Layout) -> Result<Selected, Error> {
        self.check()?;
        let saved = self.saved();
        let rules = Rules::new(self, &saved)?;
        let mut branches = BTreeMap::new();
        for (path, layer) in &layout.layers {
            if rules.targets(path, *layer)? {
                branches.insert(path.clone(), (*layer, self.branch(&rules, path, *layer)?));
            }
        }
        if branches.is_empty() {
            return Err(no_target(self.targets.as_ref(), layout));
        }
        let mut in_full = BTreeSet::new();
        for module in &saved {
            let found = self.full(module, layout, &branches)?;
            if found.is_empty() && self.modules_to_save.contains(module) {
                return Err(invalid(format!(
                    "`modules_to_save` names `{}`, and no module with tensors ends with it\n{}",
                    printable_name(module),
                    list(layout)
                )));
            }
            in_full.extend(found);
        }
        let bias = |name: &str| name == "bias" || name.ends_with(".bias");
        in_full.extend(
            layout
                .tensors
                .keys()
                .filter(|name| match self.bias {
                    Bias::None => false,
                    Bias::All => bias(name),
                    Bias::Adapted => {
                        name.strip_suffix(".bias").is_some_and(|path| branches.contains_key(path))
                    }
                })
                .cloned(),
        );
        Ok(Selected { branches, in_full })
    }

    fn check(&self) -> Result<(), Error> {
        let mut problems = Vec::new();
        let alphas = self.alphas.iter().map(|(_, alpha)| alpha).chain([&self.alpha]);
        problems.extend(
            alphas
                .filter(|it| !it.is_finite())
                .map(|it| format!("alpha is {it}, not a finite number")),
        );
        if self.ranks.iter().any(|(_, rank)| *rank == 0) || self.rank == 0 {
            problems.push("a rank is 0, and must be at least 1".to_owned());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            problems.push(format!("the dropout is {}, not from 0 to below 1", self.dropout));
        }
        if self.layers.is_some() && !matches!(self.targets, Some(Modules::Named(_))) {
            problems.push("`layers_to_transform` needs targets by name".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(invalid(problems.join("\n"))) }
    }

    /// The modules that are trained in full, with a classifier's head.
    fn saved(&self) -> Vec<String> {
        let classifies = matches!(self.task_type.as_deref(), Some("SEQ_CLS" | "TOKEN_CLS"));
        let heads = HEADS.iter().filter(|_| classifies).map(|head| (*head).to_owned());
        let own = self.modules_to_save.iter().cloned();
        own.chain(heads.filter(|head| !self.modules_to_save.contains(head))).collect()
    }

    /// The tensors of the modules whose paths end with `module`.
    fn full(
        &self,
        module: &str,
        layout: &Layout,
        branches: &BTreeMap<String, (Layer, LowRank)>,
    ) -> Result<Vec<String>, Error> {
        let tied = |path: &str, layer: &Layer| {
            layer.kind == (LayerKind::Linear { tied: true }) && path.ends_with(module)
        };
        let shares = layout.layers.iter().find(|(path, layer)| tied(path, layer));
        let is_tied = |layer: &Layer| layer.kind == LayerKind::Linear { tied: true };
        let embeds = layout.layers.iter().any(|(_, layer)| is_tied(layer))
            && layout.layers.iter().any(|(path, layer)| {
                layer.kind == LayerKind::Embedding
                    && path.ends_with(module)
                    && path.contains("embed")
            });
        if shares.is_some() || embeds {
            return Err(invalid(format!(
                "`modules_to_save` names `{module}`, which shares its weight with another layer: PEFT would train a copy of one of \
                 the two\nhint: adapt the layer instead, or untie the model"
            )));
        }
        let ends = |name: &&String| {
            let mut path = name.as_str();
            while let Some((parent, _)) = path.rsplit_once('.') {
                if parent.ends_with(module) {
                    return true;
                }
                path = parent;
            }
            false
        };
        let names: Vec<String> = layout.tensors.keys().filter(ends).cloned().collect();
        let adapted =
            |name: &&String| branches.contains_key(name.rsplit_once('.').map_or("", |it| it.0));
        if let Some(name) = names.iter().find(adapted) {
            return Err(invalid(format!(
                "`{name}` is of `modules_to_save` and of an adapted layer"
            )));
        }
        Ok(names)
    }

    fn branch(&self, rules: &Rules, path: &str, layer: Layer) -> Result<LowRank, Error> {
        let of = |patterns: &[Regex]| patterns.iter().position(|pattern| pattern.is_match(path));
        let rank = of(&rules.ranks).map_or(self.rank, |at| self.ranks[at].1);
        let alpha = of(&rules.alphas).map_or(self.alpha, |at| self.alphas[at].1);
        #[expect(clippy::cast_precision_loss, reason = "a rank is small")]
        let size = rank as f64;
        let scale = alpha / if self.rslora { size.sqrt() } else { size };
        let branch = LowRank::new(rank, scale).dropout(self.dropout);
        match (self.dora, layer.kind) {
            (true, LayerKind::Embedding) => Err(invalid(format!(
                "`use_dora` on the embedding `{path}` is not supported\nhint: leave it out of the targets"
            ))),
            (true, _) => Ok(branch.dora()),
            (false, _) => Ok(branch),
        }
    }
}

/// The compiled rules of a configuration.
struct Rules<'a> {
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
    fn new(config: &'a LoraConfig, saved: &[String]) -> Result<Self, Error> {
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

    fn targets(&self, path: &str, layer: Layer) -> Result<bool, Error> {
        let linear = matches!(layer.kind, LayerKind::Linear { .. });
        let is = |rule: &Rule<'_>| rule.matches(path, linear);
        if self.exclude.as_ref().is_some_and(is) || self.saved.iter().any(|it| it.is_match(path)) {
            return Ok(false);
        }
        let Rule::Named(names) = self.targets else { return Ok(is(&self.targets)) };
        // A path that is named in full is adapted in every block.
        if names.iter().any(|name| name == path) {
            return Ok(true);
        }
        let (Some(layers), true) = (self.layers, is(&self.targets)) else {
            return Ok(is(&self.targets));
        };
        let index = self.index.iter().find_map(|pattern| pattern.captures(path));
        let index = index.and_then(|found| found[1].parse().ok());
        Ok(index.is_some_and(|index: usize| layers.contains(&index)))
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

fn no_target(targets: Option<&Modules>, layout: &Layout) -> Error {
    let wanted = match targets {
        Some(Modules::Named(names)) => {
            let names: Vec<_> =
                names.iter().map(|name| format!("`{}`", printable_name(name))).collect();
            names.join(", ")
        }
        Some(Modules::Regex(pattern)) => format!("the expression `{}`", printable_name(pattern)),
        _ => "`all-linear`".to_owned(),
    };
    invalid(format!("no layer of the model matches the targets {wanted}\n{}", list(layout)))
}

/// A hint that lists the layers by the ends of their paths.
fn list(layout: &Layout) -> String {
    let end = |path: &String| path.rsplit('.').next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = layout.layers.keys().map(end).collect();
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let example =
        layout.layers.keys().next().map_or_else(String::new, |path| format!(", such as `{path}`"));
    format!("hint: the model has the layers {}{example}", names.join(", "))
}

pub(super) fn invalid(reason: String) -> Error {
    Error::InvalidConfig { reason }
}
