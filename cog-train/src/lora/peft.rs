//! `adapter_config.json`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::config::{Bias, InitialValues, LoraConfig, Modules};
use crate::error::{Error, printable_name};

/// Keys that change nothing that is computed here, whatever their values: they are written back as they were read.
const WITHOUT_EFFECT: &[&str] = &[
    "auto_mapping",
    "corda_config",
    "eva_config",
    "fan_in_fan_out",
    "inference_mode",
    "loftq_config",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

/// First values that also change the base, which the file does not hold.
const CHANGE_THE_BASE: &[&str] = &["corda", "loftq", "lora_ga", "mica", "olora", "pissa"];

impl LoraConfig {
    /// Reads `adapter_config.json` in a folder.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] when the file is no configuration of a LoRA adapter, and for a key that would change what the adapter
    /// computes and is not supported; [`Error::File`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let file = folder.as_ref().join(super::files::CONFIG);
        let text = std::fs::read_to_string(&file).map_err(Error::file("read", &file))?;
        let json: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| Error::model(&file, format!("is no JSON object: {error}")))?;
        Self::of_json(&json).map_err(|reason| Error::model(&file, reason))
    }

    /// The error is the reason for which it is refused.
    pub(super) fn of_json(json: &Map<String, Value>) -> Result<Self, String> {
        let mut config = Self { alpha: 8.0, of_file: true, ..Self::new(8) };
        let mut kind = None;
        for (key, value) in json {
            let taken = config.take(key, value, &mut kind)?;
            if taken {
                continue;
            }
            if !WITHOUT_EFFECT.contains(&key.as_str()) && !is_empty(value) {
                return Err(format!(
                    "`{}` is `{}`, which would change what the adapter computes and is not supported",
                    printable_name(key),
                    printable_name(&value.to_string())
                ));
            }
            config.rest.insert(key.clone(), value.clone());
        }
        match kind.as_deref() {
            Some(kind) if kind.eq_ignore_ascii_case("lora") => Ok(config),
            Some(other) => Err(format!(
                "`peft_type` is `{}`, and only `LORA` is supported",
                printable_name(other)
            )),
            None => Err("has no `peft_type`".to_owned()),
        }
    }

    /// Takes a key that has a meaning here.
    fn take(
        &mut self,
        key: &str,
        value: &Value,
        kind: &mut Option<String>,
    ) -> Result<bool, String> {
        let wrong = |expected: &str| {
            let found = printable_name(&value.to_string());
            format!("`{key}` is `{found}`, not {expected}")
        };
        let text = || match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(wrong("a text")),
        };
        let flag = || match value {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            _ => Err(wrong("true or false")),
        };
        let number = || value.as_f64().ok_or_else(|| wrong("a number"));
        let names = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let modules = || match value {
            Value::Null => Ok(None),
            Value::String(text) if text.eq_ignore_ascii_case("all-linear") => {
                Ok(Some(Modules::AllLinear))
            }
            Value::String(text) => Ok(Some(Modules::Regex(text.clone()))),
            list => names(list)
                .map(|names| Some(Modules::Named(names)))
                .ok_or_else(|| wrong("a list of names")),
        };
        let size = |value: &Value| value.as_u64().and_then(|it| usize::try_from(it).ok());
        let list = || match value {
            Value::Null => Ok(Vec::new()),
            Value::String(one) => Ok(vec![one.clone()]),
            list => names(list).ok_or_else(|| wrong("a list of names")),
        };
        match key {
            "peft_type" => *kind = text()?,
            "r" => self.rank = size(value).ok_or_else(|| wrong("a rank"))?,
            "lora_alpha" => self.alpha = number()?,
            "lora_dropout" => self.dropout = number()?,
            "target_modules" => self.targets = modules()?,
            "exclude_modules" => self.exclude = modules()?,
            "rank_pattern" => {
                self.ranks = pattern(value, size).ok_or_else(|| wrong("ranks by name"))?;
            }
            "alpha_pattern" => {
                self.alphas = pattern(value, Value::as_f64).ok_or_else(|| wrong("alphas by name"))?;
            }
            "layers_to_transform" => {
                self.layers = match value {
                    Value::Null => None,
                    Value::Array(list) => {
                        let list: Option<_> = list.iter().map(size).collect();
                        Some(list.ok_or_else(|| wrong("a list of indices"))?)
                    }
                    one => Some(vec![size(one).ok_or_else(|| wrong("an index"))?]),
                }
                .filter(|list| !list.is_empty());
            }
            "layers_pattern" => self.layers_pattern = list()?,
            "modules_to_save" => self.modules_to_save = list()?,
            "bias" => {
                self.bias = match text()?.as_deref() {
                    None | Some("none") => Bias::None,
                    Some("all") => Bias::All,
                    Some("lora_only") => Bias::Adapted,
                    Some(_) => return Err(wrong("`none`, `all` or `lora_only`")),
                };
            }
            "use_rslora" => self.rslora = flag()?,
            "use_dora" => self.dora = flag()?,
            "task_type" => self.task_type = text()?,
            "base_model_name_or_path" => self.base_model = text()?,
            "init_lora_weights" => self.initial = initial(value).ok_or_else(|| wrong("a supported value: it also changes the base\nhint: save it in PEFT with `path_initial_model_for_weight_conversion`"))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The file's content; `targets` are the resolved ones.
    pub(super) fn to_json(&self, targets: &Modules) -> Value {
        let number = |value: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and below 2^53")]
            let whole = value as i64;
            if value.fract() == 0.0 && value.abs() < 2f64.powi(53) {
                json!(whole)
            } else {
                json!(value)
            }
        };
        let modules = |modules: &Modules| match modules {
            Modules::AllLinear => json!("all-linear"),
            Modules::Named(names) => json!(names),
            Modules::Regex(pattern) => json!(pattern),
        };
        let some = |names: &[String]| if names.is_empty() { Value::Null } else { json!(names) };
        let initial = match &self.initial {
            InitialValues::Uniform => json!(true),
            InitialValues::Gaussian => json!("gaussian"),
            InitialValues::Other(name) if name == "false" => json!(false),
            InitialValues::Other(name) => json!(name),
        };
        let bias = match self.bias {
            Bias::None => "none",
            Bias::All => "all",
            Bias::Adapted => "lora_only",
        };
        let ranks: Map<String, Value> =
            self.ranks.iter().map(|(name, rank)| (name.clone(), json!(rank))).collect();
        let alphas: Map<String, Value> =
            self.alphas.iter().map(|(name, alpha)| (name.clone(), number(*alpha))).collect();
        let own = json!({
            "alpha_pattern": alphas,
            "base_model_name_or_path": self.base_model,
            "bias": bias,
            "exclude_modules": self.exclude.as_ref().map(modules),
            "init_lora_weights": initial,
            "layers_pattern": some(&self.layers_pattern),
            "layers_to_transform": self.layers,
            "lora_alpha": number(self.alpha),
            "lora_dropout": self.dropout,
            "modules_to_save": some(&self.modules_to_save),
            "peft_type": "LORA",
            "r": self.rank,
            "rank_pattern": ranks,
            "target_modules": modules(targets),
            "task_type": self.task_type,
            "use_dora": self.dora,
            "use_rslora": self.rslora,
        });
        let Value::Object(mut all) = own else { return own };
        all.insert("inference_mode".to_owned(), json!(true));
        all.extend(self.rest.clone());
        all.sort_keys();
        all.into()
    }
}

/// Numbers by pattern, in the order of the file.
fn pattern<T>(value: &Value, number: impl Fn(&Value) -> Option<T>) -> Option<Vec<(String, T)>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Object(map) => {
            map.iter().map(|(name, value)| Some((name.clone(), number(value)?))).collect()
        }
        _ => None,
    }
}

fn initial(value: &Value) -> Option<InitialValues> {
    Some(match value {
        Value::Null | Value::Bool(true) => InitialValues::Uniform,
        Value::Bool(false) => InitialValues::Other("false".to_owned()),
        Value::String(name) if name.eq_ignore_ascii_case("gaussian") => InitialValues::Gaussian,
        Value::String(name)
            if !CHANGE_THE_BASE.iter().any(|other| name.to_lowercase().starts_with(other)) =>
        {
            InitialValues::Other(name.clone())
        }
        _ => return None,
    })
}

/// Whether a value is PEFT's for a method that is not used.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(_) => false,
    }
}
