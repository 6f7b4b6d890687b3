use candle_core::{DType, Device};

use super::*;

const DEVICE: &Device = &Device::Cpu;

fn ones(count: usize, dtype: DType) -> Tensor {
    Tensor::ones(count, dtype, DEVICE).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

/// 1,000 frozen elements and 10 that are trained, in each type and precision, however they came to be frozen.
#[test]
fn a_frozen_tensor_costs_its_own_bytes() {
    for (precision, bytes, of_trained) in
        [(Precision::F32, 4, 4), (Precision::Bf16, 2, 4 + 2), (Precision::F16, 2, 4 + 2)]
    {
        for stored in [DType::F32, DType::BF16] {
            let trained = || [("head", ones(10, DType::F32))];
            let all = || [("base", ones(1000, stored)), ("head", ones(10, DType::F32))];
            let expected = 1000 * bytes + 10 * of_trained;
            for params in [
                Params::new(trained())
                    .unwrap()
                    .precision(precision)
                    .unwrap()
                    .with_frozen([all()[0].clone()]),
                Params::new(trained())
                    .unwrap()
                    .with_frozen([all()[0].clone()])
                    .unwrap()
                    .precision(precision),
                Params::new(all()).unwrap().precision(precision).unwrap().freeze("base"),
                Params::new(all()).unwrap().freeze("base").unwrap().precision(precision),
                Params::new(all()).unwrap().train_only("head").unwrap().precision(precision),
            ] {
                let params = params.unwrap();
                assert_eq!(params.bytes(), expected, "{precision:?} of {stored:?}");
                assert_eq!((params.count(), params.trainable_count()), (1010, 10));
                let base = params.get("base").unwrap();
                assert_eq!(base.master().dtype(), precision.dtype());
                assert!(!base.is_trainable() && !params.tensors()["base"].is_variable());
            }
        }
    }
}

/// A frozen base is the memory that it was loaded into.
#[test]
fn frozen_tensors_are_not_copied() {
    let base = ones(3, DType::BF16);
    let params = Params::new([("head", ones(1, DType::F32))]).unwrap();
    let params = params.precision(Precision::Bf16).unwrap();
    let params = params.with_frozen([("base", base.clone())]).unwrap();
    params.get("base").unwrap().set(&Tensor::new(&[2f32, 3.0, 4.0], DEVICE).unwrap()).unwrap();
    assert_eq!(values(&base), [2.0, 3.0, 4.0]);
}

/// The model holds the tensors from before: writing is in place, in every role and precision.
#[test]
fn values_that_are_set_reach_the_tensors_of_the_model() {
    for precision in [Precision::F32, Precision::Bf16] {
        let names = ["buffer", "frozen", "trained"];
        let params = Params::new(names.map(|name| (name, ones(2, DType::F32)))).unwrap();
        let params = params.freeze("frozen").unwrap().buffers("buffer").unwrap();
        let params = params.precision(precision).unwrap();
        let tensors = params.tensors();
        for name in names {
            let param = params.get(name).unwrap();
            param.set(&Tensor::new(&[0.5f32, -2.0], DEVICE).unwrap()).unwrap();
            assert_eq!(values(&tensors[name]), [0.5, -2.0], "{name}");
            assert_eq!(values(&param.master()), [0.5, -2.0], "{name}");
            let error = param.set(&ones(3, DType::F32)).unwrap_err().to_string();
            assert!(error.contains('3') && error.contains('2'), "{error}");
        }
    }
}

#[test]
fn a_parameter_that_is_trained_again_has_a_master() {
    let params = Params::new([("a", ones(2, DType::F32)), ("b", ones(2, DType::F32))]).unwrap();
    let params = params.precision(Precision::Bf16).unwrap().freeze("a").unwrap();
    let params = params.train_only("a").unwrap();
    let a = params.get("a").unwrap();
    assert_eq!((a.master().dtype(), a.compute().dtype()), (DType::F32, DType::BF16));
    assert!(a.master().is_variable() && !params.get("b").unwrap().master().is_variable());
    assert_eq!(params.bytes(), 2 * (4 + 2) + 2 * 2);
}

#[test]
fn a_frozen_tensor_with_a_taken_name_is_an_error() {
    let params = Params::new([("a", ones(2, DType::F32))]).unwrap();
    let error = params.with_frozen([("a", ones(2, DType::F32))]).unwrap_err().to_string();
    assert_eq!(error, "the parameter `a` is there twice");
}

#[test]
fn a_quantized_matrix_with_a_taken_name_is_an_error() {
    let matrix = || {
        let weight = Tensor::ones((2, 64), DType::F32, DEVICE).unwrap();
        cog_train_nn::Quantized::quantize(&weight, cog_train_nn::BlockLayout::Nf4).unwrap()
    };
    let params = || Params::new([("a", ones(2, DType::F32))]).unwrap();
    let error = params().with_quantized([("a", matrix())]).unwrap_err().to_string();
    assert_eq!(error, "the parameter `a` is there twice");
    let params = params().with_quantized([("b", matrix())]).unwrap();
    let error = params.with_frozen([("b", ones(2, DType::F32))]).unwrap_err().to_string();
    assert_eq!(error, "the parameter `b` is there twice");
}
