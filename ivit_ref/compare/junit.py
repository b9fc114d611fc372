"""Reports as JUnit XML, which continuous integration shows."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ivit_ref.compare.report import Report


def junit(reports: Sequence[Report], explanation: str = "") -> bytes:
    """One test suite for a case, one test for a tensor; what was not given or judged is skipped; then what explains it."""
    root = ET.Element("testsuites", name="ivit-ref compare")
    for report in reports:
        skipped = report.count("not given") + report.count("not judged")
        counts = {"tests": len(report.rows), "failures": report.count("differs"), "skipped": skipped}
        suite = ET.SubElement(root, "testsuite", {"name": _text(report.case), **{k: str(v) for k, v in counts.items()}})
        for row in report.rows:
            test = ET.SubElement(suite, "testcase", classname=_text(f"{report.case} ({report.mode})"), name=_text(row.name))
            if row.verdict == "differs":
                ET.SubElement(test, "failure", message=_text(str(row)))
            elif row.verdict != "equal":
                ET.SubElement(test, "skipped")
    if explanation and len(root):
        ET.SubElement(root[-1], "system-out").text = "\n".join(map(_text, explanation.splitlines()))
    ET.indent(root)
    data: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _text(text: str) -> str:
    """What XML can carry: it has no form for control characters and halves of surrogate pairs."""
    return "".join(c if c.isprintable() else "?" for c in text)
