use cog_train::Runner;
use cog_train::serde_json::json;

use super::*;

#[test]
fn a_training_writes_an_adapter() -> Result<()> {
    let mut runner = Runner::<train>::new(Setup::for_test())?;
    let adapter = runner.train(json!({"epochs": 1}))?;
    assert!(adapter.join("adapter_config.json").is_file());
    assert!(adapter.join("adapter_model.safetensors").is_file());
    Ok(())
}
