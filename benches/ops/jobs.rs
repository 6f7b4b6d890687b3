//! The operations of the jobs of `benches/peers`, with the numbers of its `jobs.py`.

use crate::op::{Curve, Op, Sight, adapter, add, apply, attention, conv, cross_entropy, embedding};
use crate::op::{layer_norm, linear, linear_cross_entropy, max_pool, rms_norm, rope, swiglu};

/// A kind of operation: its name, how often a step has it, and what it is.
pub type Row = (&'static str, usize, Op);

pub struct Job {
    pub name: &'static str,
    pub title: &'static str,
    pub rows: fn() -> Vec<Row>,
}

pub const ALL: [Job; 5] = [
    Job { name: "j1", title: "GPT, all trained, 8 x 256 tokens", rows: gpt },
    Job { name: "j2", title: "Llama, LoRA of rank 8 on q and v, 4 x 256 tokens", rows: lora },
    Job { name: "j3", title: "convolutional net, 64 images of 28 x 28", rows: cnn },
    Job { name: "j4", title: "BERT classifier, all trained, 16 x 128 tokens", rows: bert },
    Job { name: "j5", title: "Llama, all trained, 4 x 256 tokens", rows: llama },
];

const LAYERS: usize = 6;
const WIDTH: usize = 384;
const HEADS: usize = 6;
/// Of Llama's keys and values.
const KV_HEADS: usize = 2;
const KV_WIDTH: usize = WIDTH / HEADS * KV_HEADS;
/// The inner width of GPT's and BERT's MLP, and of Llama's.
const INNER: usize = 4 * WIDTH;
const GATED: usize = 1024;

fn gpt() -> Vec<Row> {
    let [batch, length, vocab] = [8, 256, 8192];
    let rows = batch * length;
    vec![
        ("tokens", 1, embedding(rows, vocab, WIDTH).tied()),
        ("positions", 1, embedding(rows, length, WIDTH)),
        ("their sum", 1, add(rows, WIDTH)),
        ("ln1, ln2", 2 * LAYERS, layer_norm(rows, WIDTH).beside()),
        ("qkv", LAYERS, linear(rows, WIDTH, 3 * WIDTH).bias()),
        ("attention", LAYERS, attention(batch, length, [HEADS; 2], Sight::Causal).packed()),
        ("proj + x", LAYERS, linear(rows, WIDTH, WIDTH).bias().adds()),
        ("fc1", LAYERS, linear(rows, WIDTH, INNER).bias()),
        ("gelu", LAYERS, apply(Curve::Gelu, rows, INNER)),
        ("fc2 + x", LAYERS, linear(rows, INNER, WIDTH).bias().adds().behind(Curve::Gelu)),
        ("lnf", 1, layer_norm(rows, WIDTH)),
        ("output and loss", 1, linear_cross_entropy(rows, WIDTH, vocab)),
    ]
}

fn bert() -> Vec<Row> {
    let [batch, length, vocab] = [16, 128, 8192];
    let rows = batch * length;
    vec![
        ("words", 1, embedding(rows, vocab, WIDTH)),
        ("positions", 1, embedding(rows, 512, WIDTH)),
        ("types", 1, embedding(rows, 2, WIDTH)),
        ("their sums", 2, add(rows, WIDTH)),
        ("ln, ln1, ln2", 2 * LAYERS + 1, layer_norm(rows, WIDTH)),
        ("q, k, v", 3 * LAYERS, linear(rows, WIDTH, WIDTH).bias().beside()),
        ("attention", LAYERS, attention(batch, length, [HEADS; 2], Sight::Padded)),
        ("o + x", LAYERS, linear(rows, WIDTH, WIDTH).bias().adds()),
        ("fc1", LAYERS, linear(rows, WIDTH, INNER).bias().beside()),
        ("gelu_erf", LAYERS, apply(Curve::GeluErf, rows, INNER)),
        ("fc2 + x", LAYERS, linear(rows, INNER, WIDTH).bias().adds().behind(Curve::GeluErf)),
        ("pooler", 1, linear(batch, WIDTH, WIDTH).bias()),
        ("tanh", 1, apply(Curve::Tanh, batch, WIDTH)),
        ("classifier", 1, linear(batch, WIDTH, 4).bias()),
        ("loss", 1, cross_entropy(batch, 4)),
    ]
}

fn llama() -> Vec<Row> {
    let [batch, length, vocab] = [4, 256, 32000];
    let rows = batch * length;
    let heads = [HEADS, KV_HEADS];
    vec![
        ("tokens", 1, embedding(rows, vocab, WIDTH)),
        ("ln1, ln2", 2 * LAYERS, rms_norm(rows, WIDTH).beside()),
        ("q", LAYERS, linear(rows, WIDTH, WIDTH).beside()),
        ("k", LAYERS, linear(rows, WIDTH, KV_WIDTH).beside()),
        ("v", LAYERS, linear(rows, WIDTH, KV_WIDTH)),
        ("rope of q", LAYERS, rope(batch, length, HEADS)),
        ("rope of k", LAYERS, rope(batch, length, KV_HEADS)),
        ("attention", LAYERS, attention(batch, length, heads, Sight::Causal)),
        ("o + x", LAYERS, linear(rows, WIDTH, WIDTH).adds()),
        ("gate", LAYERS, linear(rows, WIDTH, GATED).beside()),
        ("up", LAYERS, linear(rows, WIDTH, GATED)),
        ("swiglu", LAYERS, swiglu(rows, GATED)),
        ("down + x", LAYERS, linear(rows, GATED, WIDTH).adds().behind(Curve::Swiglu)),
        ("norm", 1, rms_norm(rows, WIDTH)),
        ("output and loss", 1, linear_cross_entropy(rows, WIDTH, vocab)),
    ]
}

/// Nothing before LoRA's matrices of the first block needs a gradient.
fn lora() -> Vec<Row> {
    const RANK: usize = 8;
    const BEHIND: usize = LAYERS - 1;
    let [batch, length, vocab] = [4, 256, 32000];
    let rows = batch * length;
    let heads = [HEADS, KV_HEADS];
    let (q, kv) = (linear(rows, WIDTH, WIDTH).frozen(), linear(rows, WIDTH, KV_WIDTH).frozen());
    let (of_q, of_v) = (adapter(rows, WIDTH, RANK, WIDTH), adapter(rows, WIDTH, RANK, KV_WIDTH));
    vec![
        ("tokens", 1, embedding(rows, vocab, WIDTH).frozen()),
        ("ln1 of the first block", 1, rms_norm(rows, WIDTH).frozen().first()),
        ("ln1, ln2", 2 * LAYERS - 1, rms_norm(rows, WIDTH).frozen().beside()),
        ("q of the first block", 1, q.first()),
        ("q", BEHIND, q.beside()),
        ("k, v of the first block", 2, kv.first()),
        ("k, v", 2 * BEHIND, kv.beside()),
        ("LoRA of the first q", 1, of_q.first()),
        ("LoRA of q", BEHIND, of_q.beside()),
        ("LoRA of the first v", 1, of_v.first()),
        ("LoRA of v", BEHIND, of_v),
        ("rope of q", LAYERS, rope(batch, length, HEADS)),
        ("rope of k", LAYERS, rope(batch, length, KV_HEADS)),
        ("attention", LAYERS, attention(batch, length, heads, Sight::Causal)),
        ("o + x", LAYERS, linear(rows, WIDTH, WIDTH).frozen().adds()),
        ("gate", LAYERS, linear(rows, WIDTH, GATED).frozen().beside()),
        ("up", LAYERS, linear(rows, WIDTH, GATED).frozen()),
        ("swiglu", LAYERS, swiglu(rows, GATED)),
        ("down + x", LAYERS, linear(rows, GATED, WIDTH).frozen().adds()),
        ("norm", 1, rms_norm(rows, WIDTH).frozen()),
        ("output and loss", 1, linear_cross_entropy(rows, WIDTH, vocab).frozen()),
    ]
}

fn cnn() -> Vec<Row> {
    let (batch, hidden, classes) = (64, 128, 10);
    vec![
        ("conv 0, relu", 1, conv(batch, 28, 1, 32).first()),
        ("pool 0", 1, max_pool(batch, 28, 32)),
        ("conv 1, relu", 1, conv(batch, 14, 32, 64)),
        ("pool 1", 1, max_pool(batch, 14, 64)),
        ("conv 2, relu", 1, conv(batch, 7, 64, 128)),
        ("f1", 1, linear(batch, 128 * 7 * 7, hidden).bias()),
        ("relu", 1, apply(Curve::Relu, batch, hidden)),
        ("f2", 1, linear(batch, hidden, classes).bias()),
        ("loss", 1, cross_entropy(batch, classes)),
    ]
}
