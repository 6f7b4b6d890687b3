//! Laws of the optimizer: groups, state, resume.

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::error::Error;
use crate::params::Gradients;
use crate::params::{Params, Precision};
use cog_train_nn::rng::Rng;

const SHAPES: [(&str, &[usize]); 5] = [
    ("embed.weight", &[6, 4]),
    ("layer.norm.weight", &[4]),
    ("layer.proj.bias", &[4]),
    ("layer.proj.weight", &[4, 4]),
    ("layer.taps", &[2, 3, 2]),
];

fn tensors(seed: u64) -> impl Iterator<Item = (String, Tensor)> {
    SHAPES.into_iter().zip(0..).map(move |((name, dims), index)| {
        let mut stream = Rng::new(seed, "test").at(index);
        let tensor = stream.normal_tensor(dims, 0.0, 1.0, DType::F32, &Device::Cpu).unwrap();
        (name.to_owned(), tensor)
    })
}

fn params() -> Params {
    Params::new(tensors(0)).unwrap()
}

fn gradients(step: u64) -> Gradients {
    tensors(step).collect()
}

fn bits(params: &Params) -> Vec<Vec<u32>> {
    let values = params.masters().into_values().map(|tensor| {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    });
    values.collect()
}

/// The distance that each parameter moves in one step with a gradient of zeros: by weight decay alone.
fn moved(optimizer: Optimizer) -> Vec<f64> {
    let (mut optimizer, params) = (optimizer, params());
    optimizer.prepare(&params).unwrap();
    let before = params.masters().into_values().map(|tensor| tensor.copy().unwrap());
    let before: Vec<_> = before.collect();
    let zeros = tensors(1).map(|(name, tensor)| (name, tensor.zeros_like().unwrap())).collect();
    optimizer.step(&params, &zeros, 1, 0.5, 1.0).unwrap();
    let shares = params.masters().into_values().zip(before).map(|(now, before)| {
        let now: f32 = now.sqr().unwrap().sum_all().unwrap().to_scalar().unwrap();
        let before: f32 = before.sqr().unwrap().sum_all().unwrap().to_scalar().unwrap();
        1.0 - f64::from(now / before).sqrt()
    });
    shares.collect()
}

fn near(is: &[f64], expected: &[f64]) {
    let close = is.iter().zip(expected).all(|(is, expected)| (is - expected).abs() < 1e-5);
    assert!(close && is.len() == expected.len(), "{is:?} {expected:?}");
}

#[test]
fn norms_and_biases_do_not_decay() {
    let adamw = AdamW { weight_decay: 0.1, ..AdamW::default() };
    near(&moved(Optimizer::new(adamw)), &[0.05, 0.0, 0.0, 0.05, 0.05]);
}

#[test]
fn the_first_group_that_fits_wins() {
    let optimizer = Optimizer::new(AdamW { weight_decay: 0.1, ..AdamW::default() })
        .group("embed.*", Group::new().weight_decay(0.0))
        .group("*.bias", Group::new().weight_decay(0.2))
        .group("layer.proj.*", Group::new().learning_rate(0.5))
        .group("*", Group::new().rule(Lion { weight_decay: 0.4, ..Lion::default() }));
    near(&moved(optimizer), &[0.0, 0.0, 0.1, 0.025, 0.2]);
}

#[test]
fn a_group_that_fits_nothing_is_a_mistake() {
    let mut optimizer = Optimizer::new(AdamW::default()).group("haed.*", Group::new());
    let error = optimizer.prepare(&params()).unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { .. }) && error.to_string().contains("`haed.*`"));
}

#[test]
fn muon_takes_the_matrices_inside() {
    let mut optimizer = Optimizer::muon(Muon::default(), AdamW::default());
    optimizer.prepare(&params()).unwrap();
    let names: Vec<_> = optimizer.state().into_keys().collect();
    assert_eq!(
        names,
        [
            "embed.weight.exp_avg",
            "embed.weight.exp_avg_sq",
            "layer.norm.weight.exp_avg",
            "layer.norm.weight.exp_avg_sq",
            "layer.proj.bias.exp_avg",
            "layer.proj.bias.exp_avg_sq",
            "layer.proj.weight.momentum_buffer",
            "layer.taps.exp_avg",
            "layer.taps.exp_avg_sq",
        ]
    );
    let mut optimizer = Optimizer::muon(Muon::default(), AdamW::default())
        .group("embed.*", Group::new().rule(Muon::default()));
    optimizer.prepare(&params()).unwrap();
    assert!(optimizer.state().contains_key("embed.weight.momentum_buffer"));
    let error = Optimizer::new(Muon::default()).prepare(&params()).unwrap_err();
    assert!(error.to_string().contains("`layer.norm.weight`"), "{error}");
}

fn every_rule() -> Vec<fn() -> Optimizer> {
    vec![
        || Optimizer::new(Sgd { momentum: 0.9, dampening: 0.5, ..Sgd::default() }),
        || Optimizer::new(Adam::default()),
        || Optimizer::new(AdamW::default()),
        || Optimizer::new(Adafactor::default()),
        || Optimizer::new(Lion::default()),
        || Optimizer::muon(Muon::default(), AdamW::default()),
    ]
}

/// Cut in two at a step where the state matters, a run is the same run, bit for bit.
#[test]
fn a_restored_optimizer_continues_bit_for_bit() {
    for make in every_rule() {
        let run = |cut: bool| {
            let mut params = params();
            let mut optimizer = make();
            optimizer.prepare(&params).unwrap();
            for step in 1..=12 {
                if cut && step == 7 {
                    let copies = optimizer.state().into_iter();
                    let copies = copies.map(|(name, tensor)| (name, tensor.copy().unwrap()));
                    let state = copies.collect();
                    params = Params::new(params.masters()).unwrap();
                    optimizer = make();
                    optimizer.prepare(&params).unwrap();
                    optimizer.restore(state).unwrap();
                }
                optimizer.step(&params, &gradients(step), step, 0.01, 0.3).unwrap();
            }
            bits(&params)
        };
        assert_eq!(run(false), run(true), "{:?}", make());
    }
}

#[test]
fn the_same_bits_under_any_number_of_threads() {
    for make in every_rule() {
        let under = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (params, mut optimizer) = (params(), make());
                optimizer.prepare(&params).unwrap();
                for step in 1..=3 {
                    optimizer.step(&params, &gradients(step), step, 0.01, 1.0).unwrap();
                }
                bits(&params)
            })
        };
        assert_eq!(under(1), under(3));
    }
}

/// All that is wrong is named, and nothing is written.
#[test]
fn a_state_that_does_not_fit_is_refused_whole() {
    let params = params();
    let mut optimizer = Optimizer::new(Lion::default());
    optimizer.prepare(&params).unwrap();
    optimizer.step(&params, &gradients(1), 1, 0.1, 1.0).unwrap();
    let values = |optimizer: &Optimizer| {
        let tensor = optimizer.state().remove("layer.proj.bias.exp_avg").unwrap();
        tensor.to_vec1::<f32>().unwrap()
    };
    let before = values(&optimizer);
    let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
    let mut state = optimizer.state();
    state.insert("layer.proj.bias.exp_avg".to_owned(), zeros(&[4]));
    state.remove("embed.weight.exp_avg");
    state.insert("layer.proj.weight.exp_avg".to_owned(), zeros(&[4, 5]));
    state.insert("other.exp_avg".to_owned(), zeros(&[1]));
    let error = optimizer.restore(state).unwrap_err();
    assert!(matches!(error, Error::Checkpoint { .. }));
    assert_eq!(
        error.to_string(),
        "checkpoint `optimizer`: missing: `embed.weight.exp_avg`; not expected: `other.exp_avg`; \
         of another shape: `layer.proj.weight.exp_avg` is [4, 5], expected [4, 4]"
    );
    assert_eq!(values(&optimizer), before);
    let state = optimizer.state();
    optimizer.restore(state).unwrap();
    assert_eq!(values(&optimizer), before);
}

#[test]
fn a_parameter_without_a_gradient_is_left_and_the_rest_compute_anew() {
    let params = params().precision(Precision::Bf16).unwrap();
    let mut optimizer = Optimizer::new(AdamW::default());
    assert!(optimizer.step(&params, &gradients(1), 1, 0.1, 1.0).is_err(), "not prepared");
    optimizer.prepare(&params).unwrap();
    assert!(optimizer.step(&params, &gradients(1), 0, 0.1, 1.0).is_err(), "steps begin at 1");
    let before = bits(&params);
    let some = tensors(1).filter(|(name, _)| name != "layer.proj.weight").collect();
    optimizer.step(&params, &some, 1, 0.1, 1.0).unwrap();
    let changed: Vec<_> = bits(&params).into_iter().zip(before).map(|(a, b)| a != b).collect();
    assert_eq!(changed, [true, true, true, false, true]);
    for (name, param) in params.iter() {
        let compute = param.compute().to_dtype(DType::F32).unwrap();
        let rounded = param.master().to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap();
        let differ = compute.ne(&rounded).unwrap().to_dtype(DType::F32).unwrap();
        let count: f32 = differ.sum_all().unwrap().to_scalar().unwrap();
        assert!(count.abs() < 0.5, "{name}");
        assert!(param.compute().is_variable() && param.master().is_variable());
    }
}

#[test]
fn settings_say_everything() {
    let optimizer = Optimizer::muon(Muon::default(), AdamW::default())
        .group("*.bias", Group::new().learning_rate(2.0));
    let described = optimizer.describe();
    assert_eq!(described["rule"]["name"], "muon");
    assert_eq!(described["rule"]["adjust"], "original");
    assert_eq!(described["other"]["epsilon"], 1e-8);
    assert_eq!(described["groups"][0]["names"], "*.bias");
    assert_eq!(described["groups"][0]["group"]["learning_rate"], 2.0);
}

#[test]
fn a_setting_out_of_range_is_refused_by_name_before_the_first_update() {
    let nan = f64::NAN;
    let sgd = Sgd::default;
    let (adam, adamw, lion) = (Adam::default, AdamW::default, Lion::default);
    let (adafactor, muon) = (Adafactor::default, Muon::default);
    let cases: Vec<(&str, Optimizer)> = vec![
        ("`sgd.momentum` is NaN", Optimizer::new(Sgd { momentum: nan, ..sgd() })),
        ("`sgd.momentum` is 1", Optimizer::new(Sgd { momentum: 1.0, ..sgd() })),
        ("`sgd.dampening` is -0.5", Optimizer::new(Sgd { dampening: -0.5, ..sgd() })),
        ("`sgd.weight_decay` is -1", Optimizer::new(Sgd { weight_decay: -1.0, ..sgd() })),
        ("`sgd.nesterov` is true", Optimizer::new(Sgd { nesterov: true, ..sgd() })),
        ("`adam.beta1` is 1", Optimizer::new(Adam { beta1: 1.0, ..adam() })),
        ("`adam.beta2` is -0.1", Optimizer::new(Adam { beta2: -0.1, ..adam() })),
        ("`adamw.beta2` is 1.5", Optimizer::new(AdamW { beta2: 1.5, ..adamw() })),
        ("`adamw.epsilon` is -1", Optimizer::new(AdamW { epsilon: -1.0, ..adamw() })),
        ("`adamw.weight_decay` is NaN", Optimizer::new(AdamW { weight_decay: nan, ..adamw() })),
        ("`lion.beta1` is NaN", Optimizer::new(Lion { beta1: nan, ..lion() })),
        ("`lion.beta2` is 2", Optimizer::new(Lion { beta2: 2.0, ..lion() })),
        ("`adafactor.clip` is 0", Optimizer::new(Adafactor { clip: 0.0, ..adafactor() })),
        ("`adafactor.beta2_decay` is 1", {
            Optimizer::new(Adafactor { beta2_decay: 1.0, ..adafactor() })
        }),
        ("`adafactor.epsilon1` is 0", Optimizer::new(Adafactor { epsilon1: 0.0, ..adafactor() })),
        ("`adafactor.epsilon2` is -1", Optimizer::new(Adafactor { epsilon2: -1.0, ..adafactor() })),
        ("`muon.momentum` is 1", Optimizer::muon(Muon { momentum: 1.0, ..muon() }, adamw())),
        ("`muon.iterations` is 0", Optimizer::muon(Muon { iterations: 0, ..muon() }, adamw())),
        ("`muon.coefficients` is NaN", {
            Optimizer::muon(Muon { coefficients: [1.0, nan, 1.0], ..muon() }, adamw())
        }),
        ("`muon.epsilon` is 0", Optimizer::muon(Muon { epsilon: 0.0, ..muon() }, adamw())),
        ("`adamw.beta1` is 3", Optimizer::muon(muon(), AdamW { beta1: 3.0, ..adamw() })),
        ("group `*` weight_decay` is -1", {
            Optimizer::new(sgd()).group("*", Group::new().weight_decay(-1.0))
        }),
        ("group `*` learning_rate` is inf", {
            Optimizer::new(sgd()).group("*", Group::new().learning_rate(f64::INFINITY))
        }),
        ("`lion.weight_decay` is -2", {
            let rule = Lion { weight_decay: -2.0, ..lion() };
            Optimizer::new(sgd()).group("*", Group::new().rule(rule))
        }),
    ];
    for (words, mut optimizer) in cases {
        let error = optimizer.prepare(&params()).unwrap_err();
        assert!(matches!(error, Error::InvalidConfig { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    for (words, clip) in [
        ("`Clip::Norm` is -1", Clip::Norm(-1.0)),
        ("`Clip::Norm` is NaN", Clip::Norm(nan)),
        ("`Clip::Norm` is 0", Clip::Norm(0.0)),
        ("`Clip::Value` is -0.5", Clip::Value(-0.5)),
        ("`Clip::Value` is 0", Clip::Value(0.0)),
    ] {
        assert!(clip.check().unwrap_err().to_string().contains(words), "{words}");
    }
    for decay in [1.0, -0.1, nan] {
        let error = Ema::new(decay).prepare(&params()).unwrap_err().to_string();
        assert!(error.starts_with("`ema` is "), "{error}");
    }
    for make in every_rule() {
        make().check().unwrap();
    }
    Clip::Norm(1.0).check().unwrap();
}

#[test]
fn a_parameter_without_elements_changes_nothing_for_the_others() {
    for make in every_rule() {
        let trained = |with_empty: bool| {
            let empty = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
            let none = || {
                [("none.matrix", &[0, 4][..]), ("none.vector", &[0])]
                    .into_iter()
                    .filter(move |_| with_empty)
                    .map(move |(name, dims)| (name.to_owned(), empty(dims)))
            };
            let params = Params::new(tensors(0).chain(none())).unwrap();
            let mut optimizer = make();
            optimizer.prepare(&params).unwrap();
            for step in 1..=3 {
                let gradients: Gradients = tensors(step).chain(none()).collect();
                optimizer.step(&params, &gradients, step, 0.01, 1.0).unwrap();
            }
            let values = bits(&params);
            values.into_iter().filter(|values| !values.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(trained(true), trained(false), "{:?}", make());
    }
}
