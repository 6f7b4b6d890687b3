"""The jobs: their shapes, learning rates and goals, without a library, so that every program here may read them."""

from types import SimpleNamespace as Shape

BATCHES = 24  # distinct batches of each job; step i trains on batch i % BATCHES
WARM = 3  # first steps that no figure counts
BETAS = (0.9, 0.999)
EPS = 1e-8
WEIGHT_DECAY = 0.01  # of every trainable tensor, biases and norms too

GPT = Shape(vocab=8192, length=256, width=384, layers=6, heads=6, batch=8)
LLAMA = Shape(vocab=32000, length=256, width=384, layers=6, heads=6, kv_heads=2, ff=1024, batch=4, rank=0, alpha=0)
LORA = Shape(**{**vars(LLAMA), "rank": 8, "alpha": 16})
CNN = Shape(size=28, channels=(1, 32, 64, 128), hidden=128, classes=10, batch=64)
BERT = Shape(vocab=8192, positions=512, length=128, width=384, layers=6, heads=6, ff=1536, classes=4, batch=16)

SHAPES = {"j1": GPT, "j2": LORA, "j3": CNN, "j4": BERT, "j5": LLAMA}
RATES = {"j1": 3e-4, "j2": 1e-3, "j3": 1e-3, "j4": 2e-4, "j5": 3e-4}
TITLES = {
    "j1": "GPT, 13.9M parameters, all trained, 8 x 256 tokens",
    "j2": "Llama, 34.1M parameters, LoRA of rank 8 on q and v, 4 x 256 tokens",
    "j3": "convolutional net, 64 images of 28 x 28",
    "j4": "BERT classifier, 6 layers of width 384, all trained, 16 x 128 tokens with padding",
    "j5": "Llama, 34.0M parameters, all trained, 4 x 256 tokens",
}

# Ours over PyTorch's best, at most.
COLUMNS = ("step_ms", "peak_rss_mb", "first_step_s")
GOALS = {
    "j1": (0.78, 0.50, 0.30),
    "j2": (0.78, 0.35, 0.25),
    "j3": (0.65, 0.15, 0.06),
    "j4": (0.75, 0.50, 0.25),
    "j5": (0.78, 0.50, 0.30),
}
LOSS_GOAL = 1e-4  # greatest relative difference from eager PyTorch over LOSS_STEPS steps
LOSS_STEPS = 20
