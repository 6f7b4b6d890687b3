//! Answers, token by token.

use std::ops::ControlFlow;

use candle_core::{DType, Device};
use cog_train::models::{CausalLm, Generation, GenerationConfig};
use cog_train::nn::Init;
use cog_train::prelude::*;
use cog_train::progress::Silent;
use cog_train::text::Example;
use cog_train::{CancelToken, candle_core};

use super::base::Base;
use super::inputs::Quantization;

/// The variable that names the base of an adapter, where its settings name another place.
const BASE_MODEL: &str = "BASE_MODEL";
/// The variable that keeps the base's weights in blocks, as the input `quantize` of a training does.
const QUANTIZE: &str = "QUANTIZE";
/// The examples that are continued in the log, the words of a text that are given, the tokens of an answer, and the characters of
/// what comes before it.
const SHOWN: usize = 2;
const WORDS: usize = 8;
const ANSWER: usize = 40;
const OPENING: usize = 100;

/// Answers a prompt
#[derive(Debug, PredictInputs)]
pub struct Question {
    /// The beginning of a text, or a question
    pub prompt: String,
    /// The most tokens to answer with
    #[input(default = 60, ge = 1, le = 100_000)]
    pub max_tokens: usize,
    /// Draw each token at random, or take the likeliest one; without it, draw if `temperature`, `top_p` or `top_k` is given,
    /// else as the model's `generation_config.json` says, which also has what is not given of the next four
    pub do_sample: Option<bool>,
    /// 0 takes the likeliest token each time, 1 draws from the model's own distribution
    #[input(ge = 0.0, le = 5.0)]
    pub temperature: Option<f64>,
    /// Draw from the likeliest tokens whose probabilities add up to this
    #[input(ge = 0.0, le = 1.0)]
    pub top_p: Option<f64>,
    /// Draw from so many of the likeliest tokens; 0 for all
    pub top_k: Option<usize>,
    /// Above 1, make tokens less likely that are in the text already
    #[input(ge = 0.01, le = 100.0)]
    pub repetition_penalty: Option<f64>,
    /// Continue the prompt as it is, also where the model has a chat template
    #[input(default = false)]
    pub raw: bool,
    /// Decides the draws
    #[input(default = 42)]
    pub seed: i64,
}

impl Question {
    /// The options that the user gave.
    pub fn given(&self) -> GenerationConfig {
        let Self { temperature, top_p, top_k, repetition_penalty, .. } = *self;
        let of_temperature = temperature.map(|temperature| temperature > 0.0);
        let of_others = (top_p.is_some() || top_k.is_some()).then_some(true);
        let do_sample = self.do_sample.or(of_temperature).or(of_others);
        GenerationConfig {
            do_sample,
            temperature,
            top_p,
            top_k,
            repetition_penalty,
            ..GenerationConfig::default()
        }
    }
}

/// A model that was trained, or the built-in one.
pub struct TextGenerator {
    base: Base,
    model: CausalLm,
}

impl Predictor for TextGenerator {
    type Inputs = Question;
    type Output = String;

    fn setup(setup: &Setup, weights: Option<&Weights>) -> Result<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (name, quantize) = (variable(BASE_MODEL), variable(QUANTIZE));
        let quantize = match quantize.as_deref() {
            None => Quantization::None,
            Some(to) => Quantization::from_name(to).with_context(|| {
                format!("`{QUANTIZE}` is `{to}`, not {}", Quantization::NAMES.join(" or "))
            })?,
        };
        let base = Base::find(name.as_deref(), weights, &CancelToken::new(), &mut Silent)?;
        let base = base.quantize(quantize.layout())?;
        let model = load(&base, setup.device())?;
        Ok(Self { base, model })
    }

    fn predict(&mut self, inputs: Question, job: &mut Job) -> Result<String> {
        let (lm, prompt) = (&self.base.lm, &inputs.prompt);
        let prompt = if inputs.raw { lm.beginning(prompt)? } else { lm.prompt(prompt)? };
        let most = self.base.room(&prompt, inputs.max_tokens)?;
        let given = GenerationConfig { max_new_tokens: Some(most), ..inputs.given() };
        let options = given.or(lm.pretrained.generation_config()?).generation(most);
        let options = options.seed(job.seed());
        answer(&self.model, &self.base, &prompt, options, job, Job::stream)
    }
}

/// Loads a model, with its adapter if it has one.
fn load(base: &Base, device: &Device) -> Result<CausalLm> {
    let mut tensors = base.tensors(device)?;
    let blocks = base.lm.pretrained.quantized(device)?;
    let init = match &base.adapter {
        // A CPU computes in 32 bits, and so do the values of an adapter.
        Some((adapter, values)) if device.is_cpu() => {
            tensors.extend(values.clone());
            adapter.clone().quantized(blocks)?.init(tensors)
        }
        Some((adapter, values)) => {
            let adapter = adapter.clone().quantized(blocks)?;
            adapter.init(adapter.tensors(tensors, values.clone())?)
        }
        None => Init::from_tensors(tensors).quantized(blocks),
    };
    let init = if device.is_cpu() { init.compute_in(DType::F32) } else { init };
    Ok(init.build(|init| base.model(init))?)
}

/// Continues a prompt up to a token that ends a text. `show` gets each piece of the text as soon as it is known.
pub fn answer(
    model: &CausalLm,
    base: &Base,
    prompt: &[u32],
    options: Generation,
    job: &mut Job,
    mut show: impl FnMut(&mut Job, &str),
) -> Result<String> {
    let options = options.end_tokens(base.end_tokens());
    let (mut stream, mut text) = (base.lm.tokenizer.stream(), String::new());
    let mut failed = None;
    model.generate(prompt, &options, |token| match stream.push(token) {
        Ok(piece) => {
            show(job, &piece);
            text += &piece;
            if job.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    job.check_cancelled()?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let piece = stream.finish()?;
    show(job, &piece);
    Ok(text + &piece)
}

/// Logs how the model continues the beginnings of two examples, and keeps it as samples of this step.
pub fn show(
    model: &CausalLm,
    base: &Base,
    examples: &[Example],
    step: u64,
    job: &mut Job,
) -> Result<()> {
    if job.is_dry_run() {
        return Ok(());
    }
    for (at, example) in examples.iter().take(SHOWN).enumerate() {
        let prompt = example.trained().first().map_or(0, |trained| trained.start);
        // A text is continued from its first words.
        let prompt = if prompt > 1 { prompt } else { example.ids().len().min(WORDS) };
        let prompt = &example.ids()[..prompt.min(base.context() - 1)];
        let options = Generation::new(base.room(prompt, ANSWER)?);
        let answer = answer(model, base, prompt, options, job, |_, _| {})?;
        let opening = base.lm.tokenizer.decode(prompt)?;
        let hidden = opening.chars().count().saturating_sub(OPENING);
        let opening: String = opening.chars().skip(hidden).collect();
        let line = format!("{}{opening} |{answer}", if hidden > 0 { "..." } else { "" });
        job.line(format_args!("  {}", line.replace('\n', "\\n")));
        job.text(&format!("example {}", at + 1), step, &line);
    }
    Ok(())
}
