//! A model with its adapter switched off, as the reference of a preference loss.

use cog_train_nn::Init;

use crate::error::{Error, printable_name};

/// The model that is left when an adapter is switched off.
#[derive(Debug, Clone)]
pub(crate) enum AdapterBase {
    /// The model before the training.
    Frozen,
    /// A model whose tensor of that name is trained too.
    Trained(String),
    /// The model itself: there is no adapter.
    NoAdapter,
}

impl AdapterBase {
    /// Looks at the tensors that a model was built from.
    pub(crate) fn of(init: &Init) -> Self {
        let tensors = init.tensors();
        let of_adapter = |name: &str| name.contains(".lora_");
        if !tensors.keys().any(|name| of_adapter(name)) {
            return Self::NoAdapter;
        }
        let mut own = tensors.iter().filter(|(name, _)| !of_adapter(name));
        own.find(|(_, tensor)| tensor.track_op())
            .map_or(Self::Frozen, |(name, _)| Self::Trained(name.clone()))
    }

    /// Checks that it can be a reference.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] unless it is the model before the training.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let reason = match self {
            Self::Frozen => return Ok(()),
            Self::Trained(name) => format!(
                "`{}` is trained beside the adapter, so that the model with the adapter switched off is not the one before the \
                 training",
                printable_name(name)
            ),
            Self::NoAdapter => {
                "the model has no adapter to switch off, and would be its own reference".to_owned()
            }
        };
        let hint = "compute what the reference gives the answers before the training: `Preferences::with_reference`";
        Err(Error::InvalidConfig { reason: format!("{reason}\nhint: {hint}") })
    }
}
