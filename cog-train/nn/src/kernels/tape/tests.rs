use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Var};

use super::super::sum;
use super::*;

fn var(values: &[f32]) -> Var {
    Var::new(values, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// y = x * factor, with a gradient for both.
fn times(x: &Node, factor: &Tensor) -> Result<Node, Error> {
    let factor = x.leaf(factor);
    let y = (x.tensor() * factor.tensor())?;
    let to = [x.handle(), factor.handle()];
    let (x_, f) = (x.tensor().clone(), factor.tensor().clone());
    Ok(x.tape().result(y, to, move |gradient, adjoints| {
        adjoints.give(to[0], (&gradient * f)?)?;
        let of_factor = (gradient * x_)?;
        if to[1].is_none() {
            return Ok(());
        }
        host::read([&of_factor], |[from]| {
            adjoints.write(to[1], |target| sum::add_or_copy(target, from))
        })?
    }))
}

/// Candle's own gradients of the same expression.
fn candle(x: &Tensor, factors: &[Var]) -> Tensor {
    let mut y = x.clone();
    for factor in factors {
        y = ((&y * factor.as_tensor()).unwrap() + &y).unwrap();
    }
    y
}

fn traced(x: &Tensor, factors: &[Var]) -> Result<Tensor, Error> {
    trace([x], |[x]| factors.iter().try_fold(x, |y, factor| sum::forward(&times(&y, factor)?, &y)))
}

/// With results used twice, parameters used once and twice, fewer and more leaves than candle has operands.
#[test]
fn gradients_equal_candles() {
    for count in [1, 2, 3, 4, 9, 10, 11] {
        let x = var(&[0.5, -1.5, 2.0]);
        let mut factors: Vec<Var> =
            (0..count - 1).map(|at: u8| var(&[0.1 * f32::from(at), 0.7, -0.3])).collect();
        if let Some(first) = factors.first().cloned() {
            factors.push(first);
        }
        // The input has a graph of its own, and candle continues from the result.
        let input = || (x.as_tensor() * 2.0).unwrap();
        let mut expected = candle(&input(), &factors).sqr().unwrap().backward().unwrap();
        let y = traced(&input(), &factors).unwrap();
        let mut found = y.sqr().unwrap().backward().unwrap();
        for var in factors.iter().chain([&x]) {
            let pair = [&mut found, &mut expected].map(|store| store.get(var).map(values));
            for (found, expected) in pair[0].as_ref().unwrap().iter().zip(pair[1].as_ref().unwrap())
            {
                assert!(
                    (found - expected).abs() <= 1e-4 * expected.abs(),
                    "{count} leaves: {pair:?}"
                );
            }
        }
    }
}

/// Over several passes buffers accumulate the same bits as candle's sums.
#[test]
fn buffers_accumulate_until_they_are_cleared() {
    let (x, factor) = (var(&[1.0, 2.0]), var(&[3.0, 5.0]));
    let mut buffers = Buffers::new([factor.as_tensor()]);
    for _step in 0..2 {
        buffers.clear();
        assert!(buffers.get(&factor).is_none());
        for pass in 1..=3u8 {
            let y = traced(&x, std::slice::from_ref(&factor)).unwrap();
            let store = collect(&mut buffers, || y.sum_all().unwrap().backward().unwrap());
            assert!(store.get(&factor).is_none(), "a gradient in a buffer is not in the store");
            assert_eq!(values(store.get(&x).unwrap()), [4.0, 6.0]);
            let sum = f32::from(pass);
            assert_eq!(values(buffers.get(&factor).unwrap()), [sum, 2.0 * sum]);
        }
    }
    let y = traced(&x, std::slice::from_ref(&factor)).unwrap();
    assert!(y.backward().unwrap().get(&factor).is_some(), "without buffers it is in the store");
}

/// The gradients of micro-batches are kept apart.
#[test]
fn a_gradient_that_is_taken_is_no_part_of_the_next() {
    let (x, factor) = (var(&[1.0, 2.0]), var(&[3.0, 5.0]));
    let mut buffers = Buffers::new([factor.as_tensor()]);
    let mut sum: Option<Tensor> = None;
    for pass in 1..=3u8 {
        let y = traced(&x, std::slice::from_ref(&factor)).unwrap();
        collect(&mut buffers, || y.sum_all().unwrap().backward().unwrap());
        let own = buffers.take(&factor).unwrap();
        assert!(buffers.take(&factor).is_none());
        assert_eq!(values(&own), [1.0, 2.0]);
        let next = sum.map_or_else(|| Ok(own.clone()), |sum| added(sum, &own)).unwrap();
        assert_eq!(values(&next), [1.0, 2.0].map(|value| value * f32::from(pass)));
        sum = Some(if pass == 1 { next.copy().unwrap() } else { next });
        // Memory of the CPU is for the activations that come.
        buffers.recycle(&factor, own);
        assert!(format!("{buffers:?}").contains("tensor: None"), "{buffers:?}");
    }
}

/// Two uses of a parameter in two traces: its gradient is complete with the second.
#[test]
fn a_gradient_is_sent_when_as_many_have_arrived_as_in_the_pass_before() {
    let (x, one, two) = (var(&[1.0, 2.0]), var(&[3.0, 5.0]), var(&[1.0, 1.0]));
    let mut buffers = Buffers::new([one.as_tensor(), two.as_tensor()]);
    let pass = |buffers: &mut Buffers, uses: usize| {
        let (sender, receiver) = std::sync::mpsc::channel();
        buffers.clear();
        collect_early(buffers, Some(sender), || {
            let mut y = x.as_tensor().clone();
            for _use in 0..uses {
                y = traced(&y, std::slice::from_ref(&one)).unwrap();
            }
            let y = traced(&y, std::slice::from_ref(&two)).unwrap();
            y.sum_all().unwrap().backward().unwrap()
        });
        // The pass has ended: nobody sends any more.
        let sent: Vec<_> = receiver.iter().collect();
        sent.into_iter().map(|it| (it.parameter, values(&it.gradient))).collect::<Vec<_>>()
    };
    assert!(pass(&mut buffers, 2).is_empty(), "before the first pass no number is known");
    let kept = [&one, &two].map(|it| values(&buffers.take(it).unwrap()));
    let sent = pass(&mut buffers, 2);
    assert_eq!(sent, [(two.id(), kept[1].clone()), (one.id(), kept[0].clone())]);
    assert!(buffers.take(&one).is_none() && buffers.was_sent(&one));
    let at = [&two, &one].map(|it| buffers.completed_at(it).unwrap());
    assert_eq!(at, [1, 3]);

    // More uses than before: what is left arrives after it was sent.
    let sent = pass(&mut buffers, 3);
    assert_eq!(sent.len(), 2);
    assert!(buffers.was_sent(&one) && buffers.take(&one).is_some());
    buffers.keep(&one);
    let sent = pass(&mut buffers, 3);
    assert_eq!(sent.iter().map(|it| it.0).collect::<Vec<_>>(), [two.id()]);
    assert!(buffers.take(&one).is_some() && !buffers.was_sent(&one));
    assert!(buffers.completed_at(&one).is_none());
}

/// The memory of a step's gradients is free for the activations of the next.
#[test]
fn released_buffers_hold_no_memory_and_begin_anew() {
    let (x, factor) = (var(&[1.0, 2.0]), var(&[3.0, 5.0]));
    let mut buffers = Buffers::new([factor.as_tensor()]);
    for _step in 0..2 {
        let y = traced(&x, std::slice::from_ref(&factor)).unwrap();
        collect(&mut buffers, || y.sum_all().unwrap().backward().unwrap());
        assert_eq!(values(buffers.get(&factor).unwrap()), [1.0, 2.0]);
        buffers.release();
        assert!(buffers.get(&factor).is_none());
        assert!(format!("{buffers:?}").contains("tensor: None"), "{buffers:?}");
    }
}

/// Candle's backward pass stops at a comparison. The buffers get their gradients all the same.
#[test]
fn buffers_get_gradients_when_the_input_of_a_trace_has_none() {
    let (x, factor) = (var(&[1.0, -2.0]), var(&[3.0, 5.0]));
    let mut buffers = Buffers::new([factor.as_tensor()]);
    collect(&mut buffers, || {
        let open = x.gt(0.0).unwrap().to_dtype(DType::F32).unwrap();
        let y = traced(&open, std::slice::from_ref(&factor)).unwrap();
        y.sum_all().unwrap().backward().unwrap()
    });
    assert_eq!(values(buffers.get(&factor).unwrap()), [1.0, 0.0]);
}

/// A gradient that candle computes keeps its operands in memory. One that is kept from step to step must not.
#[test]
fn gradients_are_detached_from_their_operands() {
    let (x, factor) = (var(&[1.0, 2.0]), var(&[3.0, 5.0]));
    let mut buffers = Buffers::new([factor.as_tensor()]);
    let y = trace([x.as_tensor()], |[x]| {
        let factor = x.leaf(&factor);
        crate::kernels::reference::apply([&x, &factor], |[x, factor]| x * factor)
    });
    let store = collect(&mut buffers, || y.unwrap().backward().unwrap());
    for gradient in [buffers.get(&factor).unwrap(), store.get(&x).unwrap()] {
        assert!(!gradient.track_op());
    }
    assert_eq!(values(buffers.get(&factor).unwrap()), [1.0, 2.0]);
}

#[test]
fn buffers_come_back_after_a_panic() {
    let factor = var(&[1.0]);
    let mut buffers = Buffers::new([factor.as_tensor()]);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        collect(&mut buffers, || panic!("in the backward pass"));
    }));
    assert!(panicked.is_err() && buffers::entry(factor.id()).is_none());
    let y = traced(&var(&[2.0]), std::slice::from_ref(&factor)).unwrap();
    collect(&mut buffers, || y.backward().unwrap());
    assert_eq!(values(buffers.get(&factor).unwrap()), [2.0]);
}

#[test]
fn recomputed_gradients_equal_saved_ones_bit_for_bit() {
    let x = var(&[0.3, -0.7, 1.1]);
    let factors = [var(&[0.5, 0.6, 0.7]), var(&[-0.2, 0.4, 0.9])];
    let gradients = |recomputes: bool| {
        let owned = factors.clone();
        let block = move |x: &Node| {
            owned.iter().try_fold(x.clone(), |y, factor| sum::forward(&times(&y, factor)?, &y))
        };
        let y = trace([x.as_tensor()], |[x]| {
            let y = if recomputes { recompute(&x, block)? } else { block(&x)? };
            times(&y, &factors[0])
        });
        let store = y.unwrap().sqr().unwrap().backward().unwrap();
        let gradient = |var: &Var| values(store.get(var).unwrap());
        factors.iter().chain([&x]).map(gradient).collect::<Vec<_>>()
    };
    assert_eq!(gradients(false), gradients(true));
}

/// Operations that save one recomputed tensor share it, and it is freed with the last of them.
#[test]
fn a_recomputed_tensor_is_computed_once_and_not_kept() {
    let (x, factor) = (var(&[2.0]), var(&[3.0]));
    let y = trace([x.as_tensor()], |[x]| {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        let y = times(&x, &factor)?.recomputed_by(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Tensor::new(&[6f32], &Device::Cpu)
        });
        let calls = || count.load(Ordering::Relaxed);
        for round in 1..=2 {
            let [one, other] = [y.saved(), y.saved()].map(Saved::tensor);
            assert_eq!(
                (values(&one?), values(&other?), calls()),
                (vec![6.0], vec![6.0], 1),
                "{round}"
            );
        }
        let Saved::Recompute(recompute) = y.saved() else { panic!("the tensor is saved") };
        let kept = Arc::downgrade(&recompute);
        drop(recompute);
        let result = y.constant(y.tensor().clone());
        drop(y);
        assert!(kept.upgrade().is_none());
        Ok(result)
    });
    assert_eq!(values(&y.unwrap()), [6.0]);
}

#[test]
fn nothing_is_recorded_without_gradients() {
    let factor = var(&[2.0]);
    let x = Tensor::new(&[3f32], &Device::Cpu).unwrap();
    let y = without_gradients(|| traced(&x, std::slice::from_ref(&factor))).unwrap();
    assert!(!y.track_op());
    let frozen = trace([&x], |[x]| times(&x, &factor.as_detached_tensor())).unwrap();
    assert!(!frozen.track_op());
    assert_eq!(values(&frozen), [6.0]);
}

#[test]
fn a_second_backward_pass_is_an_error() {
    let factor = var(&[2.0]);
    let y = traced(&Tensor::new(&[3f32], &Device::Cpu).unwrap(), &[factor]).unwrap();
    y.backward().unwrap();
    assert!(y.backward().unwrap_err().to_string().contains("runs once"));
}

/// For every float type and a strided layout.
#[test]
fn a_trace_keeps_the_type_and_values_of_its_result() {
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let x = Var::ones((3, 2), dtype, &Device::Cpu).unwrap();
        let y = trace([x.as_tensor()], |[x]| {
            let part = x.tensor().narrow(0, 1, 2)?.t()?;
            let to = x.handle();
            Ok(x.tape().result(part, [to], move |gradient, adjoints| {
                adjoints.give(to, gradient.t()?.contiguous()?.pad_with_zeros(0, 1, 0)?)
            }))
        });
        let y = y.unwrap();
        assert_eq!((y.dtype(), y.dims()), (dtype, &[2, 2][..]));
        let gradient = y.sum_all().unwrap().backward().unwrap().remove(&x).unwrap();
        assert_eq!(gradient.dtype(), dtype);
        let gradient = gradient.to_dtype(DType::F32).unwrap();
        assert_eq!(gradient.to_vec2::<f32>().unwrap(), [[0.0; 2], [1.0; 2], [1.0; 2]]);
    }
}
