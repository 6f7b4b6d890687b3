//! Answers, token by token.

use std::ops::ControlFlow;

use candle_core::{DType, Device};
use cog_train::models::{CausalLm, Generation};
use cog_train::nn::Init;
use cog_train::prelude::*;
use cog_train::progress::Silent;
use cog_train::text::Example;
use cog_train::{CancelToken, candle_core};

use crate::base::Base;

/// The variable that names the base of an adapter, where its settings name another place.
const BASE_MODEL: &str = "BASE_MODEL";
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
    /// 0 takes the likeliest token each time, 1 draws from the model's own distribution
    #[input(default = 0.3, ge = 0.0, le = 5.0)]
    pub temperature: f64,
    /// Draw from the likeliest tokens whose probabilities add up to this
    #[input(default = 1.0, ge = 0.0, le = 1.0)]
    pub top_p: f64,
    /// Draw from so many of the likeliest tokens; 0 for all
    #[input(default = 0)]
    pub top_k: usize,
    /// Continue the prompt as it is, also where the model has a chat template
    #[input(default = false)]
    pub raw: bool,
    /// Decides the draws
    #[input(default = 42)]
    pub seed: i64,
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
        let name = std::env::var(BASE_MODEL).ok().filter(|name| !name.is_empty());
        let base = Base::find(name.as_deref(), weights, &CancelToken::new(), &mut Silent)?;
        let model = load(&base, setup.device())?;
        Ok(Self { base, model })
    }

    fn predict(&mut self, inputs: Question, job: &mut Job) -> Result<String> {
        let Question { prompt, temperature, top_p, top_k, .. } = &inputs;
        let prompt = if inputs.raw { self.base.text(prompt)? } else { self.base.prompt(prompt)? };
        let options = Generation::new(self.base.room(&prompt, inputs.max_tokens)?)
            .temperature(*temperature)
            .top_p(*top_p)
            .top_k(*top_k)
            .seed(job.seed());
        answer(&self.model, &self.base, &prompt, options, job, Job::stream)
    }
}

/// Loads a model, with its adapter if it has one.
fn load(base: &Base, device: &Device) -> Result<CausalLm> {
    let mut tensors = base.pretrained.tensors_of(device, |init| base.model(init))?;
    if device.is_cpu() {
        // A CPU computes with 16 bits by widening them for each token.
        for tensor in tensors.values_mut() {
            *tensor = tensor.to_dtype(DType::F32)?;
        }
    }
    let init = match &base.adapter {
        Some((adapter, values)) => adapter.init(adapter.tensors(tensors, values.clone())?),
        None => Init::from_tensors(tensors),
    };
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
    let (mut stream, mut text) = (base.tokenizer.stream(), String::new());
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

/// Logs how the model continues the beginnings of two examples.
pub fn show(model: &CausalLm, base: &Base, examples: &[Example], job: &mut Job) -> Result<()> {
    if job.is_dry_run() {
        return Ok(());
    }
    for example in examples.iter().take(SHOWN) {
        let prompt = example.trained().first().map_or(0, |trained| trained.start);
        // A text is continued from its first words.
        let prompt = if prompt > 1 { prompt } else { example.ids().len().min(WORDS) };
        let prompt = &example.ids()[..prompt.min(base.context() - 1)];
        let options = Generation::new(base.room(prompt, ANSWER)?);
        let answer = answer(model, base, prompt, options, job, |_, _| {})?;
        let opening = base.tokenizer.decode(prompt)?;
        let hidden = opening.chars().count().saturating_sub(OPENING);
        let opening: String = opening.chars().skip(hidden).collect();
        let line = format!("{}{opening} |{answer}", if hidden > 0 { "..." } else { "" });
        job.line(format_args!("  {}", line.replace('\n', "\\n")));
    }
    Ok(())
}
