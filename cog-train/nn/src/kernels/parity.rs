//! Parity of fast paths and references: values and gradients against the reference in 64 bits, over types, layouts, numbers of
//! threads and devices.

use crate::rng::Rng;
use candle_core::{DType, Device, Error, Tensor, Var};

/// Draws normally distributed values in 64 bits.
pub(crate) fn draw(shape: &[usize], at: u64) -> Tensor {
    Rng::new(17, "parity").at(at).normal_tensor(shape, 0.0, 1.0, DType::F64, &Device::Cpu).unwrap()
}

/// Each type, and its tolerance as a share of the greatest value.
const TYPES: [(DType, f64); 4] =
    [(DType::F64, 1e-12), (DType::F32, 1e-5), (DType::F16, 4e-3), (DType::BF16, 3e-2)];

/// Returns the devices of the tests: the CPU, and a GPU where there is one. `COG_TRAIN_NEEDS_GPU=1` fails without.
pub(crate) fn devices() -> Vec<Device> {
    static GPU: std::sync::LazyLock<Option<Device>> = std::sync::LazyLock::new(|| {
        let gpu = Device::new_cuda(0).map_err(|error| error.to_string());
        let needed = std::env::var_os("COG_TRAIN_NEEDS_GPU").is_some_and(|value| value == "1");
        assert!(gpu.is_ok() || !needed, "no GPU: {:?}", gpu.err());
        gpu.ok()
    });
    std::iter::once(Device::Cpu).chain(GPU.clone()).collect()
}

/// Returns the value and the gradients of `operands` for a random gradient of the result, rounded to `rounding`.
pub(crate) fn run<const N: usize>(
    operands: [&Tensor; N],
    rounding: DType,
    compute: impl Fn([&Tensor; N]) -> Result<Tensor, Error>,
) -> (Tensor, [Tensor; N]) {
    let inputs = operands.map(|operand| {
        // A variable is contiguous: operations of candle's restore the layout of the operand.
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

/// Returns the same values in the layout of `layout`: two dimensions exchanged, if it is not contiguous.
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

/// Asserts that `fast` equals `reference`, in values and in gradients, on every device and in every float type, with a
/// contiguous and a strided first operand. On a GPU it returns the same bits twice.
pub(crate) fn check<const N: usize>(
    operands: [&Tensor; N],
    fast: impl Fn([&Tensor; N]) -> Result<Tensor, Error>,
    reference: impl Fn([&Tensor; N]) -> Result<Tensor, Error>,
) {
    // candle allocates no empty tensor on a GPU.
    let empty = operands.iter().any(|operand| operand.elem_count() == 0);
    let devices = if empty { vec![Device::Cpu] } else { devices() };
    for (device, (dtype, tolerance)) in
        devices.iter().flat_map(|device| TYPES.map(|of_type| (device, of_type)))
    {
        for strided in [false, true] {
            // Both get operands rounded to the type, so that only the arithmetic differs.
            let mut rounded =
                operands.map(|operand| operand.to_dtype(dtype).unwrap().to_device(device).unwrap());
            if strided && rounded[0].rank() >= 2 {
                let last = rounded[0].rank() - 1;
                let transposed =
                    rounded[0].transpose(last - 1, last).unwrap().contiguous().unwrap();
                rounded[0] = transposed.transpose(last - 1, last).unwrap();
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
            let (expected, wanted) = run(truth.each_ref(), dtype, &reference);
            assert_eq!((y.dtype(), y.dims()), (dtype, expected.dims()));
            let dims = operands.map(|operand| operand.dims().to_vec());
            let what = format!("{:?}, {dtype:?}, strided {strided}, {dims:?}", device.location());
            close(&y, &expected, tolerance, &format!("value, {what}"));
            for (at, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                close(found, wanted, tolerance, &format!("gradient {at}, {what}"));
            }
        }
    }
}

/// Asserts that the greatest difference is under `tolerance` of the greatest value.
pub(crate) fn close(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let values = |tensor: &Tensor| -> Vec<f64> {
        tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    let (found, expected) = (values(found), values(expected));
    let scale = expected.iter().fold(1e-3, |most: f64, value| most.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let wrong = (found - expected).abs() / scale;
        assert!(wrong <= tolerance, "{what}: {found} is not {expected} at {at} ({wrong:e})");
    }
}

/// Asserts that values and gradients are the same bits under 1, 2 and 4 threads, in 32 bits and in bfloat16.
pub(crate) fn threads<const N: usize>(
    operands: [&Tensor; N],
    compute: impl Fn([&Tensor; N]) -> Result<Tensor, Error> + Sync,
) {
    for dtype in [DType::F32, DType::BF16] {
        let operands = operands.map(|operand| operand.to_dtype(dtype).unwrap());
        let under = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (y, gradients) = pool.install(|| run(operands.each_ref(), dtype, &compute));
            let bits = |tensor: &Tensor| -> Vec<u32> {
                let wide = tensor.flatten_all().unwrap().to_dtype(DType::F32).unwrap();
                wide.to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
            };
            std::iter::once(&y).chain(&gradients).map(bits).collect::<Vec<_>>()
        };
        let one = under(1);
        assert!([2, 4].into_iter().all(|threads| under(threads) == one), "{dtype:?}");
    }
}
