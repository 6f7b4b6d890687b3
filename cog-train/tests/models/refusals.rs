//! Configurations and inputs that are refused by name.

use std::fs;
use std::ops::ControlFlow;

use cog_train::candle_core::{DType, Device, Tensor};
use cog_train::models::{Generation, ImageClassifier, Pretrained, SequenceClassifier, Tokens};
use cog_train::nn::Init;
use serde_json::json;

use crate::heads::{config, copy};
use crate::support::{folder, load};

#[test]
fn keys_that_would_change_the_result_are_refused_by_name() {
    for (name, key, value, reason) in [
        (
            "bert_base",
            "position_embedding_type",
            json!("relative_key"),
            "`position_embedding_type` is \"relative_key\"",
        ),
        (
            "bert_base",
            "is_decoder",
            json!(true),
            "`is_decoder` is true, and only false is supported",
        ),
        ("bert_base", "hidden_act", json!("gelu_nw"), "`hidden_act` is `gelu_nw`, not `gelu_new`"),
        (
            "bert_base",
            "num_attention_heads",
            json!(3),
            "3 attention heads do not divide a hidden size of 16",
        ),
        (
            "bert_base",
            "layer_norm_ep",
            json!(0.1),
            "`layer_norm_ep` is 0.1, and is not supported; did you mean `layer_norm_eps`?",
        ),
        (
            "bert_base",
            "tie_word_embeddings",
            json!(false),
            "`tie_word_embeddings` is false, and only true is supported",
        ),
        (
            "bert_sequence",
            "problem_type",
            json!("ranking"),
            "`problem_type` is `ranking`, not one of",
        ),
        (
            "bert_sequence",
            "id2label",
            json!({"0": "a", "2": "b"}),
            "`id2label` has \"b\" for `2`, not a name for each id from 0 to 1",
        ),
        ("bert_sequence", "num_labels", json!(5), "`num_labels` is 5, and `id2label` has 3 names"),
        ("gpt2_causal", "add_cross_attention", json!(true), "`add_cross_attention` is true"),
        (
            "gpt2_causal",
            "n_inne",
            json!(8),
            "`n_inne` is 8, and is not supported; did you mean `n_inner`?",
        ),
        (
            "modernbert_token",
            "classifier_pooling",
            json!("max"),
            "`classifier_pooling` is `max`, not `cls` or `mean`",
        ),
        (
            "modernbert_token",
            "layer_types",
            json!(["full_attention"]),
            "`layer_types` has 1 layer, and `num_hidden_layers` is 4",
        ),
        (
            "vit_image",
            "patch_size",
            json!([4, 2]),
            "`patch_size` is [4, 2], and only squares are supported",
        ),
        ("vit_image", "image_size", json!("8"), "`image_size` is \"8\", not a number of pixels"),
    ] {
        let copy = copy(name);
        let mut config = config(copy.path());
        config[key] = value;
        fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
        let error = Pretrained::open(copy.path()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let base = Pretrained::open(folder("roberta_sequence")).unwrap();
    let build = |init: &Init| SequenceClassifier::new(init, base.config());
    let tensors = base.tensors_of(&Device::Cpu, build).unwrap();
    let model = Init::from_tensors(tensors).build(build).unwrap();
    // Positions begin behind the padding's.
    let texts = |length| Tokens::padded(&[vec![5; length]], 1, &Device::Cpu).unwrap();
    assert!(model.logits(&texts(14)).is_ok());
    let error = model.logits(&texts(15)).unwrap_err().to_string();
    assert!(error.contains("a text of 15 tokens, and the model has 14 positions"), "{error}");
    let labels = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
    let error = model.loss(&texts(3), &labels).unwrap_err().to_string();
    assert!(error.contains("the labels are [2], and the scores [1, 1]"), "{error}");

    let unknown = Tokens::padded(&[vec![5, 50]], 1, &Device::Cpu).unwrap();
    let error = model.logits(&unknown).unwrap_err().to_string();
    let expected =
        "the token 50 at position 1 of row 0 has no embedding: the model has 50\nhint: use";
    assert!(error.contains(expected), "{error}");
    for name in ["llama3", "gpt2_causal"] {
        let model = load(&folder(name)).unwrap();
        let error = model.logits(&Tokens::padded(&[vec![5, 61]], 1, &Device::Cpu).unwrap());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("the token 61 at position 1 of row 0 has no embedding"), "{error}");
        let options = Generation::new(2);
        let next = |_| ControlFlow::Continue(());
        let error = model.generate(&[5, 6, 61], &options, next).unwrap_err().to_string();
        assert!(error.contains("the token 61 at position 2 of the prompt has no"), "{error}");
    }

    let base = Pretrained::open(folder("vit_image")).unwrap();
    let build = |init: &Init| ImageClassifier::new(init, base.config());
    let tensors = base.tensors_of(&Device::Cpu, build).unwrap();
    let model = Init::from_tensors(tensors).build(build).unwrap();
    let images = Tensor::zeros((2, 3, 8, 12), DType::F32, &Device::Cpu).unwrap();
    let error = model.logits(&images).unwrap_err().to_string();
    assert!(error.contains("images are [2, 3, 8, 12], and the model sees [_, 3, 8, 8]"), "{error}");
}
