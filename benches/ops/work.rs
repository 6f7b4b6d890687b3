//! The least that an operation must do: its floor.

use crate::machine::Machine;
use crate::op::{HEAD, Kind, Op, Product, Sight, Way, lengths};

/// Forward and backward.
#[derive(Clone, Copy)]
pub struct Work {
    /// Floating-point operations of products: a multiplication and an addition are two.
    pub flops: f64,
    /// The bytes read and written, each tensor once a pass.
    pub bytes: f64,
}

impl Work {
    /// Seconds, and what they are bound by.
    pub fn floor(self, machine: &Machine) -> (f64, &'static str) {
        let (products, memory) = (self.flops / machine.products, self.bytes / machine.memory);
        if products > memory { (products, "products") } else { (memory, "memory") }
    }

    /// The length of all gradients, and the update: weight, gradient and two moments are read, and all but the gradient
    /// written.
    pub fn of_update(parameters: usize) -> [Self; 2] {
        [1, 7].map(|passes| of(0, passes * parameters))
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn of(multiplications: usize, numbers: usize) -> Work {
    Work { flops: 2.0 * multiplications as f64, bytes: 4.0 * numbers as f64 }
}

impl Op {
    pub fn work(&self) -> Work {
        // Whether there are gradients of the input and of the weight, and whether the former is added to another.
        let dx = usize::from(self.way != Way::Closed);
        let dw = usize::from(!self.frozen);
        let added = usize::from(self.way == Way::Shared);
        let back = dx.max(dw);
        match self.kind {
            Kind::Linear(Product { rows, inputs, outputs, adds, .. }) => {
                let (x, y, w) = (rows * inputs, rows * outputs, inputs * outputs);
                let forward = x + w + y * (1 + usize::from(adds));
                of(rows * w * (1 + dx + dw), forward + y * back + (x + w) * (dx + dw) + x * added)
            }
            Kind::Adapter { rows, sizes: [inputs, rank, outputs] } => {
                let (x, y) = (rows * inputs, rows * outputs);
                let products = x * rank * (2 + dx) + y * rank * 3;
                of(products, x * (2 + dx + added) + y * 3)
            }
            Kind::Attention { batch, length, heads: [heads, kv_heads], sight, .. } => {
                let pairs = match sight {
                    Sight::Causal => batch * length * (length + 1) / 2,
                    Sight::Padded => lengths(batch, length).iter().map(|keys| keys * length).sum(),
                };
                let tokens = batch * length * HEAD;
                // Two products forward and four backward; each operand is read twice, and all but `y` have a gradient.
                let (q, kv) = (tokens * heads, 2 * tokens * kv_heads);
                of(6 * pairs * heads * HEAD, 3 * (q + kv) + 3 * q)
            }
            Kind::Apply { rows, width, .. } => of(0, 5 * rows * width),
            Kind::SwiGlu { rows, width } => of(0, 8 * rows * width),
            Kind::LayerNorm { rows, width } | Kind::RmsNorm { rows, width } => {
                of(0, rows * width * (2 + 3 * dx + added))
            }
            Kind::Add { rows, width } => of(0, 3 * rows * width),
            Kind::Rope { batch, length, heads } => of(0, 4 * batch * length * heads * HEAD),
            Kind::Embedding { rows, table: [count, width], tied } => {
                let y = rows * width;
                let gradient = if tied { 2 * y } else { count * width };
                of(0, 2 * y + (y + gradient) * dw)
            }
            Kind::LinearCrossEntropy { rows, width, classes } => {
                let w = width * classes;
                of(rows * w * (2 + dw), 2 * rows * width + w * (1 + dw))
            }
            Kind::CrossEntropy { rows, classes } => of(0, 2 * rows * classes),
            Kind::Conv { batch, side, channels: [from, to] } => {
                let plane = batch * side * side;
                let (x, y, w) = (plane * from, plane * to, 9 * from * to);
                of(plane * w * (2 + dx), x + y + 2 * y + x + x * dx + w * (2 + dx))
            }
            Kind::MaxPool { batch, side, channels } => {
                let x = batch * side * side * channels;
                of(0, 2 * x + 2 * x / 4)
            }
        }
    }
}
