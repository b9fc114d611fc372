"""``ivit-ref doctor``: what it says first, its JSON, its status, and that wrong use is one line on stderr, with status 2."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from ivit_ref.arrays import read_npz
from ivit_ref.cli import main
from ivit_ref.doctor.rules import RULES
from ivit_ref.models import SwinConfig, ViTConfig, random_state

Array = npt.NDArray[Any]
Capture: TypeAlias = pytest.CaptureFixture[str]

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
VIT = (ROOT / "graphs" / "digits_vit.npz", "--num-heads", 4)
SWIN = (ROOT / "graphs" / "digits_swin.npz",)
TEST = {"vit": ROOT / "graphs" / "digits_test.npz", "swin": ROOT / "graphs" / "digits_swin_test.npz"}

SMALL = ViTConfig((4, 4), (2, 2), channels=1, dim=8, depth=1, heads=2, hidden=8, classes=3)
SMALL_SWIN = SwinConfig((8, 8), (2, 2), 1, 8, (1, 2), (2, 2), window=2, hidden=8, classes=3)


def save(path: Path, arrays: Mapping[str, Array]) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The image that the committed dump of the ViT is of."""
    return save(tmp_path / "first.npz", {k: v[:1] for k, v in read_npz(TEST["vit"]).items()})


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return save(tmp_path / "small.npz", random_state(SMALL).arrays)


def doctor(*arguments: object) -> int:
    return main(["doctor", *map(str, arguments)])


def printed(capsys: Capture) -> str:
    """What was printed; nothing is told on stderr."""
    out, err = capsys.readouterr()
    assert err == ""
    return out


def refusal(capsys: Capture, *arguments: object) -> str:
    """The one line on stderr; nothing is on stdout."""
    try:
        status = doctor(*arguments)
    except SystemExit as exit_:
        status = int(str(exit_.code))
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("ivit-ref: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


# --- Status


def test_a_swin_is_fine(capsys: Capture) -> None:
    assert doctor(*SWIN) == 0
    out = printed(capsys)
    assert "sound: it converts to an integer graph" in out
    assert not re.search("^(FAULT|DEPLOYMENT)", out, re.MULTILINE)
    assert "scale-clash" not in out


def test_a_vit_is_not_as_the_release_deploys_it(capsys: Capture) -> None:
    assert doctor(*VIT) == 1
    assert "sound: it converts to an integer graph" in printed(capsys)


def test_a_fault(capsys: Capture, tmp_path: Path) -> None:
    arrays = {**random_state(SMALL_SWIN).arrays, "head.bias_integer": np.full(3, np.nan, np.float32)}
    assert doctor(save(tmp_path / "broken.npz", arrays)) == 1
    out = printed(capsys)
    assert "verdict     faults: not-finite\n" in out
    assert "FAULT: not-finite\n  head.bias_integer: 3 of 3, first at [0]: nan\n  effect: " in out


def test_what_the_graph_alone_refuses(capsys: Capture, tmp_path: Path) -> None:
    """A class token beyond int16 is no rule of the doctor's: the builder refuses it. Beside a fault it is not told twice."""
    arrays = {**random_state(SMALL).arrays, "cls_token": np.full((1, 1, 8), 1e6, np.float32)}
    path = save(tmp_path / "token.npz", arrays)
    assert doctor(path, "--num-heads", 2, "--json") == 1
    finding = json.loads(printed(capsys))["findings"][0]
    assert (finding["rule"], finding["severity"], len(finding["places"])) == ("refused", "fault", 1)
    assert "'cls_token' must fit int16" in finding["places"][0]["value"]
    del arrays["head.bias_integer"]
    assert doctor(save(path, arrays), "--num-heads", 2, "--json") == 1
    rules = [f["rule"] for f in json.loads(printed(capsys))["findings"] if f["severity"] == "fault"]
    assert rules == ["missing"]


# --- The text


def test_the_first_screen(capsys: Capture) -> None:
    doctor(*VIT)
    screen = "\n".join(printed(capsys).splitlines()[:24])
    for said in ("scale-clash", "chance level", "256", "remedy: multiply matmul_2.act_scaling_factor", "layernorm-wrap"):
        assert said in screen
    assert re.findall(r"blocks\.(\d)\.attn\.int_softmax\.act_scaling_factor: ", screen) == ["0", "1"]
    assert "and 2 more (see: --json)" in screen


def test_the_table(capsys: Capture, tmp_path: Path) -> None:
    """Of six images, so that it is quick; what it says of all of them, see ``test_measured``."""
    few = {k: v[:6] for k, v in read_npz(TEST["vit"]).items()}
    assert doctor(*VIT, "--images", save(tmp_path / "few.npz", few)) == 1
    lines = printed(capsys).splitlines()
    top = "\n".join(lines[:14])
    deployed = (
        "the released deployment, as it is",
        "- its Shiftmax scale mended (= tvm)",
        "- its LayerNorm widths mended, too",
    )
    rows = ("the given logits", "qat", "ideal", "paper", *deployed)
    assert [name for name in rows if not re.search(f"^{re.escape(name)} .*%", top, re.MULTILINE)] == []
    assert re.search("^6 images +top-1 +agree", top, re.MULTILINE)
    right = int((few["logits"].argmax(axis=1) == few["labels"]).sum())
    assert re.search(f"^the given logits +{100 * right / 6:.2f} %$", top, re.MULTILINE)
    assert "agree: the class is that of the given logits" in top


def test_columns_without_labels_and_logits(capsys: Capture, tmp_path: Path) -> None:
    images = save(tmp_path / "bare.npz", {"images": read_npz(TEST["swin"])["images"][:2]})
    assert doctor(*SWIN, "--images", images) == 0
    out = printed(capsys)
    assert "the given logits" not in out
    assert "agree: the class is that of qat" in out
    assert re.search(r"^qat +-  +-  ", out, re.MULTILINE)
    assert re.search(r"^tvm +-  +\d+\.\d\d %  ", out, re.MULTILINE)


# --- JSON


def test_json(capsys: Capture) -> None:
    assert doctor(*VIT, "--json") == 1
    facts = json.loads(printed(capsys))
    assert facts["checkpoint"] == "digits_vit.npz"
    assert facts["model"]["kind"] == "ViT"
    assert facts["model"]["heads"] == 4
    for finding in facts["findings"]:
        assert set(finding) == {"rule", "severity", "effect", "remedy", "places"}
        assert finding["severity"] == RULES[finding["rule"]].severity
        assert all(set(place) == {"key", "value"} for place in finding["places"])
    assert [f["rule"] for f in facts["findings"][:2]] == ["scale-clash", "layernorm-wrap"]
    assert [len(f["places"]) for f in facts["findings"][:2]] == [4, 9]
    assert not {"measured", "against"} & set(facts)


def test_json_of_a_run(capsys: Capture, first: Path) -> None:
    assert doctor(*VIT, "--images", first, "--against", DATA / "vit_simulation.npz", "--json") == 1
    facts = json.loads(printed(capsys))
    assert [row["name"] for row in facts["measured"]][:3] == ["qat", "ideal", "paper"]
    assert {row["count"] for row in facts["measured"]} == {1}
    assert facts["agreement_with"] == "the given logits"
    assert facts["given_correct"] in (0, 1)
    assert all({"kind", "node", "count", "index", "text"} <= set(e) for row in facts["measured"] for e in row["events"])
    counts = {"total": 64, "differing": 0, "largest": 0, "alone": 0, "left": 0}
    assert facts["against"][0] == {"name": "qact_input", "op": "Quantize", **counts, "verdict": "equal"}


# --- Against


def test_against(capsys: Capture, tmp_path: Path) -> None:
    """A real dump of a model without a fault changes no status; a wrong integer in it does."""
    images = save(tmp_path / "one.npz", {"images": read_npz(TEST["swin"])["images"][:1]})
    assert doctor(*SWIN, "--images", images, "--against", DATA / "swin_simulation.npz") == 0
    out = printed(capsys)
    assert re.search(r"^against the simulation: 150 tensors, ", out, re.MULTILINE)
    assert "first that differs: patch_embed.norm (ILayerNorm), " in out
    dump = read_npz(DATA / "swin_simulation.npz")
    dump["qact1"].flat[5] += 3 * dump["qact1.scale"]
    assert doctor(*SWIN, "--images", images, "--against", save(tmp_path / "wrong.npz", dump)) == 1
    assert re.search(r"^qact1 .*unexplained$", printed(capsys), re.MULTILINE)


def test_what_is_unexplained_is_named(capsys: Capture, tmp_path: Path, first: Path) -> None:
    """However many tensors differ before it for reasons that are known."""
    dump = read_npz(DATA / "vit_simulation.npz")
    dump["qact2"].flat[5] += 3 * dump["qact2.scale"]
    assert doctor(*VIT, "--images", first, "--against", save(tmp_path / "late.npz", dump)) == 1
    assert re.search(r"qact2 .*unexplained", printed(capsys), re.MULTILINE)


def test_against_alone(capsys: Capture) -> None:
    assert "--against: must come with --images" in refusal(capsys, *VIT, "--against", DATA / "vit_simulation.npz")


def test_against_is_refused(capsys: Capture, tmp_path: Path, first: Path) -> None:
    cut = tmp_path / "cut.npz"
    cut.write_bytes((DATA / "vit_simulation.npz").read_bytes()[:1000])
    pickled = save(tmp_path / "pickled.npz", {"qact1": np.array([{}], object)})
    other = save(tmp_path / "other.npz", {"x": np.zeros(1)})
    for path in (cut, pickled, other, tmp_path / "nowhere.npz", tmp_path):
        assert str(path) in refusal(capsys, *VIT, "--images", first, "--against", path)
    two = save(tmp_path / "two.npz", {"images": read_npz(TEST["vit"])["images"][:2]})
    message = refusal(capsys, *VIT, "--images", two, "--against", DATA / "vit_simulation.npz")
    assert "must be made from the 2 images that are given (see: --images), but found 1 in 'qact_input'" in message


# --- Wrong use


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"labels": np.zeros(3, np.int64)},
        {"images": np.zeros((), np.float32)},
        {"images": np.zeros((0, 1, 4, 4), np.float32)},
        {"images": np.zeros((1, 1, 4, 5), np.float32)},
        {"images": np.zeros((1, 1, 4, 4))},
        {"images": np.full((1, 1, 4, 4), np.nan, np.float32)},
        {"images": np.zeros((1, 1, 4, 4), np.float32), "labels": np.array([3])},
        {"images": np.zeros((1, 1, 4, 4), np.float32), "logits": np.zeros((1, 4), np.float32)},
    ],
)
def test_images_are_refused(arrays: dict[str, Array], capsys: Capture, small: Path, tmp_path: Path) -> None:
    refusal(capsys, small, "--num-heads", 2, "--images", save(tmp_path / "images.npz", arrays))


def test_images_that_are_no_file(capsys: Capture, small: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.npz", tmp_path, ROOT / "pyproject.toml"):
        assert str(path) in refusal(capsys, small, "--num-heads", 2, "--images", path)


def test_checkpoints_that_are_none(capsys: Capture, small: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.npz"
    cut.write_bytes(small.read_bytes()[:500])
    text = tmp_path / "text.npz"
    text.write_text("no archive")
    images = save(tmp_path / "images.npz", {"images": np.zeros((1, 1, 4, 4))})
    for path in (cut, text, images, tmp_path / "nowhere.npz", tmp_path, ROOT / "pyproject.toml"):
        assert str(path) in refusal(capsys, path)


def test_a_vit_that_is_not_published_needs_its_heads(capsys: Capture, small: Path) -> None:
    assert "--num-heads" in refusal(capsys, small)
    assert "heads: must divide" in refusal(capsys, small, "--num-heads", 3)
    assert "a Swin shows its heads" in refusal(capsys, *SWIN, "--num-heads", 2)


@pytest.mark.parametrize("model", ["deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "resnet50"])
def test_another_model(model: str, capsys: Capture, small: Path) -> None:
    assert model in refusal(capsys, small, "--model", model)


@pytest.mark.parametrize("arguments", [[], ["--images"], ["--nonsense"], ["--image-size", "4"], ["--num-heads", "x"]])
def test_wrong_options(arguments: list[str], capsys: Capture, small: Path) -> None:
    refusal(capsys, *([small, *arguments] if arguments else []))


def test_the_command_itself(small: Path) -> None:
    """As a process: the status is what the shell sees."""
    run = [sys.executable, "-m", "ivit_ref", "doctor", str(small), "--num-heads", "2"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "DEPLOYMENT: scale-clash" in done.stdout


def test_a_checkpoint_that_was_mended_for_the_deployment_has_no_clash(capsys: Capture, tmp_path: Path, first: Path) -> None:
    """Its stored scales are those of 7 bits: only the LayerNorm is left."""
    state = read_npz(VIT[0])
    mended = {key: array * 256 if "int_softmax" in key or "matmul_2" in key else array for key, array in state.items()}
    path = save(tmp_path / "mended.npz", mended)
    assert doctor(path, "--num-heads", 4, "--images", first, "--json") == 1
    facts = json.loads(printed(capsys))
    assert [f["rule"] for f in facts["findings"] if f["severity"] != "note"] == ["layernorm-wrap"]
    names = [row["name"] for row in facts["measured"]]
    assert names[-2:] == ["the released deployment (= tvm)", "- its LayerNorm widths mended"]
    assert "softmax-scale" in {f["rule"] for f in facts["findings"]}


def test_heads_that_are_not_those_of_the_logits(capsys: Capture, tmp_path: Path) -> None:
    few = save(tmp_path / "few.npz", {k: v[:60] for k, v in read_npz(TEST["vit"]).items()})
    assert doctor(VIT[0], "--num-heads", 2, "--images", few) == 1
    out = printed(capsys)
    assert "verdict     faults: disagreement\n" in out
    assert "check --num-heads" in out


def test_a_model_that_cannot_be_built_is_not_run(capsys: Capture, tmp_path: Path, first: Path) -> None:
    state = {key: array for key, array in read_npz(VIT[0]).items() if key != "head.bias_integer"}
    path = save(tmp_path / "broken.npz", state)
    assert doctor(path, "--num-heads", 4, "--images", first) == 1
    assert "not run: the integer graph cannot be built" in printed(capsys)


def test_only_what_the_deployment_requantizes_with_mends_it(tmp_path: Path, capsys: Capture) -> None:
    """quantized_vit.py of the release requantizes with matmul_2's scale: mending that of Shiftmax alone does nothing."""
    state = read_npz(VIT[0])
    for part, clash in (("int_softmax", True), ("matmul_2", False)):
        mended = {key: array * 256 if part in key else array for key, array in state.items()}
        doctor(save(tmp_path / "mended.npz", mended), "--num-heads", 4, "--json")
        rules = {f["rule"] for f in json.loads(printed(capsys))["findings"]}
        assert ("scale-clash" in rules) == clash


def test_a_variant_that_stops_is_a_row_of_its_own(tmp_path: Path, capsys: Capture, first: Path) -> None:
    """The paper's ShiftGELU divides 0 by 0 where every exponential is shifted out; the other versions answer."""
    wide = {"fc1.fc_scaling_factor", "qact_gelu.act_scaling_factor"}
    state = {k: array * 16 if any(k.endswith(part) for part in wide) else array for k, array in read_npz(VIT[0]).items()}
    assert doctor(save(tmp_path / "wide.npz", state), "--num-heads", 4, "--images", first, "--json") == 1
    rows = {row["name"]: row["stopped"] for row in json.loads(printed(capsys))["measured"]}
    assert rows["qat"] is None
    assert "IntDiv (C2)" in rows["paper"]


def test_a_reader_who_leaves_early_does_not_change_the_exit_status() -> None:
    """``ivit-ref doctor ... | head -1``: the pipe is closed before the report is through."""
    words = [str(word) for word in (sys.executable, "-m", "ivit_ref", "doctor", *VIT, "--json")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 1
