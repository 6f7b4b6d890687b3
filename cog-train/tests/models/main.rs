//! Pretrained models against transformers: logits, losses, gradients, and what is refused. The fixtures are made by
//! `tests/python/models.py`.

mod decoders;
mod folders;
mod generation;
mod lora;
mod saving;
mod support;
