"""Chunks on executors: the same digests in any order, in threads, processes and on Dask; records of them."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ivit_ref.certify import CERTIFICATES, Certificate, Checked, Part, Wrong, certify, int_sqrt, shift_exp
from ivit_ref.certify.record import read_record, write_record
from ivit_ref.certify.running import finished, keys_of, lines_of
from ivit_ref.certify.table import BEGIN, END, around_table, table_of, write_table
from ivit_ref.errors import FileError, IvitError

DOCS = Path(__file__).parents[2] / "docs"
SMALL = [
    replace(shift_exp.CERTIFICATE, parts=(Part("paper", 3, (1,)), Part("tvm", 2, (0, 1)))),
    replace(int_sqrt.CERTIFICATE, parts=(Part("ideal: 0 to 2**24", 1, (0,)),)),
]
MADE_WITH = {"ivit_ref": "0.1.0", "numpy": "2.0"}


class Backwards(Executor):
    """Runs what it was given in the order opposite to that in which it was given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not self.calls:
            threading.Timer(0.1, self.run).start()
        future: Future[Any] = Future()
        self.calls.append((future, lambda: fn(*args, **kwargs)))
        return future

    def run(self) -> None:
        for future, call in reversed(self.calls):
            future.set_result(call())


@pytest.fixture(scope="module")
def found() -> dict[Any, Checked]:
    return dict(finished(SMALL, keys_of(SMALL), None))


def test_every_executor_gives_the_same(found: dict[Any, Checked]) -> None:
    here = lines_of(SMALL, found)
    assert [len(line.chunks) for line in here] == [3, 2, 1]
    with ThreadPoolExecutor(2) as threads:
        assert certify(SMALL, executor=threads) == here
    assert certify(SMALL, executor=Backwards()) == here
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        assert certify(SMALL, executor=processes) == here


def test_dask_gives_the_same(found: dict[Any, Checked]) -> None:
    distributed = pytest.importorskip("distributed", reason="dask is an extra: pip install 'ivit-ref[dask]'")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        assert certify(SMALL, executor=client.get_executor()) == lines_of(SMALL, found)


def test_the_order_of_chunks_counts_in_a_digest(found: dict[Any, Checked]) -> None:
    [paper, *_] = lines_of(SMALL, found)
    assert replace(paper, chunks=paper.chunks[::-1]).digest != paper.digest
    assert lines_of(SMALL, dict(reversed(found.items())))[0].digest == paper.digest


def ends(part: str, index: int) -> Checked:
    """The end of the process."""
    os._exit(3)


def test_a_process_that_ends_is_told() -> None:
    certificate = Certificate("Ends", "nothing", "none", (Part("all", 2, (0,)),), ends)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        with pytest.raises(IvitError, match=r"^certify: every process must live until its chunk is done, but one has ended: "):
            certify([certificate], executor=processes)
        with pytest.raises((BrokenExecutor, IvitError)):
            processes.submit(int)


def test_chunks_are_small_to_send() -> None:
    for certificate in CERTIFICATES.values():
        assert certificate.chunk.__qualname__ == "chunk"
        assert vars(__import__(certificate.chunk.__module__, fromlist=["chunk"]))["chunk"] is certificate.chunk


# --- Records


def test_a_record_is_read_as_it_was_written(found: dict[Any, Checked], tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    write_record(path, dict(reversed(found.items())), MADE_WITH)
    assert read_record(path, SMALL, MADE_WITH) == found
    assert read_record(path, SMALL[1:]) == {key: c for key, c in found.items() if key[0] == "IntSqrt"}
    again = path.read_bytes()
    write_record(path, found, MADE_WITH)
    assert path.read_bytes() == again


def test_a_wrong_chunk_is_not_kept(found: dict[Any, Checked], tmp_path: Path) -> None:
    key = next(iter(found))
    write_record(tmp_path / "r", found | {key: Checked(1, "", Wrong({}, {}, "1", "2"))}, MADE_WITH)
    assert read_record(tmp_path / "r", SMALL) == {k: c for k, c in found.items() if k != key}


def test_a_record_of_other_versions_is_refused(found: dict[Any, Checked], tmp_path: Path) -> None:
    write_record(tmp_path / "r", found, MADE_WITH)
    with pytest.raises(FileError, match=r"r: must be made with numpy 3.0, as this run is, but found '2.0'$"):
        read_record(tmp_path / "r", SMALL, {**MADE_WITH, "numpy": "3.0"})


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[:-9],
        lambda b: b.replace(b"tvm", b"tvn"),
        lambda b: b"[1]\n" + b,
        lambda b: b"\xff\x00" + b,
        lambda b: b"[" * 100000 + b"\n" + b,
        lambda b: json.dumps({"format": "ivit_ref.certificates", "version": 1}).encode() + b"\n",
        lambda b: b.replace(b'"version": 1', b'"version": 2', 1),
        lambda b: b.replace(b"ivit_ref.certificates", b"another", 1),
        lambda b: b"{}" + b,
    ],
)
def test_a_damaged_record_is_refused(found: dict[Any, Checked], tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "record.jsonl"
    write_record(path, found, MADE_WITH)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileError, match=r"record.jsonl: must "):
        read_record(path, SMALL)


@pytest.mark.parametrize(
    "line", ["1", "[]", '{"certificate": 1}', '{"certificate": "a", "part": "b", "chunks": [[0, 1, "xyz"]]}']
)
def test_a_record_of_no_chunks_is_refused(line: str, tmp_path: Path) -> None:
    header = {"format": "ivit_ref.certificates", "version": 1, "sha256": hashlib.sha256(line.encode()).hexdigest()}
    (tmp_path / "r").write_text(json.dumps(header) + "\n" + line)
    with pytest.raises(FileError, match=r"r: must be a record of certificates, but is damaged: \w+$"):
        read_record(tmp_path / "r", SMALL)


# --- The table


def test_the_table_goes_between_the_markers(found: dict[Any, Checked], tmp_path: Path) -> None:
    path = tmp_path / "docs.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nbehind\n")
    table = table_of(lines_of(SMALL, found), MADE_WITH)
    write_table(path, table)
    write_table(path, table)
    assert path.read_text() == f"before\n{BEGIN}\n{table}\n{END}\nbehind\n"
    rows = table.splitlines()
    assert [row.count("|") for row in rows[:5]] == [6] * 5
    assert rows[-1] == f"{sum(c.count for c in found.values()):,} results. Signed off with ivit_ref 0.1.0, numpy 2.0."


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}"])
def test_a_file_without_markers_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "docs.md").write_text(text)
    with pytest.raises(FileError, match=r"docs.md: must have the lines <!-- "):
        around_table(tmp_path / "docs.md")


def test_the_table_of_the_docs_is_that_of_the_record() -> None:
    record = DOCS / "certificates.jsonl"
    found = read_record(record, list(CERTIFICATES.values()))
    assert sorted(found) == sorted(keys_of(list(CERTIFICATES.values())))
    header = json.loads(record.read_text().splitlines()[0])
    made_with = {name: header[name] for name in ("ivit_ref", "python", "numpy", "onnx")}
    table = table_of(lines_of(list(CERTIFICATES.values()), found), made_with)
    assert f"{BEGIN}\n{table}\n{END}" in (DOCS / "certificates.md").read_text()
    assert record.stat().st_size < 200_000
