use super::*;

const LOGITS: [f32; 8] = [2.0, -1.0, 0.5, 3.0, 3.0, -4.0, 1.5, 0.0];
const SEEN: [u32; 3] = [3, 1, 3];

/// ```python
/// from transformers.generation.logits_process import *  # transformers 5.24.0
/// logits, seen = torch.tensor([[2.0, -1.0, 0.5, 3.0, 3.0, -4.0, 1.5, 0.0]]), torch.tensor([[3, 1, 3]])
/// R, T, K, P, M = (RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper,
///                  MinPLogitsWarper)
/// for steps in [T(0.7)], [R(1.3), T(1.0)], ...:
///     s = logits
///     for step in steps: s = step(seen, s)
///     print(s.softmax(-1))
/// ```
#[test]
fn probabilities_equal_those_of_transformers() {
    let new = |temperature| Generation::new(1).temperature(temperature);
    for (options, expected) in [
        (
            new(0.7),
            [0.099_763, 0.001_373, 0.011_704, 0.416_286, 0.416_286, 0.000_019, 0.048_838, 0.005_73],
        ),
        (
            new(1.0).repetition_penalty(1.3),
            [0.164_395, 0.006_063, 0.036_681, 0.223_623, 0.446_871, 0.000_407, 0.099_71, 0.022_248],
        ),
        (new(1.5).top_k(3), [0.204_271, 0.0, 0.0, 0.397_865, 0.397_865, 0.0, 0.0, 0.0]),
        (new(0.8).top_k(1), [0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0]),
        (new(1.0).top_p(0.8), [0.155_362, 0.0, 0.0, 0.422_319, 0.422_319, 0.0, 0.0, 0.0]),
        (new(1.0).top_p(0.1), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
        (new(2.0).min_p(0.3), [0.196_996, 0.0, 0.0, 0.324_792, 0.324_792, 0.0, 0.153_421, 0.0]),
        (
            new(0.9).repetition_penalty(1.2).top_k(5).top_p(0.9).min_p(0.2),
            [0.172_991, 0.0, 0.0, 0.301_508, 0.525_501, 0.0, 0.0, 0.0],
        ),
        (new(1.0).top_p(0.0), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
        (new(1.0).min_p(1.0), [0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0]),
    ] {
        let found = options.probabilities(&LOGITS, &SEEN);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-6, "{options:?}: {found} and {expected}");
        }
    }
}

/// Five standard errors of 20,000 draws.
#[test]
fn tokens_are_drawn_as_often_as_they_are_probable() {
    let options = Generation::new(1).temperature(1.3).top_k(4).seed(5);
    let probabilities = options.probabilities(&LOGITS, &[]);
    let mut counts = [0_u32; 8];
    for step in 0..20_000 {
        counts[options.next_token(&LOGITS, &[], step) as usize] += 1;
    }
    for (count, probability) in counts.into_iter().zip(probabilities) {
        let share = f64::from(count) / 20_000.0;
        assert!((share - probability).abs() <= 0.018 * probability.min(1.0).sqrt(), "{counts:?}");
    }
}

#[test]
fn a_choice_depends_on_the_seed_and_the_step_alone() {
    let draw =
        |seed, step| Generation::new(1).temperature(1.0).seed(seed).next_token(&LOGITS, &[], step);
    let series = |seed| (0..50).map(|step| draw(seed, step)).collect::<Vec<_>>();
    assert_eq!(series(1), series(1));
    assert_ne!(series(1), series(2));
}

/// A penalty changes the token with the highest score too; of equal scores the first counts.
#[test]
fn without_a_temperature_the_highest_score_is_chosen() {
    assert_eq!(Generation::new(1).top_k(3).next_token(&LOGITS, &[], 9), 3);
    assert_eq!(Generation::new(1).repetition_penalty(1.1).next_token(&LOGITS, &SEEN, 0), 4);
    assert_eq!(Generation::new(1).temperature(0.0).next_token(&LOGITS, &[], 0), 3);
}

#[test]
fn options_out_of_range_are_refused() {
    let reason = |options: Generation| options.check().unwrap_err().to_string();
    assert_eq!(
        reason(Generation::new(1).temperature(-1.0)),
        "`temperature` is -1, not a number above 0"
    );
    assert_eq!(reason(Generation::new(1).top_p(1.5)), "`top_p` is 1.5, not a number from 0 to 1");
    assert!(Generation::new(1).min_p(f64::NAN).check().is_err());
    assert!(Generation::new(1).repetition_penalty(0.0).check().is_err());
    assert!(Generation::new(1).temperature(0.5).top_p(1.0).min_p(0.0).check().is_ok());
}
