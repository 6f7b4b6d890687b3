//! One operation, timed within a trace.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use cog_train::anyhow::{Context, Result, bail};
use cog_train::candle_core::{Error, Tensor, Var};
use cog_train::nn::{self, Linear, Node};

pub type Forward = Box<dyn Fn([&Node; 3]) -> Result<Node, Error>>;
/// An activation.
pub type Function = fn(&Node) -> Result<Node, Error>;

pub struct Parts {
    /// Those with a graph get a gradient. The last ones may be of no use.
    pub inputs: Vec<Tensor>,
    /// Computes the first input, which the backward pass recomputes.
    pub before: Option<Function>,
    pub forward: Forward,
    /// Whether a gradient is there already when that of the operation comes, to be added to.
    pub shared: bool,
}

/// An operation that is ready to run.
pub struct Case {
    parts: Parts,
    /// Brings the first input to the shape of the result, where they differ and the input is shared.
    bridge: Option<Linear>,
    /// It is on the tape before the operation, and so gets its gradient after it.
    anchor: Tensor,
}

impl Case {
    pub fn new(parts: Parts) -> Result<Self> {
        let [x, second, third] = &parts.inputs[..] else { bail!("not three inputs") };
        let y = nn::trace([x, second, third], |[x, second, third]| {
            (parts.forward)([&parts.first(&x)?, &second, &third])
        })?;
        let anchor = Var::zeros(y.shape(), y.dtype(), y.device())?.into_inner();
        let [from, to] = [x, &y].map(|tensor| tensor.dims().last().copied().unwrap_or(1));
        let bridge = (parts.shared && x.dims() != y.dims() && x.dtype().is_float())
            .then(|| Tensor::zeros((to, from), y.dtype(), y.device()))
            .transpose()?
            .map(|weight| Linear::from_tensors(weight, None));
        Ok(Self { parts, bridge, anchor })
    }

    /// The seconds of the operation, forward and backward, without what is around it.
    pub fn run(&self) -> Result<f64> {
        let (begin, end) = (Stamp::default(), Stamp::default());
        let [x, second, third] = &self.parts.inputs[..] else { bail!("not three inputs") };
        let y = nn::trace([x, second, third, &self.anchor], |[x, second, third, anchor]| {
            let x = self.parts.first(&x)?;
            let operands = [&x, &second, &third];
            let anchor = begin.on(&anchor)?;
            let y = end.on(&(self.parts.forward)(operands)?)?;
            nn::add(&self.beside(y, operands)?, &anchor)
        })?;
        y.backward()?;
        let ([begin, finish], end) = (begin.times()[..].try_into()?, end.times());
        let forward = *end.first().context("the operation has no end")? - begin;
        // Where nothing needs a gradient there is no way back.
        let backward = end.get(1).map_or_else(Default::default, |end| finish - *end);
        Ok((forward + backward).as_secs_f64())
    }

    /// With what else is made of the operands.
    fn beside(&self, y: Node, operands: [&Node; 3]) -> Result<Node, Error> {
        if !self.parts.shared {
            return Ok(y);
        }
        let x = operands[0];
        let other = match &self.bridge {
            Some(bridge) => bridge.forward(x)?,
            None if x.dims() == y.dims() => x.clone(),
            None => (self.parts.forward)(operands)?,
        };
        nn::add(&y, &other)
    }
}

impl Parts {
    fn first(&self, x: &Node) -> Result<Node, Error> {
        self.before.map_or(Ok(x.clone()), |before| before(x))
    }
}

/// A block that returns its input and records the times of its forward and backward pass: the backward pass calls it once
/// more. Gradients pass through it without a copy.
#[derive(Default)]
struct Stamp(Arc<Mutex<Vec<Instant>>>);

impl Stamp {
    fn on(&self, x: &Node) -> Result<Node, Error> {
        let times = self.0.clone();
        nn::recompute(x, move |x| {
            times.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
            Ok(x.clone())
        })
    }

    fn times(&self) -> Vec<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
