//! BERT (Devlin et al., 2018) and the models of its structure: RoBERTa (Liu et al., 2019), DistilBERT (Sanh et al., 2019)
//! and MiniLM (Wang et al., 2020), which is a small BERT. They differ in names, in where positions begin, and in their
//! heads.

mod config;
mod heads;
mod model;
mod names;

pub(crate) use config::{BertConfig, FAMILIES};
pub(crate) use heads::{masked, sequence, token};
pub(crate) use model::Bert;
pub(crate) use names::names;
