//! The macros of `cog_train`, which re-exports them all; use them through it.

extern crate proc_macro;

mod attr;
mod check;
mod choice;
mod dialect;
mod emit;
mod errors;
mod fallback;
mod function;
mod model;
mod output;
mod run;
mod spelled;
mod value;

use proc_macro::TokenStream;
use proc_macro2::{Ident, Span};
use quote::quote;
use syn::{DeriveInput, ItemFn, parse_macro_input};

use crate::errors::Errors;
use crate::model::Inputs;

#[doc = include_str!("../docs/inputs.md")]
#[proc_macro_derive(TrainInputs, attributes(input))]
pub fn train_inputs(input: TokenStream) -> TokenStream {
    inputs(&parse_macro_input!(input as DeriveInput), "TrainInputs")
}

#[doc = include_str!("../docs/predict_inputs.md")]
#[proc_macro_derive(PredictInputs, attributes(input))]
pub fn predict_inputs(input: TokenStream) -> TokenStream {
    inputs(&parse_macro_input!(input as DeriveInput), "PredictInputs")
}

#[doc = include_str!("../docs/train_output.md")]
#[proc_macro_derive(TrainOutput)]
pub fn train_output(input: TokenStream) -> TokenStream {
    output::expand(&parse_macro_input!(input as DeriveInput), &name("TrainOutput")).into()
}

#[doc = include_str!("../docs/predict_output.md")]
#[proc_macro_derive(PredictOutput)]
pub fn predict_output(input: TokenStream) -> TokenStream {
    output::expand(&parse_macro_input!(input as DeriveInput), &name("PredictOutput")).into()
}

#[doc = include_str!("../docs/choice.md")]
#[proc_macro_derive(Choice, attributes(choice))]
pub fn choice(input: TokenStream) -> TokenStream {
    choice::expand(&parse_macro_input!(input as DeriveInput)).into()
}

#[doc = include_str!("../docs/train.md")]
#[proc_macro_attribute]
pub fn train(arguments: TokenStream, function: TokenStream) -> TokenStream {
    match syn::parse::<ItemFn>(function.clone()) {
        Ok(function) => function::expand(arguments.into(), &function).into(),
        Err(error) => function::refuse(&error, function.into()).into(),
    }
}

#[doc = include_str!("../docs/run.md")]
#[proc_macro]
pub fn run(input: TokenStream) -> TokenStream {
    run::expand(input.into()).into()
}

/// Parses, checks and emits a set of inputs; after a mistake, emits the errors and a fallback.
fn inputs(input: &DeriveInput, derive: &str) -> TokenStream {
    let mut errors = Errors::default();
    let inputs = Inputs::read(input, derive, &mut errors);
    for field in &inputs.fields {
        check::check(field, &mut errors);
    }
    if inputs.has_repeated_names() || !errors.is_empty() {
        let (errors, fallback) =
            (errors.to_compile_errors(), fallback::inputs(input, &name(derive)));
        return quote!(#errors #fallback).into();
    }
    emit::inputs(&inputs, &name(derive)).into()
}

fn name(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}
