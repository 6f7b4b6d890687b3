//! A pack is its parts: the same losses, scores and gradients as one after the other.

use cog_train::CancelToken;
use cog_train::candle_core::{DType, Device, Result, Tensor, Var};
use cog_train::data::{Dataset, Rows};
use cog_train::nn::{self, Embedding, Mask, Rope};
use cog_train::text::{Example, ExampleBuilder, Packs, Row, TextBatch, Tokenizer};

use crate::golden::fixtures;

const WIDTH: usize = 16;

/// One layer of causal attention with rotary positions, over a tied embedding.
struct Model {
    table: Var,
    qkv: Var,
    rope: Rope,
}

impl Model {
    fn new() -> Result<Self> {
        let numbers = |rows: usize, seed: f32| {
            let angles = (0u16..).take(rows * WIDTH).map(|at| f32::from(at) * 0.37 + seed);
            let numbers: Vec<f32> = angles.map(|at| (at.sin() * 3.1).fract() * 0.5).collect();
            Var::from_tensor(&Tensor::from_vec(numbers, (rows, WIDTH), &Device::Cpu)?)
        };
        let rope = Rope::new(WIDTH / 2, 64, 100.0, &Device::Cpu)?;
        Ok(Self { table: numbers(12, 0.3)?, qkv: numbers(3 * WIDTH, 1.7)?, rope })
    }

    /// The scores, `[B T, tokens]`, and the loss.
    fn forward(&self, batch: &TextBatch) -> Result<(Tensor, Tensor)> {
        let (rows, length) = batch.ids.dims2()?;
        let x = Embedding::from_tensors(self.table.as_tensor().clone()).forward(&batch.ids)?;
        let qkv = x.broadcast_matmul(&self.qkv.t()?)?.reshape((rows, length, 6, WIDTH / 2))?;
        let part = |at: usize| qkv.narrow(2, 2 * at, 2)?.contiguous();
        let turned = |x: Tensor| self.rope.forward_at(&x, &batch.positions);
        let y = nn::attention(&turned(part(0)?)?, &turned(part(1)?)?, &part(2)?, &batch.mask)?;
        let y = (y.reshape((rows, length, WIDTH))? + x)?.reshape((rows * length, WIDTH))?;
        let logits = y.matmul(&self.table.t()?)?;
        let loss = nn::cross_entropy(&logits, &batch.targets.flatten_all()?)?;
        Ok((logits, loss))
    }

    fn gradients(&self, loss: &Tensor) -> Result<Vec<Vec<f32>>> {
        let gradients = loss.backward()?;
        let of = |var: &Var| gradients.get(var).unwrap().flatten_all()?.to_vec1();
        Ok(vec![of(&self.table)?, of(&self.qkv)?])
    }
}

fn near(one: &[f32], other: &[f32]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert!((one - other).abs() <= 1e-5 * (1.0 + other.abs()), "{one} and {other}");
    }
}

fn scalar(tensor: &Tensor) -> f32 {
    tensor.to_scalar().unwrap()
}

#[test]
fn losses_scores_and_gradients_of_a_pack_and_of_a_padded_batch_are_those_of_their_parts() {
    let model = Model::new().unwrap();
    let parts = [
        Example::completion(vec![1, 2, 3], 1),
        Example::completion(vec![4, 5, 6, 7, 8], 1),
        Example::new(vec![9, 1, 10, 11, 2, 3], [2..3, 4..6]),
    ];
    let device = &Device::Cpu;
    let alone: Vec<(Tensor, Tensor)> = parts
        .iter()
        .map(|part| {
            model
                .forward(&TextBatch::padded(std::slice::from_ref(part), 0, device).unwrap())
                .unwrap()
        })
        .collect();
    let loss = alone
        .iter()
        .map(|(_, loss)| loss.clone())
        .reduce(|one, other| (one + other).unwrap())
        .unwrap();
    let gradients = model.gradients(&loss).unwrap();
    let inputs: Vec<usize> = parts.iter().map(|part| part.inputs().len()).collect();

    // All in one pack, and two packs of which one ends in padding.
    for packs in [vec![parts.to_vec()], vec![parts[..2].to_vec(), parts[2..].to_vec()]] {
        let batch = TextBatch::packed(&packs, 0, device).unwrap();
        assert!(matches!(batch.mask, Mask::Segments { causal: true, .. }));
        assert_eq!(batch.trained, 2 + 4 + 3);
        let (logits, packed) = model.forward(&batch).unwrap();
        near(&[scalar(&packed)], &[scalar(&loss)]);
        let width = batch.ids.dim(1).unwrap();
        let mut part = 0;
        for (row, pack) in packs.iter().enumerate() {
            let mut start = row * width;
            for _ in pack {
                let found = logits.narrow(0, start, inputs[part]).unwrap().flatten_all().unwrap();
                let expected = alone[part].0.flatten_all().unwrap();
                near(&found.to_vec1::<f32>().unwrap(), &expected.to_vec1::<f32>().unwrap());
                start += inputs[part];
                part += 1;
            }
        }
        for (found, expected) in model.gradients(&packed).unwrap().iter().zip(&gradients) {
            near(found, expected);
        }
    }

    let batch = TextBatch::padded(&parts, 0, device).unwrap();
    assert_eq!((batch.trained, batch.ids.dtype()), (9, DType::U32));
    let (_, padded) = model.forward(&batch).unwrap();
    near(&[scalar(&padded)], &[scalar(&loss)]);
    for (found, expected) in model.gradients(&padded).unwrap().iter().zip(&gradients) {
        near(found, expected);
    }
    // And without the mask they are not: the test sees what it must.
    let mut mixed = TextBatch::packed(&[parts.to_vec()], 0, device).unwrap();
    mixed.mask = Mask::Causal;
    assert!((scalar(&model.forward(&mixed).unwrap().1) - scalar(&loss)).abs() > 1e-3);
}

#[test]
fn packs_hold_each_example_once_and_fill_their_rows() {
    let tokenizer = Tokenizer::open(fixtures().join("bytes")).unwrap();
    let rows: Vec<Row> = (1..60).map(|words| Row::Text("the ".repeat(words % 13 + 1))).collect();
    let builder = ExampleBuilder::new(&tokenizer, 32);
    let examples = builder.examples(Rows::new(rows), &CancelToken::new()).unwrap();
    let (count, tokens) =
        (examples.len(), examples.all().iter().map(|it| it.inputs().len()).sum::<usize>());
    let location = examples.location(0);
    let packs = Packs::new(examples, 32);
    let items: Vec<Vec<Example>> = (0..packs.len()).map(|at| packs.item(at).unwrap()).collect();
    assert_eq!(items.iter().map(Vec::len).sum::<usize>(), count);
    assert_eq!((0..packs.len()).map(|at| packs.tokens(at)).sum::<usize>(), tokens);
    assert!((0..packs.len()).all(|at| packs.tokens(at) <= 32));
    // Best fit leaves little room: at most one pack more than the tokens need.
    assert!(packs.len() <= tokens.div_ceil(32) + 1, "{} packs for {tokens} tokens", packs.len());
    assert!(
        packs.location(0).starts_with(&location)
            && packs.location(0).ends_with(" more in its pack")
    );
    assert_eq!(packs.digest().unwrap().len(), 64);
}
