"""The jobs on pretrained models: shapes, learning rates, goals. Without a library, so that every program here may read them."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "peers"))

BATCHES = 24  # distinct batches; step i trains on batch i % BATCHES
LANGUAGE = (4, 256)  # texts and tokens of a step
CLASSIFIER = (16, 128)
RANK, ALPHA = 16, 32
# Texts of `packed`: lengths from a log-normal distribution, cut to the range. Their mean is 157 tokens.
TEXTS, MEDIAN, SIGMA, SHORTEST, LONGEST = 1000, 120, 0.8, 16, 1024
PACKED = 4  # texts of a step

RATES = {"lora": 2e-4, "full": 2e-5, "classify": 5e-5, "packed": 2e-4}
TITLES = {
    "lora": "SmolLM2-135M, LoRA of rank 16 on all linear layers, 4 x 256 tokens",
    "full": "SmolLM2-135M, all trained, 4 x 256 tokens",
    "classify": "MiniLM (6 layers, 22.7M parameters), a classifier of two classes, all trained, 16 x 128 tokens",
    "packed": "SmolLM2-135M, LoRA of rank 16, 4 of 1,000 ragged texts a step",
}
# Ours over PyTorch's best, at most.
GOALS = {job: (0.65, 0.40, 0.25) for job in RATES}
LOSS_GOAL = 1e-3  # greatest relative difference from eager PyTorch
