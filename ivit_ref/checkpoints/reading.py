"""Reading a checkpoint without running code: each array is read when it is asked for, and not kept.

What a file holds is told by its content; only ``.safetensors``, which begins with no mark, is told by its suffix.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from ivit_ref.arrays import ALWAYS_ALLOWED, LazyArrays, NpzArrays, check_entries, existing, telling
from ivit_ref.checkpoints.state import State
from ivit_ref.errors import CheckpointError, FileError, MissingExtra
from ivit_ref.ir import Array

NESTED = ("model", "state_dict", "model_state_dict", "module")
"""Where a training checkpoint keeps its state dict."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and a wrapping module put before every key."""

LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The number that begins what torch.save wrote before it wrote zip archives; a pickle's first two bytes precede it."""

SAFE_TORCH = "2.10"
"""The first torch whose ``weights_only`` holds: older ones could be made to run code (CVE-2025-32434, CVE-2026-24747)."""

DAMAGED = (LookupError, AttributeError, AssertionError, struct.error)
"""What torch raises for damaged files, beside what zipfile and NumPy do."""

KINDS = ".npz, .safetensors, or what torch.save wrote (.pth, .pth.tar, .pt, .bin)"

AWAY = "numpy.savez('state.npz', **{k: v.cpu().numpy() for k, v in model.state_dict().items()})"
"""Needs torch on another machine only."""

PICKLED = (
    "must be a state dict without a pickle, which could run code. params.npy of the release cannot be deployed, as it has "
    "no scales: the checkpoint.pth.tar that it was made from can. Any other pickled dict that is your own, convert where it "
    """was made: python -c "import numpy as n; n.savez('state.npz', **n.load('params.npy', allow_pickle=True).item())";"""
)

Read = Callable[[str], Array]


def read_state(path: str | Path) -> State:
    """The state dict of a checkpoint: ``.npz``, ``.safetensors``, or a file of PyTorch.

    A state dict inside a training checkpoint is found (``NESTED``); ``PREFIXES`` that all keys have are taken off.
    """
    keys, read = _opened(existing(path))
    if not keys:
        inside = ", ".join(map(repr, NESTED))
        raise CheckpointError(f"{path}: must hold the arrays of a state dict, at its top or in {inside}, but found none")
    return State(_named(keys, read), str(path))


def _named(keys: Iterable[str], read: Read) -> LazyArrays:
    """Arrays, one at least, by the names that they have in a model: the file's without common prefixes."""
    names = {key: key for key in keys}
    while prefix := _common_prefix(names):
        names = {name.removeprefix(prefix): key for name, key in names.items()}
    return LazyArrays(names, lambda name: read(names[name]))


def _common_prefix(names: Iterable[str]) -> str:
    return next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in names)), "")


def _opened(path: Path) -> tuple[Iterable[str], Read]:
    """The keys of a file, and what reads an array of it."""
    if path.suffix == ".safetensors":
        return _safetensors(path)
    with telling(path, "a state dict"), path.open("rb") as stream:
        head = stream.read(32)
    if head.startswith(b"PK"):
        return _archive(path)
    if head[2:].startswith(LEGACY):
        return _torch(path, mmap=False)
    if head.startswith(b"\x93NUMPY"):
        raise FileError(f"{path}: {PICKLED} but found an .npy file")
    if head.startswith(b"\x80"):
        raise FileError(f"{path}: {PICKLED} but found a bare pickle")
    found = "an ONNX model, which is none" if path.suffix == ".onnx" else f"a file that begins with {head[:8]!r}"
    raise FileError(f"{path}: must be a checkpoint: {KINDS}, but found {found}")


def _archive(path: Path) -> tuple[Iterable[str], Read]:
    with telling(path, "a whole zip archive (.npz, .pth)"), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if not any(entry.filename.endswith("/data.pkl") for entry in entries):
        arrays = NpzArrays(path)
        return arrays, arrays.__getitem__
    check_entries(path, entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        # Storages are mapped where they lie in the file, which would take the packed bytes for numbers.
        raise FileError(f"{path}: must hold its storages as torch.save wrote them, but found them compressed")
    return _torch(path, mmap=True)


# --- safetensors


def _safetensors(path: Path) -> tuple[Iterable[str], Read]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        must = "a .safetensors file needs safetensors, which is not installed: pip install 'ivit-ref[safetensors]'"
        raise MissingExtra(f"{path}: {must}") from error
    with telling(path, "a .safetensors file", (SafetensorError,)):
        file: Any = safe_open(path, framework="numpy")
        keys: list[str] = file.keys()

    def read(key: str) -> Array:
        kind = file.get_slice(key).get_dtype()
        with telling(path, f"a .safetensors file of arrays that NumPy has ({key!r} is {kind})", (SafetensorError, *DAMAGED)):
            array: Array = _bfloat16(path, key) if kind == "BF16" else file.get_tensor(key)
            return array

    return keys, read


def _bfloat16(path: Path, key: str) -> Array:
    """A tensor in a type that NumPy lacks, as float32: its bits are a float32's upper half. The header has been checked."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        tensor = json.loads(stream.read(length))[key]
        start, end = tensor["data_offsets"]
        stream.seek(8 + length + start)
        bits = np.frombuffer(stream.read(end - start), "<u2").reshape(tensor["shape"])
    array: Array = np.left_shift(bits, 16, dtype=np.uint32).view(np.float32)
    return array


# --- PyTorch


def _torch(path: Path, *, mmap: bool) -> tuple[Iterable[str], Read]:
    torch = _import_torch(path)
    with telling(path, "a checkpoint that torch.save wrote", DAMAGED):
        tensors = _tensors(_loaded(torch, path, mmap), torch.Tensor)

    def read(key: str) -> Array:
        with telling(path, f"a checkpoint of dense tensors ({key!r} is none)", DAMAGED):
            return _array(tensors[key], f"{path}: {key!r}")

    return tensors, read


def _import_torch(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        must = "a PyTorch checkpoint needs torch, which is not installed: pip install 'ivit-ref[torch]'"
        raise MissingExtra(f"{path}: {must}; or without it, where the model is: {AWAY}") from error
    if torch.__version__ < SAFE_TORCH:
        must = f"torch must be {SAFE_TORCH} or later, so that no checkpoint can run code"
        raise MissingExtra(f"{path}: {must}: pip install 'ivit-ref[torch]', but found {torch.__version__}")
    return torch


def _loaded(torch: Any, path: Path, mmap: bool) -> object:
    """What torch.save was given: tensors, plain containers, and the Namespace of the training script's arguments."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickle protocols; what is wrong with a file is one line
            loaded: object = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
            return loaded
    except UnpicklingError as error:
        raise FileError(f"{path}: {_refused(str(error))}") from error


def _refused(message: str) -> str:
    """What the weights_only unpickler refused; its own text recommends to run the code after all."""
    if forbidden := re.search(r"GLOBAL (\S{1,200})", message):
        way = "save the state dict alone, torch.save(model.state_dict(), path)"
        return f"must hold tensors and plain containers only ({way}), but found {forbidden[1]!r}"
    reason = re.search(r"WeightsUnpickler error:\s*(.{1,200})", message)
    found = repr(reason[1]) if reason else "no reason"
    return f"must be a checkpoint that torch.save wrote, but its pickle is damaged: {found}"


def _tensors(loaded: object, tensor: type) -> dict[str, Any]:
    """The tensors of a state dict, or of the one inside a training checkpoint."""
    if not isinstance(loaded, dict):
        return {}
    for name in NESTED:
        if inside := _tensors(loaded.get(name), tensor):
            return inside
    return {key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, tensor)}


def _array(tensor: Any, what: str) -> Array:
    """A tensor as an array over the same memory, but for small floats, which become float32."""
    limit = max(ALWAYS_ALLOWED, tensor.untyped_storage().nbytes())
    if tensor.numel() * tensor.element_size() > limit:  # an expanded tensor has fewer elements in memory than it says
        raise FileError(f"{what}: must have at most {limit} bytes, as many as are there, but found {list(tensor.shape)}")
    small = tensor.is_floating_point() and tensor.element_size() < 4
    array: Array = (tensor.float() if small else tensor).detach().numpy()
    return array
