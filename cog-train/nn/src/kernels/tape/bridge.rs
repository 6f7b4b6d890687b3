//! A tape as one operation of candle's graph.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DType, Error, Layout, MetalStorage,
    Shape, Storage, Tensor,
};

use super::{Node, Record, Tape, buffers};

/// Computes `work` on `inputs` as one candle operation.
///
/// Within `work` the tensors are [`Node`]s. Gradients flow as in candle: to the inputs, if they have a graph, and to the
/// variables that layers within use. Activations are freed while the backward pass runs.
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use cog_train_nn::{self as nn, Linear, gelu};
///
/// let weight = Var::ones((3, 2), DType::F32, &Device::Cpu)?;
/// let linear = Linear::from_tensors(weight.as_tensor().clone(), None);
/// let x = Tensor::new(&[[0.5f32, -1.0]], &Device::Cpu)?;
/// let y = nn::trace([&x], |[x]| gelu(&linear.forward(&x)?))?; // one candle operation
/// let gradients = y.sqr()?.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&weight).unwrap().dims(), [3, 2]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
///
/// The error of `work`; candle's error when the device fails.
pub fn trace<const N: usize>(
    inputs: [&Tensor; N],
    work: impl FnOnce([Node; N]) -> Result<Node, Error>,
) -> Result<Tensor, Error> {
    let tape = Tape::default();
    let result = work(inputs.map(|input| tape.leaf(input)))?;
    join(&tape, result)
}

/// An operand of a layer: a tensor of candle's, or a [`Node`] of a [`trace`]. A tensor makes a trace of its own.
pub trait Operand: Clone + sealed::Sealed {
    /// Returns the tensor, detached or not.
    fn as_tensor(&self) -> &Tensor;

    /// Computes on nodes.
    ///
    /// # Errors
    ///
    /// The error of `work`.
    fn on_nodes<const N: usize>(
        operands: [&Self; N],
        work: impl FnOnce([Node; N]) -> Result<Node, Error>,
    ) -> Result<Self, Error>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for candle_core::Tensor {}
    impl Sealed for super::Node {}
}

impl Operand for Tensor {
    fn as_tensor(&self) -> &Tensor {
        self
    }

    fn on_nodes<const N: usize>(
        operands: [&Self; N],
        work: impl FnOnce([Node; N]) -> Result<Node, Error>,
    ) -> Result<Self, Error> {
        trace(operands, work)
    }
}

impl Operand for Node {
    fn as_tensor(&self) -> &Tensor {
        &self.tensor
    }

    fn on_nodes<const N: usize>(
        operands: [&Self; N],
        work: impl FnOnce([Node; N]) -> Result<Node, Error>,
    ) -> Result<Self, Error> {
        work(operands.map(Self::clone))
    }
}

/// A backward pass that has not run yet, and then its results.
struct Pending {
    record: Mutex<Option<(Record, usize)>>,
    /// By leaf.
    gradients: Mutex<Vec<Option<Tensor>>>,
}

/// One candle operation. It has at most three operands, so that a tape with more leaves needs [relays](Role::Relay)
/// in between: operations without a value of their own that pass the gradients on.
struct Operation {
    value: Mutex<Option<Tensor>>,
    pending: Arc<Pending>,
    role: Role,
    /// The leaf of each operand; `None` for a relay.
    leaves: Vec<Option<usize>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The tape's result.
    Result,
    Relay,
}

/// Puts the result into candle's graph.
fn join(tape: &Tape, result: Node) -> Result<Tensor, Error> {
    let record = tape.take();
    let Some(handle) = result.handle else { return Ok(result.tensor) };
    let leaves = (0..).zip(&record.leaves).map(|(leaf, (tensor, _))| (tensor.clone(), Some(leaf)));
    let mut operands: Vec<(Tensor, Option<usize>)> = leaves.collect();
    // A gradient that goes into a buffer does not pass through candle. One such leaf stays: a parameter makes sure that candle
    // calls the backward pass.
    let mut anchor = false;
    operands.retain(|(leaf, _)| {
        buffers::entry(leaf.id()).is_none() || !std::mem::replace(&mut anchor, true)
    });
    let pending = Arc::new(Pending {
        record: Mutex::new(Some((record, handle))),
        gradients: Mutex::default(),
    });
    while operands.len() > 3 {
        let relay = |operands: &[(Tensor, Option<usize>)]| {
            let nothing = Tensor::zeros((), DType::F32, operands[0].0.device())?;
            Ok::<_, Error>((operation(operands, nothing, &pending, Role::Relay)?, None))
        };
        operands = operands.chunks(3).map(relay).collect::<Result<_, _>>()?;
    }
    operation(&operands, result.tensor, &pending, Role::Result)
}

fn operation(
    operands: &[(Tensor, Option<usize>)],
    value: Tensor,
    pending: &Arc<Pending>,
    role: Role,
) -> Result<Tensor, Error> {
    let leaves = operands.iter().map(|(_, leaf)| *leaf).collect();
    let value = Mutex::new(Some(value));
    let operation = Operation { value, pending: pending.clone(), role, leaves };
    Ok(match operands {
        [(one, _)] => one.apply_op1(operation)?,
        [(one, _), (two, _)] => one.apply_op2(two, operation)?,
        [(one, _), (two, _), (three, _)] => one.apply_op3(two, three, operation)?,
        _ => unreachable!("a tape with gradients has leaves, and relays leave at most three"),
    })
}

impl Operation {
    /// Takes the value, in a storage for candle.
    fn value(&self) -> candle_core::Result<(Storage, Shape)> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut value =
            value.ok_or_else(|| candle_core::Error::msg("a trace ran twice"))?.contiguous()?;
        // A copy of a GPU's storage begins at its first element, wherever the value begins.
        if !value.device().is_cpu() && value.layout().start_offset() > 0 {
            value = value.force_contiguous()?;
        }
        let (storage, layout) = value.storage_and_layout();
        let copy = match &*storage {
            Storage::Cpu(elements) => match layout.contiguous_offsets() {
                Some((start, end)) => Storage::Cpu(slice(elements, start, end)?),
                None => {
                    return Err(candle_core::Error::msg("the value of a trace is not contiguous"));
                }
            },
            other => other.try_clone(layout)?,
        };
        Ok((copy, layout.shape().clone()))
    }

    fn on_cpu(&self) -> candle_core::Result<(CpuStorage, Shape)> {
        match self.value()? {
            (Storage::Cpu(storage), shape) => Ok((storage, shape)),
            _ => Err(elsewhere()),
        }
    }

    fn on_cuda(&self) -> candle_core::Result<(CudaStorage, Shape)> {
        match self.value()? {
            (Storage::Cuda(storage), shape) => Ok((storage, shape)),
            _ => Err(elsewhere()),
        }
    }

    fn on_metal(&self) -> candle_core::Result<(MetalStorage, Shape)> {
        match self.value()? {
            (Storage::Metal(storage), shape) => Ok((storage, shape)),
            _ => Err(elsewhere()),
        }
    }

    /// Returns the gradients of `operands` for the gradient of the result.
    fn backward<const N: usize>(
        &self,
        operands: [&Tensor; N],
        gradient: &Tensor,
    ) -> candle_core::Result<[Option<Tensor>; N]> {
        let mut gradients = self.pending.gradients.lock().unwrap_or_else(PoisonError::into_inner);
        if self.role == Role::Result {
            let record = self.pending.record.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some((record, from)) = record else {
                return Err(candle_core::Error::msg(
                    "the backward pass of a trace runs once: it frees the activations",
                ));
            };
            *gradients = record.backward(from, gradient, None)?.1;
        }
        let mut found = [const { None }; N];
        for ((found, operand), leaf) in found.iter_mut().zip(operands).zip(&self.leaves) {
            *found = match leaf {
                Some(leaf) => gradients.get_mut(*leaf).and_then(Option::take),
                None => Some(operand.zeros_like()?),
            };
        }
        Ok(found)
    }
}

fn elsewhere() -> candle_core::Error {
    candle_core::Error::msg("the result of a trace is on another device than its operands")
}

/// Copies a part of a storage.
fn slice(storage: &CpuStorage, start: usize, end: usize) -> candle_core::Result<CpuStorage> {
    Ok(match storage {
        CpuStorage::F32(elements) => CpuStorage::F32(elements[start..end].to_vec()),
        CpuStorage::F64(elements) => CpuStorage::F64(elements[start..end].to_vec()),
        CpuStorage::F16(elements) => CpuStorage::F16(elements[start..end].to_vec()),
        CpuStorage::BF16(elements) => CpuStorage::BF16(elements[start..end].to_vec()),
        _ => return Err(candle_core::Error::msg("the value of a trace is not of a float type")),
    })
}

/// Implements candle's trait for a number of operands. The traits differ in that number alone.
macro_rules! operation {
    ($trait:ident, $back:ty, [$($storage:ident $layout:ident $operand:ident),*], |$all:ident| $give:expr) => {
        impl $trait for Operation {
            fn name(&self) -> &'static str {
                "trace"
            }

            fn cpu_fwd(&self, $($storage: &CpuStorage, $layout: &Layout),*) -> candle_core::Result<(CpuStorage, Shape)> {
                self.on_cpu()
            }

            fn cuda_fwd(&self, $($storage: &CudaStorage, $layout: &Layout),*) -> candle_core::Result<(CudaStorage, Shape)> {
                self.on_cuda()
            }

            fn metal_fwd(&self, $($storage: &MetalStorage, $layout: &Layout),*) -> candle_core::Result<(MetalStorage, Shape)> {
                self.on_metal()
            }

            fn bwd(&self, $($operand: &Tensor,)* _: &Tensor, gradient: &Tensor) -> candle_core::Result<$back> {
                let $all = self.backward([$($operand),*], gradient)?;
                Ok($give)
            }
        }
    };
}

type One = Option<Tensor>;
operation!(CustomOp1, One, [_s1 _l1 t1], |all| { let [one] = all; one });
operation!(CustomOp2, (One, One), [_s1 _l1 t1, _s2 _l2 t2], |all| all.into());
operation!(CustomOp3, (One, One, One), [_s1 _l1 t1, _s2 _l2 t2, _s3 _l3 t3], |all| all.into());
