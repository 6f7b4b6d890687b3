//! The trainings: shapes of Llama, and the time of their parts on one GPU from operations that were measured on an H200.

/// A training of a model of Llama's shape.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    layers: u64,
    width: u64,
    key_width: u64,
    mlp: u64,
    vocabulary: u64,
    /// Whether the embedding is the output layer too.
    tied: bool,
    /// The rank of an adapter on all linear layers; all tensors are trained without it.
    adapter: Option<u64>,
    context: u64,
    /// The tokens of a micro-batch.
    pub(crate) tokens: u64,
}

/// The micro-batches of a batch, whatever the number of GPUs.
pub(crate) const MICRO_BATCHES: u64 = 64;

pub(crate) const JOBS: [Job; 3] = [
    Job {
        name: "1B, full",
        layers: 16,
        width: 2048,
        key_width: 512,
        mlp: 8192,
        vocabulary: 128_256,
        tied: true,
        adapter: None,
        context: 4096,
        tokens: 8192,
    },
    Job { name: "8B, full", adapter: None, ..EIGHT },
    Job { name: "8B, LoRA r=16", adapter: Some(16), ..EIGHT },
];

const EIGHT: Job = Job {
    name: "",
    layers: 32,
    width: 4096,
    key_width: 1024,
    mlp: 14_336,
    vocabulary: 128_256,
    tied: false,
    adapter: None,
    context: 4096,
    tokens: 4096,
};

// Measured on an H200 in bf16 (benches/RESULTS.md, "On a GPU").
/// Products: `linear_cross_entropy` of 4,096 tokens.
const PRODUCTS: f64 = 553e12;
/// Causal attention, forward and backward, of 2 x 2,048 tokens and 32 heads of 128: 240.5 GFLOP (7 products) in 1.95 ms.
const ATTENTION: f64 = 123e12;
/// Two normalizations, rotary embedding and `SwiGLU`, forward and backward, of 4,096 tokens of width 4,096.
const REST: f64 = (2.0 * 0.143 + 0.106 + 0.444) * 1e-3 / (4096.0 * 4096.0);
/// Memory in `AdamW`'s update.
pub(crate) const MEMORY: f64 = 4.06e12;

impl Job {
    /// The linear layers of one layer: their inputs and outputs.
    fn linear(&self) -> [(u64, u64); 7] {
        let Self { width, key_width, mlp, .. } = *self;
        [
            (width, width),
            (width, key_width),
            (width, key_width),
            (width, width),
            (width, mlp),
            (width, mlp),
            (mlp, width),
        ]
    }

    /// The elements of each trained tensor, in the order of their names.
    pub(crate) fn trained(&self) -> Vec<u64> {
        let mut tensors = Vec::new();
        for _ in 0..self.layers {
            for (inputs, outputs) in self.linear() {
                match self.adapter {
                    Some(rank) => tensors.extend([rank * inputs, rank * outputs]),
                    None => tensors.push(inputs * outputs),
                }
            }
            if self.adapter.is_none() {
                tensors.extend([self.width; 2]);
            }
        }
        if self.adapter.is_none() {
            tensors.push(self.width);
            let embeddings = if self.tied { 1 } else { 2 };
            tensors.extend((0..embeddings).map(|_| self.vocabulary * self.width));
        }
        tensors
    }

    /// The seconds of a micro-batch, forward and backward.
    pub(crate) fn micro_batch(&self) -> f64 {
        let layer: u64 = self.linear().iter().map(|(inputs, outputs)| inputs * outputs).sum();
        let weights = self.layers * layer + self.vocabulary * self.width;
        // An adapter's base has no gradient of its weights.
        let flops_of_weight = if self.adapter.is_some() { 4 } else { 6 };
        let products = (flops_of_weight * weights) as f64 / PRODUCTS;
        let attention = (7 * self.context * self.width * self.layers) as f64 / ATTENTION;
        let rest = (self.width * self.layers) as f64 * REST;
        (products + attention + rest) * self.tokens as f64
    }

    /// The part of a micro-batch that is its backward pass: two of three passes over the weights, or one of two.
    pub(crate) fn backward(&self) -> f64 {
        self.micro_batch() * if self.adapter.is_some() { 0.5 } else { 2.0 / 3.0 }
    }
}
