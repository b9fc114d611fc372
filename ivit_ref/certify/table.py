"""The signed-off table of docs/certificates.md, between two markers; the prose around it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ivit_ref.arrays import existing, replace_file
from ivit_ref.certify.running import Line
from ivit_ref.errors import FileError

BEGIN, END = "<!-- certificates: begin -->", "<!-- certificates: end -->"


def table_of(lines: Sequence[Line], made_with: Mapping[str, str]) -> str:
    """The table in Markdown; it depends on the results and the versions only."""
    rows = ["| certificate | part | results, all equal | chunks | SHA-256 |", "|---|---|---:|---:|---|"]
    for line in lines:
        cells = (line.certificate.name, line.part.name, f"{line.count:,}", str(len(line.chunks)), f"`{line.digest}`")
        rows.append(f"| {' | '.join(cells)} |")
    total = sum(line.count for line in lines)
    signed = ", ".join(f"{name} {value}" for name, value in made_with.items())
    return "\n".join([*rows, "", f"{total:,} results. Signed off with {signed}."])


def around_table(path: str | Path) -> tuple[str, str]:
    """What stands before and behind the table; FileError where there are no markers."""
    try:
        text = existing(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: must be text in UTF-8, but is not") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not begin or not end:
        raise FileError(f"{path}: must have the lines {BEGIN} and {END}, between which the table goes, but has not")
    return before + BEGIN, END + behind


def write_table(path: str | Path, table: str) -> None:
    """Put the table between the markers; the file is whole or untouched."""
    before, behind = around_table(path)
    text = f"{before}\n{table}\n{behind}"
    replace_file(path, lambda stream: stream.write(text.encode()))
