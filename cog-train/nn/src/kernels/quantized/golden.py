"""Writes golden.bin: blocks by gguf and bitsandbytes, and the values that they decode to.

pip install gguf bitsandbytes torch; python golden.py
"""

import bitsandbytes.functional as bnb
import gguf.quants
import numpy as np
import torch
from gguf import GGMLQuantizationType

ROWS, COLUMNS = 2, 512


def weight(count):
    at = np.arange(count, dtype=np.int64)
    wave = ((at * 7919 + 13) % 1009 - 504).astype(np.float32) / np.float32(256)
    return wave * wave * wave


def blocks_of_any_bytes(size, scales):
    """Blocks of arbitrary bytes, but for scales that are finite halves."""
    count = ROWS * COLUMNS // 256
    blocks = ((np.arange(count * size) * 37 + 11) % 256).astype(np.uint8).reshape(count, size)
    for at, start in enumerate(scales):
        halves = (np.arange(count) * 0.25 + 0.0625 * (at + 1)).astype(np.float16)
        blocks[:, start : start + 2] = halves.view(np.uint8).reshape(count, 2)
    return blocks.reshape(ROWS, -1)


def write_blocks(file, name, blocks=None):
    """Blocks, by gguf unless given, and their values."""
    kind = GGMLQuantizationType[name]
    if blocks is None:
        blocks = gguf.quants.quantize(weight(ROWS * COLUMNS).reshape(ROWS, COLUMNS), kind)
    file.write(blocks.tobytes() + gguf.quants.dequantize(blocks, kind).tobytes())


with open("golden.bin", "wb") as file:
    for name in ["Q4_0", "Q4_1", "Q8_0"]:
        write_blocks(file, name)
    for name, size, scales in [("Q4_K", 144, [0, 2]), ("Q6_K", 210, [208])]:
        write_blocks(file, name, blocks_of_any_bytes(size, scales))
    # 300 blocks of 64, the last of which is not full: more than one scale of scales.
    matrix = torch.from_numpy(weight(33 * 580)).reshape(33, 580)
    codes, state = bnb.quantize_4bit(matrix, compress_statistics=True, quant_type="nf4")
    decoded = bnb.dequantize_4bit(codes, state)
    nested = state.state2
    for tensor in [codes, state.absmax, nested.code, nested.absmax, state.offset, decoded[:, ::29]]:
        file.write(tensor.contiguous().numpy().tobytes())
    for name, blocks in [("Q5_0", None), ("Q5_1", None), ("Q5_K", blocks_of_any_bytes(176, [0, 2]))]:
        write_blocks(file, name, blocks)
