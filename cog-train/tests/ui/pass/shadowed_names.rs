//! Nothing that the macros write depends on what names mean where they are used.

#![allow(dead_code, nonstandard_style)]

mod cog_train_names {
    pub struct Result;
    pub struct Option;
    pub struct Vec;
    pub struct String;
    pub struct Box;
    pub struct Spec;
    pub struct Values;
    pub struct Problems;
    pub struct Literal;
    pub struct Number;
    pub struct Inputs;
    pub struct Output;
    pub struct Self_;
    pub fn Ok() {}
    pub fn Err() {}
    pub fn Some() {}
    pub const None: () = ();
    pub trait InputType {}
    pub trait Choice {}
    pub trait From {}
    pub trait Into {}
}

mod shadowed {
    #[allow(unused_imports, reason = "no macro uses them: that is the test")]
    use super::cog_train_names::*;

    mod core {}
    mod std {}

    pub type values = ();

    #[derive(cog_train::Choice, Clone, Copy)]
    pub enum Optimizer {
        AdamW,
        None,
        Some,
    }

    #[derive(cog_train::TrainInputs, cog_train::PredictInputs)]
    pub struct Set {
        #[input(default = "a", regex = "a", description = "b")]
        pub name: ::std::string::String,
        #[input(default = 3, ge = 1)]
        pub values: ::core::option::Option<u32>,
        #[input(default = Optimizer::AdamW)]
        pub r#type: Optimizer,
        pub r#fn: ::std::vec::Vec<::cog_train::Path>,
        pub name_: bool,
    }

    #[derive(cog_train::TrainOutput)]
    pub struct TrainingOutput {
        pub r#type: ::std::string::String,
        pub loss: ::core::option::Option<f64>,
    }

    #[cog_train::train]
    pub fn train(
        inputs: u32,
        job: bool,
        r#type: ::std::string::String,
    ) -> ::core::result::Result<::std::string::String, ::cog_train::Error> {
        let _ = (inputs, job);
        ::core::result::Result::Ok(r#type)
    }
}

fn main() {
    use cog_train::{Choice, TrainInputs};
    let names: Vec<&str> =
        <shadowed::Set as TrainInputs>::TABLE.iter().map(|spec| spec.name).collect();
    assert_eq!(names, ["name", "values", "type", "fn", "name_"]);
    assert_eq!(shadowed::Optimizer::NAMES, ["adam_w", "none", "some"]);
    assert_eq!(shadowed::train(1, true, "a".to_owned()).unwrap(), "a");
}
