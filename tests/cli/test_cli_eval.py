"""``ivit-ref eval`` and the options that exchange methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivit_ref import load, run
from ivit_ref.cli import main
from ivit_ref.methods import methods
from ivit_ref.study.ablation import present
from tests.cli.test_cli import GRAPH, QUANTIZED, ROOT, Capture

SWIN = ROOT / "graphs" / "digits_swin.onnx"
COUNT = 4


@pytest.fixture
def images(tmp_path: Path) -> Path:
    with np.load(ROOT / "graphs" / "digits_test.npz") as archive:
        np.savez(tmp_path / "images.npz", **{name: archive[name][:COUNT] for name in ("images", "labels", "logits")})
    return tmp_path / "images.npz"


def evaluated(capsys: Capture, *options: object) -> dict[str, Any]:
    assert main(["eval", *map(str, options), "--json"]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts


def test_without_vary_it_is_the_graph_as_it_is(capsys: Capture, images: Path) -> None:
    facts = evaluated(capsys, GRAPH, "--images", images)
    [outcome] = facts["combinations"]
    assert outcome["methods"] == {"softmax": "shiftmax", "gelu": "shiftgelu", "layernorm": "ilayernorm"}
    assert main(["run", str(GRAPH), "--images", str(images), "--json"]) == 0
    same = json.loads(capsys.readouterr().out)
    assert (outcome["correct"], outcome["agreeing"], facts["count"]) == (same["correct"], same["agreeing"], COUNT)
    assert outcome["events"] == same["events"]


def test_vary_is_every_combination(capsys: Capture, images: Path) -> None:
    facts = evaluated(capsys, GRAPH, "--images", images, "--vary", "gelu,layernorm")
    found = [(o["methods"]["softmax"], o["methods"]["gelu"], o["methods"]["layernorm"]) for o in facts["combinations"]]
    assert found == [("shiftmax", g, n) for g in methods("gelu") for n in methods("layernorm")]


def test_the_error_is_against_the_float_baseline(capsys: Capture, images: Path) -> None:
    """Computed here from two runs; and the baseline itself has none."""
    options = (GRAPH, "--images", images, "--gelu", "float", "--layernorm", "float", "--vary", "softmax")
    outcomes = {o["methods"]["softmax"]: o for o in evaluated(capsys, *options)["combinations"]}
    assert (outcomes["float"]["error"], outcomes["float"]["as_float"]) == (0.0, COUNT)
    with np.load(images) as archive:
        pixels = archive["images"]
    rest = load(GRAPH).with_methods(gelu="float", layernorm="float")
    ibert, real = (run(rest.with_methods(softmax=s), {"image": pixels})["logits"].astype(float) for s in ("ibert", "float"))
    assert outcomes["ibert"]["error"] == pytest.approx(np.linalg.norm(ibert - real) / np.linalg.norm(real), rel=1e-6)
    assert outcomes["ibert"]["as_float"] == np.count_nonzero(ibert.argmax(1) == real.argmax(1))


@pytest.mark.parametrize("name", ["ita", "ita-octaves", "tflite"])
def test_a_graph_with_another_method_is_that_method_and_costs_as_much(capsys: Capture, images: Path, name: str) -> None:
    [exchanged] = evaluated(capsys, GRAPH, "--images", images, "--softmax", name)["combinations"]
    varied = evaluated(capsys, GRAPH, "--images", images, "--vary", "softmax")["combinations"]
    assert exchanged["methods"]["softmax"] == name
    [same] = [outcome for outcome in varied if outcome["methods"] == exchanged["methods"]]
    assert exchanged == same


def test_what_a_publication_does_not_fix_so_is_no_method_of_its_name() -> None:
    graph = load(GRAPH).with_methods(softmax="lis")
    assert present(graph)["softmax"] == "lis"
    assert present(graph.with_attributes("LogIntSoftmax", n=20))["softmax"] == "other"


def test_the_table(capsys: Capture, images: Path) -> None:
    assert main(["eval", str(GRAPH), "--images", str(images), "--vary", "layernorm"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{COUNT} images, {GRAPH}, profile qat"
    assert lines[2].split() == ["softmax", "gelu", "layernorm", "top-1", "agree", "as", "float", "logit", "error", "events"]
    assert [line.split()[2] for line in lines[3:]] == list(methods("layernorm"))


def test_what_leaves_its_width_is_a_row_that_says_so(capsys: Capture, images: Path) -> None:
    options = (GRAPH, "--images", images, "--profile", "tvm", "--overflow", "raise", "--vary", "layernorm")
    first, *others = evaluated(capsys, *options)["combinations"]
    assert "ILayerNorm" in first["refused"]
    assert "do not fit int16" in first["refused"]
    assert all("correct" in outcome for outcome in others)


@pytest.mark.parametrize(
    ("given", "found"), [("attention", "'attention'"), ("gelu,gelu", "'gelu'"), ("", "''"), ("requantize", "'requantize'")]
)
def test_vary_refuses(capsys: Capture, images: Path, given: str, found: str) -> None:
    assert main(["eval", str(GRAPH), "--images", str(images), "--vary", given]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "ivit-ref: --vary: must name roles of the graph's operators, each once, of softmax, gelu, layernorm"
    )
    assert error.endswith(f"but found {found}\n")


def test_convert_exchanges(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    options = ["--softmax", "ibert", "--gelu", "shiftgelu", "--layernorm", "l1", "--requantize", "gemmlowp"]
    assert main(["convert", str(GRAPH), str(out), *options]) == 0
    ops = {node.op for node in load(out).nodes}
    assert {"IBertSoftmax", "ShiftGELU", "L1LayerNorm", "GemmlowpRequantize"} <= ops
    assert not {"Shiftmax", "ILayerNorm", "Requantize"} & ops
    assert load(out).metadata["softmax"] == "ibert"


def test_convert_in_a_profile_and_with_methods(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    assert main(["convert", str(GRAPH), str(out), "--profile", "tvm", "--softmax", "lis"]) == 0
    assert load(out) == load(GRAPH).with_profile("tvm").with_methods(softmax="lis")


def test_methods_of_an_imported_model(capsys: Capture) -> None:
    data = str(QUANTIZED.with_suffix(".npz"))
    options = ["--dims", "N=50", "--images", data, "--softmax", "tflite", "--gelu", "lookup", "--json"]
    assert main(["run", str(QUANTIZED), *options]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["operators"]["TFLiteSoftmax"] > 0
    assert facts["correct"] >= 0.9 * facts["count"]


def test_what_only_an_import_can_choose(capsys: Capture, images: Path) -> None:
    assert main(["run", str(GRAPH), "--images", str(images), "--gelu", "lookup"]) == 2
    assert capsys.readouterr().err == (
        f"ivit-ref: --gelu: lookup is for a model that is imported, but {GRAPH} has operators of our own\n"
    )


def test_convert_needs_something_to_rewrite(capsys: Capture, tmp_path: Path) -> None:
    assert main(["convert", str(GRAPH), str(tmp_path / "out.onnx")]) == 2
    assert "--profile, --softmax, --gelu, --layernorm or --requantize: must say what to rewrite" in capsys.readouterr().err
