//! The exchange of gradients while the backward pass of a rank's last micro-batch computes others.
//!
//! A thread of its own takes the rounds of the [exchange](Exchange), in their fixed order: each as soon as all gradients of its
//! buckets are complete. All ranks take all rounds, whatever becomes of their own part: a rank that fails adds nothing to those
//! that are left, and what it fails with is shared behind them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use candle_core::{Tensor, TensorId};

use super::exchange::Exchange;
use super::learner::Learner;
use super::reduce::Computed;
use super::retry::{Failed, Late};
use crate::error::Error;
use crate::parallel::Reduce;
use crate::params::{Gradients, Params};
use cog_train_nn::__private::tape::{Complete, added};

/// The gradients of this rank, on their way to the exchange.
pub(super) struct Sending {
    parts: Sender<Vec<Gradients>>,
    early: Sender<Complete>,
}

/// The part of a rank that is being computed.
pub(super) struct Open(Sender<Vec<Gradients>>);

/// The outcome of an exchange.
struct Exchanged {
    /// Of this rank's rows. Those that no rank has a gradient of are there too.
    gradients: Gradients,
    /// The names of the gradients that this rank has sent.
    present: BTreeSet<String>,
}

impl Sending {
    /// Hands over the sums of the micro-batches before the last one, of subtrees, the largest first. Returns the sender of the
    /// gradients of the last one that are complete before its backward pass has ended.
    pub(super) fn begin(self, sums: Vec<Gradients>) -> (Open, Sender<Complete>) {
        // The other thread ends early when the exchange has failed.
        drop(self.parts.send(sums));
        (Open(self.parts), self.early)
    }
}

impl Open {
    /// Hands over the other gradients of the last micro-batch.
    pub(super) fn finish(self, rest: Gradients) {
        drop(self.0.send(vec![rest]));
    }
}

/// Runs `work`, which computes this rank's part of a batch, and hands its gradients to those that update by them.
///
/// # Errors
///
/// Those of `work`, and of the exchange.
pub(super) fn exchanged<'a, T>(
    learner: &mut Learner<'a>,
    how: Reduce,
    work: impl FnOnce(&mut Learner<'a>, Option<Sending>) -> Result<(T, Computed), Failed>,
) -> Result<(T, Computed), Failed> {
    let (params, ranks, owners) =
        (learner.params, learner.ranks.clone(), Arc::clone(&learner.owners));
    if ranks.is_alone() {
        return work(learner, None);
    }
    let exchange = Exchange::new(&owners, params, &ranks, how);
    let ((own, computed), exchanged) =
        beside(exchange, params, |sending| work(learner, Some(sending)))?;
    let present = owners.names().map(|name| exchanged.present.contains(name)).collect();
    Ok((own, Computed { gradients: exchanged.gradients, present, ..computed }))
}

impl Learner<'_> {
    /// Puts the buckets into the order in which the first rank's backward pass has completed their gradients, once.
    pub(super) fn order_buckets(&mut self) -> anyhow::Result<()> {
        if self.is_ordered {
            return Ok(());
        }
        let mut names: Vec<&str> = self.owners.names().collect();
        names.sort_by_key(|name| {
            let at = self.params.get(name).and_then(|it| self.buffers.completed_at(it.compute()));
            at.unwrap_or(u64::MAX)
        });
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let names = self.ranks.on_lead(|| Ok(names))?;
        Arc::make_mut(&mut self.owners).order(self.params, names.iter().map(String::as_str));
        self.is_ordered = true;
        Ok(())
    }

    /// Checks that nothing was added to a gradient after it was sent.
    pub(super) fn check_sent(&mut self, rest: &Gradients) -> Result<(), Late> {
        let mut checked = Ok(());
        for param in rest.iter().filter_map(|(name, _)| self.params.get(name)) {
            if self.buffers.was_sent(param.compute()) {
                self.buffers.keep(param.compute());
                checked = Err(Late);
            }
        }
        checked
    }
}

/// Runs `work`, which computes the gradients of this rank, beside an exchange.
///
/// # Errors
///
/// That of `work`, after all rounds; that of the exchange.
fn beside<T>(
    exchange: Exchange<'_>,
    params: &Params,
    work: impl FnOnce(Sending) -> Result<T, Failed>,
) -> Result<(T, Exchanged), Failed> {
    thread::scope(|scope| {
        let ((own, parts), (early, complete)) = (mpsc::channel(), mpsc::channel());
        let exchanging = scope.spawn(move || exchange_all(exchange, params, &parts, complete));
        let done = work(Sending { parts: own, early });
        let exchanged = exchanging.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (done, exchanged) = (done?, exchanged.map_err(anyhow::Error::from)?);
        Ok((done, exchanged))
    })
}

fn exchange_all(
    mut exchange: Exchange<'_>,
    params: &Params,
    parts: &Receiver<Vec<Gradients>>,
    early: Receiver<Complete>,
) -> Result<Exchanged, Error> {
    let trained = params.trainable().map(|(name, param)| (param.compute().id(), name));
    let names: HashMap<TensorId, &str> = trained.collect();
    let mut sums = parts.recv().unwrap_or_default();
    let (mut ready, mut present) = (Gradients::default(), BTreeSet::new());
    for Complete { parameter, gradient } in early {
        let Some(name) = names.get(&parameter) else { continue };
        let gradient = with_sums(&mut sums, name, gradient)?;
        present.insert((*name).to_owned());
        ready.insert((*name).to_owned(), gradient);
        while let Some(mut pieces) = exchange.next()
            && pieces.all(|piece| ready.get(&piece.name).is_some())
        {
            exchange.step(&mut ready)?;
        }
    }
    // Without them the rank has failed.
    if let Some(rest) = parts.recv().ok().and_then(|mut rest| rest.pop()) {
        let mut sum = rest;
        while let Some(mut left) = sums.pop() {
            left.absorb(sum, |_, _| ())?;
            sum = left;
        }
        for (name, gradient) in sum {
            present.insert(name.clone());
            ready.insert(name, gradient);
        }
    }
    Ok(Exchanged { gradients: exchange.finish(&mut ready)?, present })
}

/// Adds the gradient of the last micro-batch to the sums before it, as the tree of all micro-batches does.
fn with_sums(sums: &mut [Gradients], name: &str, last: Tensor) -> Result<Tensor, Error> {
    sums.iter_mut().rev().try_fold(last, |sum, left| {
        Ok(match left.remove(name) {
            Some(left) => added(left, &sum)?,
            None => sum,
        })
    })
}
