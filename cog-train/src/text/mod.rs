//! Text: tokenizers, chat templates, formats of rows, examples with the tokens that are trained, packing and batches. The feature
//! `text` has it.
//!
//! A [`Tokenizer`] and a [`ChatTemplate`] are opened from a Hugging Face folder and give the ids that `transformers` gives.
//! [`TextRows`] reads a file in one of the usual formats, an [`ExampleBuilder`] makes [`Examples`] of its rows, and [`Packs`] fit
//! short ones into one row. A [`TextBatch`] has the tensors of a step, and a [`Report`] says what is in the data before the first.
//!
//! ```
//! use cog_train::CancelToken;
//! use cog_train::candle_core::Device;
//! use cog_train::data::{Batching, Loader, Position};
//! use cog_train::text::{ChatTemplate, ExampleBuilder, Packs, Report, TextBatch, TextRows, Tokenizer};
//!
//! # let dir = tempfile::tempdir()?;
//! # let (folder, file) = (dir.path(), dir.path().join("chat.jsonl"));
//! # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/bytes/");
//! # for name in ["tokenizer.json", "tokenizer_config.json"] {
//! #     std::fs::copy(format!("{fixture}{name}"), folder.join(name))?;
//! # }
//! # let template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
//! # let prompt = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
//! # std::fs::write(folder.join("chat_template.jinja"), format!("{template}{prompt}"))?;
//! # let turns = r#"[{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]"#;
//! # std::fs::write(&file, format!("{{\"conversations\": {turns}}}\n"))?;
//! let cancel = CancelToken::new();
//! let tokenizer = Tokenizer::open(folder)?;
//! let template = ChatTemplate::open(folder, &tokenizer)?;
//! let builder = ExampleBuilder::new(&tokenizer, 512).template(&template);
//! let examples = builder.examples(TextRows::open(file, &cancel)?, &cancel)?;
//! println!("{}", Report::new(&tokenizer, &examples, None)?);
//!
//! let (truncated, pad) = (examples.counts().truncated, tokenizer.pad_id());
//! let loader = Loader::new(Packs::new(examples, 512), move |packs, batch| {
//!     Ok(TextBatch::packed(&packs, pad, batch.device())?)
//! })
//! .batch(Batching::Rows(4))
//! .truncated(truncated);
//! let mut batches = loader.start(42, Position::default(), None, &Device::Cpu);
//! let batch = batches.next()?.expect("there is no end");
//! assert_eq!(batch.parts[0].batch.trained, 2); // `4` and `<|im_end|>`
//! # Ok::<(), cog_train::anyhow::Error>(())
//! ```

mod batch;
mod builder;
mod causal_batch;
mod classifier;
mod example;
mod examples;
mod files;
mod formats;
mod labelled;
mod language_model;
mod packing;
mod plain;
mod preference;
mod preferences;
mod report;
mod save;
mod spans;
mod special;
mod template;
mod tokenizer;
mod turns;

pub use batch::{EncoderBatch, TextBatch};
pub use builder::ExampleBuilder;
pub use causal_batch::CausalBatch;
pub use classifier::{LabelScores, TextClassifier};
pub use example::{Example, Truncation};
pub use examples::{Counts, Examples};
pub use formats::{Content, Format, Label, Row, TextRows};
pub use labelled::{
    LabelledBatch, LabelledExample, LabelledExamples, LabelledSplit, LabelledTexts,
};
pub use language_model::LanguageModel;
pub use packing::{Packs, pack};
pub use preference::{Preference, ReferenceLogProbs};
pub use preferences::{PreferenceCounts, PreferenceReport, Preferences};
pub use report::{Report, Summary};
pub use special::SpecialTokens;
pub use template::{Chat, ChatTemplate, EncodedChat, Ending, Rendered};
pub use tokenizer::{TextStream, Tokenizer};
pub use turns::Turns;
