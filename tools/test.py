"""``make test``: every kind of test, each in its own process, and the sum of them."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor

from . import chores, packages
from .instance import Environment
from .paths import ENV, REPOSITORY, SetupError, main, say

SPEC = REPOSITORY.parent / "shared" / "mailchimp-api" / "marketing-spec.json"
SPEC_REASON = "specification"
# Those that take long come first: three kinds go on at a time, as each of them often
# waits for something.
KINDS = {
    "odoo": ["crm_mailchimp/tests"],
    "histories": ["tests/histories", "tests/faults"],
    "e2e": ["tests/e2e"],
    "website": ["crm_mailchimp_website/tests"],
    "engine": ["tests/engine", "tests/tools"],
    "simulator": ["tests/simulator"],
    "lint": [],
    "faults": ["tests/faults"],
}
# All of the fault matrix takes long: "histories" plays a selection of it.
DEFAULT = [kind for kind in KINDS if kind != "faults"]
IN_ODOO = {"odoo", "histories", "faults", "website"}
BROWSING = {"odoo", "e2e", "website"}


def run():
    kinds = os.environ.get("KIND", "").split() or DEFAULT
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise SetupError(f"KIND takes words of: {' '.join(KINDS)}.")
    results, failed = {}, False
    with Environment(browser=bool(BROWSING & set(kinds))) as environment:
        database = None
        if {*IN_ODOO, "e2e"} & set(kinds):
            database, results["install"] = install(environment.addon_database)
        templates = dict.fromkeys(IN_ODOO, database)
        if database and "website" in kinds:
            website, results["install website"] = install(environment.website_database)
            templates["website"] = website
        kinds = [kind for kind in kinds if kind not in IN_ODOO or templates[kind]]
        # Here, since two kinds that start at once would both fetch the packages.
        shared = {*IN_ODOO, "lint"} & set(kinds)
        modules = packages.node_modules() if shared else None
        with ThreadPoolExecutor(max_workers=3) as pool:
            running = {
                kind: pool.submit(lint, environment)
                if kind == "lint"
                else pool.submit(
                    pytest,
                    environment,
                    kind,
                    templates.get(kind),
                    modules,
                    len(kinds) == 1,
                )
                for kind in kinds
            }
            for kind, future in running.items():
                code, results[kind] = future.result()
                failed |= code not in (0, 5)
    return report(results, failed)


def install(prepare):
    """Install an add-on: one test, that neither warning nor error is logged.

    :param prepare: function that returns ``(template, complaints)``
    :return: ``(template database or None, counts)``
    """
    database, lines = None, []
    try:
        database, lines = prepare()
    except SetupError as error:
        lines = [str(error)]
    for line in lines:
        print(f"  {line}")
    return database, {"passed": int(not lines), "failed": int(bool(lines))}


def lint(environment):
    """Run the linters, each of them one test, and return ``(exit code, counts)``."""
    say("Tests of kind lint …")
    counts = {"passed": 0, "failed": 0}
    for command in chores.linters(str(environment.python)):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        counts["failed" if done.returncode else "passed"] += 1
        if done.returncode:
            print(done.stdout + done.stderr)
    return int(bool(counts["failed"])), counts


def pytest(environment, kind, template, modules, alone):
    """Run the tests of a kind and return ``(exit code, counts)``.

    :param modules: folder of the npm packages, ``None`` without npm
    :param bool alone: print what pytest prints as it comes, not once it is through
    """
    say(f"Tests of kind {kind} …")
    xml = ENV / f"{kind}.xml"
    xml.unlink(missing_ok=True)
    command = [str(environment.python), "-m", "pytest", "-q", f"--junitxml={xml}"]
    command += ["-p", "no:cacheprovider", *KINDS[kind]]
    path = [str(REPOSITORY)]
    # Several runs may go on at once in one clone.
    database = f"crm_mailchimp_test_{kind}_{os.getpid()}"
    variables = environment.environment()
    if kind in IN_ODOO:
        environment.clone_database(template, database)
        if modules:
            variables["AXE"] = str(modules / "axe-core" / "axe.min.js")
        command += [
            f"--odoo-database={database}",
            f"--odoo-config={environment.config}",
            "--odoo-http",
        ]
    else:
        # The plugin would load Odoo even for tests that have nothing of it.
        command += ["-p", "no:odoo"]
        path.append(str(REPOSITORY / "crm_mailchimp"))
        path.append(str(REPOSITORY / "tests" / "histories"))
    if kind == "faults":
        variables["FAULTS"] = "all"
        command.append("--capture=no")  # it takes long, and tells how far it is
    command += ["-o", "addopts=", "-o", f"pythonpath={' '.join(path)}", *sys.argv[1:]]
    if SPEC.exists():
        variables.setdefault("MAILCHIMP_SPEC", str(SPEC))
    with tempfile.TemporaryFile() as output:
        code = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=variables,
            stdout=None if alone else output,
            stderr=None if alone else subprocess.STDOUT,
        ).returncode
        output.seek(0)
        sys.stdout.write(output.read().decode(errors="replace"))
        sys.stdout.flush()
    if kind in IN_ODOO:
        environment.drop_database(database)
    return code, count(xml)


def count(xml):
    counts = dict.fromkeys(("passed", "failed", "skipped", "without_spec"), 0)
    if not xml.exists():
        counts["failed"] = 1
        return counts
    for case in ElementTree.parse(xml).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            counts["failed"] += 1
        elif skipped is None:
            counts["passed"] += 1
        elif SPEC_REASON in (skipped.get("message") or "").lower():
            counts["without_spec"] += 1
        else:
            counts["skipped"] += 1
            print(f"  skipped: {case.get('name')}: {skipped.get('message')}")
    return counts


def report(results, failed):
    """Print the counts of each kind and the sum; return the exit code."""
    print()
    total = dict.fromkeys(("passed", "failed", "skipped", "without_spec"), 0)
    for kind, counts in results.items():
        for name, number in counts.items():
            total[name] += number
        print(f"{kind:>15}: {counts['passed']} passed, {counts['failed']} failed")
    if total["without_spec"]:
        print(f"{total['without_spec']} tests need Mailchimp's specification file")
    if total["skipped"]:
        print("A skipped test is a failure here: install what it needs.")
    if os.environ.get("CI") and total["without_spec"]:
        print("In CI the specification file must be there.")
        failed = True
    failed |= bool(total["failed"] or total["skipped"])
    if not total["passed"]:
        raise SetupError("No test ran.")
    skipped = total["skipped"] + total["without_spec"]
    print(f"{total['passed']} passed, {total['failed']} failed, {skipped} skipped")
    return int(failed)


if __name__ == "__main__":
    main(run)
