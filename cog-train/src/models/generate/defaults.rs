//! The options of generation that a model's folder names.

use serde_json::Value;

use super::Generation;
use crate::error::Error;
use crate::models::config::token_ids;
use crate::models::keys::Keys;
use crate::models::pretrained::Pretrained;

/// The file of the options.
const FILE: &str = "generation_config.json";
/// transformers' `top_k` where a file draws at random and names none.
const TOP_K: usize = 50;

impl Pretrained {
    /// Reads the options of generation from the folder's `generation_config.json`, as transformers' `generate` takes them:
    /// `do_sample`, `temperature`, `top_k`, `top_p`, `min_p`, `repetition_penalty`, `eos_token_id` and `max_new_tokens`. Other keys
    /// count for nothing. What the file does not name is the token with the highest score, up to `most_tokens`, and the end tokens
    /// of `config.json`.
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
    /// [`Error::Model`] with the values that are of another kind or out of range; [`Error::File`].
    pub fn generation(&self, most_tokens: usize) -> Result<Generation, Error> {
        let plain = Generation::new(most_tokens).end_tokens(self.config().end_tokens().to_vec());
        let file = self.folder().join(FILE);
        if !file.is_file() {
            return Ok(plain);
        }
        let mut keys = Keys::open(&file)?;
        let mut options = Generation::new(keys.get_or(&["max_new_tokens"], most_tokens));
        options = match keys.get::<Value>(&["eos_token_id"]) {
            Some(ids) => options.end_tokens(token_ids(&mut keys, &ids)),
            None => options.end_tokens(self.config().end_tokens().to_vec()),
        };
        if let Some(penalty) = keys.get(&["repetition_penalty"]) {
            options = options.repetition_penalty(penalty);
        }
        let temperature = keys.get_or(&["temperature"], 1.0);
        let top_k = keys.get_or(&["top_k"], TOP_K);
        let (top_p, min_p) = (keys.get(&["top_p"]), keys.get(&["min_p"]));
        // What is read is checked, also where nothing is drawn.
        let drawn = options.clone().temperature(temperature).top_k(top_k);
        let drawn = top_p.into_iter().fold(drawn, Generation::top_p);
        let drawn = min_p.into_iter().fold(drawn, Generation::min_p);
        if let Err(Error::InvalidConfig { reason }) = drawn.check() {
            keys.problem(reason);
        }
        let do_sample = keys.get_or(&["do_sample"], false);
        keys.without_values().finish(&file)?;
        Ok(if do_sample { drawn } else { options })
    }
}
