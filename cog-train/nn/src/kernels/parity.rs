//! What every operation's tests ask: the fast form's values and gradients against the plain form in 64 bits, over types,
//! layouts, numbers of threads and devices.

use crate::rng::Rng;
use candle_core::{DType, Device, Error, Tensor, Var};

/// Normal numbers in 64 bits.
pub(crate) fn draw(shape: &[usize], at: u64) -> Tensor {
    Rng::new(17, "parity").at(at).normal_tensor(shape, 0.0, 1.0, DType::F64, &Device::Cpu).unwrap()
}

/// A type, and how far from the truth it may be, as a share of the greatest value.
const TYPES: [(DType, f64); 4] =
    [(DType::F64, 1e-12), (DType::F32, 1e-5), (DType::F16, 4e-3), (DType::BF16, 3e-2)];

/// Where the fast forms are looked at: the CPU, and a GPU where there is one. `COG_TRAIN_NEEDS_GPU=1` fails without.
pub(crate) fn devices() -> Vec<Device> {
    static GPU: std::sync::LazyLock<Option<Device>> = std::sync::LazyLock::new(|| {
        let gpu = Device::new_cuda(0).map_err(|error| error.to_string());
        let needed = std::env::var_os("COG_TRAIN_NEEDS_GPU").is_some_and(|value| value == "1");
        assert!(gpu.is_ok() || !needed, "no GPU: {:?}", gpu.err());
        gpu.ok()
    });
    std::iter::once(Device::Cpu).chain(GPU.clone()).collect()
}

/// The value and the gradients of `operands`, where the result's gradient is drawn by chance and rounded to
/// `rounding`.
pub(crate) fn run<const N: usize>(
    operands: [&Tensor; N],
    rounding: DType,
    compute: impl Fn([&Tensor; N]) -> Result<Tensor, Error>,
) -> (Tensor, [Tensor; N]) {
    let inputs = operands.map(|operand| {
        // A variable has no gaps: those of the operand are put back by operations of candle's.
        let var = Var::from_tensor(&operand.contiguous().unwrap()).unwrap();
        (laid_out_as(var.as_tensor(), operand), var)
    });
    let y = compute(inputs.each_ref().map(|(input, _)| input)).unwrap();
    let seed = draw(y.dims(), 1000).to_dtype(rounding).unwrap().to_dtype(y.dtype()).unwrap();
    let seed = seed.to_device(y.device()).unwrap();
    let mut gradients = (&y * seed).unwrap().sum_all().unwrap().backward().unwrap();
    let gradient = |(_, var): &(Tensor, Var)| {
        gradients.remove(var).unwrap_or_else(|| var.zeros_like().unwrap())
    };
    (y, inputs.each_ref().map(gradient))
}

/// The same values with the gaps of `layout`: two dimensions exchanged, if it has no plain layout.
fn laid_out_as(tensor: &Tensor, layout: &Tensor) -> Tensor {
    if layout.is_contiguous() || layout.rank() < 2 {
        return tensor.clone();
    }
    let last = layout.rank() - 1;
    tensor
        .transpose(last - 1, last)
        .unwrap()
        .contiguous()
        .unwrap()
        .transpose(last - 1, last)
        .unwrap()
}

/// `fast` is `plain`, in values and in gradients, on every device and in every float type, with and without gaps in the
/// first operand. On a GPU it gives the same bits twice.
///
/// `exact` operands are given as they are: they are no floats, or the values themselves matter.
pub(crate) fn check<const N: usize>(
    operands: [&Tensor; N],
    fast: impl Fn([&Tensor; N]) -> Result<Tensor, Error>,
    plain: impl Fn([&Tensor; N]) -> Result<Tensor, Error>,
) {
    // candle makes no tensor without numbers on a GPU.
    let empty = operands.iter().any(|operand| operand.elem_count() == 0);
    let devices = if empty { vec![Device::Cpu] } else { devices() };
    for (device, (dtype, tolerance)) in
        devices.iter().flat_map(|device| TYPES.map(|of_type| (device, of_type)))
    {
        for gaps in [false, true] {
            // Both see what the type can hold, so that only the arithmetic differs.
            let mut rounded =
                operands.map(|operand| operand.to_dtype(dtype).unwrap().to_device(device).unwrap());
            if gaps && rounded[0].rank() >= 2 {
                let last = rounded[0].rank() - 1;
                let turned = rounded[0].transpose(last - 1, last).unwrap().contiguous().unwrap();
                rounded[0] = turned.transpose(last - 1, last).unwrap();
            }
            let truth = rounded.each_ref().map(|operand| {
                operand.to_device(&Device::Cpu).unwrap().to_dtype(DType::F64).unwrap()
            });
            let (y, found) = run(rounded.each_ref(), dtype, &fast);
            if device.is_cuda() {
                let (again, twice) = run(rounded.each_ref(), dtype, &fast);
                let bits = |tensor: &Tensor| {
                    let wide = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
                    wide.to_vec1::<f64>().unwrap().into_iter().map(f64::to_bits).collect::<Vec<_>>()
                };
                assert_eq!(bits(&y), bits(&again));
                assert!(found.iter().zip(&twice).all(|(one, two)| bits(one) == bits(two)));
            }
            let (expected, wanted) = run(truth.each_ref(), dtype, &plain);
            assert_eq!((y.dtype(), y.dims()), (dtype, expected.dims()));
            let dims = operands.map(|operand| operand.dims().to_vec());
            let what = format!("{:?}, {dtype:?}, gaps {gaps}, {dims:?}", device.location());
            close(&y, &expected, tolerance, &format!("value, {what}"));
            for (at, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                close(found, wanted, tolerance, &format!("gradient {at}, {what}"));
            }
        }
    }
}

/// The greatest difference is under `tolerance` of the greatest value.
pub(crate) fn close(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let numbers = |tensor: &Tensor| -> Vec<f64> {
        tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    let (found, expected) = (numbers(found), numbers(expected));
    let scale = expected.iter().fold(1e-3, |most: f64, number| most.max(number.abs()));
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let wrong = (found - expected).abs() / scale;
        assert!(wrong <= tolerance, "{what}: {found} is not {expected} at {at} ({wrong:e})");
    }
}

/// Values and gradients are the same bits under 1, 2 and 4 threads.
pub(crate) fn threads<const N: usize>(
    operands: [&Tensor; N],
    compute: impl Fn([&Tensor; N]) -> Result<Tensor, Error> + Sync,
) {
    let operands = operands.map(|operand| operand.to_dtype(DType::F32).unwrap());
    let under = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (y, gradients) = pool.install(|| run(operands.each_ref(), DType::F32, &compute));
        let bits = |tensor: &Tensor| -> Vec<u32> {
            let numbers: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
            numbers.into_iter().map(f32::to_bits).collect()
        };
        std::iter::once(&y).chain(&gradients).map(bits).collect::<Vec<_>>()
    };
    let one = under(1);
    assert!([2, 4].into_iter().all(|threads| under(threads) == one));
}
