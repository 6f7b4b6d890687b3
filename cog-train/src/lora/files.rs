//! An adapter's folder: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::adapter::Adapter;
use super::config::Modules;
use crate::error::{Error, printable_name};
use crate::partial;
use crate::weights::Weights;

/// The settings' file.
pub(super) const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";
/// PEFT's wrappers around a model.
const PREFIX: &str = "base_model.model.";
/// PEFT's name for the layer within an adapted one.
const BASE_LAYER: &str = "base_layer";
/// The most problems that an error lists.
const SHOWN: usize = 10;

impl Adapter {
    /// Writes the adapter into a folder, as PEFT's `save_pretrained`. `tensors` holds those that are trained, and may hold
    /// others: [`Params::masters`](crate::engine::Params::masters).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] when `tensors` lacks one; [`Error::File`]; those of [`Weights::save`].
    pub fn save(
        &self,
        folder: impl AsRef<Path>,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<(), Error> {
        let folder = folder.as_ref();
        let named = self.trained.keys().map(|name| {
            let tensor = super::adapter::found(tensors, name)?;
            Ok((self.peft_name(name), tensor.clone()))
        });
        let named: Vec<_> = named.collect::<Result<_, Error>>()?;
        std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        Weights::save(named, folder.join(TENSORS))?;
        let file = folder.join(CONFIG);
        let text = format!("{:#}\n", self.config.to_json(&self.targets()));
        let failed = || Error::file("write", &file);
        let mut written = partial::file(folder, ".adapter-").map_err(failed())?;
        written.write_all(text.as_bytes()).map_err(failed())?;
        written.as_file().sync_all().map_err(failed())?;
        written.persist(&file).map_err(|error| failed()(error.error))?;
        Ok(())
    }

    /// Loads the tensors of an adapter, which must be exactly those that are trained here. A layer of the base that PEFT has
    /// stored beside its branch is among the result.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] with all tensors that are missing, unexpected or of another shape: the adapter was made for another base,
    /// or with other settings. Those of [`Weights::open`].
    pub fn load(&self, folder: impl AsRef<Path>) -> Result<BTreeMap<String, Tensor>, Error> {
        let folder = folder.as_ref();
        let file = folder.join(TENSORS);
        if !file.is_file() && folder.join("adapter_model.bin").is_file() {
            return Err(Error::model(
                folder,
                "has its tensors in `adapter_model.bin`, which to read is to run code\nhint: load it in PEFT and save it with \
                 `safe_serialization=True`",
            ));
        }
        let weights = Weights::open(file.to_string_lossy())?;
        let (mut loaded, mut problems) = (BTreeMap::new(), Vec::new());
        for stored in weights.names() {
            let shown = printable_name(stored);
            let Some(name) = own_name(stored) else {
                problems.push(format!("`{shown}` does not begin with `{PREFIX}`"));
                continue;
            };
            let stored_base = stored.contains(&format!(".{BASE_LAYER}."));
            let shape = self
                .trained
                .get(&name)
                .or_else(|| self.layout.tensors.get(&name).filter(|_| stored_base));
            let Some(shape) = shape else {
                problems.push(format!("`{shown}` has no place in this model and these settings"));
                continue;
            };
            let tensor = weights.get(stored, &Device::Cpu)?;
            if tensor.shape() == shape {
                loaded.insert(name, tensor);
            } else {
                let (found, needed) = (tensor.dims(), shape.dims());
                problems.push(format!(
                    "`{shown}` has the shape {found:?}, and the model needs {needed:?}"
                ));
                loaded.insert(name, tensor);
            }
        }
        let missing = self.trained.keys().filter(|name| !loaded.contains_key(*name));
        problems.extend(missing.map(|name| format!("`{}` is missing", self.peft_name(name))));
        if problems.is_empty() { Ok(loaded) } else { Err(self.misfit(folder, problems)) }
    }

    fn misfit(&self, folder: &Path, mut problems: Vec<String>) -> Error {
        let (count, more) = (problems.len(), problems.len().saturating_sub(SHOWN));
        problems.truncate(SHOWN);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        let made_for = self.config.base_model.as_deref().map_or_else(
            || "hint: the adapter was made for another base".to_owned(),
            |base| format!("hint: the adapter was made for the base `{}`", printable_name(base)),
        );
        let s = if count == 1 { "" } else { "s" };
        let list = problems.join("\n  ");
        Error::model(
            folder,
            format!("the adapter does not fit the model: {count} problem{s}\n  {list}\n{made_for}"),
        )
    }

    /// The name of a tensor in the file.
    fn peft_name(&self, name: &str) -> String {
        match name.rsplit_once('.') {
            Some((path, own))
                if self.layout.tensors.contains_key(name) && self.branches.contains_key(path) =>
            {
                format!("{PREFIX}{path}.{BASE_LAYER}.{own}")
            }
            _ => format!("{PREFIX}{name}"),
        }
    }

    /// The targets by name, where PEFT could choose others: it refuses an expression that also matches a module without weights.
    fn targets(&self) -> Modules {
        let chosen = self.config.targets.as_ref();
        let kept = chosen.filter(|it| self.config.of_file || matches!(it, Modules::Named(_)));
        if let Some(chosen) = kept {
            return chosen.clone();
        }
        let mut ends: Vec<String> = self
            .branches
            .keys()
            .filter_map(|path| path.rsplit('.').next())
            .map(str::to_owned)
            .collect();
        ends.sort();
        ends.dedup();
        let ends = Modules::Named(ends);
        let same = self.config.clone().targets(ends.clone()).select(&self.layout);
        let alike = same.is_ok_and(|found| found.branches.keys().eq(self.branches.keys()));
        if alike { ends } else { Modules::named(self.branches.keys()) }
    }
}

/// The name of a stored tensor in the model.
fn own_name(stored: &str) -> Option<String> {
    let name = stored.strip_prefix(PREFIX)?;
    let name = name.replace(&format!(".{BASE_LAYER}."), ".");
    // PEFT before 0.12.
    let old = name.strip_suffix(".weight").filter(|name| name.ends_with(".lora_magnitude_vector"));
    Some(old.map_or_else(|| name.clone(), str::to_owned))
}
