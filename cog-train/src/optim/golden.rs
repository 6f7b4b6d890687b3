//! Each rule against PyTorch: 200 steps on an ill-conditioned problem whose gradient follows from the weight and the
//! step, in 32-bit floats throughout.
//!
//! ```python
//! # torch 2.15.0
//! import math, torch
//! O = torch.optim
//! def gradient(w, step):
//!     n, w = w.numel(), w.flatten()
//!     d = torch.tensor([0.01 * 1000 ** (i / (n - 1)) for i in range(n)])
//!     wave = torch.tensor([0.1 * math.sin(0.7 * step + 0.3 * i) for i in range(n)])
//!     return d * w + 0.004 * (torch.roll(w, -1) + torch.roll(w, 1)) + wave
//! def run(make, dims=((5, 3), (4,))):
//!     start = lambda n: torch.tensor([math.cos(1.3 * i + 0.5) for i in range(n)])
//!     ws = [torch.nn.Parameter(start(math.prod(s)).reshape(s)) for s in dims]
//!     opt = make(ws)
//!     for step in range(1, 201):
//!         for w in ws: w.grad = gradient(w.detach(), step).reshape(w.shape)
//!         opt.step()
//!     print(*(str(x.numpy()) for w in ws for x in w.detach().flatten()))
//! ```
//!
//! Weight decay is for both parameters there, so it is here, by a group.

use candle_core::{Device, Tensor};

use super::{Adafactor, Adam, AdamW, Adjust, Group, Lion, Muon, Optimizer, Rule, Sgd};
use crate::params::Gradients;
use crate::params::Params;

type Dims<'a> = [&'a [usize]; 2];

const USUAL: Dims = [&[5, 3], &[4]];

#[expect(clippy::cast_possible_truncation, reason = "rounded to 32 bits, as PyTorch does")]
fn round(number: f64) -> f32 {
    number as f32
}

fn start(dims: &[usize]) -> Tensor {
    let count = u16::try_from(dims.iter().product::<usize>()).unwrap();
    let values = (0..count).map(|at| round((1.3 * f64::from(at) + 0.5).cos())).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

fn gradient(weight: &Tensor, step: u16) -> Tensor {
    let w: Vec<f32> = weight.flatten_all().unwrap().to_vec1().unwrap();
    let last = f64::from(u16::try_from(w.len() - 1).unwrap());
    let values = (0..w.len()).map(|at| {
        let index = f64::from(u16::try_from(at).unwrap());
        let diagonal = round(0.01 * 1000f64.powf(index / last));
        let wave = round(0.1 * (0.7 * f64::from(step) + 0.3 * index).sin());
        let (next, previous) = (w[(at + 1) % w.len()], w[(at + w.len() - 1) % w.len()]);
        diagonal * w[at] + 0.004 * (next + previous) + wave
    });
    Tensor::from_vec(values.collect(), weight.dims(), &Device::Cpu).unwrap()
}

/// The weights after 200 steps.
fn run(rule: impl Rule + 'static, learning_rate: f64, dims: &[&[usize]]) -> Vec<f32> {
    let names = ["a", "b"];
    let params = Params::new(names.into_iter().zip(dims.iter().map(|dims| start(dims)))).unwrap();
    let decay = rule.weight_decay();
    let mut optimizer = Optimizer::new(rule).group("*", Group::new().weight_decay(decay));
    optimizer.prepare(&params).unwrap();
    for step in 1..=200 {
        // Twice the gradient, and a scale of a half: exact in binary.
        let gradients: Gradients = params
            .iter()
            .map(|(name, param)| {
                (name.to_owned(), (gradient(&param.master(), step) * 2.0).unwrap())
            })
            .collect();
        optimizer.step(&params, &gradients, step.into(), learning_rate, 0.5).unwrap();
    }
    let values = params.iter().map(|(_, param)| param.master().flatten_all().unwrap());
    values.flat_map(|values| values.to_vec1::<f32>().unwrap()).collect()
}

/// The largest distance from the golden values.
fn distance(weights: &[f32], golden: &str) -> f32 {
    let golden: Vec<f32> =
        golden.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!(weights.len(), golden.len());
    let distances = weights.iter().zip(golden).map(|(is, expected)| (is - expected).abs());
    distances.fold(0.0, f32::max)
}

fn assert_near(weights: &[f32], golden: &str, tolerance: f32) {
    let distance = distance(weights, golden);
    assert!(distance <= tolerance, "{distance} > {tolerance}");
}

/// `O.SGD(p, lr=0.05)`; `O.SGD(p, lr=0.05, momentum=0.9, dampening=0.3, weight_decay=0.1)`;
/// `O.SGD(p, lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1)`
#[test]
fn sgd() {
    assert_near(&run(Sgd::default(), 0.05, &USUAL), SGD, 1e-6);
    let rule = Sgd { momentum: 0.9, dampening: 0.3, weight_decay: 0.1, nesterov: false };
    assert_near(&run(rule, 0.05, &USUAL), SGD_MOMENTUM, 1e-6);
    let rule = Sgd { momentum: 0.9, dampening: 0.0, weight_decay: 0.1, nesterov: true };
    assert_near(&run(rule, 0.02, &USUAL), SGD_NESTEROV, 1e-6);
}

/// `O.Adam(p, lr=0.01)`; `O.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)`
#[test]
fn adam() {
    assert_near(&run(Adam::default(), 0.01, &USUAL), ADAM, 1e-6);
    let rule = Adam { beta1: 0.8, beta2: 0.95, epsilon: 1e-6, weight_decay: 0.1 };
    assert_near(&run(rule, 0.01, &USUAL), ADAM_DECAY, 1e-6);
}

/// `O.AdamW(p, lr=0.01)`; `O.AdamW(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3)`
#[test]
fn adamw() {
    assert_near(&run(AdamW::default(), 0.01, &USUAL), ADAMW, 1e-6);
    let rule = AdamW { beta1: 0.8, beta2: 0.95, epsilon: 1e-6, weight_decay: 0.3 };
    assert_near(&run(rule, 0.01, &USUAL), ADAMW_DECAY, 1e-6);
}

/// `O.Adafactor(p, lr=0.02)`;
/// `O.Adafactor(p, lr=0.1, beta2_decay=-0.5, eps=(1e-5, 1e-2), d=1.2, weight_decay=0.2)`;
/// the first again with `dims=((2, 3, 2),)`
#[test]
fn adafactor() {
    assert_near(&run(Adafactor::default(), 0.02, &USUAL), ADAFACTOR, 2e-6);
    let rule = Adafactor {
        beta2_decay: -0.5,
        epsilon1: 1e-5,
        epsilon2: 1e-2,
        clip: 1.2,
        weight_decay: 0.2,
    };
    assert_near(&run(rule, 0.1, &USUAL), ADAFACTOR_OPTIONS, 2e-6);
    assert_near(&run(Adafactor::default(), 0.02, &[&[2, 3, 2]]), ADAFACTOR_3D, 2e-6);
}

/// Program 1 of the paper:
///
/// ```python
/// def step(w, m, g, lr, b1, b2, wd):
///     update = torch.sign(m * b1 + g * (1 - b1))
///     w.mul_(1 - lr * wd).sub_(update * lr)
///     m.mul_(b2).add_(g * (1 - b2))
/// ```
///
/// with `(1e-3, 0.9, 0.99, 0)` and `(3e-3, 0.8, 0.95, 0.5)`.
#[test]
fn lion() {
    assert_near(&run(Lion::default(), 1e-3, &USUAL), LION, 1e-6);
    let rule = Lion { beta1: 0.8, beta2: 0.95, weight_decay: 0.5 };
    assert_near(&run(rule, 3e-3, &USUAL), LION_DECAY, 1e-6);
}

/// `O.Muon(p, lr=0.01)`, and
/// `O.Muon(p, lr=0.02, momentum=0.8, nesterov=False, weight_decay=0.3, ns_steps=3, adjust_lr_fn="match_rms_adamw")`,
/// with `dims=((5, 3), (3, 5))` and the iteration in 32 bits:
///
/// ```python
/// def f32(g, abc, steps, eps):
///     a, b, c = abc
///     x = g.T if g.size(0) > g.size(1) else g
///     x = x / x.norm().clamp(min=eps)
///     for _ in range(steps):
///         gram = x @ x.T
///         x = a * x + (b * gram + c * gram @ gram) @ x
///     return x.T if g.size(0) > g.size(1) else x
/// torch.optim._muon._zeropower_via_newtonschulz = f32
/// ```
///
/// The learning rates are small: where the momentum has one strong direction, the iteration magnifies the rest of it and
/// its rounding, and at 0.05 the runs in 32 and in 64 bits are 0.01 apart. The first run is also compared with PyTorch as
/// it is, whose iteration has the 8 bits of bfloat16.
#[test]
fn muon() {
    let dims: Dims = [&[5, 3], &[3, 5]];
    let weights = run(Muon::default(), 0.01, &dims);
    assert_near(&weights, MUON, 1e-5);
    assert_near(&weights, MUON_BF16, 0.01);
    let rule = Muon {
        momentum: 0.8,
        nesterov: false,
        weight_decay: 0.3,
        iterations: 3,
        adjust: Adjust::MatchRmsAdamw,
        ..Muon::default()
    };
    assert_near(&run(rule, 0.02, &dims), MUON_OPTIONS, 1e-5);
}

const SGD: &str = "\
    0.79181963 -0.2019201 -0.7577718 -0.1973948 0.39383996 0.21608938 -0.069748685 -0.04223301 -0.0009861126 \
    0.0014012657 0.003645182 0.005839443 0.0074199787 0.0075682634 0.00479845 0.790122 -0.11031603 \
    -0.006586703 -0.006168319";

const SGD_MOMENTUM: &str = "\
    0.003979234 0.0017601679 -0.000566823 -0.0028352786 -0.0048996336 -0.0065221037 -0.0075937524 -0.007986248 \
    -0.0077581536 -0.0068555414 -0.005312445 -0.0031352644 -0.00013228542 0.0051912437 0.025838727 \
    0.0039627478 0.0017574887 -0.0007368117 -0.022841642";

const SGD_NESTEROV: &str = "\
    0.004061976 -0.002250932 -0.0037529354 -0.004246267 -0.005440201 -0.0059367996 -0.005963811 -0.0054387613 \
    -0.0044153836 -0.0029374098 -0.0010876147 0.0011065331 0.003678158 0.0067690792 0.00988926 0.0038782002 \
    -0.001498001 -0.0033212453 -0.009763197";

const ADAM: &str = "\
    0.61763805 -0.17225221 -0.47358736 -0.07281258 0.12351205 0.028504921 -0.0032716622 -0.025092771 \
    -0.002806873 0.0077933064 -0.00051892136 -0.00014448861 -0.007056851 0.0004397566 0.013832857 0.6385708 \
    -0.032258525 -0.015953925 -0.0003615514";

const ADAM_DECAY: &str = "\
    0.06030449 -0.008498897 -0.053677127 -0.006240485 0.009114692 -0.002809252 -0.0063924165 -0.0064687124 \
    -0.005687333 -0.004394483 -0.0030117424 -0.001142758 0.00067636557 0.0029535072 0.0012661824 0.061666735 \
    -0.0019853497 -0.0013978737 -0.0041053505";

const ADAMW: &str = "\
    0.60530865 -0.16878244 -0.46367276 -0.07123688 0.12056611 0.027615037 -0.0032594437 -0.02417515 \
    -0.00281168 0.0073691895 -0.0005160607 -0.00015005439 -0.0066838874 0.00044046616 0.013178717 0.625761 \
    -0.031590104 -0.015227052 -0.00035715743";

const ADAMW_DECAY: &str = "\
    0.34877744 -0.092116885 -0.25825253 -0.04336706 0.060983535 0.0084904 -0.0075000003 -0.006716417 \
    -0.0056853173 -0.004498303 -0.0030090504 -0.0011357109 0.0008045328 0.0029806932 0.0018062998 0.35684624 \
    -0.020220572 -0.0013610362 -0.00425543";

const ADAFACTOR: &str = "\
    0.78947735 -0.051742405 -0.91144794 -0.18105043 -0.018111987 0.56202775 -0.13532642 -0.010020896 \
    -0.033124518 0.45771748 0.002330941 -0.31476015 -0.58292073 0.00079422933 0.64078814 0.66502833 \
    -0.06311044 -0.021768166 -0.005826614";

const ADAFACTOR_OPTIONS: &str = "\
    0.010563005 -0.003063966 -0.015953485 -0.0021366444 -0.0009137253 0.0050254236 -0.0016255229 -0.0004523261 \
    -0.00012408619 0.00031652837 0.00069549645 0.0010381385 0.0012830321 0.0014427357 0.0014414674 0.008654056 \
    -0.0038199355 -0.0017674458 -0.0014230377";

const ADAFACTOR_3D: &str = "\
    0.706849 -0.18246317 -0.4937667 -0.08775103 0.123515524 0.016447572 -0.011145846 -0.030709922 \
    -0.0005798993 0.010721744 0.0017892858 0.00057073514";

const LION: &str = "\
    0.7555841 -0.21720207 -0.8211375 -0.17333345 0.63671535 0.55390483 -0.23137914 -0.78469044 0.022571163 \
    0.7336362 0.3949232 -0.4153551 -0.7241354 -0.035056468 0.78883994 0.79358363 -0.057201765 -0.7991377 \
    -0.10733332";

const LION_DECAY: &str = "\
    0.49742016 -0.13599023 -0.36719516 -0.0771723 0.1290247 0.06328771 0.01156131 -0.21061042 0.0025894407 \
    0.17279741 -0.036400076 0.045043793 -0.1657611 0.0040068347 0.21368411 0.5086114 -0.013676999 -0.22131099 \
    -0.004698268";

const MUON_BF16: &str = "\
    1.0538452 -0.5424725 -0.19580092 -0.56936955 0.15757164 0.008555171 -0.15165965 -0.014785547 -0.019443342 \
    0.33368835 -0.009818991 0.015384892 0.046810735 0.0063128727 0.0037853539 0.70048547 -0.41664767 \
    -0.96105546 0.21853696 0.32310632 1.0967501 -0.910672 -0.9174296 0.04320309 0.062196553 0.15063526 \
    -0.093475156 -0.09036007 0.004550902 -0.002657012";

const MUON: &str = "\
    1.0603857 -0.54620445 -0.19495465 -0.56657624 0.1585999 0.008696894 -0.15222587 -0.015054431 -0.019278018 \
    0.33492315 -0.009560464 0.015438482 0.047079757 0.0063485294 0.003767273 0.7054777 -0.41684675 -0.9597075 \
    0.22043198 0.32374218 1.0963881 -0.9111771 -0.91896296 0.042963725 0.06309976 0.15135823 -0.094442084 \
    -0.091431394 0.0045746653 -0.002504005";

const MUON_OPTIONS: &str = "\
    0.26985815 -0.08884044 -0.16593601 -0.084947236 0.08256187 0.050942514 -0.020702237 0.002013894 \
    -0.0017699955 -0.0056976844 -0.002864488 0.0022750495 -0.002373259 0.000960622 0.007059629 0.2379643 \
    -0.11307656 -0.2523683 0.049476895 0.119481206 0.20197318 -0.16831377 -0.11179247 -0.022658138 \
    -0.012784932 -0.004572197 -0.0016357311 -0.00050828693 0.008321466 0.007260372";
