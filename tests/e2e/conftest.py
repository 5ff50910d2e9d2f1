"""Odoo in processes of its own, beside a simulator in this one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.instance import Environment  # noqa: E402

# Several runs may go on at once in one clone.
DATABASE = f"crm_mailchimp_e2e_{os.getpid()}"
READY = f"{DATABASE}_ready"
COPY = f"{DATABASE}_copy"


class Worker:
    """Jobs in forked processes of one Odoo; see ``worker.py``.

    Loading Odoo takes seconds, so the same one serves all tests on databases of a name:
    a job sees what is in the database when it begins.

    :param bool fresh: of an Odoo that loads the database as it is now, with the add-ons
        and columns that it has
    """

    loaded = {}

    def __init__(self, environment, database, fresh=False):
        self.database, self.fresh, self.pid = database, fresh, None
        self.log = environment.config.with_name(f"{database}.worker.log")
        self.process = not fresh and self.loaded.get(database)
        if not self.process or self.process.poll() is not None:
            self._load(environment)
        if not fresh:
            self.loaded[database] = self.process

    def _load(self, environment):
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [
                    str(environment.python),
                    str(Path(__file__).with_name("worker.py")),
                    str(environment.config),
                    self.database,
                ],
                env=environment.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._read() == {"ready": True}

    def _read(self):
        line = self.process.stdout.readline()
        assert line, f"the worker ended; see {self.log}"
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
        assert self.run(code=code) == 0, f"see {self.log}"

    def close(self):
        if self.fresh:
            self.process.stdin.close()
            self.process.wait(30)


class Rows:
    """The rows of a database, to be put back: cloning it takes seconds of the CPU.

    Copies of all tables are made in a schema of their own. No process may be at work
    in the database when they are made or put back.
    """

    TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    COUNTS = """
    SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables
     WHERE schemaname = 'public'
    """
    OTHERS = """
    SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
       AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    """
    SEQUENCES = """
    SELECT sequencename, last_value FROM pg_sequences
     WHERE schemaname = 'public' AND last_value IS NOT NULL
    """

    def __init__(self, sql):
        self.sql, self.changed = sql, set()
        copies = (
            f'CREATE TABLE copies."{table}" AS TABLE public."{table}"'
            for (table,) in sql(self.TABLES)
        )
        sql(f"CREATE SCHEMA copies; {'; '.join(copies)}")
        self.counts = dict(sql(self.COUNTS))
        self.sequences = dict(sql(self.SEQUENCES))

    def put_back(self):
        # PostgreSQL counts what was written by the time a connection is closed.
        while self.sql(self.OTHERS) != [[0]]:
            time.sleep(0.01)
        counts = dict(self.sql(self.COUNTS))
        self.changed |= {
            table for table, count in counts.items() if count != self.counts.get(table)
        }
        # Without foreign keys and triggers for the moment.
        steps = ["BEGIN; SET LOCAL session_replication_role = replica"]
        for table in sorted(self.changed):
            steps.append(f'DELETE FROM public."{table}"')
            steps.append(f'INSERT INTO public."{table}" TABLE copies."{table}"')
        for name, value in self.sql(self.SEQUENCES):
            before = self.sequences.get(name)
            if value != before:
                value = f"{before or 1}, {before is not None}"
                steps.append(f"""SELECT setval('"{name}"', {value})""")
        self.sql("; ".join([*steps, "COMMIT"]))


@pytest.fixture(scope="session")
def environment(request):
    with Environment() as environment:
        yield environment
        for process in Worker.loaded.values():
            process.stdin.close()
            process.wait(30)
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
