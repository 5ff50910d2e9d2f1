"""The smaller ``make`` targets."""

import shutil
import subprocess
import sys
import tempfile

from . import packages
from .demo import DATABASE as DEMO
from .instance import Environment, alone
from .paths import ADDON, CACHE, ENV, REPOSITORY, WEBSITE_ADDON, SetupError, main
from .postgres import Postgres

# Paths relative to the repository, where everything here runs.
STATIC = "crm_mailchimp{,_website}/static/**/*.{js,css,scss,xml}"
PRETTIER = ("--plugin", ".env/node/node_modules/@prettier/plugin-xml/src/plugin.js")
ADDONS = ["crm_mailchimp", "crm_mailchimp_website"]
PYTHON_FOLDERS = [
    *ADDONS,
    "mailchimp_simulator",
    "tests",
    "tools",
    "benchmarks",
]


def lint():
    """Run ruff, mypy, pylint-odoo, prettier and eslint."""
    return _run_all(*linters(_python()))


def linters(python):
    """Return the command of each linter; those from npm only if npm is installed."""
    return [
        [python, "-m", "ruff", "check", *_folders()],
        [python, "-m", "ruff", "format", "--check", *_folders()],
        [python, "-m", "mypy"],
        [python, "-m", "pylint", *ADDONS],
        *_node("prettier", *PRETTIER, "--check", STATIC),
        *_node("eslint", *(f"{name}/static" for name in ADDONS)),
    ]


def format():
    """Let ruff and prettier rewrite the files."""
    python = _python()
    return _run_all(
        [python, "-m", "ruff", "check", "--fix-only", "--quiet", *_folders()],
        [python, "-m", "ruff", "format", *_folders()],
        *_node("prettier", *PRETTIER, "--write", "--log-level=warn", STATIC),
    )


def _python():
    with alone(ENV):
        return str(packages.python())


def _folders():
    return [name for name in PYTHON_FOLDERS if (REPOSITORY / name).exists()]


def _node(tool, *options):
    """Return a list with the command of a tool from npm, empty if there is no npm."""
    if modules := packages.node_modules():
        return [[str(modules / ".bin" / tool), *options]]
    print(f"{tool} is skipped: there is no node and npm here.")
    return []


def _run_all(*commands):
    failed = 0
    for command in commands:
        failed |= subprocess.run(command, cwd=REPOSITORY).returncode
    return failed


def mutants():
    """Break the rules of the engine one by one, and print what no test notices."""
    return _run_all([_python(), "-m", "tools.mutants"])


def screenshots():
    """Take the pictures of the guide."""
    return _run_all([_python(), "-m", "tools.screenshots"]) or guide()


def guide():
    """Make the HTML of the guide and of the app store page."""
    return _run_all([_python(), "-m", "tools.guide"])


def shell():
    """Open Odoo's shell on the demo database."""
    with Environment() as environment:
        if not environment.postgres.exists(DEMO):
            raise SetupError("There is no demo database yet: run make demo first.")
        command = environment.command(
            "shell", "--config", str(environment.config), "-d", DEMO, "--no-http"
        )
        return subprocess.run(command, env=environment.environment()).returncode


def bench():
    """Measure the add-on against the floor."""
    if not (REPOSITORY / "benchmarks").exists():
        raise SetupError("There are no benchmarks yet.")
    with Environment() as environment:
        return subprocess.run(
            [str(environment.python), "-m", "benchmarks", *sys.argv[2:]],
            cwd=REPOSITORY,
            env=environment.environment(),
        ).returncode


def pot():
    """Write the translation templates, and merge them into each language."""
    code = 0
    with Environment() as environment:
        # Each in a database of its own: with the website, the first add-on's template
        # would show the fields that the website adds.
        for addon, prepare in (
            (ADDON, environment.addon_database),
            (WEBSITE_ADDON, environment.website_database),
        ):
            template, _lines = prepare()
            database = environment.clone_database(template, "crm_mailchimp_pot")
            target = addon / "i18n" / f"{addon.name}.pot"
            code |= subprocess.run(
                environment.command(
                    *("i18n", "export", "--config", str(environment.config)),
                    *("-d", database, "-o", str(target), addon.name),
                ),
                env=environment.environment(),
            ).returncode
            environment.drop_database(database)
        return code or po()


def po():
    """Merge the template into the translations."""
    return _run_all([_python(), "-m", "tools.po"])


def env():
    """Prepare everything, and leave the database server running."""
    environment = Environment(browser=True)
    environment.addon_database()
    variables = environment.environment()
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PATH", "PYTHONPATH"):
        print(f"export {name}='{variables[name]}'")
    print(f"export ODOO_RC='{environment.config}'")
    print(f"# {' '.join(environment.command())}")
    return 0


def lock():
    """Pin the newest Python packages, with the oldest Python that Odoo supports."""
    python = shutil.which("python3.10")
    if not python:
        raise SetupError("Pins are made with Python 3.10, which is not on the PATH.")
    here = REPOSITORY / "tools"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip"]
        subprocess.run(
            [*pip, "install", "-q", "-r", str(here / "requirements.in")], check=True
        )
        pins = subprocess.run(
            [*pip, "freeze"], check=True, capture_output=True, text=True
        ).stdout
    target = here / "requirements.txt"
    head = [line for line in target.read_text().splitlines() if line.startswith("#")]
    target.write_text("\n".join([*head, pins]))
    return 0


def stop():
    """Stop the private database server."""
    if (ENV / "venv").exists():
        Postgres(ENV / "venv" / "bin" / "python").stop()
    return 0


def clean():
    """Delete everything that was prepared for this clone."""
    if (ENV / "venv").exists():
        try:
            postgres = Postgres(ENV / "venv" / "bin" / "python")
            postgres.stop()
            if postgres.cluster:
                shutil.rmtree(postgres.cluster, ignore_errors=True)
        except SetupError as error:
            print(error)
    shutil.rmtree(ENV, ignore_errors=True)


def distclean():
    """Delete the downloads as well."""
    clean()
    shutil.rmtree(CACHE, ignore_errors=True)


if __name__ == "__main__":
    chores = (lint, format, mutants, screenshots, guide, shell, bench, pot, po, env)
    chores += (lock, stop, clean, distclean)
    main({chore.__name__: chore for chore in chores}[sys.argv[1]])
