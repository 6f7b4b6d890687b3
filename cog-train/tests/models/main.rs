//! Pretrained models against transformers: logits, losses, gradients, and what is refused. The fixtures are made by
//! `tests/python/models.py`.

mod decoders;
mod encoders;
mod folders;
mod generation;
mod gguf;
mod heads;
mod lora;
mod preferences;
mod quantized;
mod saving;
mod support;
