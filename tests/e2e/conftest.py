"""Odoo in processes of its own, beside a simulator in this one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.instance import Environment  # noqa: E402

# Several runs may go on at once in one clone.
DATABASE = f"crm_mailchimp_e2e_{os.getpid()}"
READY = f"{DATABASE}_ready"
COPY = f"{DATABASE}_copy"


class Worker:
    """Jobs in forked processes of one Odoo; see ``worker.py``."""

    def __init__(self, environment, database):
        self.log = open(environment.config.with_name(f"{database}.worker.log"), "a")
        self.process = subprocess.Popen(
            [
                str(environment.python),
                str(Path(__file__).with_name("worker.py")),
                str(environment.config),
                database,
            ],
            env=environment.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.pid = None
        assert self._read() == {"ready": True}

    def _read(self):
        line = self.process.stdout.readline()
        assert line, f"the worker ended; see {self.log.name}"
        return json.loads(line)

    def start(self, **job):
        """Begin a job; ``pid`` is the process that does it."""
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        self.pid = self._read()["pid"]

    def wait(self):
        """Return the exit code of the job; the negative signal if it was killed."""
        return self._read()["exit"]

    def run(self, **job):
        self.start(**job)
        return self.wait()

    def execute(self, code):
        assert self.run(code=code) == 0, f"see {self.log.name}"

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.log.close()


@pytest.fixture(scope="session")
def environment(request):
    with Environment() as environment:
        yield environment
        for name in (DATABASE, READY, COPY):
            environment.drop_database(name)
        if not request.session.testsfailed:
            for log in environment.config.parent.glob(f"{DATABASE}*.log"):
                log.unlink()


@pytest.fixture(scope="session")
def template(environment):
    """Return the name of a database with the add-on."""
    name, complaints = environment.addon_database()
    assert not complaints, "\n".join(complaints)
    return name
