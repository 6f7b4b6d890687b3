use cog_train::prelude::*;

#[derive(Debug, TrainInputs)]
struct Inputs<'a> {
    #[input(default = "a")]
    text: &'a str,
}

struct Finetune;

impl Trainer for Finetune {
    type Inputs = Inputs<'static>;
    type Output = String;

    fn setup(_: &Setup) -> Result<Self> {
        Ok(Self)
    }

    fn train(&mut self, inputs: Inputs<'static>, _: &mut Job) -> Result<String> {
        Ok(inputs.text.to_owned())
    }
}

cog_train::run!(Finetune);
