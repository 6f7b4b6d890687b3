//! Pretrained models against transformers: logits, losses, gradients, and what is refused. The fixtures are made by
//! `tests/python/models.py`.

mod conv1d_lora;
mod decoders;
mod dropout;
mod encoder_golden;
mod encoders;
mod folders;
mod generation;
mod generation_options;
mod gguf;
mod gguf_of_folders;
mod heads;
mod lora;
mod packing;
mod preference_training;
mod preferences;
mod quantized;
mod refusals;
mod saving;
mod support;
