"""The smaller ``make`` targets."""

import ast
import shutil
import subprocess
import sys

from .instance import Environment
from .paths import ADDON, CACHE, ENV, REPOSITORY, SetupError, main
from .postgres import Postgres

PYTHON_FOLDERS = ["crm_mailchimp", "mailchimp_simulator", "tests", "tools", "benchmarks"]


def lint():
    """ruff, pylint-odoo, and the one rule of the layers: no Odoo in the engine."""
    environment = Environment()
    folders = [name for name in PYTHON_FOLDERS if (REPOSITORY / name).exists()]
    python = str(environment.python)
    failed = 0
    for command in (
        [python, "-m", "ruff", "check", *folders],
        [python, "-m", "ruff", "format", "--check", *folders],
        [
            python,
            *("-m", "pylint", "--load-plugins=pylint_odoo", "--disable=all"),
            *("--enable=odoolint", "--rcfile=.pylintrc", "crm_mailchimp"),
        ],
    ):
        failed |= subprocess.run(command, cwd=REPOSITORY).returncode
    for path in (ADDON / "engine").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in getattr(node, "names", [])]
            names.append(getattr(node, "module", None) or "")
            if any(name.split(".")[0] == "odoo" for name in names):
                print(f"{path}: the engine must not import odoo")
                failed = 1
    return failed


def shell():
    """Odoo's shell on the demo database."""
    environment = Environment()
    return subprocess.run(
        environment.command(
            "shell", "--config", str(environment.config), "-d", "crm_mailchimp_demo"
        ),
        env=environment.environment(),
    ).returncode


def bench():
    """Measure the add-on against the floor."""
    environment = Environment()
    return subprocess.run(
        [str(environment.python), "-m", "benchmarks"],
        cwd=REPOSITORY,
        env=environment.environment(),
    ).returncode


def pot():
    """Write the translation template of the add-on."""
    environment = Environment()
    environment.install("crm_mailchimp_pot")
    return subprocess.run(
        environment.command(
            "i18n",
            "export",
            "--config",
            str(environment.config),
            "-d",
            "crm_mailchimp_pot",
            "crm_mailchimp",
        ),
        env=environment.environment(),
    ).returncode


def clean():
    """Forget what was prepared for this clone."""
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
    """Forget the downloads as well."""
    clean()
    shutil.rmtree(CACHE, ignore_errors=True)


if __name__ == "__main__":
    main({f.__name__: f for f in (lint, shell, bench, pot, clean, distclean)}[sys.argv[1]])
