//! Any bytes as a weights file: no panic, and what is opened is what the safetensors crate sees in it.

#![no_main]

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use cog_train::Weights;
use cog_train::archive::Format;
use cog_train::candle_core::Device;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static DIR: RefCell<tempfile::TempDir> = RefCell::new(tempfile::tempdir().unwrap());
}

fuzz_target!(|bytes: &[u8]| {
    let path: PathBuf = DIR.with_borrow(|dir| dir.path().join("model.safetensors"));
    // An archive is the other target's; here it would fill the cache.
    if Format::of_content(&bytes[..bytes.len().min(512)]).is_some() {
        return;
    }
    fs::write(&path, bytes).unwrap();
    let Ok(weights) = Weights::open(path.to_str().unwrap()) else { return };
    let other = safetensors::SafeTensors::deserialize(bytes)
        .expect("what we take, the format's own crate takes");
    let names: Vec<&str> = weights.names().collect();
    assert_eq!(names.len(), other.len());
    for name in names {
        let view = other.tensor(name).expect("the same names");
        if let Ok(tensor) = weights.get(name, &Device::Cpu) {
            assert_eq!(tensor.dims(), view.shape(), "{name}");
        }
    }
});
