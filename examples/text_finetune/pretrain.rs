//! Makes what `text_finetune` starts from: the base model, its tokenizer, and the data set of pirate talk. The same
//! program makes the same bytes.
//!
//! ```console
//! cargo run --release --example text_pretrain -- data examples/text_finetune
//! cargo run --release --example text_pretrain -- base examples/text_finetune
//! cargo run --release --example text_pretrain -- logits "How are you today?"
//! ```

#![expect(clippy::print_stdout, unreachable_pub, reason = "a program of its own")]

#[allow(dead_code, reason = "shared with main.rs, which uses the rest")]
mod base;
mod corpus;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use cog_train::models::{CausalLm, Config, Tokens};
use cog_train::nn::{Init, Initializer};
use cog_train::prelude::{Context, Result, bail};
use cog_train::progress::Silent;
use cog_train::rng::Rng;
use cog_train::serde_json::json;
use cog_train::text::{CausalBatch, Example, ExampleBuilder, Row, Tokenizer};
use cog_train::{CancelToken, anyhow, candle_core, candle_nn};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, TokenizerBuilder};

use base::Base;
use corpus::Corpus;

/// Ends a text, and stands before it.
const END_OF_TEXT: &str = "<|endoftext|>";

// Training frees and allocates gigabytes in each step: this allocator keeps its pages.
#[global_allocator]
static ALLOCATOR: cog_train::__private::Allocator = cog_train::__private::Allocator;

const SEED: u64 = 1;
const STEPS: u64 = 1500;
const BATCH: usize = 16;
/// Texts are drawn by so many batches at once and sorted by length: so there is little padding.
const BATCHES_AT_ONCE: usize = 20;
const LEARNING_RATE: f64 = 3e-3;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["data", folder] => write_data(&Path::new(folder).join("data")),
        ["base", folder] => write_base(&Path::new(folder).join("base")),
        ["logits", prompt] => print_logits(prompt),
        _ => bail!("write `data FOLDER`, `base FOLDER` or `logits PROMPT`"),
    }
}

/// 480 rows to train on, and 48 whose prompts are not among them.
fn pirate_rows() -> [String; 2] {
    let corpus = Corpus::new();
    let mut stream = Rng::new(SEED, "pirate").at(0);
    let mut prompts = BTreeMap::new();
    while prompts.len() < 528 {
        let pair = corpus.pirate(&mut stream);
        let at = prompts.len();
        prompts.entry(pair.prompt).or_insert((at, pair.completion));
    }
    let mut rows: Vec<_> = prompts.into_iter().collect();
    rows.sort_by_key(|(_, (at, _))| *at);
    let line = |(prompt, (_, completion)): &(String, (usize, String))| {
        // A completion begins a word of its own.
        format!("{}\n", json!({"prompt": prompt, "completion": format!(" {completion}")}))
    };
    [rows[..480].iter().map(line).collect(), rows[480..].iter().map(line).collect()]
}

fn write_data(folder: &Path) -> Result<()> {
    let [train, eval] = pirate_rows();
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("train.jsonl"), train)?;
    std::fs::write(folder.join("eval.jsonl"), eval)?;
    Ok(())
}

fn write_base(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let corpus = Corpus::new();
    std::fs::write(folder.join("tokenizer.json"), train_tokenizer(&corpus)?)?;
    std::fs::write(folder.join("tokenizer_config.json"), tokenizer_config())?;
    let tokenizer = Tokenizer::open(folder)?;
    let end = tokenizer.special().eos.context("the tokenizer has an end of text")?;

    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": true,
        "bos_token_id": end,
        "eos_token_id": end,
        "torch_dtype": "bfloat16",
    });
    std::fs::write(folder.join("config.json"), format!("{config:#}\n"))?;
    let tensors = train_model(&corpus, &tokenizer, &Config::open(folder.join("config.json"))?)?;
    // transformers requires `format`: the names are PyTorch's.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(tensors, Some(metadata), &folder.join("model.safetensors"))?;
    Ok(())
}

const VOCABULARY: usize = 1024;
const CONTEXT: usize = 128;
const LAYERS: u8 = 4;

/// The settings that `transformers` reads beside the tokens.
fn tokenizer_config() -> String {
    let config = json!({
        "bos_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": false,
        "eos_token": END_OF_TEXT,
        "model_max_length": CONTEXT,
        "pad_token": END_OF_TEXT,
        "tokenizer_class": "PreTrainedTokenizerFast",
    });
    format!("{config:#}\n")
}

/// Byte-level BPE, as GPT-2 has it: any text can be written in it, without an unknown token.
fn train_tokenizer(corpus: &Corpus) -> Result<String> {
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<tokenizers::NormalizerWrapper>)
        .with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)))
        .with_post_processor(Some(
            TemplateProcessing::builder()
                .try_single(format!("{END_OF_TEXT} $A"))
                .map_err(anyhow::Error::msg)?
                .special_tokens(vec![(END_OF_TEXT, 0)])
                .build()?,
        ))
        .with_decoder(Some(ByteLevel::default()))
        .build()
        .map_err(anyhow::Error::from_boxed)?;
    let mut trainer = BpeTrainer::builder()
        .vocab_size(VOCABULARY)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .build();
    let mut stream = Rng::new(SEED, "tokenizer").at(0);
    let texts = (0..20_000).map(|_| corpus.plain(&mut stream));
    tokenizer.train(&mut trainer, texts).map_err(anyhow::Error::from_boxed)?;
    tokenizer.to_string(true).map_err(anyhow::Error::from_boxed)
}

fn train_model(
    corpus: &Corpus,
    tokenizer: &Tokenizer,
    config: &Config,
) -> Result<Vec<(String, Tensor)>> {
    let init = first_weights();
    let model = init.build(|init| CausalLm::new(init, config))?;
    let builder = ExampleBuilder::new(tokenizer, CONTEXT);
    let variables = init.tensors();
    let all = variables.values().map(Var::from_tensor).collect::<Result<_, _>>()?;
    let mut optimizer = AdamW::new(all, ParamsAdamW::default())?;
    let mut batches = Vec::new();
    for step in 0..STEPS {
        if batches.is_empty() {
            batches = draw_batches(corpus, &builder, step)?;
        }
        let examples = batches.pop().context("batches were drawn")?;
        let batch = CausalBatch::padded(&examples, tokenizer.pad_id(), &Device::Cpu)?;
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let count = batch.targets.count() as f64;
        let loss = (model.loss(&batch.tokens, &batch.targets)? / count)?;
        optimizer.set_learning_rate(LEARNING_RATE * schedule(step, STEPS));
        optimizer.backward_step(&loss)?;
        if (step + 1) % 50 == 0 {
            println!("step {}/{STEPS}: loss {:.3}", step + 1, loss.to_scalar::<f32>()?);
        }
    }
    let stored = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_dtype(DType::BF16)?));
    variables.into_iter().map(stored).collect()
}

/// The share of the peak learning rate at a step counted from 0: up over the first tenth of the run, then down in a
/// straight line, almost to 0 at the last step.
#[expect(clippy::cast_precision_loss, reason = "steps are far below 2^53")]
fn schedule(step: u64, steps: u64) -> f64 {
    let warm_up = (steps / 10).max(1);
    let rising = (step + 1) as f64 / warm_up as f64;
    let falling = (steps - step) as f64 / (steps - warm_up + 1) as f64;
    rising.min(falling).min(1.0)
}

/// New texts, never seen before; a function of the step at which they are drawn.
fn draw_batches(corpus: &Corpus, builder: &ExampleBuilder, step: u64) -> Result<Vec<Vec<Example>>> {
    let mut stream = Rng::new(SEED, "plain").at(step);
    let mut examples = Vec::new();
    while examples.len() < BATCH * BATCHES_AT_ONCE {
        let row = Row::Text(corpus.plain(&mut stream));
        examples.extend(builder.of(&row)?);
    }
    examples.sort_by_key(|example| example.ids().len());
    let mut batches: Vec<Vec<Example>> =
        examples.chunks_exact(BATCH).map(<[Example]>::to_vec).collect();
    stream.shuffle(&mut batches);
    Ok(batches)
}

/// Norms of one; matrices of small normal numbers, smaller where many layers add up.
fn first_weights() -> Init {
    let residual = 0.02 / (2.0 * f64::from(LAYERS)).sqrt();
    Init::random(Rng::new(SEED, "init"), &Device::Cpu)
        .with("*.weight", Initializer::Normal { std: 0.02 })
        .with("*norm.weight", Initializer::ONES)
        .with("*.o_proj.weight", Initializer::Normal { std: residual })
        .with("*.down_proj.weight", Initializer::Normal { std: residual })
}

/// The tokens of a prompt and the scores of what may follow each of them, as JSON: what `check_transformers.py` compares.
fn print_logits(prompt: &str) -> Result<()> {
    let base = Base::find(None, None, &CancelToken::new(), &mut Silent)?;
    let tokens = base.lm.beginning(prompt)?;
    let stored = base.tensors(&Device::Cpu)?;
    let wide = stored.into_iter().map(|(name, it)| Ok((name, it.to_dtype(DType::F32)?)));
    let model =
        Init::from_tensors(wide.collect::<Result<Vec<_>>>()?).build(|init| base.model(init))?;
    let rows = std::slice::from_ref(&tokens);
    let logits = model.logits(&Tokens::padded(rows, 0, &Device::Cpu)?)?.squeeze(0)?;
    let logits = logits.to_vec2::<f32>()?;
    println!("{}", json!({"tokens": tokens, "logits": logits}));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_set_is_what_this_program_makes() {
        let [train, eval] = pirate_rows();
        assert!(train == include_str!("data/train.jsonl"), "run `text_pretrain data`");
        assert!(eval == include_str!("data/eval.jsonl"), "run `text_pretrain data`");
    }

    #[test]
    fn the_tokenizer_is_what_this_program_makes() {
        let made = train_tokenizer(&Corpus::new()).unwrap();
        assert!(made == include_str!("base/tokenizer.json"), "run `text_pretrain base`");
        assert_eq!(tokenizer_config(), include_str!("base/tokenizer_config.json"));
    }

    #[test]
    fn plain_texts_are_plain_and_complete() {
        let corpus = Corpus::new();
        let mut stream = Rng::new(3, "test").at(0);
        for _ in 0..2000 {
            let text = corpus.plain(&mut stream);
            assert!(!text.contains(['{', '}']) && text.starts_with(char::is_uppercase), "{text}");
            assert!(!text.contains(" an' "), "{text}");
        }
    }
}
