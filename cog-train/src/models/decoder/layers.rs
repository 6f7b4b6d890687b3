//! The differences between the layers of a decoder.

use crate::error::counted;
use crate::models::keys::Keys;

/// The features of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerConfig {
    /// Whether queries and keys are rotated.
    pub(crate) rotated: bool,
    /// The most keys that a query sees: its own and those before.
    pub(crate) window: Option<usize>,
}

/// The sizes that a family's own keys are read with.
pub(super) struct Sizes {
    pub(super) layers: usize,
    pub(super) window: Option<usize>,
}

/// The window of the layers that have one.
pub(super) fn window(keys: &mut Keys, family: &str) -> Option<usize> {
    let window = match family {
        "mistral" | "gemma2" | "gemma3_text" => keys.optional("sliding_window", Some(4096)),
        "phi3" => keys.optional("sliding_window", None),
        "qwen2" | "qwen3" | "smollm3" => {
            let on = keys.get_or(&["use_sliding_window"], false);
            let default = (family != "smollm3").then_some(4096);
            keys.optional("sliding_window", default).filter(|_| on)
        }
        _ => None,
    };
    if window == Some(0) {
        keys.problem("`sliding_window` is 0");
    }
    window
}

pub(super) fn layer_configs(keys: &mut Keys, family: &str, sizes: &Sizes) -> Vec<LayerConfig> {
    let Sizes { layers: count, window } = *sizes;
    let mut layers = vec![LayerConfig { rotated: true, window: None }; count];
    let numbered = (1..).zip(&mut layers);
    match family {
        "mistral" | "phi3" => numbered.for_each(|(_, layer)| layer.window = window),
        "gemma2" => numbered
            .filter(|(number, _)| number % 2 == 1)
            .for_each(|(_, layer)| layer.window = window),
        "gemma3_text" => {
            let pattern = keys.get_or(&["sliding_window_pattern", "_sliding_window_pattern"], 6);
            numbered
                .filter(|(number, _)| number % pattern.max(1) != 0)
                .for_each(|(_, layer)| layer.window = window);
        }
        "qwen2" | "qwen3" => {
            let from = keys.get_or(&["max_window_layers"], 28);
            layers.iter_mut().skip(from).for_each(|layer| layer.window = window);
        }
        "smollm3" => {
            let interval = keys.get_or(&["no_rope_layer_interval"], 4).max(1);
            let rotated: Option<Vec<usize>> = keys.get(&["no_rope_layers"]);
            if let Some(rotated) = rotated.as_ref().filter(|rotated| rotated.len() < count) {
                let found = rotated.len();
                keys.problem(format!(
                    "`no_rope_layers` has {} for {}",
                    counted(found, "number"),
                    counted(count, "layer")
                ));
            }
            for (number, layer) in numbered {
                let given = rotated.as_ref().and_then(|rotated| rotated.get(number - 1));
                layer.rotated = given.map_or(number % interval != 0, |rotated| *rotated != 0);
                layer.window = window.filter(|_| !layer.rotated);
            }
        }
        _ => {}
    }
    if matches!(family, "gemma2" | "gemma3_text" | "qwen2" | "qwen3" | "smollm3") {
        layer_types(keys, window, &mut layers);
    }
    layers
}

/// Reads the kind of each layer, which takes precedence over a pattern.
fn layer_types(keys: &mut Keys, window: Option<usize>, layers: &mut [LayerConfig]) {
    let Some(kinds) = keys.get::<Vec<String>>(&["layer_types"]) else { return };
    if kinds.len() != layers.len() {
        let (found, count) = (kinds.len(), layers.len());
        keys.problem(format!(
            "`layer_types` has {} for {}",
            counted(found, "name"),
            counted(count, "layer")
        ));
    }
    for (kind, layer) in kinds.iter().zip(layers) {
        layer.window = match kind.as_str() {
            "full_attention" => None,
            "sliding_attention" if window.is_some() => window,
            "sliding_attention" => {
                keys.problem("`layer_types` has `sliding_attention`, and `sliding_window` is off");
                return;
            }
            other => {
                keys.problem(format!(
                    "`layer_types` has `{other}`, not `full_attention` or `sliding_attention`"
                ));
                return;
            }
        };
    }
}
