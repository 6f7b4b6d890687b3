use cog_train::prelude::*;

#[derive(TrainInputs, PredictInputs)]
struct Inputs {
    value: std::net::IpAddr,
}

fn main() {}
