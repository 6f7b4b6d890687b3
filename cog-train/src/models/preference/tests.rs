use candle_core::{Device, Var};

use super::*;

/// `by sin(factor i) - less`, for two answers of three pairs.
fn answers(of: [(f64, f64, f64); 2]) -> [Var; 2] {
    of.map(|(factor, by, less)| {
        let values = [0.0, 1.0, 2.0].map(|at: f64| by * (factor * at).sin() - less);
        Var::new(&values, &Device::Cpu).unwrap()
    })
}

fn log_probs([chosen, rejected]: &[Var; 2]) -> AnswerLogProbs {
    let [chosen, rejected] = [chosen, rejected].map(|var| var.as_tensor().clone());
    AnswerLogProbs { chosen, rejected }
}

fn assert_golden(loss: &PreferenceLoss, answers: &[Var; 2], expected: [&[f64]; 3]) {
    let store = loss.sum.backward().unwrap();
    let found = [
        vec![f64::from(loss.sum.to_scalar::<f32>().unwrap())],
        store.get(&answers[0]).unwrap().to_vec1().unwrap(),
        store.get(&answers[1]).unwrap().to_vec1().unwrap(),
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }
}

/// ```python
/// # pip install trl==1.16.0
/// import torch, torch.nn.functional as F
/// from types import SimpleNamespace
/// from trl.experimental.orpo import ORPOTrainer
/// torch.set_default_dtype(torch.float64)
/// wave = lambda f, by, less: (by * torch.sin(f * torch.arange(3)) - less).requires_grad_()
/// chosen, rejected = wave(0.7, 3, 5), wave(0.9, 4, 6)
/// ref_chosen, ref_rejected = wave(1.1, 3, 5), wave(1.3, 4, 6)
/// show = lambda x: [round(v, 8) for v in x.reshape(-1).tolist()]
/// # As `_compute_loss` of trl's DPOTrainer, with the loss "sigmoid".
/// losses = -F.logsigmoid(0.3 * ((chosen - ref_chosen) - (rejected - ref_rejected)))
/// print(show(losses.sum()), *map(show, torch.autograd.grad(losses.sum(), (chosen, rejected))))
/// means = [wave(0.7, 0.4, 0.5), wave(0.9, 0.4, 0.8)]
/// stub = SimpleNamespace(beta=0.3, accelerator=SimpleNamespace(device="cpu"))
/// losses, *_ = ORPOTrainer.odds_ratio_loss(stub, *means)
/// print(show(-losses.sum()), *map(show, torch.autograd.grad(-losses.sum(), means)))
/// ```
#[test]
fn losses_and_gradients_equal_those_of_trl() {
    let policy = answers([(0.7, 3.0, 5.0), (0.9, 4.0, 6.0)]);
    let reference = answers([(1.1, 3.0, 5.0), (1.3, 4.0, 6.0)]);
    let loss = dpo_loss(&log_probs(&policy), &log_probs(&reference), 0.3).unwrap();
    assert_golden(
        &loss,
        &policy,
        [
            &[2.296_797_63],
            &[-0.15, -0.150_450_99, -0.178_939_51],
            &[0.15, 0.150_450_99, 0.178_939_51],
        ],
    );
    let store = loss.sum.backward().unwrap();
    assert!(store.get(&reference[0]).is_none(), "no gradient flows into the reference");
    let policy = answers([(0.7, 0.4, 0.5), (0.9, 0.4, 0.8)]);
    let loss = orpo_loss(&log_probs(&policy), 0.3).unwrap();
    assert_golden(
        &loss,
        &policy,
        [
            &[0.295_938_19],
            &[-0.263_899_3, -0.424_221_28, -0.538_633_53],
            &[0.188_563_17, 0.236_908_66, 0.160_657_06],
        ],
    );
}

#[test]
fn losses_are_finite_at_the_ends() {
    let pair = |chosen: f32, rejected: f32| {
        AnswerLogProbs::split(&Tensor::new(&[chosen, rejected], &Device::Cpu).unwrap()).unwrap()
    };
    let even = pair(-1.0, -1.0);
    for (chosen, rejected, expected) in [(0.0, -2000.0, 0.0), (-2000.0, 0.0, 2000.0)] {
        let loss = dpo_loss(&pair(chosen, rejected), &even, 1.0).unwrap();
        let sum = loss.sum.to_scalar::<f32>().unwrap();
        assert!((sum - expected).abs() < 1e-3, "{sum}");
        let sum = orpo_loss(&pair(chosen, rejected), 1.0).unwrap().sum;
        assert!(sum.to_scalar::<f32>().unwrap().is_finite());
    }
}

#[test]
fn a_beta_that_cannot_be_meant_and_odd_answers_are_errors() {
    let answers = Tensor::new(&[-1f32, -2.0], &Device::Cpu).unwrap();
    let answers = AnswerLogProbs::split(&answers).unwrap();
    for beta in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        let error = dpo_loss(&answers, &answers, beta).unwrap_err().to_string();
        assert!(error.contains(&format!("`beta` is {beta}, which must be above 0")), "{error}");
        assert!(orpo_loss(&answers, beta).is_err());
    }
    let odd = Tensor::new(&[-1f32; 3], &Device::Cpu).unwrap();
    let error = AnswerLogProbs::split(&odd).unwrap_err().to_string();
    assert!(error.contains("3 answers cannot be split into pairs"), "{error}");
}
