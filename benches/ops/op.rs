//! The operations: their sizes, and how the models of `benches/peers` call them.

use cog_train::nn;

use crate::case::Function;

/// A kind of operation at a job's sizes.
#[derive(Clone, Copy)]
pub struct Op {
    pub kind: Kind,
    pub way: Way,
    pub frozen: bool,
}

/// The way back to the input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Nothing before it is trained.
    Closed,
    Open,
    /// The input goes elsewhere too, and the gradient from there is waiting to be added to.
    Shared,
}

#[derive(Clone, Copy)]
pub enum Kind {
    Linear(Product),
    /// `b(a(x)) * 2 + y`, LoRA's part of a layer.
    Adapter {
        rows: usize,
        sizes: [usize; 3],
    },
    Attention {
        batch: usize,
        length: usize,
        heads: [usize; 2],
        sight: Sight,
        packed: bool,
    },
    Apply {
        curve: Curve,
        rows: usize,
        width: usize,
    },
    SwiGlu {
        rows: usize,
        width: usize,
    },
    LayerNorm {
        rows: usize,
        width: usize,
    },
    RmsNorm {
        rows: usize,
        width: usize,
    },
    Add {
        rows: usize,
        width: usize,
    },
    Rope {
        batch: usize,
        length: usize,
        heads: usize,
    },
    /// A tied one's table has a gradient already, from the output layer.
    Embedding {
        rows: usize,
        table: [usize; 2],
        tied: bool,
    },
    LinearCrossEntropy {
        rows: usize,
        width: usize,
        classes: usize,
    },
    CrossEntropy {
        rows: usize,
        classes: usize,
    },
    /// 3 by 3, with padding, a bias and relu.
    Conv {
        batch: usize,
        side: usize,
        channels: [usize; 2],
    },
    /// 2 by 2.
    MaxPool {
        batch: usize,
        side: usize,
        channels: usize,
    },
}

#[derive(Clone, Copy)]
pub struct Product {
    pub rows: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub bias: bool,
    /// To a residual path.
    pub adds: bool,
    /// The input is computed again from what is before this.
    pub behind: Option<Curve>,
}

#[derive(Clone, Copy)]
pub enum Sight {
    Causal,
    /// Rows of a quarter of the length to all of it.
    Padded,
}

#[derive(Debug, Clone, Copy)]
pub enum Curve {
    Gelu,
    GeluErf,
    Relu,
    Tanh,
    /// Of two halves.
    Swiglu,
}

impl Curve {
    pub fn function(self) -> Function {
        match self {
            Self::Gelu => nn::gelu,
            Self::GeluErf => nn::gelu_erf,
            Self::Relu => nn::relu,
            Self::Tanh => nn::tanh,
            Self::Swiglu => nn::swiglu_packed,
        }
    }

    /// Numbers that it takes to make one.
    pub fn operands(self) -> usize {
        if matches!(self, Self::Swiglu) { 2 } else { 1 }
    }
}

/// Of one head, in every job.
pub const HEAD: usize = 64;

const fn op(kind: Kind) -> Op {
    Op { kind, way: Way::Open, frozen: false }
}

pub const fn linear(rows: usize, inputs: usize, outputs: usize) -> Op {
    op(Kind::Linear(Product { rows, inputs, outputs, bias: false, adds: false, behind: None }))
}

pub const fn adapter(rows: usize, inputs: usize, rank: usize, outputs: usize) -> Op {
    op(Kind::Adapter { rows, sizes: [inputs, rank, outputs] })
}

pub const fn attention(batch: usize, length: usize, heads: [usize; 2], sight: Sight) -> Op {
    op(Kind::Attention { batch, length, heads, sight, packed: false })
}

pub const fn apply(curve: Curve, rows: usize, width: usize) -> Op {
    op(Kind::Apply { curve, rows, width })
}

pub const fn swiglu(rows: usize, width: usize) -> Op {
    op(Kind::SwiGlu { rows, width })
}

pub const fn layer_norm(rows: usize, width: usize) -> Op {
    op(Kind::LayerNorm { rows, width })
}

pub const fn rms_norm(rows: usize, width: usize) -> Op {
    op(Kind::RmsNorm { rows, width })
}

pub const fn add(rows: usize, width: usize) -> Op {
    op(Kind::Add { rows, width })
}

pub const fn rope(batch: usize, length: usize, heads: usize) -> Op {
    op(Kind::Rope { batch, length, heads })
}

pub const fn embedding(rows: usize, count: usize, width: usize) -> Op {
    op(Kind::Embedding { rows, table: [count, width], tied: false })
}

pub const fn linear_cross_entropy(rows: usize, width: usize, classes: usize) -> Op {
    op(Kind::LinearCrossEntropy { rows, width, classes })
}

pub const fn cross_entropy(rows: usize, classes: usize) -> Op {
    op(Kind::CrossEntropy { rows, classes })
}

pub const fn conv(batch: usize, side: usize, from: usize, to: usize) -> Op {
    op(Kind::Conv { batch, side, channels: [from, to] })
}

pub const fn max_pool(batch: usize, side: usize, channels: usize) -> Op {
    op(Kind::MaxPool { batch, side, channels })
}

impl Op {
    /// Its weights are not trained.
    pub const fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }

    pub const fn first(mut self) -> Self {
        self.way = Way::Closed;
        self
    }

    pub const fn beside(mut self) -> Self {
        self.way = Way::Shared;
        self
    }

    pub fn bias(self) -> Self {
        self.linear(|linear| linear.bias = true)
    }

    pub fn adds(self) -> Self {
        self.linear(|linear| linear.adds = true)
    }

    pub fn behind(self, curve: Curve) -> Self {
        self.linear(|linear| linear.behind = Some(curve))
    }

    pub fn packed(mut self) -> Self {
        if let Kind::Attention { packed, .. } = &mut self.kind {
            *packed = true;
        }
        self
    }

    pub fn tied(mut self) -> Self {
        if let Kind::Embedding { tied, .. } = &mut self.kind {
            *tied = true;
        }
        self
    }

    /// In words.
    pub fn sizes(&self) -> String {
        match self.kind {
            Kind::Linear(Product { rows, inputs, outputs, .. }) => {
                format!("{rows} x {inputs} to {outputs}")
            }
            Kind::Adapter { rows, sizes: [inputs, rank, outputs] } => {
                format!("{rows} x {inputs} to {rank} to {outputs}")
            }
            Kind::Attention { batch, length, heads: [heads, kv_heads], .. } => {
                format!("{batch} x {length}, {heads} on {kv_heads} heads of {HEAD}")
            }
            Kind::Apply { rows, width, .. }
            | Kind::SwiGlu { rows, width }
            | Kind::LayerNorm { rows, width }
            | Kind::RmsNorm { rows, width }
            | Kind::Add { rows, width } => format!("{rows} x {width}"),
            Kind::Rope { batch, length, heads } => {
                format!("{batch} x {length}, {heads} heads of {HEAD}")
            }
            Kind::Embedding { rows, table: [count, width], .. } => {
                format!("{rows} of {count} x {width}")
            }
            Kind::LinearCrossEntropy { rows, width, classes } => {
                format!("{rows} x {width} to {classes}")
            }
            Kind::CrossEntropy { rows, classes } => format!("{rows} x {classes}"),
            Kind::Conv { batch, side, channels: [from, to] } => {
                format!("{batch} x {from} x {side} x {side} to {to}")
            }
            Kind::MaxPool { batch, side, channels } => {
                format!("{batch} x {channels} x {side} x {side}")
            }
        }
    }

    fn linear(mut self, change: impl FnOnce(&mut Product)) -> Self {
        if let Kind::Linear(linear) = &mut self.kind {
            change(linear);
        }
        self
    }
}

/// The keys of each row that are seen, where rows are padded.
pub fn lengths(batch: usize, length: usize) -> Vec<usize> {
    let shortest = length / 4;
    (0..batch).map(|at| shortest + at * (length - shortest) / (batch - 1).max(1)).collect()
}
