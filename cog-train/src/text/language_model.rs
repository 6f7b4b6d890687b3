//! A language model with its text side.

use std::path::Path;

use cog_train_nn::{BlockLayout, Init};

use super::builder::ExampleBuilder;
use super::template::{Chat, ChatTemplate, Ending};
use super::tokenizer::Tokenizer;
use crate::error::Error;
use crate::models::{CausalLm, Pretrained};

/// A pretrained language model, its tokenizer and its chat template: opened and checked, and nothing is loaded.
///
/// ```
/// use cog_train::CancelToken;
/// use cog_train::candle_core::Device;
/// use cog_train::hub::resolve;
/// use cog_train::nn::Init;
/// use cog_train::progress::Silent;
/// use cog_train::text::LanguageModel;
///
/// # let name = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/text_finetune/base");
/// // A folder, a `.gguf` file, or `org/name` on a hub.
/// let base = LanguageModel::open(resolve(name, &CancelToken::new(), &mut Silent)?)?;
/// let prompt = base.prompt("How are you?")?; // as a user's message, if it is a chat model
/// let tensors = base.pretrained.tensors(&Device::Cpu)?;
/// let model = Init::from_tensors(tensors).build(|init| base.build(init))?;
/// # drop((prompt, model));
/// # Ok::<(), cog_train::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LanguageModel {
    /// The configuration and the tensors.
    pub pretrained: Pretrained,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template; `None` of a model that is none for chats.
    pub template: Option<ChatTemplate>,
}

impl LanguageModel {
    /// Opens a folder of Hugging Face or a GGUF file.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::open`], [`Tokenizer::open`], [`Tokenizer::check_embedding`] and [`ChatTemplate::find`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let (pretrained, tokenizer) = (Pretrained::open(path)?, Tokenizer::open(path)?);
        tokenizer.check_embedding(pretrained.config().vocabulary())?;
        let template = ChatTemplate::find(path, &tokenizer)?;
        Ok(Self { pretrained, tokenizer, template })
    }

    /// Quantizes its weights when they are loaded: [`Pretrained::quantize`].
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::quantize`].
    pub fn quantize(self, layout: BlockLayout) -> Result<Self, Error> {
        Ok(Self { pretrained: self.pretrained.quantize(layout)?, ..self })
    }

    /// Builds the model from its tensors.
    ///
    /// # Errors
    ///
    /// Those of [`CausalLm::new`].
    pub fn build(&self, init: &Init) -> Result<CausalLm, Error> {
        CausalLm::new(init, self.pretrained.config())
    }

    /// Starts to make examples of at most `most_tokens` tokens, with its template.
    #[must_use]
    pub fn examples(&self, most_tokens: usize) -> ExampleBuilder<'_> {
        let builder = ExampleBuilder::new(&self.tokenizer, most_tokens);
        match &self.template {
            Some(template) => builder.template(template),
            None => builder,
        }
    }

    /// Returns the tokens of a prompt: a chat model's as a user's message, others as the beginning of a text.
    ///
    /// # Errors
    ///
    /// Those of [`ChatTemplate::encode`].
    pub fn prompt(&self, prompt: &str) -> Result<Vec<u32>, Error> {
        let Some(template) = &self.template else { return self.beginning(prompt) };
        let chat = Chat::of([("user", prompt)]);
        Ok(template.encode(&chat, Ending::GenerationPrompt, &self.tokenizer)?.ids)
    }

    /// Returns the tokens of the beginning of a text: with the special tokens before a sequence, and without those behind it.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::encode`].
    pub fn beginning(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut tokens = self.tokenizer.prefix().to_vec();
        tokens.extend(self.tokenizer.encode_plain(text)?);
        Ok(tokens)
    }
}
