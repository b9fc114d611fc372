"""The integer graph beside the released simulation.

``data/*_simulation.npz`` hold every tensor that a module of the released PyTorch code (zkkli/I-ViT, run on a CPU) gave for the
first image of ``graphs/digits_test.npz`` and ``graphs/digits_swin_test.npz``, with the checkpoints ``graphs/digits_*.npz``, as
``docs/dump_simulation.py`` dumps them. They are the release's own numbers; nothing of this project is in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivit_ref.arrays import NpzArrays, read_npz
from ivit_ref.checkpoints import read_state
from ivit_ref.doctor.against import Comparison, compare
from ivit_ref.errors import FileError, InputError
from ivit_ref.interpreter import Interpreter
from ivit_ref.ir import Graph
from ivit_ref.models import model_graph, recognise

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
KINDS = ("vit", "swin")
EXACT = ("Quantize", "Requantize", "RequantizeAdd", "Shiftmax", "ShiftGELU")
"""What float32 computes in an order that is the same everywhere, or in integers that it holds exactly."""


class Case:
    """A checkpoint, its graph, the first image and the release's tensors for it."""

    def __init__(self, kind: str) -> None:
        path = ROOT / "graphs" / f"digits_{kind}.npz"
        state = read_state(path)
        self.keys = list(state.arrays)
        self.graph = model_graph(state, recognise(state, heads=4 if kind == "vit" else None))
        self.images = read_npz(ROOT / "graphs" / ("digits_test.npz" if kind == "vit" else "digits_swin_test.npz"))["images"]
        self.dump = read_npz(DATA / f"{kind}_simulation.npz")

    def rows(self, dump: Mapping[str, Array], image: int = 0) -> dict[str, Comparison]:
        compared = compare(self.graph, dump, self.images[image : image + 1], "simulation.npz")
        return {row.name: row for row in compared}


CASES = {kind: Case(kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def vit() -> Case:
    return CASES["vit"]


def refusal(case: Case, dump: Mapping[str, Array]) -> str:
    """The one line in which a dump is refused."""
    with pytest.raises(InputError) as caught:
        case.rows(dump)
    message = str(caught.value)
    assert message.startswith("simulation.npz: ")
    assert "\n" not in message
    return message


# --- The release's own numbers


def test_every_module_of_the_release_is_compared(case: Case) -> None:
    """Modules that quantize have a scale among the keys. Tables of positions are constants of the graph, and the release never
    calls ``act_out`` and ``qact_softmax``.
    """
    scales = r"(.*)\.(act|fc|conv|norm)_scaling_factor"
    modules = {match[1] for key in case.keys if (match := re.fullmatch(scales, key))}
    other = {name for name in modules if name.rpartition(".")[2] in ("qact_pos", "qact_table", "act_out", "qact_softmax")}
    rows = case.rows(case.dump)
    assert set(rows) == modules - other
    assert list(rows) == [n.name for n in case.graph.nodes if n.name in rows]


def test_every_difference_is_explained(case: Case) -> None:
    rows = case.rows(case.dump)
    assert {row.verdict for row in rows.values()} <= {"equal", "carried", "float32", "partly"}
    assert {row.verdict for row in rows.values()} >= {"equal", "carried", "float32"}


@pytest.mark.parametrize(("kind", "name"), [("vit", "blocks.0.norm1"), ("swin", "patch_embed.norm")])
def test_the_first_that_differs_is_a_norm(kind: str, name: str) -> None:
    """Its sums are beyond float32's 24 bits, and its quotients are never rounded."""
    rows = list(CASES[kind].rows(CASES[kind].dump).values())
    first = next(row for row in rows if row.differing)
    assert (first.name, first.op) == (name, "ILayerNorm")
    assert first.verdict in ("float32", "partly")
    assert first.alone == first.differing
    assert [row.name for row in rows[:2]] == ["qact_input", "patch_embed.proj"]
    assert {row.verdict for row in rows[:2]} == {"equal"}


def test_counts_are_those_of_the_arrays(case: Case) -> None:
    """By hand, from the graph's integers and the release's quotients."""
    image = {"image": case.images[:1]}
    values = Interpreter(case.graph, overflow="wrap").run(image, intermediates=True)
    outputs = {node.name: node.output.name for node in case.graph.nodes}
    for row in case.rows(case.dump).values():
        x, scale = (case.dump[row.name + end].astype(np.float64) for end in ("", ".scale"))
        theirs = np.rint(x / scale).reshape(values[outputs[row.name]].shape)
        far = np.abs(values[outputs[row.name]] - theirs)
        assert (row.total, row.differing, row.largest) == (far.size, np.count_nonzero(far), far.max())
        assert 0 <= row.left <= row.alone <= row.total
        assert (row.verdict == "equal") == (not row.differing)


def test_the_emulation_gives_the_release_s_integers(case: Case) -> None:
    rows = [row for row in case.rows(case.dump).values() if row.op in EXACT]
    assert len(rows) > 50
    assert {row.op for row in rows} == set(EXACT)
    assert [row.name for row in rows if row.left] == []
    assert sum(row.alone for row in rows) > 10


def test_the_emulation_of_products_and_norms(case: Case) -> None:
    """Sums of float32 may be taken in another order elsewhere: nearly all integers are the release's."""
    for row in case.rows(case.dump).values():
        if row.op not in EXACT:
            assert row.left <= row.total / 100


def test_a_partial_dump(case: Case) -> None:
    """Each tensor's own count does not depend on which others there are."""
    rows = case.rows(case.dump)
    some = list(rows)[::5]
    part = case.rows({name + end: case.dump[name + end] for name in some for end in ("", ".scale")})
    assert list(part) == some
    assert [part[name].differing for name in some] == [rows[name].differing for name in some]
    one = case.rows({some[-1]: case.dump[some[-1]]})
    assert [row.name for row in one.values()] == [some[-1]]


def test_a_dump_without_scales(case: Case) -> None:
    """The scales are those of the checkpoint: the graph has them."""
    bare = {name: array for name, array in case.dump.items() if not name.endswith(".scale")}
    assert case.rows(bare) == case.rows(case.dump)


def integers(case: Case) -> Arrays:
    """The release's tensors as integers, without scales."""
    names = [name for name in case.dump if name + ".scale" in case.dump]
    return {n: np.rint(case.dump[n].astype(np.float64) / case.dump[n + ".scale"]).astype(np.int64) for n in names}


def test_a_dump_of_integers(case: Case) -> None:
    rows, floats = case.rows(integers(case)), case.rows(case.dump)
    for name, row in rows.items():
        other = floats[name]
        assert (row.differing, row.largest, row.alone) == (other.differing, other.largest, other.alone)
        assert row.op not in EXACT or row.left == 0
    assert not any(row.verdict == "unexplained" for row in rows.values())


def test_the_graph_beside_itself(case: Case) -> None:
    image = {"image": case.images[:1]}
    values = Interpreter(case.graph, overflow="wrap").run(image, intermediates=True)
    dump = {n.name: values[n.output.name] for n in case.graph.nodes if n.name in case.dump}
    assert {row.verdict for row in case.rows(dump).values()} == {"equal"}


# --- Faults

VIT_ROWS = CASES["vit"].rows(CASES["vit"].dump)
NAMES = [row.name for row in VIT_ROWS.values() if row.op in EXACT]


@settings(max_examples=25)
@given(st.sampled_from(NAMES), st.data())
def test_one_wrong_integer_is_told_where_it_is(name: str, data: st.DataObject) -> None:
    """Nothing explains it, and nothing before it is blamed for it; what is made of it may not follow from it."""
    case = CASES["vit"]
    before = VIT_ROWS
    x, scale = case.dump[name].copy(), case.dump[name + ".scale"]
    place = data.draw(st.integers(0, x.size - 1))
    x.flat[place] += np.float32(-3 if x.flat[place] > 0 else 3) * np.broadcast_to(scale, x.shape).flat[place]
    rows = case.rows({**case.dump, name: x})
    left = rows[name].left - before[name].left
    assert left == 1
    assert rows[name].verdict in ("unexplained", "partly")
    assert before[name].alone or rows[name].verdict == "unexplained"
    assert {row.verdict for row in list(rows.values())[: list(rows).index(name)]} <= {"equal", "carried", "float32", "partly"}


def test_images_that_are_others(case: Case) -> None:
    """The first tensor, the quantized image, says so."""
    rows = list(case.rows(case.dump, image=1).values())
    assert (rows[0].name, rows[0].verdict) == ("qact_input", "unexplained")


CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "Shiftmax drops the half": ("Shiftmax", {"half": "drop"}),
    "ShiftGELU drops the half": ("ShiftGELU", {"half": "drop"}),
    "another n": ("Shiftmax", {"n": 16}),
    "the mean is cut off": ("ILayerNorm", {"mean_rounding": "truncate"}),
}


def changed_dump(case: Case, graph: Graph) -> Arrays:
    values = Interpreter(graph, overflow="wrap").run({"image": case.images[:1]}, intermediates=True)
    return {node.name: values[node.output.name] for node in graph.nodes if node.name in case.dump}


@pytest.mark.parametrize("change", CHANGES)
def test_other_semantics_are_not_taken_for_float32(change: str, case: Case) -> None:
    """Nodes of that operator are to blame, and no others; at least one of them is unexplained."""
    op, attributes = CHANGES[change]
    rows = case.rows(changed_dump(case, case.graph.with_attributes(op, **attributes)))
    differing = [row for row in rows.values() if row.alone]
    assert {row.op for row in differing} == {op}
    assert {row.verdict for row in differing} <= {"unexplained", "partly"}
    assert "unexplained" in {row.verdict for row in differing}
    assert next(row for row in rows.values() if row.differing).op == op


@pytest.mark.parametrize("profile", ["tvm", "paper"])
def test_other_profiles_are_not_taken_for_float32(profile: str, vit: Case) -> None:
    rows = vit.rows(changed_dump(vit, vit.graph.with_profile(profile)))
    assert not any(row.verdict == "float32" for row in rows.values())
    assert all(row.verdict == "unexplained" for row in rows.values() if row.op == "Shiftmax")


# --- Dumps that are none


@pytest.mark.parametrize("array", [np.zeros((1, 1, 8, 7)), np.zeros(()), np.zeros((0,)), np.full((1, 1, 8, 8), "x")])
def test_wrong_shapes(array: Array, vit: Case) -> None:
    message = refusal(vit, {**vit.dump, "qact_input": array})
    assert "'qact_input'" in message
    assert message.endswith(f"{array.dtype}{list(array.shape)}")


@pytest.mark.parametrize("dtype", ["bool", "complex64", "object", "datetime64[s]"])
def test_wrong_dtypes(dtype: str, vit: Case) -> None:
    assert "'qact1' must have the elements of int16" in refusal(vit, {"qact1": np.zeros((1, 17, 64), dtype)})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 2.0])
def test_values_that_are_no_integers_of_the_tensor(value: float, vit: Case) -> None:
    """qact_input is int8 in steps of 1/127: 2.0 is 254 of them."""
    x = vit.dump["qact_input"].copy()
    x[0, 0, 3, 3] = value
    message = refusal(vit, {**vit.dump, "qact_input": x})
    assert "'qact_input' must be int8 in steps of its scale" in message


@pytest.mark.parametrize("scale", [np.array(0.0), np.array(np.nan), np.array(np.inf), np.ones(2), np.ones(0), np.array(1)])
def test_scales_that_are_none(scale: Array, vit: Case) -> None:
    message = refusal(vit, {**vit.dump, "qact1.scale": scale})
    assert message.endswith(f"'qact1.scale' must be 1 finite scales other than 0, but found {scale.dtype}{list(scale.shape)}")


def test_scales_of_channels_that_are_too_few(vit: Case) -> None:
    message = refusal(vit, {**vit.dump, "blocks.0.norm1.scale": np.ones(63, np.float32)})
    assert "'blocks.0.norm1.scale' must be 64 finite scales" in message


@pytest.mark.parametrize("dump", [{}, {"logits": np.zeros((1, 10))}, {"qact1.scale": np.ones(())}, {"a": np.ones(1)}])
def test_no_names_that_match(dump: Arrays, vit: Case) -> None:
    message = refusal(vit, dump)
    assert message.endswith(f"such as 'qact_input', but found {', '.join(dump) or 'none'}")


@pytest.mark.parametrize("images", [np.zeros((2, 1, 8, 8), np.float32), np.zeros((1, 1, 8, 8)), np.zeros((1, 64), np.float32)])
def test_images_of_another_shape(images: Array, vit: Case) -> None:
    with pytest.raises(InputError):
        compare(vit.graph, vit.dump, images, "simulation.npz")


@pytest.mark.parametrize("keep", [0, 10, 5000, -30])
def test_damaged_files(keep: int, tmp_path: Path, vit: Case) -> None:
    path = tmp_path / "cut.npz"
    path.write_bytes((DATA / "vit_simulation.npz").read_bytes()[:keep])
    with pytest.raises(FileError) as caught:
        vit.rows(NpzArrays(path))
    assert "\n" not in str(caught.value)


def test_pickles_are_never_read(tmp_path: Path, vit: Case) -> None:
    np.savez(tmp_path / "pickled.npz", qact_input=np.array([{}], object))
    with pytest.raises(FileError, match="only a pickle"):
        vit.rows(NpzArrays(tmp_path / "pickled.npz"))
