use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{CpuStorage, DType, Device, Shape, Tensor};
use candle_nn::VarMap;
use proptest::prelude::*;

use super::Weights;
use crate::error::Error;

const CPU: Device = Device::Cpu;

fn tensor(values: &[f32]) -> Tensor {
    Tensor::new(values, &CPU).unwrap()
}

fn open(path: &Path) -> Result<Weights, Error> {
    Weights::open(path.to_str().unwrap())
}

/// A tensor of any bits at all: NaNs with payloads, infinities and subnormals too.
fn raw(dtype: DType, shape: &[usize], bits: &[u8]) -> Tensor {
    let bytes = shape.iter().product::<usize>() * dtype.size_in_bytes();
    let bits: Vec<u8> = bits.iter().copied().cycle().take(bytes).collect();
    Tensor::from_raw_buffer(&bits, dtype, shape, &CPU).unwrap()
}

/// The bits that a round trip must keep; values would not do, for a NaN differs from itself.
fn bits(tensor: &Tensor) -> (DType, Vec<usize>, Vec<u64>) {
    let flat = tensor.contiguous().unwrap();
    let (storage, layout) = flat.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else { panic!("on the CPU") };
    let (from, to) = layout.contiguous_offsets().unwrap();
    let bits: Vec<u64> = match storage {
        CpuStorage::U8(v) | CpuStorage::F8E8M0(v) => v.iter().map(|&v| v.into()).collect(),
        CpuStorage::U32(v) => v.iter().map(|&v| v.into()).collect(),
        CpuStorage::I16(v) => v.iter().map(|&v| v.cast_unsigned().into()).collect(),
        CpuStorage::I32(v) => v.iter().map(|&v| v.cast_unsigned().into()).collect(),
        CpuStorage::I64(v) => v.iter().map(|&v| v.cast_unsigned()).collect(),
        CpuStorage::BF16(v) => v.iter().map(|v| v.to_bits().into()).collect(),
        CpuStorage::F16(v) => v.iter().map(|v| v.to_bits().into()).collect(),
        CpuStorage::F32(v) => v.iter().map(|v| v.to_bits().into()).collect(),
        CpuStorage::F64(v) => v.iter().map(|v| v.to_bits()).collect(),
        CpuStorage::F8E4M3(v) => v.iter().map(|v| v.to_bits().into()).collect(),
        other => panic!("{:?}", std::mem::discriminant(other)),
    };
    (tensor.dtype(), tensor.dims().to_vec(), bits[from..to].to_vec())
}

fn any_tensor() -> impl Strategy<Value = Tensor> {
    let dtype = prop::sample::select(vec![
        DType::U8,
        DType::U32,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::BF16,
        DType::F16,
        DType::F32,
        DType::F64,
        DType::F8E4M3,
    ]);
    let shape = prop::collection::vec(0_usize..5, 0..4);
    let bits = prop::collection::vec(any::<u8>(), 1..64);
    (dtype, shape, bits, any::<bool>()).prop_map(|(dtype, shape, bits, turned)| {
        let tensor = raw(dtype, &shape, &bits);
        let rank = tensor.rank();
        if turned && rank >= 2 { tensor.transpose(0, rank - 1).unwrap() } else { tensor }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_save_and_an_open_keep_every_bit(
        tensors in prop::collection::btree_map("\\PC{1,12}", any_tensor(), 0..6)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("w.safetensors");
        let saved = Weights::save(tensors.clone(), &file).unwrap();
        let opened = open(&file).unwrap();
        for weights in [&saved, &opened] {
            let read = weights.tensors(&CPU).unwrap();
            prop_assert_eq!(read.len(), tensors.len());
            for (name, tensor) in &tensors {
                prop_assert_eq!(bits(&read[name]), bits(tensor), "{}", name);
            }
            prop_assert_eq!(weights.metadata().get("format").map(String::as_str), Some("pt"));
        }

        // Another's reader agrees; the order in which they came does not count.
        let bytes = fs::read(&file).unwrap();
        let other = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(other.len(), tensors.len());
        let again = dir.path().join("again.safetensors");
        Weights::save(tensors.iter().rev().map(|(k, v)| (k, v.clone())), &again).unwrap();
        prop_assert_eq!(fs::read(&again).unwrap(), bytes);
    }

    /// The header's checks and those of the safetensors crate agree on anything near a good file, save where ours are
    /// stricter on purpose: a name that is there twice, and strides that overflow.
    #[test]
    fn the_header_is_read_as_the_safetensors_crate_reads_it(
        at in 0_usize..200, byte in any::<u8>(), cut in 0_usize..300
    ) {
        let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.bytes());
        bytes.extend([0; 12]);
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(250)));
        let ours = super::header::read(&bytes[..], bytes.len() as u64);
        let theirs = safetensors::SafeTensors::deserialize(&bytes);
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours.tensors.len(), theirs.len()),
            (Err(_), Err(_)) => {}
            (Err(reason), Ok(_)) => prop_assert!(
                reason.contains("twice") || reason.contains("too large"), "{}", reason
            ),
            (Ok(_), Err(error)) => prop_assert!(false, "{}", error),
        }
    }
}

#[test]
fn training_on_loaded_tensors_does_not_change_the_base() {
    let dir = tempfile::tempdir().unwrap();
    let weights =
        Weights::save([("w", tensor(&[1.0, 2.0]))], dir.path().join("w.safetensors")).unwrap();
    let train = |tensor: &Tensor| {
        let var = candle_core::Var::from_tensor(tensor).unwrap();
        var.set(&tensor.affine(0.0, 7.0).unwrap()).unwrap();
        assert_eq!(var.as_tensor().to_vec1::<f32>().unwrap(), [7.0, 7.0]);
    };
    let tensors = weights.tensors(&CPU).unwrap();
    let builder = weights.var_builder(DType::F32, &CPU).unwrap();
    // Writes through the storage that a clone shares, as an in-place optimizer does.
    for tensor in [&tensors["w"], &weights.get("w", &CPU).unwrap(), &builder.get(2, "w").unwrap()] {
        tensor.clone().slice_set(&self::tensor(&[9.0]), 0, 0).unwrap();
        assert_eq!(tensor.to_vec1::<f32>().unwrap(), [9.0, 2.0]);
        train(tensor);
        for fresh in [
            weights.get("w", &CPU).unwrap(),
            weights.tensors(&CPU).unwrap().remove("w").unwrap(),
            builder.get(2, "w").unwrap(),
        ] {
            assert_eq!(fresh.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
        }
    }
}

#[test]
fn a_builder_converts_dtypes_checks_shapes_and_suggests_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.safetensors");
    let weights = Weights::save([("layer.weight", tensor(&[1.5, 2.0]))], &file).unwrap();
    let builder = weights.var_builder(DType::F64, &CPU).unwrap().pp("layer");
    assert!(builder.contains_tensor("weight") && !builder.contains_tensor("bias"));
    assert_eq!(builder.get(2, "weight").unwrap().to_vec1::<f64>().unwrap(), [1.5, 2.0]);
    let shape = crate::error::plain_tensor(&builder.get((2, 1), "weight").unwrap_err());
    assert!(shape.contains("layer.weight") && shape.contains("[2, 1]"), "{shape}");
    let message = weights.get("layer.wieght", &CPU).unwrap_err().to_string();
    let path = file.display();
    let wanted = format!(
        "weights `{path}`: no tensor `layer.wieght` among 1\nhint: did you mean `layer.weight`?"
    );
    assert_eq!(message, wanted);
    let message = crate::error::plain_tensor(&builder.get(2, "wieght").unwrap_err());
    assert_eq!(message, wanted);
    assert!(!weights.get("zzz", &CPU).unwrap_err().to_string().contains("hint"));
}

#[test]
fn a_saved_file_is_aligned_and_sorted_and_loads_in_candle() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.safetensors");
    let tensors = [
        ("z", raw(DType::U8, &[3], &[1])),
        ("b", raw(DType::F32, &[1], &[2])),
        ("a", raw(DType::F32, &[1], &[3])),
        ("m", raw(DType::F64, &[1], &[4])),
    ];
    Weights::save(tensors, &file).unwrap();
    let bytes = fs::read(&file).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
    assert_eq!(
        header.trim_end(),
        r#"{"__metadata__":{"format":"pt"},"m":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},"z":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}}"#
    );
    assert_eq!((8 + length) % 8, 0);
    let mut map = VarMap::new();
    map.get(1, "a", candle_nn::Init::Const(0.0), DType::F32, &CPU).unwrap();
    map.load(&file).unwrap();
}

#[test]
fn a_save_that_fails_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.safetensors");
    Weights::save([("a", tensor(&[1.0]))], &file).unwrap();
    let old = fs::read(&file).unwrap();
    for (names, says) in [
        (["a", "a"], "tensor `a` is there twice"),
        (["b", "__metadata__"], "a tensor cannot be called `__metadata__`"),
    ] {
        let message = Weights::save(names.map(|name| (name, tensor(&[2.0]))), &file).unwrap_err();
        assert!(message.to_string().ends_with(says), "{message}");
        assert_eq!(fs::read(&file).unwrap(), old);
    }
    let nowhere = dir.path().join("no/such/w.safetensors");
    assert!(matches!(Weights::save([("a", tensor(&[1.0]))], nowhere), Err(Error::File { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_save_over_an_open_file_does_not_change_its_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.safetensors");
    let old = Weights::save([("a", tensor(&[1.0]))], &file).unwrap();
    let new = Weights::save([("a", tensor(&[2.0]))], &file).unwrap();
    assert_eq!(old.get("a", &CPU).unwrap().to_vec1::<f32>().unwrap(), [1.0]);
    assert_eq!(new.get("a", &CPU).unwrap().to_vec1::<f32>().unwrap(), [2.0]);
}

#[test]
fn a_file_that_is_cut_while_open_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.safetensors");
    let weights = Weights::save([("a", tensor(&[1.0; 100]))], &file).unwrap();
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(200).unwrap();
    let message = weights.get("a", &CPU).unwrap_err().to_string();
    assert!(message.contains("the file became shorter: tensor `a`"), "{message}");
}

#[test]
fn a_dtype_that_candle_lacks_is_named_and_the_other_tensors_load() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.safetensors");
    let header = r#"{"a":{"dtype":"U16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"F16","shape":[1],"data_offsets":[2,4]},"c":{"dtype":"F8_E5M2","shape":[0],"data_offsets":[4,4]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
    fs::write(&file, bytes).unwrap();
    let weights = open(&file).unwrap();
    assert_eq!(names(&weights), ["a", "b", "c"]);
    assert_eq!(weights.tensors(&CPU).unwrap().into_keys().collect::<Vec<_>>(), ["b"]);
    let unsupported: Vec<_> = weights.unsupported().collect();
    assert_eq!(unsupported, [("a", "U16".to_owned()), ("c", "F8_E5M2".to_owned())]);
    let builder = weights.var_builder(DType::F32, &CPU).unwrap();
    for message in [
        weights.get("a", &CPU).unwrap_err().to_string(),
        crate::error::plain_tensor(&builder.get(1, "a").unwrap_err()),
    ] {
        assert!(
            message.ends_with("tensor `a` is of dtype U16, which candle does not have"),
            "{message}"
        );
    }
}

#[test]
fn a_save_removes_what_a_killed_process_left() {
    let dir = tempfile::tempdir().unwrap();
    for name in [".weights-1b2c3d4e5f.partial", ".weights-mine"] {
        fs::write(dir.path().join(name), "half").unwrap();
    }
    Weights::save([("a", tensor(&[1.0]))], dir.path().join("w.safetensors")).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".weights-mine", "w.safetensors"]);
}

/// A folder with these files; a safetensors file holds its own stem as the name of its one tensor.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if let Some(stem) = name.strip_suffix(".safetensors") {
            let stem = stem.rsplit('/').next().unwrap();
            Weights::save([(stem, tensor(&[1.0]))], path).unwrap();
        } else {
            fs::write(path, b"{}").unwrap();
        }
    }
    dir
}

fn names(weights: &Weights) -> Vec<&str> {
    weights.names().collect()
}

#[test]
fn a_folder_is_read_in_a_known_order() {
    let all = ["a.safetensors", "weights.safetensors", "model.safetensors", "config.json"];
    let dir = folder(&all);
    let path = dir.path();
    let weights = open(path).unwrap();
    assert_eq!((names(&weights), weights.path()), (vec!["model"], path));
    assert_eq!(weights.files(), [path.join("model.safetensors")]);
    fs::remove_file(path.join("model.safetensors")).unwrap();
    assert_eq!(names(&open(path).unwrap()), ["weights"]);
    fs::remove_file(path.join("weights.safetensors")).unwrap();
    assert_eq!(names(&open(path).unwrap()), ["a"]);

    let output = folder(&["output.json", "weights.safetensors", "report.txt"]);
    assert_eq!(names(&open(output.path()).unwrap()), ["weights"]);
    let many =
        folder(&["c.safetensors", "b.SAFETENSORS.txt", "a.safetensors", "sub/d.safetensors"]);
    assert_eq!(names(&open(many.path()).unwrap()), ["a", "c"]);
    let mac = folder(&["m/a.safetensors", "m/._a.safetensors.x", "__MACOSX/m/x", ".DS_Store"]);
    let hidden = mac.path().join("m/._a.safetensors");
    fs::rename(mac.path().join("m/._a.safetensors.x"), hidden).unwrap();
    assert_eq!(names(&open(mac.path()).unwrap()), ["a"]);
    let inner = folder(&["my/model/model.safetensors", "README.md"]);
    let weights = open(inner.path()).unwrap();
    assert_eq!((names(&weights), weights.path()), (vec!["model"], &*inner.path().join("my/model")));
}

#[test]
fn folders_without_weights_are_refused() {
    for (files, says) in [
        (&["README.md"][..], "holds no `.safetensors` file"),
        (&["a/x.safetensors", "b/y.safetensors"], "holds no `.safetensors` file"),
        (&["pytorch_model.bin", "config.json"], "`pytorch_model.bin` is a pickle"),
        (&["model.safetensors.index.json"], "cannot be read: missing field `weight_map`"),
    ] {
        let dir = folder(files);
        let message = open(dir.path()).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }
    let dir = folder(&["a.safetensors", "sub/a.safetensors"]);
    fs::rename(dir.path().join("sub/a.safetensors"), dir.path().join("b.safetensors")).unwrap();
    let message = open(dir.path()).unwrap_err().to_string();
    assert!(
        message.ends_with("b.safetensors`: tensor `a` is also in `a.safetensors`"),
        "{message}"
    );
}

#[test]
fn shards_are_those_of_the_index() {
    let dir = folder(&["one.safetensors", "two.safetensors", "other.safetensors"]);
    let index = dir.path().join("model.safetensors.index.json");
    let write = |map: &[(&str, &str)]| {
        let map: BTreeMap<_, _> = map.iter().copied().collect();
        fs::write(&index, serde_json::json!({"metadata": {}, "weight_map": map}).to_string())
            .unwrap();
    };
    write(&[("one", "one.safetensors"), ("two", "two.safetensors")]);
    let weights = open(dir.path()).unwrap();
    assert_eq!(names(&weights), ["one", "two"]);
    assert_eq!(weights.files().len(), 2);
    for (shard, says) in [
        ("two.safetensors", "puts tensor `one` into `two.safetensors`, which does not hold it"),
        ("gone.safetensors", "names `gone.safetensors`, which is not there"),
        (
            "../x.safetensors",
            "puts tensor `one` into `../x.safetensors`, which is not a safetensors file beside it",
        ),
        ("one.bin", "puts tensor `one` into `one.bin`, which is not a safetensors file beside it"),
    ] {
        write(&[("one", shard)]);
        let message = open(dir.path()).unwrap_err().to_string();
        assert!(message.ends_with(says), "{message}");
    }
    write(&[]);
    assert!(open(dir.path()).unwrap_err().to_string().ends_with("names no file"));
}

#[test]
fn an_index_decides_which_copy_of_a_tensor_counts() {
    let dir = tempfile::tempdir().unwrap();
    let save = |file: &str, tensors: &[(&str, f32)]| {
        let tensors = tensors.iter().map(|&(name, value)| (name, tensor(&[value])));
        Weights::save(tensors, dir.path().join(file)).unwrap();
    };
    // `b` is in both, and the index lacks `c`.
    save("one.safetensors", &[("a", 1.0), ("b", 2.0), ("c", 3.0)]);
    save("two.safetensors", &[("b", 4.0), ("d", 5.0)]);
    let index = dir.path().join("model.safetensors.index.json");
    let mut values = Vec::new();
    for (a, b) in [("one", "two"), ("one", "one")] {
        let map = serde_json::json!({
            "a": format!("{a}.safetensors"),
            "b": format!("{b}.safetensors"),
            "d": "two.safetensors",
        });
        fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).unwrap();
        let weights = open(dir.path()).unwrap();
        assert_eq!(names(&weights), ["a", "b", "c", "d"]);
        values.push(weights.get("b", &CPU).unwrap().to_vec1::<f32>().unwrap());
    }
    assert_eq!(values, [[4.0], [2.0]]);
    // A name that the index lacks is in doubt when two files hold it.
    let map = serde_json::json!({"a": "one.safetensors", "d": "two.safetensors"});
    fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).unwrap();
    let message = open(dir.path()).unwrap_err().to_string();
    assert!(message.ends_with("tensor `b` is also in `one.safetensors`"), "{message}");
}

#[test]
fn scalars_and_empty_tensors_pass() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.safetensors");
    let scalar = Tensor::new(3_i64, &CPU).unwrap();
    let empty = Tensor::zeros((0, 4), DType::BF16, &CPU).unwrap();
    let weights = Weights::save([("s", scalar), ("e", empty)], file).unwrap();
    assert_eq!(weights.get("s", &CPU).unwrap().to_scalar::<i64>().unwrap(), 3);
    assert_eq!(weights.get("e", &CPU).unwrap().shape(), &Shape::from((0, 4)));
    let none: [(&str, Tensor); 0] = [];
    let none = Weights::save(none, dir.path().join("none.safetensors")).unwrap();
    assert!(none.tensors(&CPU).unwrap().is_empty());
}

/// Runs itself as another process, for the environment of this one is shared by all tests.
#[test]
#[expect(clippy::print_stdout, reason = "the child reports to its parent")]
fn the_environment_names_the_weights_and_the_cache() {
    const CHILD: &str = "COG_TRAIN_TEST_ENVIRONMENT";
    if std::env::var_os(CHILD).is_some() {
        let weights = match Weights::from_env() {
            Ok(None) => "none".to_owned(),
            Ok(Some(_)) => "some".to_owned(),
            Err(error) => error.to_string(),
        };
        let cache = super::cache_dir();
        let cache = cache.map_or_else(|error| error.to_string(), |dir| dir.display().to_string());
        println!("{weights} {cache}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.safetensors");
    Weights::save([("w", tensor(&[1.0]))], &file).unwrap();
    let file = file.to_str().unwrap();
    let test = std::thread::current().name().unwrap().to_owned();
    for (weights, xdg, home, says) in [
        (None, "/x", "/h", "none /x/cog-train"),
        (Some(""), "relative", "/h", "none /h/.cache/cog-train"),
        (Some(file), "", "", "some there is no folder to keep downloads in"),
        (Some("/no/such/file"), "", "/h", "cannot read `/no/such/file`: no such file or directory"),
    ] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", &test, "--nocapture"]).env(CHILD, "1").env_remove(super::VARIABLE);
        child.envs([("XDG_CACHE_HOME", xdg), ("HOME", home)]);
        child.envs(weights.map(|weights| (super::VARIABLE, weights)));
        let message = String::from_utf8(child.output().unwrap().stdout).unwrap();
        assert!(message.contains(says), "{says}: {message}");
    }
}
