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
# In the order in which they are begun; three go on at a time, as each of them often
# waits for something. The first ones need no database: they go on while it is made. Of
# the others, those that take long come first.
KINDS = {
    "simulator": ["tests/simulator"],
    "engine": ["tests/engine", "tests/tools"],
    "lint": [],
    "e2e": ["tests/e2e"],
    "odoo": ["crm_mailchimp/tests"],
    "website": ["crm_mailchimp_website/tests"],
    "histories": ["tests/histories", "tests/faults"],
    "faults": ["tests/faults"],
}
# All of the fault matrix takes long: "histories" plays a selection of it.
DEFAULT = [kind for kind in KINDS if kind != "faults"]
IN_ODOO = {"odoo", "histories", "faults", "website"}
# In how many processes a kind is played when it is not alone.
PORTIONS = {"e2e": 2, "odoo": 3, "histories": 2}
# Without a choice, histories are as few as tests are short: see tools/short.py.
SHORT = {"HISTORIES": "4"}
BROWSING = {"odoo", "e2e", "website"}
OUTCOMES = ("passed", "failed", "skipped", "without_spec")


def run():
    wanted = os.environ.get("KIND", "").split() or DEFAULT
    chosen = os.environ.get("KIND") or os.environ.get("LONG") or sys.argv[1:]
    if set(wanted) - set(KINDS):
        raise SetupError(f"KIND takes words of: {' '.join(KINDS)}.")
    kinds = [kind for kind in KINDS if kind in wanted]
    with Environment(browser=bool(BROWSING & set(kinds))) as environment:
        return report(Play(environment, kinds, bool(chosen)).results)


class Play:
    """Tests of some kinds, side by side; all of them, or only those that are short.

    What needs a database waits for the job that makes it, which is begun before.
    ``results`` names the tests of each kind by what came of them:
    ``{kind: {outcome: [name]}}``.
    """

    def __init__(self, environment, kinds, all_of_them):
        self.environment, self.alone = environment, len(kinds) == 1
        self.all_of_them = all_of_them
        self.template, self.results = None, {}
        with ThreadPoolExecutor(max_workers=3) as pool:
            jobs = []
            if {*IN_ODOO, "e2e"} & set(kinds):
                made = environment.addon_database
                self.template = pool.submit(self.install, "install", made)
                jobs.append(self.template)
            # Once, as kinds that start at the same time would all fetch the packages.
            self.modules = pool.submit(
                packages.node_modules if {*IN_ODOO, "lint"} & set(kinds) else bool
            )
            for kind in kinds:
                for portion in self.portions(kind):
                    jobs.append(pool.submit(self.play, kind, *portion))
            for job in jobs:
                job.result()

    def portions(self, kind):
        """Divide the kinds that take longest, so that all lanes end at the same time.

        :return: list of ``(name, paths, variables)``
        """
        if self.alone or kind not in PORTIONS:
            return [(kind, KINDS[kind], {})]
        number = PORTIONS[kind]
        if kind == "histories":
            drawn, faults = KINDS[kind]
            # What takes longest comes first.
            portions = [([faults], {})]
            portions += [([drawn], {"PORTION": f"{n}/{number}"}) for n in range(number)]
        else:
            # The larger a file, the longer it takes.
            portions = [([], {}) for _number in range(number)]
            files = (REPOSITORY / KINDS[kind][0]).glob("test_*.py")
            for path in sorted(files, key=size, reverse=True):
                min(portions, key=lambda one: sum(map(size, one[0])))[0].append(path)
        return [
            (f"{kind}_{number}", sorted(map(str, paths)), variables)
            for number, (paths, variables) in enumerate(portions, 1)
        ]

    def play(self, kind, name, paths, variables):
        """Run a portion of a kind."""
        if kind == "lint":
            self.modules.result()
            return self.note(kind, lint(self.environment))
        template = None
        if self.template and kind in {*IN_ODOO, "e2e"}:
            template = self.template.result()
            if template and kind == "website":
                made = self.environment.website_database
                template = self.install("install website", made)
            if not template:
                return None  # why not is a failure already
        if not self.all_of_them:
            paths, variables = ["-p", "tools.short", *paths], {**SHORT, **variables}
        modules = self.modules.result()
        results = pytest(
            self.environment,
            kind,
            name,
            paths,
            variables,
            template,
            modules,
            self.alone,
        )
        return self.note(kind, results)

    def install(self, name, prepare):
        """Install an add-on: one test, that neither warning nor error is logged.

        :param prepare: function that returns ``(template, complaints)``
        :return: template database or ``None``
        """
        database = None
        try:
            database, lines = prepare()
        except SetupError as error:
            lines = [str(error)]
        for line in lines:
            print(f"  {line}")
        self.note(name, {"failed" if lines else "passed": [name]})
        return database

    def note(self, kind, results):
        """Add to the results of a kind."""
        known = self.results.setdefault(kind, {outcome: [] for outcome in OUTCOMES})
        for outcome, names in results.items():
            known[outcome] += names


def size(path):
    return path.stat().st_size


def lint(environment):
    """Run the linters, each of them one test, and return their results."""
    say("Tests of kind lint …")
    results = {"passed": [], "failed": []}
    for command in chores.linters(str(environment.python)):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        results["failed" if done.returncode else "passed"].append(" ".join(command))
        if done.returncode:
            print(done.stdout + done.stderr)
    return results


def pytest(environment, kind, name, paths, more, template, modules, alone):
    """Run tests of a kind and return their results.

    :param name: of the portion of the kind that ``paths`` are
    :param list paths: files of the portion, and options
    :param dict more: variables of the portion
    :param template: database, for what is in Odoo
    :param modules: folder of the npm packages, ``None`` without npm
    :param bool alone: print what pytest prints as it comes, not once it is through
    """
    say(f"Tests of kind {name} …")
    xml = ENV / f"{name}.xml"
    xml.unlink(missing_ok=True)
    command = [str(environment.python), "-m", "pytest", "-q", f"--junitxml={xml}"]
    command += ["-p", "no:cacheprovider", *paths]
    path = [str(REPOSITORY)]
    # Several runs may go on at once in one clone.
    database = f"crm_mailchimp_test_{name}_{os.getpid()}"
    variables = {**environment.environment(), **more}
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
    results = read(xml)
    # Nothing may have been chosen (5), but whatever else it is, something went wrong.
    if code not in (0, 5) and not results["failed"]:
        results["failed"].append(f"{name}: pytest ended with {code}")
    say(f"Tests of kind {name} are through.")
    return results


def read(xml):
    """Read what pytest wrote.

    :return: ``{outcome: [name of test]}``
    """
    results = {outcome: [] for outcome in OUTCOMES}
    if not xml.exists():
        results["failed"].append(f"{xml.stem} did not end")
        return results
    for case in ElementTree.parse(xml).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome = "failed"
        elif skipped is None:
            outcome = "passed"
        elif SPEC_REASON in (skipped.get("message") or "").lower():
            outcome = "without_spec"
        else:
            outcome = "skipped"
            name = f"{name}: {skipped.get('message')}"
        results[outcome].append(name)
    return results


def report(results):
    """Print what failed, and the counts of each kind; return the exit code."""
    print()
    total = {outcome: [] for outcome in OUTCOMES}
    for kind, outcomes in results.items():
        for outcome, names in outcomes.items():
            total[outcome] += names
        passed, failed = len(outcomes["passed"]), len(outcomes["failed"])
        print(f"{kind:>15}: {passed} passed, {failed} failed")
    for outcome in ("failed", "skipped"):
        for name in total[outcome]:
            print(f"  {outcome}: {name}")
    if total["without_spec"]:
        print(f"{len(total['without_spec'])} tests need Mailchimp's specification file")
    if total["skipped"]:
        print("A skipped test is a failure here: install what it needs.")
    failed = bool(total["failed"] or total["skipped"])
    if os.environ.get("CI") and total["without_spec"]:
        print("In CI the specification file must be there.")
        failed = True
    if not total["passed"]:
        raise SetupError("No test ran.")
    skipped = len(total["skipped"] + total["without_spec"])
    passed = f"{len(total['passed'])} passed"
    print(f"{passed}, {len(total['failed'])} failed, {skipped} skipped")
    return int(failed)


if __name__ == "__main__":
    main(run)
