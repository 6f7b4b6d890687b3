//! The architectures of llama.cpp: the names of tensors, and the changes that its conversion makes to their values.

use crate::error::printable_name;

/// The table of the tokens in a file.
pub(super) const EMBEDDING: &str = "token_embd.weight";
/// The output layer in a file.
pub(super) const OUTPUT: &str = "output.weight";

/// An architecture of llama.cpp, and the family of transformers that it stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Architecture {
    /// The value of `general.architecture`, which begins the names of its keys.
    pub(crate) name: &'static str,
    /// The value of `model_type` in `config.json`.
    pub(crate) model_type: &'static str,
    /// The class of transformers.
    pub(super) class: &'static str,
    /// The modules that are there once: transformers' names and llama.cpp's.
    outer: Pairs,
    /// The module of all layers in transformers.
    layers: &'static str,
    /// The modules of a layer.
    inner: Pairs,
    /// Whether the rows of queries and keys are permuted: pairs of rotary positions stand side by side.
    permuted: bool,
    /// Whether 1 is added to the weights of norms.
    norm_offset: bool,
}

type Pairs = &'static [(&'static str, &'static str)];

const OUTER: Pairs =
    &[("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];

const INNER: Pairs = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// Gemma's layers have norms behind the attention and the MLP too.
const INNER_GEMMA: Pairs = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

const INNER_PHI3: Pairs = &[
    ("input_layernorm", "attn_norm"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

const OUTER_GPT2: Pairs = &[
    ("transformer.wte", "token_embd"),
    ("transformer.wpe", "position_embd"),
    ("transformer.ln_f", "output_norm"),
    ("lm_head", "output"),
];

const INNER_GPT2: Pairs = &[
    ("ln_1", "attn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("ln_2", "ffn_norm"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
];

const LLAMA: Architecture = Architecture {
    name: "llama",
    model_type: "llama",
    class: "LlamaForCausalLM",
    outer: OUTER,
    layers: "model.layers",
    inner: INNER,
    permuted: true,
    norm_offset: false,
};

/// The architectures that are supported. Mistral's models are `llama`.
pub(super) const ARCHITECTURES: &[Architecture] = &[
    LLAMA,
    Architecture {
        name: "qwen2",
        model_type: "qwen2",
        class: "Qwen2ForCausalLM",
        permuted: false,
        ..LLAMA
    },
    Architecture {
        name: "qwen3",
        model_type: "qwen3",
        class: "Qwen3ForCausalLM",
        permuted: false,
        ..LLAMA
    },
    Architecture { name: "smollm3", model_type: "smollm3", class: "SmolLM3ForCausalLM", ..LLAMA },
    Architecture {
        name: "gemma",
        model_type: "gemma",
        class: "GemmaForCausalLM",
        permuted: false,
        norm_offset: true,
        ..LLAMA
    },
    Architecture {
        name: "gemma2",
        model_type: "gemma2",
        class: "Gemma2ForCausalLM",
        inner: INNER_GEMMA,
        permuted: false,
        norm_offset: true,
        ..LLAMA
    },
    Architecture {
        name: "gemma3",
        model_type: "gemma3_text",
        class: "Gemma3ForCausalLM",
        inner: INNER_GEMMA,
        permuted: false,
        norm_offset: true,
        ..LLAMA
    },
    Architecture {
        name: "phi3",
        model_type: "phi3",
        class: "Phi3ForCausalLM",
        inner: INNER_PHI3,
        permuted: false,
        ..LLAMA
    },
    Architecture {
        name: "gpt2",
        model_type: "gpt2",
        class: "GPT2LMHeadModel",
        outer: OUTER_GPT2,
        layers: "transformer.h",
        inner: INNER_GPT2,
        permuted: false,
        ..LLAMA
    },
];

/// The difference between the values of a tensor in transformers and in llama.cpp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// The rows of queries.
    PermutedQueries,
    /// The rows of keys.
    PermutedKeys,
    /// 1 is added.
    Offset,
}

impl Architecture {
    /// The architecture of a file.
    ///
    /// # Errors
    ///
    /// The reason for which it is refused, with those that are supported.
    pub(super) fn named(name: &str) -> Result<&'static Self, String> {
        ARCHITECTURES.iter().find(|it| it.name == name).ok_or_else(|| {
            let names: Vec<_> = ARCHITECTURES.iter().map(|it| format!("`{}`", it.name)).collect();
            let name = printable_name(name);
            format!(
                "the architecture is `{name}`, which is not supported\nhint: supported are {}",
                names.join(", ")
            )
        })
    }

    /// The architecture that llama.cpp converts a family to.
    pub(crate) fn of_family(model_type: &str) -> Option<&'static Self> {
        let model_type = if model_type == "mistral" { "llama" } else { model_type };
        ARCHITECTURES.iter().find(|it| it.model_type == model_type)
    }

    /// The name of a tensor in a file.
    pub(crate) fn to_file(&self, name: &str) -> Option<String> {
        let (module, own) = name.rsplit_once('.')?;
        let within = module.strip_prefix(self.layers).and_then(|rest| rest.strip_prefix('.'));
        let Some((layer, module)) = within.and_then(|rest| rest.split_once('.')) else {
            let (_, file) = self.outer.iter().find(|(outer, _)| *outer == module)?;
            return Some(format!("{file}.{own}"));
        };
        let layer: usize = layer.parse().ok()?;
        let (_, file) = self.inner.iter().find(|(inner, _)| *inner == module)?;
        Some(format!("blk.{layer}.{file}.{own}"))
    }

    /// The name in transformers of a tensor in a file.
    pub(crate) fn to_model(&self, file: &str) -> Option<String> {
        let (module, own) = file.rsplit_once('.')?;
        let Some((layer, module)) = module.strip_prefix("blk.").and_then(|it| it.split_once('.'))
        else {
            let (name, _) = self.outer.iter().find(|(_, outer)| *outer == module)?;
            return Some(format!("{name}.{own}"));
        };
        let layer: usize = layer.parse().ok()?;
        let (name, _) = self.inner.iter().find(|(_, inner)| *inner == module)?;
        Some(format!("{}.{layer}.{name}.{own}", self.layers))
    }

    /// The change of a tensor's values, by its name in transformers.
    pub(crate) fn change(&self, name: &str) -> Change {
        let module = name.rsplit_once('.').map_or("", |(module, _)| module);
        if self.norm_offset && module.ends_with("norm") {
            return Change::Offset;
        }
        match module.rsplit('.').next() {
            Some("q_proj") if self.permuted => Change::PermutedQueries,
            Some("k_proj") if self.permuted => Change::PermutedKeys,
            _ => Change::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_map_in_both_directions() {
        for architecture in ARCHITECTURES {
            let outer = architecture
                .outer
                .iter()
                .map(|(name, file)| (format!("{name}.weight"), format!("{file}.weight")));
            let inner = architecture.inner.iter().map(|(name, file)| {
                (format!("{}.17.{name}.bias", architecture.layers), format!("blk.17.{file}.bias"))
            });
            for (name, file) in outer.chain(inner) {
                assert_eq!(architecture.to_file(&name).as_deref(), Some(&*file));
                assert_eq!(architecture.to_model(&file).as_deref(), Some(&*name));
            }
            for other in
                ["model.layers.x.mlp.up_proj.weight", "blk.0.ffn_gate_exps.weight", "x", ""]
            {
                assert_eq!(
                    (architecture.to_file(other), architecture.to_model(other)),
                    (None, None)
                );
            }
        }
    }

    #[test]
    fn an_architecture_that_is_not_supported_is_named_with_those_that_are() {
        assert_eq!(
            Architecture::named("mamba").unwrap_err(),
            "the architecture is `mamba`, which is not supported\nhint: supported are `llama`, `qwen2`, `qwen3`, \
             `smollm3`, `gemma`, `gemma2`, `gemma3`, `phi3`, `gpt2`"
        );
        assert_eq!(Architecture::of_family("mistral"), Architecture::named("llama").ok());
        assert_eq!(Architecture::of_family("bert"), None);
    }
}
