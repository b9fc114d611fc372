"""Five formats, the same bits: each export is read back by something that knows nothing of how it was written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import onnx
import pytest
from hypothesis import given
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.reference import ReferenceEvaluator

from ivit_ref import Quant
from ivit_ref.errors import FileError, InputError
from ivit_ref.golden.case import Case
from ivit_ref.golden.export import FORMATS, export
from ivit_ref.golden.names import file_name, file_names
from ivit_ref.ir import Array
from tests.golden.readers import needs_iverilog, read_bin, read_memh, read_verilog
from tests.golden.samples import any_arrays, case_of_arrays, check_all, digits, edges, everything, same

cases = pytest.mark.parametrize("case", ["everything", "edges", "digits"], indirect=True)
graphs = pytest.mark.parametrize("case", ["everything", "digits"], indirect=True)


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    return {"everything": everything, "edges": edges, "digits": digits}[request.param]()


# --- The bits


@cases
def test_npz_has_the_same_bits(case: Case, tmp_path: Path) -> None:
    with np.load(export(case, "npz", tmp_path / "out") / "tensors.npz") as archive:
        check_all(case, {record.name: archive[record.name] for record in case.records})
        assert len(archive.files) == len(case.records)


@cases
def test_bin_has_the_same_bits(case: Case, tmp_path: Path) -> None:
    check_all(case, read_bin(export(case, "bin", tmp_path / "out")))


@cases
def test_memh_has_the_same_bits(case: Case, tmp_path: Path) -> None:
    check_all(case, read_memh(export(case, "memh", tmp_path / "out")))


@needs_iverilog
@cases
def test_a_verilog_simulator_reads_the_same_bits(case: Case, tmp_path: Path) -> None:
    check_all(case, read_verilog(export(case, "memh", tmp_path / "out"), tmp_path))


@graphs
def test_onnx_has_every_tensor_that_a_node_makes_as_an_output(case: Case, tmp_path: Path) -> None:
    """Read as onnx's own runner does, and run by its evaluator, without a tolerance."""
    folder = export(case, "onnx", tmp_path / "kind" / "test_it")
    (test,) = load_model_tests(str(tmp_path), "kind")
    assert (test.name, test.rtol, test.atol) == ("test_it", 0, 0)
    model = onnx.load(str(folder / "model.onnx"))
    onnx.checker.check_model(model)
    outputs = [o.name for o in model.graph.output]
    assert outputs[: len(case.graph.outputs)] == list(case.graph.outputs)
    assert sorted(outputs) == sorted(record.name for record in case.made)
    inputs = {v.name: stored(folder, "input", k) for k, v in enumerate(model.graph.input)}
    for k, answer in enumerate(ReferenceEvaluator(model).run(None, inputs)):
        assert same(answer, case.tensors[outputs[k]])
        assert same(stored(folder, "output", k), case.tensors[outputs[k]])
    assert len(list((folder / "test_data_set_0").iterdir())) == len(inputs) + len(outputs)
    check_weights(case, model)


def stored(folder: Path, kind: str, k: int) -> Array:
    tensor = onnx.TensorProto()
    tensor.ParseFromString((folder / "test_data_set_0" / f"{kind}_{k}.pb").read_bytes())
    return numpy_helper.to_array(tensor)


def check_weights(case: Case, model: onnx.ModelProto) -> None:
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert list(weights) == [c.value.name for c in case.graph.constants]
    assert all(same(array, case.tensors[name]) for name, array in weights.items())


@given(any_arrays())
def test_any_arrays_have_the_same_bits(tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, Array]) -> None:
    case, folder = case_of_arrays(arrays), tmp_path_factory.mktemp("any")
    check_all(case, read_bin(export(case, "bin", folder / "bin")))
    check_all(case, read_memh(export(case, "memh", folder / "memh")))


# --- Layout and names


@pytest.mark.parametrize("to", ["memh", "bin"])
def test_the_layout_describes_each_tensor(to: str, tmp_path: Path) -> None:
    case = everything()
    folder = export(case, to, tmp_path / "out")
    layout = json.loads((folder / "layout.json").read_text(encoding="utf-8"))
    assert (layout["format"], layout["version"], layout["case"]) == ("ivit_ref.layout", 1, "models/test_made")
    assert (layout["profile"], layout["flags"], layout["overflow"]) == ("qat", ["extremes", "names"], "wrap")
    assert (layout["inputs"], layout["outputs"]) == ([v.name for v in case.graph.inputs], list(case.graph.outputs))
    by_name = {t["name"]: t for t in layout["tensors"]}
    assert by_name["constant.int8"] == {
        "name": "constant.int8",
        "file": f"constant.int8.{to}",
        "role": "constant",
        "node": "",
        "op": "",
        "dtype": "int8",
        "bits": 8,
        "representation": "two's complement",
        "shape": [2, 3],
        "order": "row-major, last axis fastest",
        "count": 6,
        "scale": [0.5, -0.25],
        "scale_axis": 0,
        "zero_point": -128,
    }
    assert by_name["constant.bool"]["bits"] == (1 if to == "memh" else 8)
    assert (by_name["constant.bool"]["representation"], by_name["constant.bool"]["scale"]) == ("unsigned", None)
    assert (by_name["reals"]["node"], by_name["reals"]["op"], by_name["reals"]["role"]) == ("r", "Dequantize", "output")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("blocks.0.attn-q_1", "blocks.0.attn-q_1"),
        ("a/b", "a%2Fb"),
        ("a\\b", "a%5Cb"),
        ("per%cent", "per%25cent"),
        (".hidden", "%2Ehidden"),
        ("..", "%2E."),
        ("~", "%7E"),
        ("é☃", "%C3%A9%E2%98%83"),
        ("a:b*c?", "a%3Ab%2Ac%3F"),
    ],
)
def test_a_file_is_named_after_its_tensor(name: str, file: str) -> None:
    assert file_name(name) == file


def test_files_that_differ_in_case_only_are_kept_apart() -> None:
    files = file_names(["x", "X", "y", "X~2", "a/b", "A/B", "A%2FB"])
    assert list(files.values()) == ["x", "X~2", "y", "X%7E2", "a%2Fb", "A%2FB~2", "A%252FB"]


@given(st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)))
def test_files_of_different_names_are_different(names: set[str]) -> None:
    files = file_names(sorted(names))
    assert len({file.lower() for file in files.values()}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_%-][A-Za-z0-9._%-]*(~\d+)?", file) for file in files.values())
    assert len({file_name(name) for name in names}) == len(names)


# --- The folder


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_is_whole_deterministic_and_never_overwritten(to: str, tmp_path: Path) -> None:
    case = case_of_arrays({"x": np.array([1, -2], np.int8), "w": np.array([3], np.int32)}, {"x": Quant((0.5,))})
    folder = export(case, to, tmp_path / "out")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert export(case, to, tmp_path / "out") == folder
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    next(iter(before)).write_bytes(b"another")
    with pytest.raises(FileError, match="goldens are frozen"):
        export(case, to, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [folder]


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    assert FORMATS == ("npz", "onnx", "c", "memh", "bin")
    with pytest.raises(InputError, match=r"^export: the format must be one of npz, onnx, c, memh, bin, but found 'json'$"):
        export(digits(), "json", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
