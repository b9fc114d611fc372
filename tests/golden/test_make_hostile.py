"""``golden make`` writes inside its folder, cases that its own reader takes, and over nothing that is another's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ivit_ref
from tests.golden.building import DIGITS, DIGITS_IMAGES, command

Capture = pytest.CaptureFixture[str]
OPTIONS = ("--images", DIGITS_IMAGES, "--nodes", "qact_input")


def refused(capsys: Capture, *words: str) -> None:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("ivit-ref: ")
    assert said.err.count("\n") == 1
    assert all(word in said.err for word in words)


@pytest.mark.parametrize("profile", ["../../evil", "a/b", "é", ".", "qat\n", "a\0b", ""])
def test_a_profile_out_of_a_file_is_no_path(profile: str, tmp_path: Path, capsys: Capture) -> None:
    graph = ivit_ref.load(DIGITS).with_metadata(profile=profile)
    ivit_ref.save(graph, tmp_path / "g.onnx")
    tree = tmp_path / "a" / "b" / "tree"
    status = command("golden", "make", tree, "--graph", tmp_path / "g.onnx", *OPTIONS)
    if profile == "":
        assert status == 0
        return
    assert status == 2
    refused(capsys, "name")
    assert not list(tmp_path.rglob("case.json"))


@pytest.mark.parametrize("name", ["é ü.onnx", "日本.onnx", "Ⅷ.onnx", "a.b-c.onnx"])
def test_a_file_of_any_name_makes_a_case_that_can_be_read(name: str, tmp_path: Path) -> None:
    ivit_ref.save(ivit_ref.load(DIGITS), tmp_path / name)
    status = command("golden", "make", tmp_path / "tree", "--graph", tmp_path / name, *OPTIONS)
    assert status == 0
    assert command("golden", "verify", tmp_path / "tree") == 0


def test_a_folder_of_someone_else_is_not_written_into(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "mine.txt").write_text("MINE")
    assert command("golden", "make", tmp_path, "--suite", "Clip") == 2
    refused(capsys, "manifest.json")
    (tmp_path / "manifest.json").write_text("MINE")
    assert command("golden", "make", tmp_path, "--suite", "Clip") == 2
    refused(capsys, "manifest.json")
    assert {p.name for p in tmp_path.iterdir()} == {"mine.txt", "manifest.json"}


def test_a_suite_that_is_a_link_out_of_the_tree_is_not_written_into(tmp_path: Path, capsys: Capture) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    assert command("golden", "make", tree, "--suite", "Clip") == 0
    outside.mkdir()
    (tree / "Roll").symlink_to(outside)
    capsys.readouterr()
    assert command("golden", "make", tree, "--suite", "Roll") == 2
    refused(capsys, "Roll")
    assert list(outside.iterdir()) == []


def test_an_interrupted_run_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ivit_ref.cli import golden_make

    written = []

    def stops(case: object, suite: Path) -> Path:
        if written:
            raise KeyboardInterrupt
        written.append(case)
        return real(case, suite)  # type: ignore[arg-type]

    real = golden_make.write_case
    monkeypatch.setattr(golden_make, "write_case", stops)
    assert command("golden", "make", tmp_path / "tree", "--suite", "Clip") == 130
    monkeypatch.undo()
    assert command("golden", "make", tmp_path / "tree", "--suite", "Clip") == 0
    assert command("golden", "verify", tmp_path / "tree") == 0


def test_an_export_is_not_written_into_a_suite(tmp_path: Path, capsys: Capture) -> None:
    assert command("golden", "make", tmp_path / "tree", "--suite", "Clip") == 0
    case = next(iter(sorted((tmp_path / "tree" / "Clip").glob("test_*"))))
    capsys.readouterr()
    for out in (case, case / "sub", case.parent / "more"):
        assert command("golden", "export", case, out, "--to", "c") == 2
        refused(capsys, "outside")


def test_a_graph_that_takes_two_images_gets_two(tmp_path: Path) -> None:
    ivit_ref.save(ivit_ref.load(DIGITS, N=2), tmp_path / "two.onnx")
    assert command("golden", "make", tmp_path / "tree", "--graph", tmp_path / "two.onnx", *OPTIONS) == 0
    with np.load(tmp_path / "tree" / "models" / "test_two_qat" / "tensors.npz") as arrays:
        assert arrays["qact_input"].shape[0] == 2


def test_a_folder_need_not_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("golden", "make", "--suite", "Clip") == 0
    assert command("golden", "verify") == 0
    assert command("golden", "lint") == 0
    case = next(iter(sorted(Path("golden/Clip").glob("test_*"))))
    assert command("golden", "export", case, "--to", "bin") == 0
    assert (tmp_path / f"{case.name}_bin" / "layout.json").is_file()
