"""``make mutants``: break a rule of the engine, and see whether a test notices.

Each mutant is a file of the engine with one change: a comparison reversed, a condition
negated, a word or number altered, an entry of a table left out. The rules of consent
are tables, which mutation tools that change only functions would miss.
"""

import ast
import copy
import importlib
import os
import signal
from importlib.machinery import SourceFileLoader

from .paths import ADDON, REPOSITORY, SetupError, main

# File of the engine -> tests that state its rules, the fastest first.
TESTS = {
    "plan": ("test_plan", "test_engine_histories"),
    "errors": ("test_errors", "test_gateway_*"),
    "payload": ("test_payload", "test_plan", "test_engine_histories"),
    "lease": ("test_lease",),
}
PATH = ". crm_mailchimp tests/histories"
SECONDS = 120  # a mutant may loop endlessly
TURNED = {
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And},
}


def changes(node):
    """Yield ``(what, function)``; a function changes the node, or a copy, in place."""
    value = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
    if isinstance(node, ast.Compare):
        yield "turned", lambda new: new.ops.insert(0, TURNED[type(new.ops.pop(0))]())
    elif isinstance(node, ast.BoolOp):
        yield "turned", lambda new: setattr(new, "op", TURNED[type(new.op)]())
    elif isinstance(node, ast.If | ast.IfExp):
        negated = ast.UnaryOp(ast.Not(), copy.deepcopy(node.test))
        yield "negated", lambda new: setattr(new, "test", negated)
    elif isinstance(value, int):
        other = not value if isinstance(value, bool) else value + 1
        yield f"{other}", lambda new: setattr(new, "value", other)
    elif isinstance(value, str) and " " not in value:  # not a text for people
        yield "altered", lambda new: setattr(new, "value", f"{value}x")
    elif isinstance(node, ast.Tuple | ast.Set | ast.List) and len(node.elts) > 1:
        for at, left_out in enumerate(node.elts):
            yield (
                f"without {ast.unparse(left_out)}",
                lambda new, at=at: new.elts.pop(at),
            )
    elif isinstance(node, ast.Dict):
        for at, key in enumerate(node.keys):
            what = f"without {ast.unparse(key)}" if key else "without **"
            yield what, lambda new, at=at: (new.keys.pop(at), new.values.pop(at))


def mutants(tree):
    """Yield ``(what was changed, tree)`` of each mutant.

    Annotations, bare expressions such as docstrings, and f-strings stay as they are.
    """
    stays = set()
    for node in ast.walk(tree):
        notes = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.Expr | ast.JoinedStr):
            notes.append(node)
        for part in filter(None, notes):
            stays.update(map(id, ast.walk(part)))
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in stays or isinstance(getattr(node, "ctx", None), ast.Store):
            continue
        for what, change in changes(node):
            mutant = copy.deepcopy(tree)
            change(list(ast.walk(mutant))[number])
            ast.fix_missing_locations(mutant)
            shown = node.test if isinstance(node, ast.If | ast.IfExp) else node
            yield f"{node.lineno}: {ast.unparse(shown)[:70]}: {what}", mutant


def survives(path, tree, tests):
    """Return whether all tests pass with a mutant, in a process of their own."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    signal.alarm(SECONDS)
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    code, get_code = compile(tree, str(path), "exec"), SourceFileLoader.get_code
    SourceFileLoader.get_code = lambda self, name: (
        code if self.path == str(path) else get_code(self, name)
    )
    pytest = importlib.import_module("pytest")
    options = ["-x", "-q", "-p", "no:cacheprovider", "-o", f"pythonpath={PATH}"]
    os._exit(pytest.main([*options, *tests]))


def run():
    """Print the mutants that survive; ``MUTANTS`` limits it to files of the engine."""
    os.nice(19)
    os.environ.setdefault("ENGINE_HISTORIES", "40")
    for name in ("pytest", "hypothesis", "mailchimp_marketing", "mailchimp_simulator"):
        importlib.import_module(name)  # once for all mutants
    for name in os.environ.get("MUTANTS", "").split() or TESTS:
        path, found, alive = ADDON / "engine" / f"{name}.py", 0, 0
        folder = REPOSITORY / "tests" / "engine"
        tests = [
            str(file)
            for test in TESTS[name]
            for file in sorted(folder.glob(f"{test}.py"))
        ]
        tree = ast.parse(path.read_text())
        if not survives(path, tree, tests):
            raise SetupError(f"The tests of {name} fail before anything is broken.")
        for what, mutant in mutants(tree):
            found += 1
            if survives(path, mutant, tests):
                alive += 1
                print(f"{name}.py:{what}", flush=True)
        print(f"{name}: {found} mutants, {alive} survive", flush=True)
    return 0


if __name__ == "__main__":
    main(run)
