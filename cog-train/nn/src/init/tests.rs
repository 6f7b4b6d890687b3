use super::source::digest;
use super::*;
use crate::{BlockLayout, Conv2d, Embedding, LayerNorm, Linear, Quantized};

fn random(seed: u64) -> Init {
    Init::random(Rng::new(seed, "init"), &Device::Cpu)
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

fn two(init: &Init) -> Result<[Linear; 2], Error> {
    Ok([Linear::new(&init.at("a"), 3, 4)?, Linear::new(&init.at("b"), 4, 2)?])
}

fn two_in_reverse(init: &Init) -> Result<[Linear; 3], Error> {
    let c = Linear::new(&init.at("c"), 9, 9)?;
    let b = Linear::new(&init.at("b"), 4, 2)?;
    Ok([Linear::new(&init.at("a"), 3, 4)?, b, c])
}

#[test]
fn a_tensor_depends_on_its_name_and_the_seed_alone() {
    let (one, other) =
        (random(1).tensors_of(two).unwrap(), random(1).tensors_of(two_in_reverse).unwrap());
    assert!(one.iter().all(|(name, tensor)| bits(tensor) == bits(&other[name])));
    let another_seed = random(2).tensors_of(two).unwrap();
    assert!(one.iter().all(|(name, tensor)| bits(tensor) != bits(&another_seed[name])));
    let same_shape = |init: &Init| {
        Ok::<_, Error>([Linear::new(&init.at("a"), 3, 4)?, Linear::new(&init.at("b"), 3, 4)?])
    };
    let tensors = random(1).tensors_of(same_shape).unwrap();
    assert_ne!(bits(&tensors["a.weight"]), bits(&tensors["b.weight"]));
}

/// The first value of PyTorch's name for the first weight of a model with seed 42: checkpoints of examples depend on it.
#[test]
fn a_path_is_dotted_and_its_stream_stays() {
    let init = random(42);
    Linear::new(&init.at("layers").at(0).at("attn"), 4, 4).unwrap();
    LayerNorm::new(&init.at("layers.0").at("ln"), 4, 1e-5).unwrap();
    let names: Vec<String> = init.tensors().into_keys().collect();
    assert_eq!(
        names,
        ["layers.0.attn.bias", "layers.0.attn.weight", "layers.0.ln.bias", "layers.0.ln.weight"]
    );
    let mut stream = Rng::new(42, "init").at(digest("layers.0.attn.weight"));
    let expected = 0.5 * (2.0 * stream.uniform() - 1.0);
    let found = init.tensors()["layers.0.attn.weight"].flatten_all().unwrap().to_vec1::<f32>();
    assert!((f64::from(found.unwrap()[0]) - expected).abs() < 1e-7);
    assert_eq!(digest("a"), 0xaf63_dc4c_8601_ec8c); // FNV's own test vector
}

#[test]
fn drawn_tensors_are_trained_and_loaded_ones_are_left_as_they_are() {
    let init = random(1);
    let [a, b] = init.build(two).unwrap();
    let x = Tensor::ones((1, 3), DType::F32, &Device::Cpu).unwrap();
    let loss = b.forward(&a.forward(&x).unwrap()).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    assert!(init.tensors().values().all(|tensor| gradients.get(tensor).is_some()));

    let frozen = init.tensors().into_iter().map(|(name, tensor)| (name, tensor.detach()));
    let [a, _] = Init::from_tensors(frozen).build(two).unwrap();
    assert!(!a.weight().tensor().unwrap().is_variable());
    let half = random(1).dtype(DType::BF16);
    assert_eq!(half.build(two).unwrap()[0].weight().dtype(), DType::BF16);
}

#[test]
fn all_that_does_not_fit_is_reported_at_once() {
    let mut tensors = random(1).tensors_of(two).unwrap();
    let bias = tensors.remove("a.bias").unwrap();
    tensors.insert("b.bias".to_owned(), bias.clone());
    tensors.insert("c.bias".to_owned(), bias.clone());
    tensors.insert("d.inv_freq".to_owned(), bias);
    let init = Init::from_tensors(tensors.clone())
        .ignore("*.inv_freq")
        .with("*.wieght", Initializer::ONES);
    assert_eq!(
        init.build(two).unwrap_err().to_string(),
        "the tensors do not fit the model: 4 problems\n  \
         `a.bias` is missing\n  \
         `b.bias` has the shape [4], and the model needs [2]\n  \
         `c.bias` is not of this model\n  \
         no tensor is called `*.wieght`"
    );
    // A layer by itself fails where it is built.
    let error = Linear::new(&Init::from_tensors(tensors).at("a"), 3, 4).unwrap_err().to_string();
    assert_eq!(error, "`a.bias` is missing");
    let many = (0..30).map(|at| (format!("x{at:02}"), Tensor::new(0f32, &Device::Cpu).unwrap()));
    let error = Init::from_tensors(many).build(|_| Ok::<_, Error>(())).unwrap_err().to_string();
    assert!(error.contains("30 problems") && error.ends_with("\n  and 20 more"), "{error}");
}

#[test]
fn a_name_stands_for_one_parameter() {
    let twice = |init: &Init| {
        Ok::<_, Error>([Linear::new(&init.at("a"), 3, 4)?, Linear::new(&init.at("a"), 3, 4)?])
    };
    let error = random(1).build(twice).unwrap_err().to_string();
    assert!(error.contains("`a.weight` was requested twice"), "{error}");
}

#[test]
fn initializers_are_chosen_by_pattern_and_the_last_one_counts() {
    let init = random(1)
        .with("*.weight", Initializer::ZEROS)
        .with("body.*.weight", Initializer::Constant(2.0))
        .with("body.*.bias", Initializer::ONES);
    let within = init.at("body").with("conv.weight", Initializer::Constant(3.0));
    let first = |tensor: &Tensor| bits(tensor)[0];
    let fc = Linear::new(&within.at("fc"), 2, 2).unwrap();
    let conv = Conv2d::new(&within.at("conv"), 1, 1, 1).unwrap();
    let words = Embedding::new(&init.at("words"), 2, 2).unwrap();
    let [fc_weight, words] = [fc.weight(), words.weight()].map(|weight| weight.tensor().unwrap());
    let found = [fc_weight, fc.bias().unwrap(), conv.weight(), words].map(first);
    assert_eq!(found, [2f32, 1.0, 3.0, 0.0].map(f32::to_bits));
}

/// All at once, as problems of tensors.
#[test]
fn quantized_matrices_that_do_not_fit_are_problems() {
    let matrix = |outputs, inputs| {
        let weight = Tensor::ones((outputs, inputs), DType::F32, &Device::Cpu).unwrap();
        Quantized::quantize(&weight, BlockLayout::Nf4).unwrap()
    };
    let floats = random(1).tensors_of(two).unwrap();
    let error = |floats: BTreeMap<String, Tensor>, matrices: Vec<(&str, Quantized)>| {
        let init = Init::from_tensors(floats).quantized(matrices);
        init.build(two)
            .unwrap_err()
            .to_string()
            .lines()
            .skip(1)
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("; ")
    };
    let without = |names: &[&str]| {
        let kept = floats.clone().into_iter().filter(|(name, _)| !names.contains(&name.as_str()));
        kept.collect::<BTreeMap<_, _>>()
    };
    let found = error(without(&["a.weight"]), vec![("a.weight", matrix(4, 4))]);
    assert_eq!(found, "`a.weight` has the shape [4, 4], and the model needs [4, 3]");
    let found = error(without(&["b.bias"]), vec![("b.bias", matrix(1, 2))]);
    assert!(found.starts_with("`b.bias` is quantized (NF4), and only linear layers"), "{found}");
    let found = error(floats.clone(), vec![("c.weight", matrix(1, 2))]);
    assert_eq!(found, "`c.weight` is not of this model");
    let found = error(floats.clone(), vec![("a.weight", matrix(4, 3))]);
    assert!(found.starts_with("`a.weight` is there twice, as a tensor and quantized"), "{found}");

    // They compute in the type of the tensors.
    let half = without(&["a.weight", "b.weight"]).into_iter();
    let half = half.map(|(name, tensor)| (name, tensor.to_dtype(DType::BF16).unwrap()));
    let init = Init::from_tensors(half);
    let init = init.quantized([("a.weight", matrix(4, 3)), ("b.weight", matrix(2, 4))]);
    let [a, b] = init.build(two).unwrap();
    assert_eq!((a.weight().dtype(), b.weight().dtype()), (DType::BF16, DType::BF16));
    assert!(a.weight().tensor().is_err() && a.weight().quantized().is_some());
}
