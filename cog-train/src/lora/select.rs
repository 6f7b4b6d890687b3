//! The layers that an adapter adapts, by PEFT's rules.

use std::collections::{BTreeMap, BTreeSet};

use cog_train_nn::{Layer, LayerKind, Layout, LowRank};

use super::config::{Bias, LoraConfig, Modules, invalid};
use super::rules::Rules;
use crate::error::{Error, printable_name};

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
            if rules.targets(path, *layer) {
                branches.insert(path.clone(), (*layer, self.branch(&rules, path, *layer)?));
            }
        }
        if branches.is_empty() {
            return Err(no_target(self.targets.as_ref(), layout));
        }
        let mut in_full = BTreeSet::new();
        for module in &saved {
            let found = in_module(module, layout, &branches)?;
            if found.is_empty() && self.modules_to_save.contains(module) {
                return Err(invalid(format!(
                    "`modules_to_save` names `{}`, and no module with tensors ends with it\n{}",
                    printable_name(module),
                    list(layout)
                )));
            }
            in_full.extend(found);
        }
        let biases = layout.tensors.keys().filter(|name| self.trains_bias(name, &branches));
        in_full.extend(biases.cloned());
        Ok(Selected { branches, in_full })
    }

    /// Whether a tensor is a bias that is trained.
    fn trains_bias(&self, name: &str, branches: &BTreeMap<String, (Layer, LowRank)>) -> bool {
        let Some((path, "bias")) = name.rsplit_once('.') else { return false };
        match self.bias {
            Bias::None => false,
            Bias::All => true,
            Bias::Adapted => branches.contains_key(path),
        }
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

    fn branch(&self, rules: &Rules, path: &str, layer: Layer) -> Result<LowRank, Error> {
        let rank = rules.rank(path).map_or(self.rank, |at| self.ranks[at].1);
        let alpha = rules.alpha(path).map_or(self.alpha, |at| self.alphas[at].1);
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

/// The tensors of the modules whose paths end with `module`.
fn in_module(
    module: &str,
    layout: &Layout,
    branches: &BTreeMap<String, (Layer, LowRank)>,
) -> Result<Vec<String>, Error> {
    let shared = layout.layers.keys().any(|path| path.ends_with(module) && is_shared(path, layout));
    if shared {
        return Err(invalid(format!(
            "`modules_to_save` names `{module}`, which shares its weight with another layer: PEFT would train a copy of one of \
             the two\nhint: adapt the layer instead, or untie the model"
        )));
    }
    let ends = |name: &&String| {
        let dots = name.match_indices('.');
        dots.map(|(at, _)| &name[..at]).any(|path| path.ends_with(module))
    };
    let names: Vec<String> = layout.tensors.keys().filter(ends).cloned().collect();
    let adapted =
        |name: &&String| name.rsplit_once('.').is_some_and(|(path, _)| branches.contains_key(path));
    if let Some(name) = names.iter().find(adapted) {
        return Err(invalid(format!("`{name}` is of `modules_to_save` and of an adapted layer")));
    }
    Ok(names)
}

/// Whether a layer uses the weight of another, or another uses its own: a tied output layer, and an embedding of its size.
pub(super) fn is_shared(path: &str, layout: &Layout) -> bool {
    const TIED: LayerKind = LayerKind::Linear { tied: true };
    let Some(layer) = layout.layers.get(path) else { return false };
    let mut tied = layout.layers.values().filter(|other| other.kind == TIED);
    let is_its_table = |head: &Layer| (head.outputs, head.inputs) == (layer.inputs, layer.outputs);
    layer.kind == TIED || (layer.kind == LayerKind::Embedding && tied.any(is_its_table))
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
