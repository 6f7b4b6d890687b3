use cog_train::prelude::*;

#[derive(Debug, Choice)]
enum Optimizer {
    AdamW,
    Sgd(f64),
}

#[derive(Debug, TrainInputs)]
struct Inputs {
    #[input(default = Optimizer::AdamW)]
    optimizer: Optimizer,
}

#[derive(Debug, TrainOutput)]
struct TrainingOutput {
    weights: Path,
}

struct Finetune;

impl Trainer for Finetune {
    type Inputs = Inputs;
    type Output = TrainingOutput;

    fn setup(_: &Setup) -> Result<Self> {
        Ok(Self)
    }

    fn train(&mut self, inputs: Inputs, _: &mut Job) -> Result<TrainingOutput> {
        Ok(TrainingOutput { weights: format!("{:?}", inputs.optimizer).into() })
    }
}

cog_train::run!(Finetune);
