"""``golden make``: the same command gives the same bytes, digests are true, and what is written is whole, or is not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import ivit_ref
from ivit_ref.errors import FileError
from ivit_ref.golden import second, write
from ivit_ref.golden.read import read_case
from ivit_ref.ir import Array
from tests.golden.building import (
    DIGITS,
    DIGITS_IMAGES,
    SWIN,
    SWIN_IMAGES,
    TINY,
    TINY_BIAS,
    TINY_WEIGHT,
    TINY_X,
    command,
    contents,
    digests_tree,
    full_tree,
    small_tree,
    tiny_files,
    tiny_graph,
    tiny_tree,
    told,
)

Capture = pytest.CaptureFixture[str]
ACCUMULATED = TINY_X.astype(object) @ TINY_WEIGHT.T.astype(object) + TINY_BIAS.astype(object)
"""In Python's integers; a step is worth 0.125, and one of the result 0.5."""


def arrays(case: Path) -> dict[str, Array]:
    with np.load(case / "tensors.npz") as archive:
        return dict(archive)


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


# --- What is written


def test_the_integers_are_those_of_the_definition() -> None:
    found = arrays(tiny_tree() / TINY)
    assert found["x"].tolist() == TINY_X.tolist()
    assert found["fc"].tolist() == ACCUMULATED.tolist()
    rounded = [[min(max(round(int(a) / 4), -128), 127) for a in row] for row in ACCUMULATED]
    assert found["fc.out"].tolist() == rounded
    assert found["fc.out"].dtype == np.int8


def test_every_tensor_has_a_record_that_says_what_it_is() -> None:
    facts = read(tiny_tree() / TINY / "case.json")
    kept = ("name", "role", "node", "op", "dtype", "shape", "where")
    assert [[record[key] for key in kept] for record in facts["tensors"]] == [
        ["x", "input", "", "", "int8", [2, 3], "tensors.npz"],
        ["weight", "constant", "", "", "int8", [2, 3], "model.onnx"],
        ["bias", "constant", "", "", "int32", [2], "model.onnx"],
        ["fc", "inner", "fc", "Linear", "int32", [2, 2], "tensors.npz"],
        ["fc.out", "output", "fc.out", "Requantize", "int8", [2, 2], "tensors.npz"],
    ]
    assert (facts["inputs"], facts["outputs"], facts["profile"]) == (["x"], ["fc.out"], "qat")
    assert (facts["verdict"], facts["flags"], facts["confirmed_by"]) == ("valid", ["saturation"], "twin")


def test_the_events_are_those_of_the_run() -> None:
    """The second sum of the first row is the first beyond int8: -1757 quarters."""
    [event] = read(tiny_tree() / TINY / "case.json")["events"]
    beyond = [[not -128 <= round(int(a) / 4) <= 127 for a in row] for row in ACCUMULATED]
    first = next([i, k] for i, row in enumerate(beyond) for k, out in enumerate(row) if out)
    assert (event["kind"], event["node"], event["count"]) == ("saturated", "fc.out", sum(map(sum, beyond)))
    assert (event["index"], event["value"]) == (first, round(int(ACCUMULATED[tuple(first)]) / 4))


def test_digests_are_those_of_hashlib_over_the_elements() -> None:
    checked = 0
    for case in sorted(p.parent for p in full_tree().glob("*/*/case.json")):
        stored, facts = arrays(case), read(case / "case.json")
        model = (case / "model.onnx").read_bytes()
        assert facts["model"] == {"sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model)}
        initializers = onnx.load(case / "model.onnx").graph.initializer
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in initializers}
        for record in facts["tensors"]:
            array = (stored if record["where"] == "tensors.npz" else constants)[record["name"]]
            assert (str(array.dtype), list(array.shape)) == (record["dtype"], record["shape"])
            little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
            assert hashlib.sha256(little).hexdigest() == record["sha256"], (case, record["name"])
            checked += 1
    assert checked > 500


def test_the_manifest_has_every_file_and_its_digest() -> None:
    files = {name: data for name, data in contents(full_tree()).items() if name != "manifest.json"}
    facts = {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()}
    assert read(full_tree() / "manifest.json")["files"] == facts


def test_data_json_has_no_tolerance() -> None:
    for path in full_tree().rglob("data.json"):
        assert read(path) == {"atol": 0, "rtol": 0}


# --- The same command, the same bytes


def run(out: Path, seed: int, *arguments: object) -> None:
    line = [sys.executable, "-m", "ivit_ref", "golden", "make", out, *arguments]
    done = subprocess.run(
        [str(x) for x in line], env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_same_command_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    both = ("--suite", "IntDiv", "ReduceMean", "--random", 3, "--digests")
    run(tmp_path / "hash", 4242, *both)
    assert contents(tmp_path / "hash") == contents(digests_tree())
    part = ("--graph", DIGITS, "--images", DIGITS_IMAGES, "--nodes", "blocks.2.*", "--count", 2)
    run(tmp_path / "one", 1, *part)
    run(tmp_path / "two", 2, *part)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") != {}


def test_another_seed_gives_other_random_vectors_and_the_same_directed_ones(tmp_path: Path) -> None:
    assert command("golden", "make", tmp_path, "--suite", "ReduceSum", "--random", 3, "--seed", 1) == 0
    ours, before = contents(tmp_path / "ReduceSum"), contents(small_tree() / "ReduceSum")
    assert ours.keys() == before.keys()
    changed = {name.partition("/")[0] for name in ours if ours[name] != before[name]}
    assert changed == {"test_random_int32", "suite.json"}


# --- Goldens are frozen


def test_the_same_case_again_is_not_touched(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(tiny_tree(), tree)
    files = [p for p in (tree / TINY).rglob("*") if p.is_file()]
    for path in files:
        os.utime(path, ns=(10**18, 10**18))
    assert command("golden", "make", tree, *tiny_files(tmp_path)) == 0
    assert {p.stat().st_mtime_ns for p in files} == {10**18}
    assert contents(tree) == contents(tiny_tree())


def test_another_case_of_that_name_is_refused_and_nothing_changes(tmp_path: Path, capsys: Capture) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(tiny_tree(), tree)
    capsys.readouterr()
    assert command("golden", "make", tree, *tiny_files(tmp_path, TINY_X[::-1])) == 2
    told(capsys, str(TINY), "frozen")
    assert contents(tree) == contents(tiny_tree())


# --- Whole, or not there


def failing(error: BaseException) -> Any:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), FileError("no"), MemoryError()])
@pytest.mark.parametrize("step", ["write_npz", "Path.write_bytes", "Path.rename", "_write_files"])
def test_what_is_interrupted_leaves_nothing(step: str, error: BaseException, tmp_path: Path, capsys: Capture) -> None:
    case = read_case(tiny_tree() / TINY)
    options = tiny_files(tmp_path / "files")
    with pytest.MonkeyPatch.context() as patch:
        place: Any = Path if step.startswith("Path.") else write
        patch.setattr(place, step.removeprefix("Path."), failing(error))
        with pytest.raises((type(error), FileError)):
            write.write_case(case, tmp_path / "models")
        capsys.readouterr()
        assert command("golden", "make", tmp_path / "tree", *options) == (130 if isinstance(error, KeyboardInterrupt) else 2)
    told(capsys)
    for place in (tmp_path / "models", tmp_path / "tree" / "models"):
        assert list(place.iterdir()) == []
    assert command("golden", "make", tmp_path / "tree", *options) == 0
    assert contents(tmp_path / "tree") == contents(tiny_tree())


@pytest.mark.parametrize(("node", "index"), [("fc", (1, 0)), ("fc.out", (0, 1))])
def test_a_vector_that_both_computations_do_not_agree_on_is_not_written(
    node: str, index: tuple[int, int], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = second.twin

    def wrong(op: str, *arguments: Any) -> Array:
        answer = right(op, *arguments).copy()
        answer[index] ^= op == {"fc": "Linear", "fc.out": "Requantize"}[node]
        return answer

    monkeypatch.setattr(second, "twin", wrong)
    options = tiny_files(tmp_path / "files")
    assert command("golden", "make", tmp_path / "tree", *options) == 2
    told(capsys, repr(node), str(list(index)))
    assert not (tmp_path / "tree").exists()


# --- What is kept


def kept(case: Path) -> set[str]:
    return set(arrays(case))


@pytest.mark.parametrize(
    ("tensors", "names"),
    [("outputs", {"x", "fc.out"}), ("all", {"x", "fc", "fc.out"}), ("f?", {"x", "fc", "fc.out"}), ("*.out", {"x", "fc.out"})],
)
def test_tensors_choose_whose_bytes_are_kept_and_the_others_are_computed_again(
    tensors: str, names: set[str], tmp_path: Path
) -> None:
    assert command("golden", "make", tmp_path / "tree", *tiny_files(tmp_path), "--tensors", tensors) == 0
    case = tmp_path / "tree" / TINY
    assert kept(case) == names
    assert read_case(case).tensors["fc"].tolist() == ACCUMULATED.tolist()
    digests = [[record["sha256"] for record in read(p / "case.json")["tensors"]] for p in (case, tiny_tree() / TINY)]
    assert digests[0] == digests[1]
    assert command("golden", "verify", tmp_path / "tree") == 0


def test_a_wrong_digest_of_a_tensor_that_is_not_kept_is_told(tmp_path: Path, capsys: Capture) -> None:
    assert command("golden", "make", tmp_path / "tree", *tiny_files(tmp_path), "--tensors", "outputs") == 0
    path = tmp_path / "tree" / TINY / "case.json"
    facts = read(path)
    true = facts["tensors"][3]["sha256"]
    path.write_text(path.read_text().replace(true, "0" * 64))
    with pytest.raises(FileError, match="'fc' must have the SHA-256 0000"):
        read_case(path.parent).tensors["fc"]
    capsys.readouterr()
    assert command("golden", "verify", path.parent) == 2
    told(capsys, "'fc'", true)


def test_random_vectors_that_are_kept_as_digests_are_the_same_arrays(tmp_path: Path) -> None:
    assert command("golden", "make", tmp_path, "--suite", "IntDiv", "ReduceMean", "--random", 3) == 0
    on_demand = sorted(digests_tree().glob("*/*random*.case.json"))
    assert len(on_demand) >= 8
    for path in on_demand:
        plain = arrays(tmp_path / path.parent.name / path.name.removesuffix(".case.json"))
        found = read_case(path).tensors
        assert {n: a.tolist() for n, a in found.items()} == {n: a.tolist() for n, a in plain.items()}
    assert command("golden", "verify", digests_tree()) == 0


# --- Models


def test_a_case_of_a_profile_is_of_the_rewritten_graph(tmp_path: Path) -> None:
    options = ("--graph", DIGITS, "--images", DIGITS_IMAGES, "--profile", "paper", "tvm")
    assert command("golden", "make", tmp_path, *options) == 0
    assert sorted(p.parent.name for p in tmp_path.rglob("case.json")) == ["test_digits_vit_paper", "test_digits_vit_tvm"]
    assert read(tmp_path / "models" / "test_digits_vit_paper" / "case.json")["verdict"] == "valid"
    tvm = read(tmp_path / "models" / "test_digits_vit_tvm" / "case.json")
    assert (tvm["verdict"], "overflow" in tvm["flags"]) == ("overflow", True)


def test_the_swin_has_its_images_and_logits(tmp_path: Path) -> None:
    assert (
        command("golden", "make", tmp_path, "--graph", SWIN, "--images", SWIN_IMAGES, "--count", 2, "--tensors", "outputs") == 0
    )
    stored = arrays(tmp_path / "models" / "test_digits_swin_qat")
    with np.load(SWIN_IMAGES) as given:
        np.testing.assert_array_equal(stored["image"], given["images"][:2], strict=True)
        assert stored["logits"].argmax(axis=1).tolist() == given["labels"][:2].tolist()


@pytest.mark.parametrize("stem", ["modèle", "1", "a b.c", "_", "x" * 100])
def test_a_case_is_called_after_its_graph_whatever_the_file_is_called(stem: str, tmp_path: Path) -> None:
    ivit_ref.save(tiny_graph(), tmp_path / f"{stem}.onnx")
    np.save(tmp_path / "x.npy", TINY_X)
    options = ("--graph", tmp_path / f"{stem}.onnx", "--input", f"x={tmp_path / 'x.npy'}")
    assert command("golden", "make", tmp_path / "tree", *options) == 0
    assert command("golden", "verify", tmp_path / "tree") == 0
