"""The trainers and predictors of `tests/fixtures/conform`, as one writes them for Cog."""

import os
import sys
import tempfile
import time
from typing import Any, Optional

from cog import BaseModel, BasePredictor, Input, Path, Secret


def scalars(
    text: str = Input(description="A short text", min_length=2, max_length=5),
    word: str = Input(default="abc", regex="^[a-z]+$"),
    steps: int = Input(default=3, ge=1, le=10),
    whole: int = Input(default=0),
    rate: float = Input(default=0.5, ge=0.0, le=1.0),
    number: float = Input(default=0.0),
    flag: bool = Input(default=False),
    optimizer: str = Input(default="adam", choices=["adam", "sgd"]),
    level: int = Input(default=1, choices=[1, 2, 3]),
    maybe: Optional[int] = Input(),
    name: Optional[str] = Input(),
    seven: Optional[int] = Input(default=7),
    ids: list[int] = Input(default=[]),
    words: Optional[list[str]] = Input(),
    extra: Optional[dict] = Input(),
    key: Optional[Secret] = Input(),
    old: str = Input(default="old", deprecated=True),
) -> Any:
    print(f"text {text}")
    return {
        "text": text, "word": word, "steps": steps, "whole": whole, "rate": rate, "number": number, "flag": flag,
        "optimizer": optimizer, "level": level, "maybe": maybe, "name": name, "seven": seven, "ids": ids, "words": words,
        "extra": extra, "key": len(key.get_secret_value()) if key else None, "old": old,
    }


class FilesOutput(BaseModel):
    weights: Path
    size: int
    suffixes: list[str]
    extra: Optional[str]


def files(
    data: Path = Input(description="The data"),
    more: list[Path] = Input(default=[]),
    extra: Optional[Path] = Input(),
) -> FilesOutput:
    everything, suffixes = b"", []
    for path in [data, *more, *([extra] if extra else [])]:
        with open(path, "rb") as file:
            everything += file.read()
        suffixes.append(os.path.splitext(str(path))[1].lstrip("."))
    print(f"{len(everything)} bytes")
    weights = os.path.join(tempfile.mkdtemp(), "weights.bin")
    with open(weights, "wb") as file:
        file.write(everything)
    return FilesOutput(weights=Path(weights), size=len(everything), suffixes=suffixes, extra="given" if extra else None)


def written(name):
    path = os.path.join(tempfile.mkdtemp(), name)
    if not name.startswith("missing"):
        with open(path, "w") as file:
            file.write("some bytes\n")
    return Path(path)


def folder(name):
    path = os.path.join(tempfile.mkdtemp(), name)
    os.makedirs(os.path.join(path, "inner"))
    for file, content in (("config.json", "{}\n"), (os.path.join("inner", "w.bin"), "some bytes\n")):
        with open(os.path.join(path, file), "w") as opened:
            opened.write(content)
    return Path(path)


def folder_out(name: str = Input()) -> Path:
    return folder(name)


class FoldersOutput(BaseModel):
    weights: Path
    parts: list[Path]
    loss: float


def folders(name: str = Input()) -> FoldersOutput:
    return FoldersOutput(weights=folder(name), parts=[written("1.txt"), folder("part")], loss=0.25)


def text(name: str = Input()) -> str:
    return name


def whole(value: int = Input()) -> int:
    return value


def number(value: float = Input()) -> float:
    return value


def truth(value: bool = Input()) -> bool:
    return value


def file(name: str = Input()) -> Path:
    return written(name)


def files_out(names: list[str] = Input()) -> list[Path]:
    return [written(name) for name in names]


class TrainingOutput(BaseModel):
    weights: Path
    log: Optional[Path]
    loss: float
    steps: int
    done: bool
    tags: list[str]
    parts: list[Path]


def fields(name: str = Input()) -> TrainingOutput:
    return TrainingOutput(
        weights=written(name), log=None, loss=0.25, steps=3, done=True, tags=["a", "b"], parts=[written("1.txt"), written("2.txt")]
    )


def mapping(name: str = Input()) -> dict:
    return {name: 1, "a": 2}


def items(names: list[str] = Input()) -> list[str]:
    return names


class Jobs(BasePredictor):
    def setup(self):
        print("setting up")
        case = os.environ.get("CONFORM_SETUP")
        if case == "fail":
            raise ValueError("setup boom")
        if case == "slow":
            time.sleep(3)

    def run(self) -> str:  # without it the class does not load
        return ""

    def train(
        self,
        mode: str = Input(default="ok", choices=["ok", "fail", "panic", "wait", "lines", "metrics", "slow"]),
        steps: int = Input(default=3, ge=0),
        delay_ms: int = Input(default=10, ge=0),
    ) -> str:
        if mode == "fail":
            print("before the failure")
            raise ValueError("boom")
        if mode == "panic":
            raise BaseException("boom")
        if mode == "lines":
            for step in range(1, steps + 1):
                print(f"out {step}", flush=True)
                print(f"err {step}", file=sys.stderr, flush=True)
                time.sleep(delay_ms / 1000)
        if mode == "metrics":
            self.record_metric("loss", 0.5)
            self.record_metric("loss", 0.25)
            self.record_metric("rows", 2, mode="incr")
            self.record_metric("rows", 3, mode="incr")
            self.record_metric("seen", "a", mode="append")
            self.record_metric("seen", "b", mode="append")
            self.record_metric("eval.loss", 1)
            self.record_metric("gone", 1)
            self.scope.metrics.delete("gone")
        if mode == "wait":
            print("waiting")
            end = time.time() + 60
            while time.time() < end:
                time.sleep(0.005)
        if mode == "slow":
            for step in range(1, steps + 1):
                print(f"step {step}")
                time.sleep(delay_ms / 1000)
        return mode

    def healthcheck(self) -> bool:
        if os.path.exists("unhealthy"):
            raise ValueError("not well")
        return True


class Speaker(BasePredictor):
    def setup(self, weights: Optional[Path] = None):
        print("setting up")
        self.has_weights = weights is not None

    def run(self, prompt: str = Input(min_length=1), count: int = Input(default=1, ge=0, le=9)) -> Any:
        print("predicting")
        if prompt == "fail":
            raise ValueError("boom")
        return {"text": prompt * count, "weights": self.has_weights}
