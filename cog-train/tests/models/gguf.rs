//! Models in GGUF files against transformers, and what is written for llama.cpp. The fixtures are made by
//! `tests/python/gguf_files.py`; with `COG_TRAIN_PYTHON` set to a Python that has gguf-py, it also reads what is written here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cog_train::Error;
use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::engine::{Gradients, Precision};
use cog_train::gguf::{self, Entry, Gguf, Metadata, TensorInfo, TensorType, Value};
use cog_train::lora::{Adapter, LoraConfig, Modules};
use cog_train::models::{CausalLm, Pretrained};
use cog_train::nn::{Init, Quantized, Rng};
use cog_train::optim::{AdamW, Optimizer, Sgd};
use cog_train::serde_json;

use crate::support::{Golden, LOGITS, bits};

type Tensors = BTreeMap<String, Tensor>;

/// Files of floats and of each supported type of blocks.
const TYPES: &[&str] = &["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "k_quants"];
/// Files of each architecture, in 32 bits.
const FAMILIES: &[&str] = &[
    "llama_rope",
    "llama_bias",
    "qwen2",
    "qwen3",
    "smollm3",
    "gemma",
    "gemma2",
    "gemma3",
    "phi3",
    "gpt2",
];

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/gguf");
    folder.join(format!("{name}.gguf"))
}

fn golden(name: &str) -> Golden {
    Golden::of_file(&file(name).with_extension("json"))
}

fn wide(tensors: Tensors) -> Tensors {
    let wide = |(name, tensor): (String, Tensor)| (name, tensor.to_dtype(DType::F32).unwrap());
    tensors.into_iter().map(wide).collect()
}

/// All tensors of a file as floats of 32 bits.
fn floats_of(base: &Pretrained) -> Tensors {
    let matrices = base.quantized(&Device::Cpu).unwrap().into_iter();
    let matrices = matrices.map(|(name, matrix)| (name, matrix.dequantize().unwrap()));
    wide(base.tensors(&Device::Cpu).unwrap().into_iter().chain(matrices).collect())
}

/// The model of a file, computed in 32 bits: products with blocks stay in blocks.
fn model(path: &Path) -> CausalLm {
    let base = Pretrained::open(path).unwrap();
    let tensors = wide(base.tensors(&Device::Cpu).unwrap());
    let init = Init::from_tensors(tensors).quantized(base.quantized(&Device::Cpu).unwrap());
    init.build(|init| CausalLm::new(init, base.config())).unwrap()
}

fn distance(name: &str, path: &Path) -> f32 {
    let golden = golden(name);
    golden.distance(&model(path).logits(&golden.tokens()).unwrap())
}

#[test]
fn logits_of_every_type_equal_transformers_on_the_dequantised_weights() {
    for name in TYPES {
        let distance = distance(name, &file(name));
        assert!(distance < LOGITS, "{name}: logits are {distance} apart");
    }
    // Every matrix is in blocks, the table of the tokens too.
    let base = Pretrained::open(file("k_quants")).unwrap();
    let matrices = base.quantized(&Device::Cpu).unwrap();
    let stored = Gguf::open(file("k_quants")).unwrap();
    assert!(base.tensors(&Device::Cpu).unwrap().keys().all(|name| name.contains("norm")));
    let bytes: usize = matrices.values().map(Quantized::byte_count).sum();
    let in_file = stored.tensors().values().filter(|info| info.shape().len() == 2);
    assert_eq!(bytes, in_file.map(TensorInfo::bytes).sum::<usize>());
}

#[test]
fn logits_of_every_architecture_equal_transformers() {
    for name in FAMILIES {
        let distance = distance(name, &file(name));
        assert!(distance < LOGITS, "{name}: logits are {distance} apart");
    }
}

#[test]
fn matrices_of_16_bits_give_all_tensors_their_type() {
    for (name, dtype) in [("f16", DType::F16), ("bf16", DType::BF16), ("f32", DType::F32)] {
        let base = Pretrained::open(file(name)).unwrap();
        assert_eq!(base.config().dtype(), Some(dtype));
        let tensors = base.tensors(&Device::Cpu).unwrap();
        assert!(tensors.values().all(|tensor| tensor.dtype() == dtype), "{name}");
    }
}

/// The error of a path, which is shown as `M`.
fn refused(path: &Path) -> String {
    let error = Pretrained::open(path).unwrap_err();
    assert!(matches!(error, Error::Model { .. } | Error::Weights { .. }), "{error:?}");
    error.to_string().replace(&path.display().to_string(), "M")
}

/// A file with other metadata or tensors.
fn rewritten(
    name: &str,
    path: &Path,
    change: impl FnOnce(&mut Metadata, &mut Vec<Entry>),
) -> PathBuf {
    let base = Gguf::open(file(name)).unwrap();
    let mut metadata = base.metadata().clone();
    let mut entries: Vec<Entry> = base
        .names()
        .map(|name| (name, base.tensor(name).unwrap()))
        .map(|(name, info)| Entry::new(name, info.kind(), info.shape()))
        .collect();
    change(&mut metadata, &mut entries);
    let path = path.join("model.gguf");
    gguf::save(&path, &metadata, &entries, |entry| match base.tensor(&entry.name) {
        Some(info) if info.kind() == entry.kind && info.shape() == entry.shape => {
            base.read(&entry.name)
        }
        _ => {
            let elements: usize = entry.shape.iter().product();
            Ok(vec![0; elements / entry.kind.block_elements() * entry.kind.block_bytes()])
        }
    })
    .unwrap();
    path
}

#[test]
fn what_is_not_supported_is_named_with_what_is() {
    let dir = tempfile::tempdir().unwrap();
    let of = |change: &dyn Fn(&mut Metadata, &mut Vec<Entry>)| {
        refused(&rewritten("f32", dir.path(), |metadata, entries| change(metadata, entries)))
    };
    let set = |key: &'static str, value: Value| {
        of(&move |metadata, _| metadata.insert(key, value.clone()))
    };
    assert_eq!(
        set("general.architecture", "mamba".into()),
        "model `M`: the architecture is `mamba`, which is not supported\nhint: supported are `llama`, `qwen2`, `qwen3`, \
         `smollm3`, `gemma`, `gemma2`, `gemma3`, `phi3`, `gpt2`"
    );
    assert_eq!(
        set("general.type", "adapter".into()),
        "model `M`: holds no model: its `general.type` is `adapter`"
    );
    assert_eq!(
        set("llama.expert_count", 8_u32.into()),
        "model `M`: `llama.expert_count` is 8, and only 0 is supported"
    );
    assert_eq!(
        set("llama.rope.dimension_count", 8_u32.into()),
        "model `M`: `llama.rope.dimension_count` is 8, and only 16 is supported"
    );
    assert_eq!(
        set("llama.attention.scale", 0.5_f32.into()),
        "model `M`: `llama.attention.scale` is 0.5, and is not supported; did you mean `attention.causal`?"
    );
    assert_eq!(
        set("llama.rope.scaling.type", "ntk".into()),
        "model `M`: `llama.rope.scaling.type` is `ntk`, not `none`, `linear`, `yarn` or, with the tensors of its factors \
         alone, `longrope`"
    );
    assert_eq!(
        of(&|metadata, _| drop(metadata.remove("llama.block_count"))),
        "model `M`: `llama.block_count` is missing"
    );
    assert_eq!(
        of(&|metadata, _| drop(metadata.remove("general.architecture"))),
        "model `M`: `general.architecture` is missing"
    );
    assert_eq!(
        of(&|_, entries| entries.retain(|entry| entry.name != "blk.1.attn_k.weight")),
        "model `M`: the tensors do not fit the metadata: `model.layers.1.self_attn.k_proj.weight` is missing"
    );
    assert_eq!(
        of(&|_, entries| entries.push(Entry::new("blk.2.odd.weight", TensorType::F32, [1]))),
        "model `M`: the tensors do not fit the metadata: `blk.2.odd.weight` is not of this model"
    );
    assert_eq!(
        of(&|_, entries| entries[1].kind = TensorType::I32),
        "model `M`: `blk.0.attn_q.weight` is of type I32\nhint: supported are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, \
         Q4_K, Q5_K and Q6_K"
    );
    let both = of(&|_, entries| {
        for entry in entries.iter_mut().filter(|entry| entry.name.ends_with("attn_v.weight")) {
            entry.kind = TensorType::Iq4Nl;
        }
    });
    assert!(
        both.contains("2 problems\n  `blk.0.attn_v.weight` is of type IQ4_NL\n  `blk.1."),
        "{both}"
    );
    fs::write(dir.path().join("cut.gguf"), &fs::read(file("f32")).unwrap()[..40_000]).unwrap();
    let cut = refused(&dir.path().join("cut.gguf"));
    assert!(cut.starts_with("weights `M`: tensor `blk."), "{cut}");
    assert!(cut.ends_with("of 40000: the file is truncated"), "{cut}");
    fs::write(dir.path().join("other"), "{}").unwrap();
    assert_eq!(
        refused(&dir.path().join("other")),
        "weights `M`: is not a GGUF file: it has fewer than 4 bytes"
    );
}

#[test]
fn a_file_that_is_saved_with_its_own_values_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.gguf");
    for name in TYPES.iter().chain(FAMILIES) {
        let base = Pretrained::open(file(name)).unwrap();
        base.save_gguf(&out, floats_of(&base)).unwrap();
        assert!(fs::read(&out).unwrap() == fs::read(file(name)).unwrap(), "{name}");
    }
}

/// Reads a file with gguf-py, where there is a Python.
pub(crate) fn read_in_python(written: &Path, base: Option<&Path>) -> Option<serde_json::Value> {
    let python = std::env::var("COG_TRAIN_PYTHON").ok()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/gguf_files.py");
    let mut command = std::process::Command::new(python);
    let output = command.arg(script).arg("read").arg(written).args(base).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Changed tensors are quantised again, in the layout of llama.cpp: rows of queries and keys permuted, 1 added to Gemma's norms.
#[test]
fn changed_tensors_are_saved_in_their_own_types() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.gguf");
    // The largest error of a block, as a share of its largest value: half a step.
    let cases = [
        ("f32", 0.0),
        ("f16", 5e-4),
        ("bf16", 4e-3),
        ("q8_0", 5e-3),
        ("q4_0", 0.13),
        ("q4_1", 0.07),
        ("q5_0", 0.07),
        ("q5_1", 0.04),
        ("k_quants", 0.2),
        ("gemma2", 1e-6),
        ("gpt2", 0.0),
        ("phi3", 0.0),
    ];
    for (name, share) in cases {
        let base = Pretrained::open(file(name)).unwrap();
        let tensors = floats_of(&base);
        let is_changed = |name: &str| !name.contains("mlp.");
        // Other values in each row, so that a row in another place shows.
        let changed: Tensors = tensors
            .iter()
            .filter(|(name, _)| is_changed(name))
            .map(|(name, tensor)| (name.clone(), (tensor.flip(&[0]).unwrap() * 1.5).unwrap()))
            .collect();
        base.save_gguf(&out, changed.clone()).unwrap();
        let again = floats_of(&Pretrained::open(&out).unwrap());
        for (tensor_name, tensor) in &again {
            let Some(expected) = changed.get(tensor_name) else {
                assert_eq!(bits(tensor), bits(&tensors[tensor_name]), "{name}: {tensor_name}");
                continue;
            };
            let largest = |tensor: &Tensor| -> f32 {
                tensor.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
            };
            let apart = largest(&(tensor - expected).unwrap());
            let most = share * largest(expected);
            assert!(apart <= most, "{name}: {tensor_name}: {apart} and {most}");
        }
        read_in_python(&out, Some(&file(name)));
    }
}

#[test]
fn tensors_of_another_model_are_not_saved() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.gguf");
    let base = Pretrained::open(file("f32")).unwrap();
    let save = |name: &str| {
        let tensor = Tensor::zeros((3, 4), DType::F32, &Device::Cpu).unwrap();
        base.save_gguf(&out, [(name, tensor)]).unwrap_err().to_string()
    };
    let at = file("f32").display().to_string();
    assert_eq!(save("odd"), format!("model `{at}`: `odd` is not of this model"));
    assert_eq!(
        save("model.norm.weight"),
        format!("model `{at}`: `model.norm.weight` has the shape [3, 4], and the base has [32]")
    );
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
}

#[test]
fn a_file_that_is_saved_as_a_folder_has_equal_logits() {
    for name in ["q4_1", "q5_1", "llama_rope", "llama_bias", "smollm3", "gemma3", "phi3", "gpt2"] {
        let (golden, out) = (golden(name), tempfile::tempdir().unwrap());
        let base = Pretrained::open(file(name)).unwrap();
        base.save(out.path(), base.tensors(&Device::Cpu).unwrap()).unwrap();
        let [first, again] =
            [&file(name), out.path()].map(|it| model(it).logits(&golden.tokens()).unwrap());
        assert!(largest_difference(&first, &again) < 1e-5, "{name}");
        let floats = floats_of(&Pretrained::open(out.path()).unwrap());
        for (name, tensor) in floats_of(&base) {
            assert_eq!(bits(&tensor), bits(&floats[&name]), "{name}");
        }
    }
}

/// A trained adapter of a file, with the losses of its training.
struct Trained {
    base: Pretrained,
    adapter: Adapter,
    tensors: Tensors,
    losses: Vec<f32>,
}

impl Trained {
    /// Trains for 3 steps.
    fn on(path: &Path, config: &LoraConfig, golden: &Golden, mut optimizer: Optimizer) -> Self {
        let base = Pretrained::open(path).unwrap();
        let build = |init: &Init| CausalLm::new(init, base.config());
        let adapter = config.on(build).unwrap();
        let adapter = adapter.quantized(base.quantized(&Device::Cpu).unwrap()).unwrap();
        let tensors = wide(base.tensors(&Device::Cpu).unwrap());
        let drawn = adapter.draw(&tensors, Rng::new(3, "lora")).unwrap();
        let params = adapter.params(tensors, drawn, Precision::F32).unwrap();
        let model = adapter.init(params.tensors()).build(build).unwrap();
        optimizer.prepare(&params).unwrap();
        let (tokens, targets) = (golden.tokens(), golden.next_tokens());
        let mut losses = Vec::new();
        for step in 1..=3 {
            let sum = model.loss(&tokens, &targets).unwrap();
            losses.push(sum.to_scalar().unwrap());
            let gradients = Gradients::take(&params, &mut sum.backward().unwrap()).unwrap();
            optimizer.step(&params, &gradients, step, 0.05, 0.1).unwrap();
        }
        let tensors = params.masters();
        Self { base, adapter, tensors, losses }
    }

    fn logits(&self, golden: &Golden) -> Tensor {
        let build = |init: &Init| CausalLm::new(init, self.base.config());
        let model = self.adapter.init(self.tensors.clone()).build(build).unwrap();
        model.logits(&golden.tokens()).unwrap()
    }
}

/// The values of a tensor of 32-bit floats in a file.
fn floats(file: &Gguf, name: &str) -> Tensor {
    let info = file.tensor(name).unwrap();
    assert_eq!(info.kind(), TensorType::F32);
    let bytes = file.read(name).unwrap();
    Tensor::from_raw_buffer(&bytes, DType::F32, info.shape(), &Device::Cpu).unwrap()
}

/// As llama.cpp does it: `alpha / rank * B A` is added to the weight, both as they stand in their files.
fn merged_by_files(base: &Path, adapter: &Path, out: &Path) {
    let (base, adapter) = (Gguf::open(base).unwrap(), Gguf::open(adapter).unwrap());
    let metadata = adapter.metadata();
    assert_eq!(metadata.get("general.type"), Some(&Value::from("adapter")));
    assert_eq!(metadata.get("adapter.type"), Some(&Value::from("lora")));
    assert_eq!(metadata.get("general.architecture"), base.metadata().get("general.architecture"));
    let alpha = metadata.get("adapter.lora.alpha").and_then(Value::as_f64).unwrap();
    let mut changed = 0;
    let entries: Vec<Entry> = base
        .names()
        .map(|name| Entry::new(name, TensorType::F32, base.tensor(name).unwrap().shape()))
        .collect();
    gguf::save(out, base.metadata(), &entries, |entry| {
        let [a, b] = ["lora_a", "lora_b"].map(|end| format!("{}.{end}", entry.name));
        if adapter.tensor(&a).is_none() {
            return base.read(&entry.name);
        }
        changed += 1;
        let (a, b) = (floats(&adapter, &a), floats(&adapter, &b));
        // llama.cpp looks up rows of the first matrix of an embedding.
        let a = if entry.name == "token_embd.weight" { a.t()? } else { a };
        let rank = f64::from(u32::try_from(a.dim(0)?).unwrap());
        let product = b.matmul(&a.contiguous()?)?;
        let product = if entry.name == "token_embd.weight" { product.t()? } else { product };
        let sum = (floats(&base, &entry.name) + (product * (alpha / rank))?)?;
        let values: Vec<f32> = sum.flatten_all()?.to_vec1()?;
        Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    })
    .unwrap();
    assert_eq!(2 * changed, adapter.tensors().len());
}

pub(crate) fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// GPT-2's embedding is its output layer, which older files hold too.
#[test]
fn an_embedding_that_is_there_twice_is_one_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let base = Gguf::open(file("gpt2")).unwrap();
    let twice = |other: bool| {
        let path = dir.path().join("twice.gguf");
        let mut entries: Vec<Entry> = base
            .names()
            .map(|name| Entry::new(name, TensorType::F32, base.tensor(name).unwrap().shape()))
            .collect();
        entries.push(Entry { name: "output.weight".to_owned(), ..entries[0].clone() });
        assert_eq!(entries[0].name, "token_embd.weight");
        gguf::save(&path, base.metadata(), &entries, |entry| match entry.name.as_str() {
            "output.weight" => {
                let mut bytes = base.read("token_embd.weight")?;
                bytes[0] ^= u8::from(other);
                Ok(bytes)
            }
            name => base.read(name),
        })
        .unwrap();
        path
    };
    let message = refused(&twice(true));
    assert_eq!(
        message,
        "model `M`: `output.weight` differs from `token_embd.weight`, which is the output layer of GPT-2"
    );
    let path = twice(false);
    assert!(distance("gpt2", &path) < LOGITS);
    let model = Pretrained::open(&path).unwrap();
    let name = "transformer.wte.weight";
    let changed = (&model.tensors(&Device::Cpu).unwrap()[name] * 2.0).unwrap();
    model.save_gguf(dir.path().join("out.gguf"), [(name, changed)]).unwrap();
    let saved = Gguf::open(dir.path().join("out.gguf")).unwrap();
    let [embedding, output] =
        ["token_embd.weight", "output.weight"].map(|name| saved.read(name).unwrap());
    assert!(embedding == output && embedding != base.read("token_embd.weight").unwrap());
}

/// The rank that differs, rsLoRA and an alpha of one layer are all in the one alpha of the file or in the matrices.
#[test]
fn an_adapter_as_gguf_adds_what_the_adapter_adds() {
    let dir = tempfile::tempdir().unwrap();
    let (written, merged) = (dir.path().join("adapter.gguf"), dir.path().join("merged.gguf"));
    let all = || LoraConfig::new(3).alpha(7.0).targets(Modules::AllLinear);
    let patterns = || all().rank_of("q_proj", 5).alpha_of("o_proj", 2.0);
    let embedding = || LoraConfig::new(2).targets(Modules::named(["embed_tokens", "k_proj"]));
    let cases = [
        ("f32", all()),
        ("f32", all().rslora()),
        ("f32", patterns()),
        ("llama_rope", embedding()),
        ("llama_bias", all()),
        ("qwen3", all()),
        ("gemma2", all()),
        ("phi3", all()),
        ("gpt2", all()),
    ];
    for (name, config) in cases {
        let golden = golden(name);
        let trained = Trained::on(&file(name), &config, &golden, Optimizer::new(AdamW::default()));
        assert!(trained.losses[2] < trained.losses[0], "{name}: {:?}", trained.losses);
        trained.adapter.save_gguf(&written, &trained.base, &trained.tensors).unwrap();
        merged_by_files(&file(name), &written, &merged);
        let (apart, together) =
            (trained.logits(&golden), model(&merged).logits(&golden.tokens()).unwrap());
        let distance = largest_difference(&apart, &together);
        assert!(distance < LOGITS, "{name}: {distance}");
        let adds =
            largest_difference(&apart, &model(&file(name)).logits(&golden.tokens()).unwrap());
        assert!(adds > 0.05, "{name}: {adds}");
        if let Some(read) = read_in_python(&written, None) {
            let opened = Gguf::open(&written).unwrap();
            let tensors = read["tensors"].as_object().unwrap();
            assert_eq!(tensors.len(), opened.tensors().len());
            for (name, tensor) in tensors {
                let values: Vec<f32> = serde_json::from_value(tensor["values"].clone()).unwrap();
                let own: Vec<f32> = floats(&opened, name).flatten_all().unwrap().to_vec1().unwrap();
                assert_eq!(values, own, "{name}");
            }
        }
    }
}

#[test]
fn what_an_adapter_as_gguf_cannot_hold_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("adapter.gguf");
    let base = Pretrained::open(file("f32")).unwrap();
    let refused = |config: LoraConfig| {
        let adapter = config.on(|init: &Init| CausalLm::new(init, base.config())).unwrap();
        let error = adapter.save_gguf(&out, &base, &Tensors::new()).unwrap_err();
        assert!(matches!(error, Error::InvalidConfig { .. }), "{error:?}");
        error.to_string()
    };
    let hint = "which an adapter in GGUF cannot hold\nhint: merge the adapter, and write the model with `Pretrained::save_gguf`";
    let q = || LoraConfig::new(2).targets(Modules::named(["q_proj"]));
    let path = "model.layers.0.self_attn.q_proj";
    for (config, what) in [
        (q().dora(), format!("`{path}` is adapted by DoRA")),
        (q().modules_to_save(["model.norm"]), "`model.norm.weight` is trained in full".to_owned()),
        (
            LoraConfig::new(2).targets(Modules::named(["lm_head"])),
            "`lm_head` is adapted, and the output layer shares its weight with the embedding".to_owned(),
        ),
        (
            LoraConfig::new(2).targets(Modules::named(["embed_tokens"])),
            "`model.embed_tokens` is adapted, and the output layer shares its weight with the embedding"
                .to_owned(),
        ),
    ] {
        let message = refused(config);
        assert!(message.contains(&format!("{what}, {hint}")), "{message}");
    }
    let missing = refused(q());
    assert!(missing.contains(&format!("no tensor `{path}.lora_A.weight`")), "{missing}");
    let encoder = Pretrained::open(crate::support::folder("bert_masked")).unwrap();
    let error = encoder.check_gguf().unwrap_err().to_string();
    assert!(error.ends_with("`bert` is not supported in GGUF"), "{error}");
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
}

#[test]
fn an_adapter_of_blocks_equals_the_one_of_their_values() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["q8_0", "k_quants"] {
        let golden = golden(name);
        let base = Pretrained::open(file(name)).unwrap();
        base.save(folder.path(), base.tensors(&Device::Cpu).unwrap()).unwrap();
        let config = LoraConfig::new(4).alpha(8.0).targets(Modules::AllLinear);
        // AdamW would divide what is rounded by itself.
        let sgd = || Optimizer::new(Sgd::default());
        let [one, other] =
            [&file(name), folder.path()].map(|path| Trained::on(path, &config, &golden, sgd()));
        assert!(one.losses[2] < one.losses[0] - 0.01, "{name}: {:?}", one.losses);
        for (a, b) in one.losses.iter().zip(&other.losses) {
            assert!((a - b).abs() < 1e-4 * a, "{name}: {a} and {b}");
        }
        let (blocks, floats) = (one.logits(&golden), other.logits(&golden));
        let magnitude = largest_difference(&floats, &floats.zeros_like().unwrap()).max(1.0);
        let distance = largest_difference(&blocks, &floats);
        assert!(distance < LOGITS * magnitude, "{name}: {distance} of {magnitude}");
    }
}
