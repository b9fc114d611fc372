"""What every operator must have, and what no file may do: the parts fit together, and imports point one way."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import NodeProto, TensorProto

import ivit_ref
from ivit_ref.onnx_body import DOMAIN, OPSET, function_of
from ivit_ref.registry import REGISTRY
from ivit_ref.testing.calls import FAMILIES

PACKAGE = Path(ivit_ref.__file__).parent
ROOT = PACKAGE.parent
TESTS = Path(__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
OPERATOR_FILES = sorted(p for p in (PACKAGE / "ops").glob("*.py") if p.stem != "__init__")

operators = pytest.mark.parametrize("op", REGISTRY)


def each_file(*without: str) -> pytest.MarkDecorator:
    """One test for each file, but for those whose path begins so."""
    names = [p.relative_to(PACKAGE).as_posix() for p in FILES]
    chosen = [name for name in names if not name.startswith(without)]
    return pytest.mark.parametrize("path", [PACKAGE / name for name in chosen], ids=chosen)


files = each_file()


def module_of(op: str) -> str:
    """The name of an operator's file."""
    return REGISTRY[op].kernel.__module__.rpartition(".")[2]


def source_of(op: str) -> str:
    return (PACKAGE / "ops" / f"{module_of(op)}.py").read_text()


def section(op: str, title: str) -> str:
    """A section of an operator's text: the lines under its title, up to the next title."""
    found = re.search(rf"^{title}\b.*?(?=^[A-Z]\w*\b|\Z)", REGISTRY[op].text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def labels(op: str) -> list[str]:
    """The numbers of an operator's constraints, as its text has them."""
    return re.findall(r"^ +\((C\d+)\) ", section(op, "Constraints"), re.MULTILINE)


def all_nodes(nodes: object) -> Iterator[NodeProto]:
    """The nodes of a body and of the bodies inside them."""
    for node in nodes:  # type: ignore[attr-defined]
        yield node
        for attribute in node.attribute:
            yield from all_nodes(attribute.g.node)


# --- Every operator


def test_every_file_of_ops_declares_one_operator() -> None:
    assert sorted(map(module_of, REGISTRY)) == [p.stem for p in OPERATOR_FILES]


def test_every_operator_is_a_function_of_ops() -> None:
    assert sorted(ivit_ref.ops.__all__) == sorted(d.kernel.__name__ for d in REGISTRY.values())
    for definition in REGISTRY.values():
        function = getattr(ivit_ref.ops, definition.kernel.__name__)
        assert inspect.unwrap(function) is definition.kernel


@operators
def test_an_operator_has_a_text_with_all_sections(op: str) -> None:
    text = REGISTRY[op].text
    assert re.match(rf"{op}: [^\n]+\.\n\n", text)
    titles = re.findall(r"^([A-Z]\w*)(?:,.*)?$", text, re.MULTILINE)
    assert [t for t in titles if t in ("Semantics", "Sources", "Constraints")] == ["Semantics", "Sources", "Constraints"]
    for title in ("Semantics", "Sources", "Constraints"):
        assert len(section(op, title).splitlines()) >= 2


@operators
def test_constraints_are_numbered_without_a_gap(op: str) -> None:
    assert labels(op) == [f"C{n}" for n in range(1, len(labels(op)) + 1)]
    assert labels(op)


@operators
def test_every_constraint_is_checked_under_its_label(op: str) -> None:
    source = source_of(op)
    assert [label for label in labels(op) if f'"{op} ({label})"' not in source] == []


@operators
def test_every_label_in_the_source_is_in_the_text(op: str) -> None:
    assert set(re.findall(rf'"{op} \((C\d+)\)"', source_of(op))) <= set(labels(op))


@operators
def test_every_constraint_has_a_test(op: str) -> None:
    module = module_of(op)
    names = [n.name for n in functions(TESTS / "ops" / f"test_{module}.py")]
    tested = {label for label in labels(op) for n in names if n.startswith(f"test_{module}_{label.lower()}_")}
    assert sorted(set(labels(op)) - tested) == []


@operators
def test_every_operator_has_a_twin(op: str) -> None:
    twin = getattr(importlib.import_module(f"ivit_ref.oracle.{module_of(op)}"), REGISTRY[op].kernel.__name__)
    assert inspect.isfunction(twin)
    assert twin.__module__ == f"ivit_ref.oracle.{module_of(op)}"


@operators
def test_a_twin_shares_nothing_with_the_package(op: str) -> None:
    """Nor does it use NumPy: Python's own integers have no width to get wrong."""
    todo, done = [PACKAGE / "oracle" / f"{module_of(op)}.py"], set()
    while todo:
        path = todo.pop()
        done.add(path)
        names = {name for name, _ in imports(path)}
        inner = {name for name in names if name.startswith("ivit_ref.oracle.")}
        assert {name.split(".")[0] for name in names - inner} & {"ivit_ref", "numpy", "onnx"} == set()
        helpers = {ROOT / f"{name.replace('.', '/')}.py" for name in inner}
        todo += sorted(helpers - done)
    assert len(done) >= 1


def test_every_operator_has_calls() -> None:
    assert sorted(name for family in FAMILIES for name in family) == sorted(REGISTRY)


@operators
def test_an_onnx_body_is_made_of_standard_operators(op: str) -> None:
    function = function_of(REGISTRY[op])
    nodes = list(all_nodes(function.node))
    assert nodes
    assert {node.domain for node in nodes} == {""}
    assert [(o.domain, o.version) for o in function.opset_import] == [("", OPSET)]


@operators
def test_float64_is_in_the_bodies_of_operators_that_compute_in_floats(op: str) -> None:
    nodes = all_nodes(function_of(REGISTRY[op]).node)
    casts = {a.i for n in nodes for a in n.attribute if n.op_type == "Cast" and a.name == "to"}
    assert (TensorProto.DOUBLE in casts) == REGISTRY[op].floats


@operators
def test_an_onnx_function_has_the_names_of_its_operator(op: str) -> None:
    function = function_of(REGISTRY[op])
    assert (function.domain, function.name) == (DOMAIN, op)
    assert tuple(function.input) == REGISTRY[op].inputs
    assert list(function.attribute) == sorted(REGISTRY[op].attributes)
    assert function.doc_string == REGISTRY[op].text.splitlines()[0]


@operators
def test_an_onnx_body_refers_to_attributes_of_its_operator_only(op: str) -> None:
    nodes = all_nodes(function_of(REGISTRY[op]).node)
    referred = {a.ref_attr_name for node in nodes for a in node.attribute if a.ref_attr_name}
    assert referred <= set(REGISTRY[op].attributes)


def test_the_table_of_the_readme_is_the_registry() -> None:
    text = (ROOT / "README.md").read_text()
    chapter = re.search(r"^## Operators\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert chapter
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", chapter[1], re.MULTILINE)
    assert rows == [(name, REGISTRY[name].text.splitlines()[0].partition(": ")[2].removesuffix(".")) for name in REGISTRY]


# --- Imports


def functions(path: Path) -> list[ast.FunctionDef]:
    return [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)]


def imports(path: Path, *, everywhere: bool = True) -> Iterator[tuple[str, ast.AST]]:
    """The modules that a file imports when it runs: all of them, or those that it imports itself when imported."""
    tree = ast.parse(path.read_text())
    skipped = {id(n) for i in ast.walk(tree) if isinstance(i, ast.If) and _is_typing(i.test) for n in ast.walk(i)}
    for node in ast.walk(tree) if everywhere else tree.body:
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: an import must be absolute"
            yield from ((_module(str(node.module), alias.name), node) for alias in node.names)


def _is_typing(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _module(package: str, name: str) -> str:
    """``from package import name``: the module ``package.name`` where there is one."""
    inner = PACKAGE.parent / package.replace(".", "/") / name
    is_module = package.split(".")[0] == "ivit_ref" and (inner.is_dir() or inner.with_suffix(".py").is_file())
    return f"{package}.{name}" if is_module else package


def own_imports(path: Path, *, everywhere: bool = True) -> set[str]:
    """The parts of the package that a file imports: ``ops.linear``, ``errors``."""
    names = {name for name, _ in imports(path, everywhere=everywhere)}
    return {name.partition(".")[2] for name in names if name.split(".")[0] == "ivit_ref"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


BELOW_OPS = {"dyadic", "errors", "events", "fixed_point", "integers", "ir", "profiles", "registry", "shapes"}


@pytest.mark.parametrize("path", OPERATOR_FILES, ids=[p.stem for p in OPERATOR_FILES])
def test_operators_import_arithmetic_and_other_operators_only(path: Path) -> None:
    above = own_imports(path) - BELOW_OPS - {f"ops.{p.stem}" for p in OPERATOR_FILES}
    assert above == set()


def test_the_graph_knows_its_errors_only() -> None:
    assert own_imports(PACKAGE / "ir.py", everywhere=False) == {"errors"}


def test_arithmetic_knows_errors_only() -> None:
    assert own_imports(PACKAGE / "integers.py") == {"errors"}
    assert own_imports(PACKAGE / "dyadic.py") == {"errors"}
    assert own_imports(PACKAGE / "errors.py") == set()


@each_file("cli/", "__main__.py")
def test_nobody_imports_the_command_line(path: Path) -> None:
    assert not any(name.split(".")[0] == "cli" for name in own_imports(path))


@each_file("fast/", "interpreter.py")
def test_only_the_interpreter_imports_fast(path: Path) -> None:
    assert not any(name.split(".")[0] == "fast" for name in own_imports(path))


@each_file("study/", "cli/")
def test_only_the_command_line_imports_the_study(path: Path) -> None:
    assert not any(name.split(".")[0] == "study" for name in own_imports(path))


ONNX_USERS = ("onnx_body.py", "onnx_types.py", "onnx_io/", "importer/", "models/float_vit.py", "cli/")
ONNX_USERS += ("golden/write.py", "golden/second.py", "golden/bodies.py", "golden/export/onnx.py", "compare/backend.py")


@each_file(*ONNX_USERS)
def test_only_the_edge_of_the_package_imports_onnx(path: Path) -> None:
    assert {name.split(".")[0] for name, _ in imports(path)} & {"onnx", "onnxruntime", "google"} == set()


def test_onnxruntime_is_imported_where_it_is_needed_and_no_earlier() -> None:
    users = [p for p in FILES if any(name.split(".")[0] == "onnxruntime" for name, _ in imports(p))]
    assert [p.relative_to(PACKAGE).as_posix() for p in users] == ["cli/bench.py", "compare/backend.py"]
    early = {name.split(".")[0] for path in users for name, _ in imports(path, everywhere=False)}
    assert "onnxruntime" not in early


def test_torch_is_imported_where_it_is_needed_and_no_earlier() -> None:
    early = {name.split(".")[0] for path in FILES for name, _ in imports(path, everywhere=False)}
    assert early & {"torch", "safetensors"} == set()


def test_matplotlib_is_imported_where_it_is_needed_and_no_earlier() -> None:
    users = [p for p in FILES if any(name.split(".")[0] == "matplotlib" for name, _ in imports(p))]
    assert [p.relative_to(PACKAGE).as_posix() for p in users] == ["study/drawing.py"]
    assert not any(name.split(".")[0] == "matplotlib" for name, _ in imports(users[0], everywhere=False))


def test_imports_go_round_in_no_circle() -> None:
    below = {module_name(p): own_imports(p, everywhere=False) for p in FILES if p != PACKAGE / "__init__.py"}
    while free := [name for name, needs in below.items() if not needs & set(below)]:
        for name in free:
            del below[name]
    assert below == {}


# --- Files


def calls(path: Path) -> Iterator[ast.Call]:
    return (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))


@each_file("integers.py", "dyadic.py", "checkpoints/state.py", "fast/")
def test_only_the_arithmetic_changes_dtypes(path: Path) -> None:
    assert [c.lineno for c in calls(path) if isinstance(c.func, ast.Attribute) and c.func.attr == "astype"] == []


UNPICKLERS = {"pickle", "marshal", "shelve", "joblib", "torch"}


@files
def test_nothing_is_ever_unpickled(path: Path) -> None:
    """torch.load is told to run nothing; of pickle, the error of that is known."""
    unpickling = {ast.unparse(node) for name, node in imports(path) if name.split(".")[0] in UNPICKLERS}
    allowed = {"from pickle import UnpicklingError", "import torch"} if path == PACKAGE / "checkpoints/reading.py" else set()
    assert unpickling - allowed == set()
    for call in calls(path):
        if ast.unparse(call.func) == "torch.load":
            assert "weights_only=True" in map(ast.unparse, call.keywords)
        for keyword in call.keywords:
            if keyword.arg == "allow_pickle":
                assert isinstance(keyword.value, ast.Constant)
                assert keyword.value.value is False
        name = ast.unparse(call.func)
        assert not re.fullmatch(r"(np|numpy)\.load|eval|exec|compile|__import__", name), f"line {call.lineno}: {name}"


@files
def test_a_file_has_at_most_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


@each_file("oracle/")
def test_what_is_public_has_a_docstring(path: Path) -> None:
    """But for the ONNX bodies and twins of operators: what those mean, the text of their operator says."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    public = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and not n.name.startswith("_")]
    assert [n.name for n in public if not ast.get_docstring(n) and n.name != "onnx_body"] == []
