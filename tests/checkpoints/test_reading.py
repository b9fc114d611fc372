"""Checkpoint files: what each kind gives, that nothing is read or run before it is asked for, and what is refused."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from ivit_ref import arrays as arrays_module
from ivit_ref.checkpoints import State, read_state
from ivit_ref.errors import CheckpointError, FileError, IvitError, MissingExtra

Array = npt.NDArray[Any]

SOME: dict[str, Array] = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.c": np.array(1.5, np.float32)}


def npz(path: Path, arrays: dict[str, Array]) -> None:
    np.savez(path, **arrays)


def tensors(path: Path, arrays: dict[str, Array]) -> None:
    torch = pytest.importorskip("torch")
    torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, path)


def legacy(path: Path, arrays: dict[str, Array]) -> None:
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    torch.save(state, path, _use_new_zipfile_serialization=False)


def safe(path: Path, arrays: dict[str, Array]) -> None:
    save_file(arrays, path)


KINDS: dict[str, tuple[str, Callable[[Path, dict[str, Array]], None]]] = {
    "npz": ("state.npz", npz),
    "safetensors": ("state.safetensors", safe),
    "torch": ("state.pth.tar", tensors),
    "legacy torch": ("state.pth", legacy),
}

kinds = pytest.mark.parametrize(("name", "save"), KINDS.values(), ids=KINDS)


def saved(data: object, path: Path) -> Path:
    pytest.importorskip("torch").save(data, path)
    return path


def written(data: bytes, path: Path) -> Path:
    path.write_bytes(data)
    return path


def one_line(error: Exception) -> str:
    assert str(error).isprintable()
    assert len(str(error)) < 1000
    return str(error)


def refusal(path: Path, *errors: type[IvitError]) -> str:
    """The one line, which starts with the path, in which a checkpoint or one of its arrays is refused."""
    with pytest.raises(errors or (FileError,)) as caught:
        list(read_state(path).arrays.values())
    message = one_line(caught.value)
    assert message.startswith(f"{path}: ")
    return message


def is_refused(path: Path) -> bool:
    try:
        list(read_state(path).arrays.values())
    except (FileError, CheckpointError) as error:
        return bool(one_line(error))
    return False


def same(state: State, want: dict[str, Array]) -> None:
    assert set(state.arrays) == set(want)
    assert len(state.arrays) == len(want)
    for name, array in want.items():
        np.testing.assert_array_equal(state.arrays[name], array, strict=True)


# --- What comes through


@kinds
def test_arrays_come_through(name: str, save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / name, SOME)
    same(read_state(tmp_path / name), SOME)
    same(read_state(str(tmp_path / name)), SOME)
    assert read_state(tmp_path / name).source == str(tmp_path / name)


@kinds
@pytest.mark.parametrize("dtype", ["float64", "int64", "int32", "int8", "uint8"])
def test_dtypes_pass(dtype: str, name: str, save: Callable[..., None], tmp_path: Path) -> None:
    arrays = {"x": np.arange(4).astype(dtype)}
    save(tmp_path / name, arrays)
    same(read_state(tmp_path / name), arrays)


@kinds
def test_half_floats(name: str, save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / name, {"x": np.array([0.5, -2], np.float16)})
    np.testing.assert_array_equal(read_state(tmp_path / name).real("x", (2,)), [0.5, -2])


@kinds
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.module."])
def test_common_prefixes(prefix: str, name: str, save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / name, {prefix + key: array for key, array in SOME.items()})
    same(read_state(tmp_path / name), SOME)


@kinds
def test_a_prefix_that_some_keys_lack_stays(name: str, save: Callable[..., None], tmp_path: Path) -> None:
    arrays = {"module.a": np.zeros(1), "a": np.ones(1)}
    save(tmp_path / name, arrays)
    same(read_state(tmp_path / name), arrays)


@kinds
def test_a_prefix_is_a_whole_part_of_a_name(name: str, save: Callable[..., None], tmp_path: Path) -> None:
    arrays = {"modules.a": np.zeros(1), "modules.b": np.ones(1)}
    save(tmp_path / name, arrays)
    same(read_state(tmp_path / name), arrays)


@kinds
def test_names_that_are_not_there(name: str, save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / name, {f"module.{key}": array for key, array in SOME.items()})
    state = read_state(tmp_path / name)
    assert "a" in state
    assert "module.a" not in state
    with pytest.raises(KeyError):
        state.arrays["module.a"]


@kinds
def test_a_file_without_arrays(name: str, save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / name, {})
    assert refusal(tmp_path / name, CheckpointError).endswith("but found none")


@pytest.mark.parametrize("name", ["a.pth", "a.bin", "a.tar", "a"])
def test_content_counts_and_not_the_suffix(name: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, **SOME)
    same(read_state(written(stream.getvalue(), tmp_path / name)), SOME)


# --- Laziness


def test_opening_an_npz_reads_no_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npz(tmp_path / "a.npz", SOME)
    read: list[str] = []
    real = arrays_module._read_array
    monkeypatch.setattr(
        arrays_module, "_read_array", lambda stream, size, what: (read.append(what), real(stream, size, what))[1]
    )
    state = read_state(tmp_path / "a.npz")
    assert "a" in state
    assert len(list(state.arrays)) == 2
    assert read == []
    state.scale("b.c")
    assert read == [f"{tmp_path / 'a.npz'}: 'b.c'"]


def test_opening_an_npz_reads_headers_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npz(tmp_path / "a.npz", {"big": np.zeros(2**20), "bigger": np.zeros(2**21)})
    count = 0
    real = zipfile._SharedFile.read  # type: ignore[attr-defined]

    def counted(file: Any, size: int = -1) -> bytes:
        nonlocal count
        data: bytes = real(file, size)
        count += len(data)
        return data

    monkeypatch.setattr(zipfile._SharedFile, "read", counted)  # type: ignore[attr-defined]
    state = read_state(tmp_path / "a.npz")
    assert 0 < count < 2**15
    assert state.shape("big", 1) == (2**20,)
    assert 2**23 < count < 2**23 + 2**16


def test_an_array_is_not_kept(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", SOME)
    state = read_state(tmp_path / "a.npz")
    state.arrays["a"][:] = 7
    same(state, SOME)


def test_opening_a_safetensors_file_reads_no_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors

    safe(tmp_path / "a.safetensors", SOME)
    read: list[str] = []

    class Spy:
        def __init__(self, path: Path, framework: str) -> None:
            self.file = real(path, framework=framework)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def get_tensor(self, key: str) -> Any:
            read.append(key)
            return self.file.get_tensor(key)

    real = safetensors.safe_open
    monkeypatch.setattr(safetensors, "safe_open", Spy)
    state = read_state(tmp_path / "a.safetensors")
    assert "a" in state
    assert read == []
    assert state.scale("b.c") == (1.5,)
    assert read == ["b.c"]


def test_tensors_share_the_memory_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    tensors(tmp_path / "a.pth", SOME)
    monkeypatch.setattr(torch.Tensor, "numpy", None)
    state = read_state(tmp_path / "a.pth")
    assert "a" in state
    monkeypatch.undo()
    array = state.arrays["a"]
    assert not array.flags["OWNDATA"]
    assert array.ctypes.data == state.arrays["a"].ctypes.data
    before = (tmp_path / "a.pth").read_bytes()
    array[:] = 7
    assert (tmp_path / "a.pth").read_bytes() == before


# --- .npz


def test_two_entries_of_one_name(tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", {"a": np.zeros(1), "b": np.zeros(1)})
    data = (tmp_path / "a.npz").read_bytes().replace(b"b.npy", b"a.npy")
    assert refusal(written(data, tmp_path / "a.npz")).endswith("but found one twice")


def test_an_npz_of_objects(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", allow_pickle=True, evil=np.array([Evil(tmp_path / "made")], object))
    with pytest.raises(FileError, match=r"'evil': holds Python objects"):
        read_state(tmp_path / "a.npz")


def test_an_npz_that_claims_too_much(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,)}\n" % 2**40
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 8
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", data)
    with pytest.raises(FileError, match=f"'x': must hold {2**42} bytes"):
        read_state(tmp_path / "a.npz")


def test_damage_inside_an_array_is_found_when_it_is_read(tmp_path: Path) -> None:
    """Where the array is so long that it is not read with its header."""
    npz(tmp_path / "a.npz", {**SOME, "long": np.zeros(10**4)})
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[data.index(b"long.npy") + 10**4] ^= 1
    state = read_state(written(bytes(data), tmp_path / "a.npz"))
    assert state.scale("b.c") == (1.5,)
    with pytest.raises(FileError, match=r"cannot be read: Bad CRC-32 for file 'long\.npy'"):
        state.arrays["long"]


# --- .safetensors


def safetensors_of(header: dict[str, Any] | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str, size: int, shape: list[int], start: int = 0) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}


def test_bfloat16_in_safetensors(tmp_path: Path) -> None:
    """Whether or not some other package has taught NumPy the type by now."""
    want = np.array([[1, -2.5, 3.0]], np.float32)
    bits = (want.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = {"f": tensor("F32", 4, [1]), "x": tensor("BF16", 6, [1, 3], 4), "none": tensor("BF16", 0, [0], 10)}
    path = written(safetensors_of(header, bytes(4) + bits), tmp_path / "a.safetensors")
    same(read_state(path), {"f": np.zeros(1, np.float32), "x": want, "none": np.zeros(0, np.float32)})


def test_types_that_numpy_lacks(tmp_path: Path) -> None:
    header = {"f": tensor("F32", 4, [1]), "x": tensor("F8_E4M3", 4, [4], 4)}
    path = written(safetensors_of(header, bytes(8)), tmp_path / "a.safetensors")
    assert "('x' is F8_E4M3)" in refusal(path)
    assert read_state(path).real("f", (1,)) == 0


def test_a_header_that_begins_as_a_pickle_does(tmp_path: Path) -> None:
    """Its length is 640, which in bytes are those of protocol 2."""
    text = json.dumps({"x": tensor("F32", 4, [1])}).encode()
    data = safetensors_of(text.ljust(640), bytes(4))
    assert data.startswith(b"\x80\x02")
    same(read_state(written(data, tmp_path / "a.safetensors")), {"x": np.zeros(1, np.float32)})


BAD_SAFETENSORS = {
    "nothing": b"",
    "text": b"a checkpoint, really",
    "a huge header": struct.pack("<Q", 2**62) + b"{}",
    "no JSON": safetensors_of(b"{]", b""),
    "a huge tensor": safetensors_of({"x": tensor("F32", 2**42, [2**40])}, bytes(8)),
    "more elements than bytes": safetensors_of({"x": tensor("F32", 8, [2**40])}, bytes(8)),
    "an overflow": safetensors_of({"x": tensor("F32", 8, [2**40, 2**40])}, bytes(8)),
    "one place twice": safetensors_of({"x": tensor("F32", 4, [1]), "y": tensor("F32", 4, [1])}, bytes(4)),
    "an npz": b"PK\x03\x04",
}


@pytest.mark.parametrize("data", BAD_SAFETENSORS.values(), ids=BAD_SAFETENSORS)
def test_bad_safetensors(data: bytes, tmp_path: Path) -> None:
    assert "must be a .safetensors file" in refusal(written(data, tmp_path / "a.safetensors"))


def test_safetensors_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safe(tmp_path / "a.safetensors", SOME)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert refusal(tmp_path / "a.safetensors", MissingExtra).endswith("pip install 'ivit-ref[safetensors]'")


# --- PyTorch, without torch


def torch_zip(path: Path, method: int = zipfile.ZIP_STORED) -> Path:
    """What torch.save writes for an empty dictionary."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("state/data.pkl", pickle.dumps({}, 2))
        archive.writestr("state/version", b"3\n")
    return path


def test_a_zip_archive_of_torch_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("a.pth", "a.npz"):
        message = refusal(torch_zip(tmp_path / name), MissingExtra)
        assert "pip install 'ivit-ref[torch]'" in message
        assert "numpy.savez(" in message


def test_a_legacy_file_of_torch_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    number = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    assert "ivit-ref[torch]" in refusal(written(number + pickle.dumps({}, 2), tmp_path / "a.pth"), MissingExtra)


def test_a_compressed_archive_of_torch(tmp_path: Path) -> None:
    assert refusal(torch_zip(tmp_path / "a.pth", zipfile.ZIP_DEFLATED)).endswith("but found them compressed")


def test_an_archive_of_torch_that_claims_too_much(tmp_path: Path) -> None:
    data = bytearray(torch_zip(tmp_path / "a.pth").read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = struct.pack("<I", 3 * 2**30)
    assert "must unpack to at most" in refusal(written(bytes(data), tmp_path / "a.pth"))


# --- PyTorch


def test_a_torch_that_could_be_made_to_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    tensors(tmp_path / "a.pth", SOME)
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.9.1+cpu"))
    message = refusal(tmp_path / "a.pth", MissingExtra)
    assert "torch must be 2.10 or later" in message
    assert message.endswith("but found 2.9.1+cpu")


@pytest.mark.parametrize("nested", ["model", "state_dict", "model_state_dict", "module"])
def test_training_checkpoints(nested: str, tmp_path: Path) -> None:
    """What quant_train.py of the release saves."""
    torch = pytest.importorskip("torch")
    model = {f"module.{name}": torch.nn.Parameter(torch.from_numpy(array)) for name, array in SOME.items()}
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
    rest = {"epoch": 3, "args": argparse.Namespace(lr=0.1, nested=argparse.Namespace(a=1)), "scaler": {}, "best": torch.ones(1)}
    path = saved({"optimizer": optimizer, "model_ema": {"a": torch.ones(1)}, nested: model, **rest}, tmp_path / "a.pth.tar")
    same(read_state(path), SOME)


def test_the_first_nested_state_dict_counts(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    data = {"state_dict": {"x": torch.ones(1)}, "model": {"x": torch.zeros(1)}, "module": {"x": torch.ones(1)}}
    same(read_state(saved(data, tmp_path / "a.pt")), {"x": np.zeros(1, np.float32)})
    data["model"] = {}
    same(read_state(saved(data, tmp_path / "a.pt")), {"x": np.ones(1, np.float32)})


def test_namespaces_are_allowed_while_reading_only(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    before = torch.serialization.get_safe_globals()
    read_state(saved({"x": torch.ones(1), "args": argparse.Namespace()}, tmp_path / "a.pt"))
    assert torch.serialization.get_safe_globals() == before


def test_half_and_bfloat16_tensors_become_float32(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    small = {str(dtype): torch.tensor([0.5, -2]).to(dtype) for dtype in (torch.bfloat16, torch.half)}
    want = {name: np.array([0.5, -2], np.float32) for name in small}
    same(read_state(saved(small, tmp_path / "a.pt")), want)


def test_views_of_one_storage(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    whole = torch.arange(6.0).reshape(2, 3)
    views = {"whole": whole, "transposed": whole.T, "row": whole[1], "expanded": whole[:1, :1].expand(2, 2)}
    same(read_state(saved(views, tmp_path / "a.pt")), {name: view.numpy() for name, view in views.items()})


def test_tensors_that_are_no_arrays(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd = {"sparse": torch.eye(2).to_sparse(), "meta": torch.empty(2, device="meta")}
    odd["vast"] = torch.zeros(1).expand(2**40)
    for name, value in odd.items():
        path = saved({"fine": torch.ones(1), name: value}, tmp_path / "a.pt")
        assert repr(name) in refusal(path)
        assert read_state(path).scale("fine") == (1.0,)


@pytest.mark.parametrize("data", [None, 3, [], {}, {"epoch": 3}, {"model": {"epoch": 3}}, {3: "x"}], ids=str)
def test_no_tensors_at_all(data: object, tmp_path: Path) -> None:
    message = refusal(saved(data, tmp_path / "a.pt"), CheckpointError)
    assert "'model', 'state_dict'" in message


def test_a_dictionary_inside_itself(tmp_path: Path) -> None:
    data: dict[str, Any] = {}
    data["model"] = data
    refusal(saved(data, tmp_path / "a.pt"))


# --- Pickles


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_in_a_checkpoint_is_not_run(new: bool, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path, evil = tmp_path / "a.pth", {"x": torch.ones(1), "evil": Evil(tmp_path / "made")}
    torch.save(evil, path, _use_new_zipfile_serialization=new)
    message = refusal(path)
    assert message.endswith(f"but found '{os.mkdir.__module__}.mkdir'")
    assert "torch.save(model.state_dict(), path)" in message
    assert not (tmp_path / "made").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("found", [Path("x"), argparse.ArgumentParser], ids=["a path", "a class beside Namespace"])
def test_other_classes_are_named(found: object, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = saved({"x": torch.ones(1), "args": argparse.Namespace(found=found)}, tmp_path / "a.pth")
    name = (found if isinstance(found, type) else type(found)).__qualname__
    assert refusal(path).endswith(f".{name}'")


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("name", ["a.pth", "params.npy", "a.npz", "a"])
def test_a_bare_pickle(protocol: int, name: str, tmp_path: Path) -> None:
    path = written(pickle.dumps({"x": Evil(tmp_path / "made")}, protocol), tmp_path / name)
    assert refusal(path).endswith("but found a bare pickle")
    assert not (tmp_path / "made").exists()


def test_the_converted_parameters_of_the_release(tmp_path: Path) -> None:
    params = np.array({"block_0_attn_qkv_weight": np.zeros(2, np.int8), "evil": Evil(tmp_path / "made")}, object)
    np.save(tmp_path / "params.npy", params, allow_pickle=True)
    message = refusal(tmp_path / "params.npy")
    assert "checkpoint.pth.tar" in message
    assert "allow_pickle=True" in message
    assert message.endswith("but found an .npy file")
    assert not (tmp_path / "made").exists()


# --- Damage


@kinds
def test_truncated_files(name: str, save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / name, SOME)
    data = (tmp_path / name).read_bytes()
    for end in range(0, len(data), 1 + len(data) // 100):
        refusal(written(data[:end], tmp_path / name))
    refusal(written(data[:-1], tmp_path / name))


@kinds
def test_damaged_files(name: str, save: Callable[..., None], tmp_path: Path) -> None:
    """A changed byte is refused in one line, or gives other arrays; there is no third way."""
    save(tmp_path / name, SOME)
    data = (tmp_path / name).read_bytes()
    refused = 0
    for place in range(0, len(data), 1 + len(data) // 300):
        damaged = data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :]
        refused += is_refused(written(damaged, tmp_path / name))
    assert refused > 20


@pytest.mark.parametrize("data", [b"", b"state", bytes(100), b"\x1f\x8b\x08", b"\n\x1b[2J"])
def test_files_of_another_kind(data: bytes, tmp_path: Path) -> None:
    message = refusal(written(data, tmp_path / "a.pth"))
    assert ".safetensors" in message
    assert message.endswith(f"begins with {data[:8]!r}")


def test_archives_of_another_kind(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("README.md", b"# Read me")
    assert refusal(tmp_path / "a.pth").endswith("but found 'README.md'")


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors", "a.pth", "a"])
def test_no_file(name: str, tmp_path: Path) -> None:
    assert refusal(tmp_path / name).endswith("must be a file, but there is none")
    (tmp_path / name).mkdir()
    assert refusal(tmp_path / name).endswith("must be a file, but there is a folder")
