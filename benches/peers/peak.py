"""Prints PyTorch's rate of products of two 2048 x 2048 matrices, f32, the best of some 2 s, as JSON: {"gflops": ...}.

    python peak.py [THREADS]
"""

import json
import sys
import time

import torch

SIZE = 2048


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    a, b, out = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE), torch.empty(SIZE, SIZE)
    best, end = float("inf"), time.perf_counter() + 2
    while (start := time.perf_counter()) < end:
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    print(json.dumps({"gflops": round(2 * SIZE**3 / best / 1e9, 1)}))


if __name__ == "__main__":
    main()
