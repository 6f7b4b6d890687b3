//! The frequencies of rotary positions (Su et al., "RoFormer", 2021) and their scalings for longer texts, as transformers
//! defines them.

mod config;
mod read;
mod tables;

pub(crate) use config::{RopeConfig, Scaling};
pub(crate) use read::RopeDefaults;
pub(crate) use tables::Rotary;
