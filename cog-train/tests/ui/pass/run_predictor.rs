//! A predictor alone, and an allocator of one's own.

#![deny(warnings)]
#![allow(dead_code)]

use cog_train::prelude::*;

#[cog_train::train]
fn train(steps: u32) -> u32 {
    steps
}

struct Echo<T>(std::marker::PhantomData<T>);

#[derive(PredictInputs)]
struct Prompt {
    text: String,
}

impl<T: 'static> Predictor for Echo<T> {
    type Inputs = Prompt;
    type Output = String;

    fn setup(_: &Setup, _: Option<&Weights>) -> Result<Self> {
        Ok(Self(std::marker::PhantomData))
    }

    fn predict(&mut self, inputs: Prompt, _: &mut Job) -> Result<String> {
        Ok(inputs.text)
    }
}

#[global_allocator]
static MINE: std::alloc::System = std::alloc::System;

mod program {
    cog_train::run!(predictor = crate::Echo<String>, allocator = system);

    pub const MAIN: fn() -> std::process::ExitCode = main;
}

fn main() {
    // Made, and not run: a run would train.
    let _ = program::MAIN;
}
