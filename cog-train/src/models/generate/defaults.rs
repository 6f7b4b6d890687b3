//! The options of generation that a model's folder names.

use serde_json::Value;

use super::Generation;
use crate::error::Error;
use crate::models::config::token_ids;
use crate::models::keys::Keys;
use crate::models::pretrained::Pretrained;

/// The file of the options.
const FILE: &str = "generation_config.json";
/// transformers' `top_k` where tokens are drawn at random and nothing names one.
const TOP_K: usize = 50;

/// Options of generation by the names that they have in `generation_config.json`; `None` leaves one open.
///
/// ```
/// use cog_train::models::{Generation, GenerationConfig};
///
/// let of_file = GenerationConfig { do_sample: Some(true), temperature: Some(0.6), ..GenerationConfig::default() };
/// let given = GenerationConfig { temperature: Some(0.9), ..GenerationConfig::default() };
/// let options = given.or(of_file).generation(64);
/// assert_eq!(options, Generation::new(64).temperature(0.9).top_k(50));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationConfig {
    /// The most tokens of an answer.
    pub max_new_tokens: Option<usize>,
    /// Whether tokens are drawn at random. Without it the one with the highest score is taken, and the options of a draw count for
    /// nothing.
    pub do_sample: Option<bool>,
    /// See [`Generation::temperature`]; 1 unless given.
    pub temperature: Option<f64>,
    /// See [`Generation::top_k`]; 50 unless given.
    pub top_k: Option<usize>,
    /// See [`Generation::top_p`].
    pub top_p: Option<f64>,
    /// See [`Generation::min_p`].
    pub min_p: Option<f64>,
    /// See [`Generation::repetition_penalty`].
    pub repetition_penalty: Option<f64>,
    /// The tokens that end a text.
    pub eos_token_id: Option<Vec<u32>>,
}

impl GenerationConfig {
    /// Takes what is open here from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            max_new_tokens: self.max_new_tokens.or(other.max_new_tokens),
            do_sample: self.do_sample.or(other.do_sample),
            temperature: self.temperature.or(other.temperature),
            top_k: self.top_k.or(other.top_k),
            top_p: self.top_p.or(other.top_p),
            min_p: self.min_p.or(other.min_p),
            repetition_penalty: self.repetition_penalty.or(other.repetition_penalty),
            eos_token_id: self.eos_token_id.or(other.eos_token_id),
        }
    }

    /// Makes the options of a generation of up to `most_tokens`, unless `max_new_tokens` is given, with transformers' defaults.
    #[must_use]
    pub fn generation(&self, most_tokens: usize) -> Generation {
        let options = Generation::new(self.max_new_tokens.unwrap_or(most_tokens))
            .end_tokens(self.eos_token_id.clone().unwrap_or_default());
        let penalty = self.repetition_penalty.into_iter();
        let options = penalty.fold(options, Generation::repetition_penalty);
        if self.do_sample == Some(true) { self.drawn(options) } else { options }
    }

    fn drawn(&self, options: Generation) -> Generation {
        let temperature = self.temperature.unwrap_or(1.0);
        let options = options.temperature(temperature).top_k(self.top_k.unwrap_or(TOP_K));
        let options = self.top_p.into_iter().fold(options, Generation::top_p);
        self.min_p.into_iter().fold(options, Generation::min_p)
    }
}

impl Pretrained {
    /// Reads the options of generation from the folder's `generation_config.json`, as transformers' `generate` takes them. Other
    /// keys count for nothing. End tokens that the file does not name are those of `config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] with the values that are of another kind or out of range; [`Error::File`].
    pub fn generation_config(&self) -> Result<GenerationConfig, Error> {
        let of_config = Some(self.config().end_tokens().to_vec());
        let file = self.folder().join(FILE);
        if !file.is_file() {
            return Ok(GenerationConfig { eos_token_id: of_config, ..GenerationConfig::default() });
        }
        let mut keys = Keys::open(&file)?;
        let ids = keys.get::<Value>(&["eos_token_id"]).map(|ids| token_ids(&mut keys, &ids));
        let config = GenerationConfig {
            max_new_tokens: keys.get(&["max_new_tokens"]),
            do_sample: keys.get(&["do_sample"]),
            temperature: keys.get(&["temperature"]),
            top_k: keys.get(&["top_k"]),
            top_p: keys.get(&["top_p"]),
            min_p: keys.get(&["min_p"]),
            repetition_penalty: keys.get(&["repetition_penalty"]),
            eos_token_id: ids.or(of_config),
        };
        // What is read is checked, also where nothing is drawn.
        if let Err(Error::InvalidConfig { reason }) = config.drawn(config.generation(0)).check() {
            keys.problem(reason);
        }
        keys.without_values().finish(&file)?;
        Ok(config)
    }

    /// Makes the options of a generation of up to `most_tokens` from [`generation_config`](Self::generation_config): the token with
    /// the highest score, where the file does not say otherwise.
    ///
    /// ```
    /// use cog_train::models::{Generation, Pretrained};
    ///
    /// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models/llama3/");
    /// # let dir = tempfile::tempdir()?;
    /// # let folder = dir.path();
    /// # for name in ["config.json", "model.safetensors"] {
    /// #     std::fs::copy(format!("{fixture}{name}"), folder.join(name))?;
    /// # }
    /// std::fs::write(folder.join("generation_config.json"), r#"{"do_sample": true, "temperature": 0.6, "eos_token_id": 2}"#)?;
    /// let options = Pretrained::open(folder)?.generation(64)?;
    /// assert_eq!(options, Generation::new(64).temperature(0.6).top_k(50).end_tokens([2]));
    /// # Ok::<(), cog_train::anyhow::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`generation_config`](Self::generation_config).
    pub fn generation(&self, most_tokens: usize) -> Result<Generation, Error> {
        Ok(self.generation_config()?.generation(most_tokens))
    }
}
