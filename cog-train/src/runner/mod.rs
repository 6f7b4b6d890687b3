//! Stub.
#![allow(missing_docs, dead_code, clippy::all, clippy::pedantic)]
use crate::{Predictor, Trainer};
pub struct App {
    dir: &'static str,
    file: &'static str,
    pub trainer: Option<&'static str>,
    pub predictor: Option<&'static str>,
    pub config: Option<(&'static str, &'static str)>,
}
impl App {
    pub const fn new(dir: &'static str, file: &'static str) -> Self {
        Self { dir, file, trainer: None, predictor: None, config: None }
    }
    pub fn trainer<T: Trainer>(mut self, name: &'static str) -> Self {
        self.trainer = Some(name);
        self
    }
    pub fn predictor<P: Predictor>(mut self, name: &'static str) -> Self {
        self.predictor = Some(name);
        self
    }
    pub fn config(mut self, file: &'static str, text: &'static str) -> Self {
        self.config = Some((file, text));
        self
    }
}
pub fn main(_: &App) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
