//! Schedules against PyTorch and transformers, and at their edges.

use super::*;

const AT: [u64; 9] = [0, 1, 7, 25, 29, 30, 50, 64, 99];

fn assert_rates(schedule: &Schedule, steps: u64, at: &[u64], expected: &[f64]) {
    let rates: Vec<_> = at.iter().map(|step| schedule.at(*step, steps)).collect();
    let near = rates.iter().zip(expected).all(|(is, expected)| (is - expected).abs() < 1e-8);
    assert!(near && at.len() == expected.len(), "{schedule:?}: {rates:?}, not {expected:?}");
}

/// ```python
/// # torch 2.15.0
/// from torch.optim import lr_scheduler as S
/// def rates(make, steps, at):
///     o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0); s = make(o); r = []
///     for _ in range(steps):
///         r.append(o.param_groups[0]["lr"]); o.step(); s.step()
///     print(["%.9f" % r[i] for i in at])
/// at = [0, 1, 7, 25, 29, 30, 50, 64, 99]
/// rates(lambda o: S.LinearLR(o, 1.0, 0.1, 100), 100, at)
/// rates(lambda o: S.CosineAnnealingLR(o, 100, 0.1), 100, at)
/// rates(lambda o: S.CosineAnnealingWarmRestarts(o, 20, 1, 0.1), 100, at)
/// rates(lambda o: S.CosineAnnealingWarmRestarts(o, 10, 2, 0.1), 100, at)
/// rates(lambda o: S.PolynomialLR(o, 100, 2.5), 100, at)
/// rates(lambda o: S.OneCycleLR(o, 1.0, 100), 100, at)
/// rates(lambda o: S.OneCycleLR(o, 1.0, 7, pct_start=0.4, div_factor=10, final_div_factor=100), 7, range(7))
/// ```
#[test]
fn as_pytorch_has_them() {
    let check = |schedule: Schedule, expected: [f64; 9]| {
        assert_rates(&schedule, 100, &AT, &expected);
    };
    check(
        Schedule::Linear { end: 0.1 },
        [1.0, 0.991, 0.937, 0.775, 0.739, 0.73, 0.55, 0.424, 0.109],
    );
    check(
        Schedule::Cosine { floor: 0.1 },
        [
            1.0,
            0.999_777_952,
            0.989_162_543,
            0.868_198_052,
            0.825_808_174,
            0.814_503_364,
            0.55,
            0.358_399_319,
            0.100_222_048,
        ],
    );
    check(
        Schedule::CosineRestarts { first: 20, factor: 1, floor: 0.1 },
        [
            1.0,
            0.994_459_753,
            0.754_295_725,
            0.868_198_052,
            0.620_395_509,
            0.55,
            0.55,
            0.914_057_647,
            0.105_540_247,
        ],
    );
    check(
        Schedule::CosineRestarts { first: 10, factor: 2, floor: 0.1 },
        [
            1.0,
            0.977_975_432,
            0.285_496_636,
            0.231_801_948,
            0.105_540_247,
            1.0,
            0.55,
            0.149_047_064,
            0.738_396_882,
        ],
    );
    check(
        Schedule::Polynomial { power: 2.5, end: 0.0 },
        [
            1.0,
            0.975_187_187,
            0.834_079_354,
            0.487_139_29,
            0.424_762_21,
            0.409_963_413,
            0.176_776_695,
            0.077_76,
            0.000_01,
        ],
    );
    check(
        Schedule::one_cycle(),
        [
            0.04,
            0.042_813_781,
            0.171_522_164,
            0.955_636_201,
            1.0,
            0.999_496_535,
            0.793_893_451,
            0.500_002,
            0.000_004,
        ],
    );
    let schedule = Schedule::OneCycle { rise: 0.4, start: 0.1, end: 0.001 };
    assert_rates(
        &schedule,
        7,
        &[0, 1, 2, 3, 4, 5, 6],
        &[0.1, 0.628_141_68, 0.994_420_998, 0.811_933_156, 0.463_172_318, 0.134_340_59, 0.001],
    );
}

/// `S.SequentialLR(o, [S.LinearLR(o, 1 / 31, 1.0, 30), S.CosineAnnealingLR(o, 70)], [30])`
#[test]
fn a_warm_up_as_pytorch_has_it() {
    let expected = [
        0.032_258_065,
        0.064_516_129,
        0.258_064_516,
        0.838_709_677,
        0.967_741_935,
        1.0,
        0.811_744_901,
        0.522_432_415,
        0.000_503_467,
    ];
    for warmup in [Warmup::Steps(30), Warmup::Share(0.3)] {
        assert_rates(&Schedule::cosine().warmup(warmup), 100, &AT, &expected);
    }
    let rising = Schedule::Constant.warmup(Warmup::Steps(30));
    let joined = Schedule::joined([(30, rising), (100, Schedule::cosine())]);
    assert_rates(&joined, 100, &AT, &expected);
}

/// transformers' formulas: `0.1 + 0.9 * (0.5 * (1 + math.cos(math.pi * (s - 80) / 20)))` from step 80 on, and
/// `1 / math.sqrt((s + t) / t)` with `t = 40`.
#[test]
fn as_transformers_has_them() {
    let schedule = Schedule::WarmupStableDecay { decay: 0.2, shape: Decay::Cosine, floor: 0.1 };
    assert_rates(
        &schedule,
        100,
        &[0, 79, 80, 85, 99],
        &[1.0, 1.0, 1.0, 0.868_198_052, 0.105_540_247],
    );
    assert_rates(
        &Schedule::InverseSquareRoot { timescale: 40 },
        100,
        &AT,
        &[
            1.0,
            0.987_729_597,
            0.922_531_208,
            0.784_464_541,
            0.761_386_988,
            0.755_928_946,
            0.666_666_667,
            0.620_173_673,
            0.536_441_781,
        ],
    );
    let straight = Schedule::warmup_stable_decay();
    assert_rates(&straight, 100, &[0, 80, 90, 99], &[1.0, 1.0, 0.5, 0.05]);
    let steep = Schedule::WarmupStableDecay { decay: 0.16, shape: Decay::OneMinusSqrt, floor: 0.0 };
    assert_rates(&steep, 100, &[84, 85, 88, 93], &[1.0, 0.75, 0.5, 0.25]);
}

fn every() -> Vec<Schedule> {
    let plain = vec![
        Schedule::Constant,
        Schedule::linear(),
        Schedule::cosine(),
        Schedule::CosineRestarts { first: 0, factor: 0, floor: 0.0 },
        Schedule::CosineRestarts { first: 3, factor: 2, floor: 0.0 },
        Schedule::Polynomial { power: 0.5, end: 0.0 },
        Schedule::Polynomial { power: -1.0, end: 0.0 },
        Schedule::one_cycle(),
        Schedule::OneCycle { rise: 0.0, start: 0.5, end: 0.0 },
        Schedule::OneCycle { rise: 1.0, start: 0.5, end: 0.0 },
        Schedule::warmup_stable_decay(),
        Schedule::WarmupStableDecay { decay: 2.0, shape: Decay::OneMinusSqrt, floor: 0.0 },
        Schedule::WarmupStableDecay { decay: 0.0, shape: Decay::Linear, floor: 0.0 },
        Schedule::InverseSquareRoot { timescale: 0 },
        Schedule::joined([]),
        Schedule::joined([(2, Schedule::linear()), (1, Schedule::cosine())]),
    ];
    let warmups = [Warmup::Steps(5), Warmup::Share(1.5), Warmup::Share(f64::NAN)];
    let warmed = plain.iter().flat_map(|schedule| warmups.map(|w| schedule.clone().warmup(w)));
    plain.iter().cloned().chain(warmed).collect()
}

/// Also in runs of no step and of one, after the end, and where the warm-up is longer than the run.
#[test]
fn never_negative_and_never_nan() {
    for schedule in every() {
        for steps in [0, 1, 2, 3, 10, 1 << 60, u64::MAX] {
            for step in [0, 1, 2, 3, 4, 5, 9, 10, 11, steps / 2, steps, u64::MAX] {
                let rate = schedule.at(step, steps);
                assert!((0.0..=1.0).contains(&rate), "{schedule:?} {step} {steps}: {rate}");
            }
        }
    }
    let odd = Schedule::Linear { end: f64::NAN };
    assert!(odd.at(1, 2).abs() < f64::EPSILON);
    assert!(Schedule::Linear { end: -1.0 }.at(9, 10).abs() < f64::EPSILON);
}

#[test]
fn short_runs() {
    assert_rates(&Schedule::cosine().warmup(Warmup::Steps(9)), 3, &[0, 1, 2], &[0.1, 0.2, 0.3]);
    assert_rates(&Schedule::linear(), 1, &[0], &[1.0]);
    assert_rates(&Schedule::one_cycle(), 1, &[0], &[1.0]);
    assert_rates(&Schedule::linear().warmup(Warmup::Share(0.1)), 1, &[0], &[1.0]);
}

#[test]
fn settings_say_everything() {
    let schedule = Schedule::joined([(5, Schedule::Constant), (9, Schedule::one_cycle())])
        .warmup(Warmup::Steps(3));
    assert_eq!(
        schedule.describe(),
        serde_json::json!({
            "name": "warmed",
            "warmup": { "steps": 3 },
            "then": { "name": "joined", "parts": [
                { "until": 5, "schedule": { "name": "constant" } },
                { "until": 9, "schedule":
                    { "name": "one_cycle", "rise": 0.3, "start": 0.04, "end": 4e-6 } },
            ] },
        })
    );
    for (at, one) in every().iter().enumerate().take(14) {
        for (other_at, other) in every().iter().enumerate().take(14) {
            assert_eq!(at == other_at, one.describe() == other.describe());
        }
    }
}

#[test]
fn a_setting_out_of_range_is_refused_by_name() {
    let nan = f64::NAN;
    let cosine = Schedule::cosine;
    for (name, schedule) in [
        ("schedule.end", Schedule::Linear { end: nan }),
        ("schedule.end", Schedule::Linear { end: -0.1 }),
        ("schedule.floor", Schedule::Cosine { floor: 1.5 }),
        ("schedule.first", Schedule::CosineRestarts { first: 0, factor: 1, floor: 0.0 }),
        ("schedule.factor", Schedule::CosineRestarts { first: 1, factor: 0, floor: 0.0 }),
        ("schedule.power", Schedule::Polynomial { power: -1.0, end: 0.0 }),
        ("schedule.rise", Schedule::OneCycle { rise: 1.1, start: 0.1, end: 0.1 }),
        ("schedule.start", Schedule::OneCycle { rise: 0.3, start: nan, end: 0.1 }),
        ("schedule.decay", {
            Schedule::WarmupStableDecay { decay: 2.0, shape: Decay::Linear, floor: 0.0 }
        }),
        ("schedule.timescale", Schedule::InverseSquareRoot { timescale: 0 }),
        ("schedule.warmup", cosine().warmup(Warmup::Share(1.01))),
        ("schedule.warmup", cosine().warmup(Warmup::Share(nan))),
        ("schedule.floor", Schedule::Cosine { floor: nan }.warmup(Warmup::Steps(1))),
        ("schedule.parts", Schedule::joined([])),
        ("schedule.until", Schedule::joined([(5, cosine()), (5, cosine()), (9, cosine())])),
        ("schedule.until", Schedule::joined([(0, cosine()), (9, cosine())])),
        ("schedule.end", Schedule::joined([(5, cosine()), (9, Schedule::Linear { end: nan })])),
    ] {
        let error = schedule.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{name}` is ")), "{name}: {error}");
    }
    for schedule in [
        Schedule::Constant,
        Schedule::one_cycle(),
        Schedule::warmup_stable_decay(),
        Schedule::linear().warmup(Warmup::Share(1.0)),
        Schedule::joined([(100, Schedule::Constant), (500, Schedule::linear())]),
        Schedule::joined([(0, Schedule::Constant)]),
    ] {
        schedule.check().unwrap();
    }
}
