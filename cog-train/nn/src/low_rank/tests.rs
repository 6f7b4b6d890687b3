use candle_core::{D, DType, Device, Error, Tensor, Var};

use super::branch::row_norms;
use crate::kernels::tape::{Buffers, collect, recompute, trace};
use crate::{
    Embedding, Init, LayerKind, Linear, LowRank, Node, Rng, Weight, gelu, training,
    without_low_rank,
};

const RANK: usize = 4;
/// Of an alpha of 10: neither 1, nor the rank, nor alpha.
const SCALE: f64 = 2.5;

/// Draws a variable with values around 0.
fn var(shape: &[usize], at: u64) -> Var {
    let tensor =
        Rng::new(7, "test").at(at).normal_tensor(shape, 0.0, 0.4, DType::F32, &Device::Cpu);
    Var::from_tensor(&tensor.unwrap()).unwrap()
}

/// A layer `fc` with a frozen weight and bias and a branch that is trained.
struct Fixture {
    layer: Linear,
    weight: Tensor,
    bias: Tensor,
    a: Var,
    b: Var,
    magnitude: Option<Var>,
}

fn fixture(branch: LowRank, inputs: usize, outputs: usize) -> Fixture {
    let (weight, bias) = (var(&[outputs, inputs], 0), var(&[outputs], 1));
    let (a, b) = (var(&[branch.rank(), inputs], 2), var(&[outputs, branch.rank()], 3));
    let magnitude = branch
        .is_dora()
        .then(|| Var::from_tensor(&(var(&[outputs], 4).abs().unwrap() + 0.5).unwrap()).unwrap());
    let mut tensors = vec![
        ("fc.weight", weight.as_detached_tensor()),
        ("fc.bias", bias.as_detached_tensor()),
        ("fc.lora_A.weight", a.as_tensor().clone()),
        ("fc.lora_B.weight", b.as_tensor().clone()),
    ];
    tensors.extend(magnitude.iter().map(|m| ("fc.lora_magnitude_vector", m.as_tensor().clone())));
    let init = Init::from_tensors(tensors).low_rank("fc", branch);
    let layer = init.build(|init| Linear::new(&init.at("fc"), inputs, outputs)).unwrap();
    Fixture {
        layer,
        weight: weight.as_detached_tensor(),
        bias: bias.as_detached_tensor(),
        a,
        b,
        magnitude,
    }
}

impl Fixture {
    /// The layer in candle's operations; `dropped` is the input of the branch.
    fn expected(&self, x: &Tensor, dropped: &Tensor, scale: f64) -> Tensor {
        let delta = (self.b.matmul(self.a.as_tensor()).unwrap() * scale).unwrap();
        let product =
            |x: &Tensor, weight: &Tensor| x.broadcast_matmul(&weight.t().unwrap()).unwrap();
        let base = product(x, &self.weight).broadcast_add(&self.bias).unwrap();
        let Some(magnitude) = &self.magnitude else {
            return (base + product(dropped, &delta)).unwrap();
        };
        let whole = (&self.weight + &delta).unwrap();
        let norms = whole.detach().sqr().unwrap().sum(1).unwrap().sqrt().unwrap();
        let factor = (magnitude.as_tensor() / norms).unwrap();
        let adapted = product(dropped, &whole).broadcast_mul(&factor).unwrap();
        (base + (adapted - product(dropped, &self.weight)).unwrap()).unwrap()
    }

    fn trained(&self) -> impl Iterator<Item = &Var> {
        [&self.a, &self.b].into_iter().chain(&self.magnitude)
    }

    /// Compares values and all gradients.
    fn check(&self, x: &Var, found: &Tensor, expected: &Tensor) {
        let close = |found: &Tensor, expected: &Tensor, name: &str| {
            assert_eq!(found.dims(), expected.dims(), "{name}");
            let most =
                (found - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            let most = most.to_scalar::<f32>().unwrap();
            let size = expected.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            assert!(most <= 2e-5 * size.to_scalar::<f32>().unwrap(), "{name}: {most}");
            assert!(size.to_scalar::<f32>().unwrap() > 0.0, "{name} is zero");
        };
        close(found, expected, "value");
        // Another weight for each element, so that no gradient is a plain sum.
        let weights = var(found.dims(), 9);
        let gradients = |y: &Tensor| {
            (y * weights.as_detached_tensor()).unwrap().sum_all().unwrap().backward().unwrap()
        };
        let (found, expected) = (gradients(found), gradients(expected));
        for (at, var) in self.trained().chain([x]).enumerate() {
            close(found.get(var).unwrap(), expected.get(var).unwrap(), &format!("gradient {at}"));
        }
    }
}

#[test]
fn a_branch_adds_its_scaled_product() {
    for branch in [LowRank::new(RANK, SCALE), LowRank::new(RANK, SCALE).dora()] {
        for (rows, inputs, outputs) in [(3, 8, 6), (33, 70, 300)] {
            let (fixture, x) = (fixture(branch, inputs, outputs), var(&[2, rows, inputs], 5));
            let found = fixture.layer.forward(x.as_tensor()).unwrap();
            fixture.check(&x, &found, &fixture.expected(&x, &x, SCALE));
        }
    }
}

#[test]
fn a_branch_shares_the_summand_and_the_factor_of_its_layer() {
    for branch in [LowRank::new(RANK, SCALE), LowRank::new(RANK, SCALE).dora()] {
        let (fixture, x, to) = (fixture(branch, 8, 6), var(&[3, 8], 5), var(&[3, 6], 6));
        let found = fixture.layer.add_to(to.as_tensor(), x.as_tensor(), 0.5).unwrap();
        let product = fixture.expected(&x, &x, SCALE).broadcast_sub(&fixture.bias).unwrap();
        let expected = (to.as_tensor() + (product * 0.5).unwrap()).unwrap();
        fixture.check(&x, &found, &expected.broadcast_add(&fixture.bias).unwrap());
    }
}

#[test]
fn a_frozen_weight_gets_no_gradient_and_keeps_no_input() {
    let (fixture, x) = (fixture(LowRank::new(RANK, SCALE), 8, 6), var(&[3, 8], 5));
    let store =
        fixture.layer.forward(x.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
    assert!(store.get(&fixture.weight).is_none() && store.get(&fixture.bias).is_none());
    assert!(fixture.trained().all(|var| store.get(var).is_some()));
}

/// Dropout acts on the branch's input alone, and its backward pass drops the same elements.
#[test]
fn dropout_is_of_the_branch_and_of_training() {
    let p = 0.5;
    for branch in [LowRank::new(RANK, SCALE), LowRank::new(RANK, SCALE).dora()] {
        let (fixture, x) = (fixture(branch.dropout(p), 8, 6), var(&[5, 8], 5));
        let stream = Rng::new(3, "lora_dropout.fc").at(17);
        let mask = crate::dropout(&x.ones_like().unwrap(), p, stream).unwrap();
        let dropped = (x.as_tensor() * mask).unwrap();
        let found = training(3, 17, || fixture.layer.forward(x.as_tensor())).unwrap();
        fixture.check(&x, &found, &fixture.expected(&x, &dropped, SCALE));
        let evaluated = fixture.layer.forward(x.as_tensor()).unwrap();
        fixture.check(&x, &evaluated, &fixture.expected(&x, &x, SCALE));
    }
}

/// The backward pass may run when the training pass has ended.
#[test]
fn recomputed_blocks_drop_the_elements_of_their_first_run() {
    let (fixture, x) = (fixture(LowRank::new(RANK, SCALE).dropout(0.5), 8, 8), var(&[5, 8], 5));
    let gradients = |again: bool| {
        let layer = fixture.layer.clone();
        let block = move |x: &Node| layer.forward(&gelu(x)?);
        let loss = training(3, 1, || {
            trace([x.as_tensor()], |[x]| if again { recompute(&x, block) } else { block(&x) })
        });
        let store = loss.unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let values =
            |var: &Var| store.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        [values(&fixture.a), values(&fixture.b), values(&x)]
    };
    assert_eq!(gradients(false), gradients(true));
}

#[test]
fn without_branches_a_layer_is_its_base() {
    for branch in [LowRank::new(RANK, SCALE), LowRank::new(RANK, SCALE).dora()] {
        let (fixture, x) = (fixture(branch.dropout(0.5), 8, 6), var(&[3, 8], 5));
        let base = Linear::from_tensors(fixture.weight.clone(), Some(fixture.bias.clone()));
        let values = |y: Tensor| y.to_vec2::<f32>().unwrap();
        let found = training(0, 0, || without_low_rank(|| fixture.layer.forward(x.as_tensor())));
        assert_eq!(values(found.unwrap()), values(base.forward(x.as_tensor()).unwrap()));
    }
}

/// The norms come from a sum of products, which must not differ from those of the sum itself.
#[test]
fn row_norms_are_those_of_the_sum() {
    let (weight, a, b) = (var(&[600, 40], 0), var(&[RANK, 40], 1), var(&[600, RANK], 2));
    let found = row_norms(&Weight::from(&weight), &a, &b, SCALE).unwrap().to_vec1::<f32>().unwrap();
    let sum = (weight.as_tensor() + (b.matmul(&a).unwrap() * SCALE).unwrap()).unwrap();
    let expected =
        sum.sqr().unwrap().sum(D::Minus1).unwrap().sqrt().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found.len(), 600);
    assert!(
        found
            .iter()
            .zip(&expected)
            .all(|(found, expected)| (found - expected).abs() < 1e-5 * expected)
    );
}

#[test]
fn an_embedding_adds_the_rows_of_its_branch() {
    let (table, a, b) = (var(&[11, 6], 0), var(&[RANK, 11], 1), var(&[6, RANK], 2));
    let tensors = [
        ("e.weight", table.as_detached_tensor()),
        ("e.lora_embedding_A", a.as_tensor().clone()),
        ("e.lora_embedding_B", b.as_tensor().clone()),
    ];
    let init = Init::from_tensors(tensors).low_rank("e", LowRank::new(RANK, SCALE));
    let layer = init.build(|init| Embedding::new(&init.at("e"), 11, 6)).unwrap();
    let ids = Tensor::new(&[[3u32, 0, 3], [10, 7, 1]], &Device::Cpu).unwrap();
    let found = layer.forward(&ids).unwrap();
    let whole = (b.matmul(&a).unwrap().t().unwrap() * SCALE).unwrap();
    let whole = (table.as_detached_tensor() + whole).unwrap();
    let expected =
        whole.index_select(&ids.flatten_all().unwrap(), 0).unwrap().reshape((2, 3, 6)).unwrap();
    let weights = var(&[2, 3, 6], 9).as_detached_tensor();
    let gradients = |y: &Tensor| (y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
    let most = |found: &Tensor, expected: &Tensor| {
        let most =
            (found - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        most.to_scalar::<f32>().unwrap()
    };
    assert!(most(&found, &expected) < 1e-5);
    let (of_found, of_expected) = (gradients(&found), gradients(&expected));
    for var in [&a, &b] {
        assert!(most(of_found.get(var).unwrap(), of_expected.get(var).unwrap()) < 1e-5);
    }
    assert!(of_found.get(&table).is_none());
}

#[test]
fn the_loss_of_a_layer_includes_its_branch() {
    let tensors = [
        ("h.weight", var(&[13, 8], 0).as_detached_tensor()),
        ("h.lora_A.weight", var(&[RANK, 8], 2).as_tensor().clone()),
        ("h.lora_B.weight", var(&[13, RANK], 3).as_tensor().clone()),
    ];
    let init = Init::from_tensors(tensors).low_rank("h", LowRank::new(RANK, SCALE));
    let head = init.build(|init| Linear::without_bias(&init.at("h"), 8, 13)).unwrap();
    let x = var(&[2, 3, 8], 5);
    let targets = Tensor::new(&[[1u32, 12, 4], [0, 5, 5]], &Device::Cpu).unwrap();
    let found = head.cross_entropy(x.as_tensor(), &targets).unwrap();
    let scores = head.forward(x.as_tensor()).unwrap().reshape(((), 13)).unwrap();
    let expected = crate::cross_entropy(&scores, &targets.flatten_all().unwrap()).unwrap();
    let [found, expected] = [found, expected].map(|sum| sum.to_scalar::<f32>().unwrap());
    assert_eq!(found.to_bits(), expected.to_bits());
    let base = without_low_rank(|| head.cross_entropy(x.as_tensor(), &targets)).unwrap();
    assert!((found - base.to_scalar::<f32>().unwrap()).abs() > 1e-2);
}

/// A tied layer has a path, and asks for no weight.
#[test]
fn a_tied_layer_has_its_own_branch() {
    let model = |init: &Init| {
        let table = Embedding::new(&init.at("words"), 5, 3)?;
        let head = Linear::tied(&init.at("head"), table.weight())?;
        Ok::<_, Error>((table, head))
    };
    let init =
        Init::random(Rng::new(1, "init"), &Device::Cpu).low_rank("head", LowRank::new(2, 1.0));
    let tensors = init.tensors_of(model).unwrap();
    let names: Vec<_> = tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["head.lora_A.weight", "head.lora_B.weight", "words.weight"]);
    let layers = init.layers();
    assert_eq!(layers.keys().collect::<Vec<_>>(), ["head", "words"]);
    assert_eq!(layers["head"].kind, LayerKind::Linear { tied: true });
    assert_eq!((layers["head"].inputs, layers["head"].outputs), (3, 5));
    assert_eq!(layers["words"].kind, LayerKind::Embedding);
}

#[test]
fn a_branch_that_no_layer_takes_is_an_error_that_names_it() {
    let init =
        Init::random(Rng::new(1, "init"), &Device::Cpu).low_rank("fc2", LowRank::new(2, 1.0));
    let error = init.build(|init| Linear::new(&init.at("fc1"), 3, 3)).unwrap_err().to_string();
    assert!(error.contains("no layer `fc2` takes a low-rank branch"), "{error}");
}

/// The gradients of a branch go into buffers as those of any parameter, also in 16 bits.
#[test]
fn buffers_take_the_gradients_of_a_branch() {
    let (fixture, x) = (fixture(LowRank::new(RANK, SCALE), 8, 6), var(&[3, 8], 5));
    let loss = || fixture.layer.forward(&x.as_detached_tensor()).unwrap().sum_all().unwrap();
    let plain = loss().backward().unwrap();
    let mut buffers = Buffers::new(fixture.trained().map(Var::as_tensor));
    collect(&mut buffers, || loss().backward().unwrap());
    for var in fixture.trained() {
        let values = |tensor: &Tensor| tensor.to_vec2::<f32>().unwrap();
        assert_eq!(values(buffers.get(var).unwrap()), values(plain.get(var).unwrap()));
    }
}
