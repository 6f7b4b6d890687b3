use cog_train::prelude::*;

#[derive(TrainInputs)]
struct Inputs {
    value: std::net::IpAddr,
}

fn main() {
    let _ = <Inputs as TrainInputs>::TABLE;
}
