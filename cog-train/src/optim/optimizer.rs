//! The rule, weight decay and learning rate of each parameter, and the state by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Tensor, Var};
use serde_json::json;

use super::adamw::AdamW;
use super::group::Group;
use super::limits::{Limits, Range};
use super::muon::Muon;
use super::rule::{Rule, Update};
use super::state::{self, Slot};
use crate::error::Error;
use crate::params::Gradients;
use crate::params::Pattern;
use crate::params::{Param, Params, RowRange};

/// The matrices that [`Optimizer::muon`] leaves to AdamW: embeddings (GPT-2 calls them `wte` and `wpe`), heads and norms.
const NOT_HIDDEN: [&str; 6] = ["*embed*", "*wte*", "*wpe*", "*lm_head*", "*head*", "*norm*"];

/// Updates parameters by their gradients.
///
/// ```
/// use cog_train::candle_core::{DType, Device, Tensor};
/// use cog_train::optim::{AdamW, Optimizer};
/// use cog_train::engine::{Gradients, Params};
///
/// let params = Params::new([("weight", Tensor::zeros((2, 2), DType::F32, &Device::Cpu)?)])?;
/// let mut optimizer = Optimizer::new(AdamW::default());
/// optimizer.prepare(&params)?;
///
/// let weight = params.get("weight").unwrap().compute();
/// let loss = (weight - 1.0)?.sqr()?.sum_all()?;
/// let gradients = Gradients::take(&params, &mut loss.backward()?)?;
/// optimizer.step(&params, &gradients, 1, 0.1, 1.0)?;
/// let first = weight.to_vec2::<f32>()?[0][0];
/// assert!((first - 0.1).abs() < 1e-6); // Adam's first step is the learning rate itself
/// # Ok::<(), cog_train::anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Optimizer {
    rule: Arc<dyn Rule>,
    /// The rule of the parameters that `rule` is not for, if there is one.
    other: Option<Arc<dyn Rule>>,
    groups: Vec<(Pattern, Group)>,
    /// By the parameter's name, once prepared.
    settings: BTreeMap<String, UpdateSettings>,
}

/// The rule, settings and state of one parameter.
#[derive(Debug)]
struct UpdateSettings {
    rule: Arc<dyn Rule>,
    weight_decay: f64,
    /// Multiplies the learning rate.
    factor: f64,
    /// The names and dimensions of its state.
    layout: Vec<(&'static str, Vec<usize>)>,
    /// The rows that are updated here; other ranks update the others.
    rows: RowRange,
    /// The state of these rows; `None` without any.
    slots: Option<Vec<Var>>,
}

impl Optimizer {
    /// One rule for all. The weight decay is the rule's for parameters of two dimensions or more; norms and biases,
    /// which have fewer, have none.
    pub fn new(rule: impl Rule + 'static) -> Self {
        Self { rule: Arc::new(rule), other: None, groups: Vec::new(), settings: BTreeMap::new() }
    }

    /// Returns the same optimizer without state.
    pub(crate) fn without_state(&self) -> Self {
        Self {
            rule: Arc::clone(&self.rule),
            other: self.other.clone(),
            groups: self.groups.clone(),
            settings: BTreeMap::new(),
        }
    }

    /// Muon for the matrices inside a network and AdamW for the rest.
    ///
    /// The rest are parameters that do not have exactly two dimensions, and those whose names fit `*embed*`, `*wte*`,
    /// `*wpe*`, `*lm_head*`, `*head*` or `*norm*`. A [`group`](Self::group) with a rule of its own comes before this:
    /// `.group("*heads*", Group::new().rule(Muon::default()))`.
    ///
    /// Both have one learning rate. With [`Adjust::Original`](super::Adjust::Original), AdamW's is usually 10 to 100
    /// times smaller: see [`Group::learning_rate`], or take
    /// [`Adjust::MatchRmsAdamw`](super::Adjust::MatchRmsAdamw).
    #[must_use]
    pub fn muon(muon: Muon, adamw: AdamW) -> Self {
        Self { other: Some(Arc::new(adamw)), ..Self::new(muon) }
    }

    /// Updates the parameters that fit otherwise. The first group that fits a name wins.
    #[must_use]
    pub fn group(mut self, pattern: impl Into<Pattern>, group: Group) -> Self {
        self.groups.push((pattern.into(), group));
        self
    }

    /// Allocates the state of the trained parameters: zeros, on their device. It replaces any earlier state.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for a setting out of its range, a group that fits no parameter, or a rule that cannot update a parameter of
    /// its; [`Error::Tensor`] when
    /// the device has no room.
    pub fn prepare(&mut self, params: &Params) -> Result<(), Error> {
        self.prepare_rows(params, |_, param| param.all_rows())
    }

    /// [Prepares](Self::prepare) for updates of the rows that `rows` returns for a name; other ranks have the others.
    pub(crate) fn prepare_rows(
        &mut self,
        params: &Params,
        rows: impl Fn(&str, &Param) -> RowRange,
    ) -> Result<(), Error> {
        self.check()?;
        for (pattern, _) in &self.groups {
            if !params.iter().any(|(name, _)| pattern.matches(name)) {
                return Err(Error::InvalidConfig {
                    reason: format!("no parameter fits the optimizer's group `{pattern}`"),
                });
            }
        }
        let mut settings = BTreeMap::new();
        for (name, param) in params.trainable() {
            settings.insert(name.to_owned(), self.settings_of(name, param, rows(name, param))?);
        }
        self.settings = settings;
        Ok(())
    }

    /// Checks the settings of all rules and groups.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] with the name and the value of each setting that is out of its range.
    pub fn check(&self) -> Result<(), Error> {
        let mut limits = Limits::default();
        for rule in std::iter::once(&self.rule).chain(&self.other) {
            limits.include(rule.check());
        }
        for (pattern, group) in &self.groups {
            let settings =
                [("weight_decay", group.weight_decay), ("learning_rate", group.learning_rate)];
            for (name, number) in settings {
                if let Some(number) = number {
                    let name = format!("group `{pattern}` {name}");
                    limits.number(&name, number, Range::NotNegative);
                }
            }
            if let Some(rule) = &group.rule {
                limits.include(rule.check());
            }
        }
        limits.finish()
    }

    fn settings_of(
        &self,
        name: &str,
        param: &Param,
        rows: RowRange,
    ) -> Result<UpdateSettings, Error> {
        let dims = param.dims();
        let (rule, group) = (self.rule_of(name, dims), self.group_of(name));
        if !rule.supports(dims) {
            return Err(Error::InvalidConfig {
                reason: format!(
                    "`{}` cannot update `{name}` of the shape {dims:?}\nhint: a group with another rule can",
                    rule.name()
                ),
            });
        }
        let usual_decay = if dims.len() < 2 { 0.0 } else { rule.weight_decay() };
        let layout = rule.slots(dims);
        let is_whole = rows == param.all_rows();
        let slots = if is_whole || !rows.is_empty() {
            let here = match dims {
                [_, row @ ..] if !is_whole => rule.slots(&[&[rows.len()], row].concat()),
                _ => layout.clone(),
            };
            let device = param.compute().device();
            let zeros = |(slot, dims): &(&'static str, Vec<usize>)| {
                Var::zeros(&dims[..], rule.slot_dtype(slot), device)
            };
            Some(here.iter().map(zeros).collect::<Result<_, _>>()?)
        } else {
            None
        };
        Ok(UpdateSettings {
            weight_decay: group.and_then(|it| it.weight_decay).unwrap_or(usual_decay),
            factor: group.and_then(|it| it.learning_rate).unwrap_or(1.0),
            rule,
            layout,
            rows,
            slots,
        })
    }

    /// Whether the rows of a parameter may be updated one by one.
    pub(crate) fn is_elementwise(&self, name: &str, dims: &[usize]) -> bool {
        self.rule_of(name, dims).is_elementwise()
    }

    fn rule_of(&self, name: &str, dims: &[usize]) -> Arc<dyn Rule> {
        let of_group = self.group_of(name).and_then(|group| group.rule.clone());
        of_group.unwrap_or_else(|| self.usual(name, dims))
    }

    fn group_of(&self, name: &str) -> Option<&Group> {
        let found = self.groups.iter().find(|(pattern, _)| pattern.matches(name));
        found.map(|(_, group)| group)
    }

    /// The rule of a parameter that no group says otherwise of.
    fn usual(&self, name: &str, dims: &[usize]) -> Arc<dyn Rule> {
        match &self.other {
            Some(other)
                if dims.len() != 2
                    || NOT_HIDDEN.iter().any(|pattern| Pattern::new(*pattern).matches(name)) =>
            {
                Arc::clone(other)
            }
            _ => Arc::clone(&self.rule),
        }
    }

    /// One update, in the order of the names; a parameter without a gradient is left as it is. `step` is counted from 1,
    /// and the gradients are multiplied by `gradient_scale`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when a parameter was not there when [`prepare`](Self::prepare) was called, or when the step is 0;
    /// [`Error::Tensor`] when the device fails.
    pub fn step(
        &mut self,
        params: &Params,
        gradients: &Gradients,
        step: u64,
        learning_rate: f64,
        gradient_scale: f64,
    ) -> Result<(), Error> {
        if step == 0 {
            return Err(Error::InvalidConfig {
                reason: "an optimizer counts its steps from 1".to_owned(),
            });
        }
        for (name, param) in params.trainable() {
            let Some(gradient) = gradients.get(name) else { continue };
            if gradient.elem_count() == 0 {
                continue; // nothing to update, and no mean or norm that a rule could take
            }
            let Some(settings) = self.settings.get(name) else {
                let reason = format!("the optimizer was not prepared for `{name}`");
                return Err(Error::InvalidConfig { reason });
            };
            let Some(slots) = &settings.slots else { continue };
            let at = Update {
                step,
                learning_rate: learning_rate * settings.factor,
                weight_decay: settings.weight_decay,
                gradient_scale,
            };
            param.update_rows(&settings.rows, |master| {
                settings.rule.update(master, gradient, slots, &at)
            })?;
        }
        Ok(())
    }

    /// The state by name, `layer.weight.exp_avg`. The tensors share storage with the optimizer's.
    #[must_use]
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let slots = self.slots().into_iter();
        slots.filter_map(|slot| Some((slot.name, slot.var?.as_detached_tensor()))).collect()
    }

    /// Restores a state, after [`prepare`](Self::prepare). If one tensor does not fit, none is taken.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] when tensors are missing, not expected or of another shape.
    pub fn restore(&mut self, state: BTreeMap<String, Tensor>) -> Result<(), Error> {
        state::restore("optimizer", self.slots(), state)
    }

    /// Returns all state, that of other ranks included, by parameter.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let mut all = Vec::new();
        for (param, UpdateSettings { rule, layout, rows, slots, .. }) in &self.settings {
            for (at, (slot, dims)) in layout.iter().enumerate() {
                all.push(Slot {
                    name: format!("{param}.{slot}"),
                    param: param.clone(),
                    dims: dims.clone(),
                    dtype: rule.slot_dtype(slot),
                    rows: rows.clone(),
                    var: slots.as_ref().map(|slots| slots[at].clone()),
                });
            }
        }
        all
    }

    /// The settings of the rules and groups.
    #[must_use]
    pub fn describe(&self) -> serde_json::Value {
        let groups: Vec<_> = self
            .groups
            .iter()
            .map(|(pattern, group)| json!({ "names": pattern.to_string(), "group": group.describe() }))
            .collect();
        let mut all = json!({ "rule": self.rule.describe(), "groups": groups });
        if let Some(other) = &self.other {
            all["other"] = other.describe();
        }
        all
    }
}
