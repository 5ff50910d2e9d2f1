"""Odoo as a process: prepare its databases, start it, talk to it, stop or kill it."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import xmlrpc.client
from pathlib import Path

from . import packages
from .paths import ADDON, CACHE, ENV, REPOSITORY, WEBSITE_ADDON, SetupError, say
from .postgres import Postgres, free_port

BASE = "crm_mailchimp_base"
STANDARD_MODULES = "crm,contacts"
# A record of Odoo's log begins with its time; lines without one continue it.
RECORD = re.compile(r"^(?=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} )", re.MULTILINE)
OURS = re.compile(r"crm\.mailchimp|mailchimp_\w|/crm_mailchimp/")
# The first writes to the tables that users and runs write to, all rolled back.
FIRST_WRITES = """
account = env["crm.mailchimp.account"].create({"name": "First"})
account.write({"email_scope": "all", "audience_ref": "a", "lang": "en_US"})
partner = env["res.partner"].create({"name": "A", "email": "a@firma.be"})
partner.write({"mailchimp_opt_in": True, "email": "b@firma.be"})
env["mail.blacklist"].create({"email": "b@firma.be"})
env["crm.lead"].create({"name": "L", "partner_id": partner.id}).write({"name": "M"})
values = {
    "crm.mailchimp.run": ({"kind": "push"}, {"state": "running"}),
    "crm.mailchimp.campaign": ({"name": "C", "campaign_ref": "c"}, {"sent": 1}),
    "crm.mailchimp.member": (
        {"email_normalized": "b@firma.be"},
        {"status": "archived"},
    ),
}
for model, (first, then) in values.items():
    record = env[model].create({"account_id": account.id, **first})
    env.flush_all()
    record.write(then)
    record.read()
partner.read()
account.read()
env.flush_all()
env.cr.rollback()
"""
# The bundles that pages of the add-on load; all of Odoo's would take twice as long.
ASSETS = """
for name in (
    "web.assets_web", "web.assets_web_print", "web.assets_backend_lazy",
    "web.chartjs_lib", "web.fullcalendar_lib", "web.assets_frontend",
    "web.assets_frontend_minimal", "web.assets_frontend_lazy", "web.assets_tests",
    "web.__assets_tests_call__",
):
    bundle = env["ir.qweb"]._get_asset_bundle(name, css=True, js=True)
    bundle.js()
    bundle.css()
env.cr.commit()
"""


@contextlib.contextmanager
def alone(folder):
    """Keep other commands from preparing the same things below a folder meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another command that prepares the same …")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class Environment:
    """Everything that is prepared once: packages, server, template databases."""

    def __init__(self, browser=False):
        with alone(ENV), alone(CACHE):
            self.python = packages.python()
            self.odoo_home = packages.odoo_home()
            self.browser = packages.browser() if browser else None
            self.postgres = Postgres(self.python)
            self._configure()
            self._use = (ENV / "in-use").open("w")
            fcntl.flock(self._use, fcntl.LOCK_SH)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        """Stop the database server if this started it and nobody else uses it."""
        if not self.postgres.started:
            return
        with alone(ENV), contextlib.suppress(BlockingIOError):
            fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.postgres.stop()

    def _configure(self):
        self.data = ENV / "data"
        self.config = ENV / "odoo.conf"
        # Odoo's repository has most add-ons beside the odoo package, Debian all in it.
        places = [self.odoo_home / "odoo" / "addons", self.odoo_home / "addons"]
        if not (places[1] / "crm").exists():
            del places[1]
        addons = ",".join(str(path) for path in [*places, REPOSITORY])
        self.config.write_text(
            "[options]\n"
            f"addons_path = {addons}\n"
            f"data_dir = {self.data}\n"
            f"db_host = {self.postgres.host}\n"
            f"db_port = {self.postgres.port}\n"
            f"db_user = {self.postgres.user}\n"
            f"db_password = {self.postgres.password}\n"
            "http_interface = 127.0.0.1\n"
            "admin_passwd = admin\n"
            "list_db = False\n"
        )

    def environment(self):
        """Return the environment variables Odoo and its tests run under."""
        # ODOO_* variables override the configuration file, as PG* variables do.
        found = {
            name: value
            for name, value in self.postgres.environment().items()
            if not name.startswith("ODOO_")
        }
        found["PYTHONPATH"] = os.pathsep.join([str(self.odoo_home), str(REPOSITORY)])
        found["PYTHONWARNINGS"] = "ignore"
        if self.browser:
            found["PATH"] = f"{self.browser.parent}{os.pathsep}{found['PATH']}"
        return found

    def command(self, *arguments):
        return [str(self.python), "-m", "odoo", *arguments]

    def odoo(self, *arguments, log, script=None):
        """Run an Odoo command to its end, with its log in a file.

        :param script: Python to run in Odoo's shell; its log is appended to the file
        :raise SetupError: when it fails
        """
        command = ["shell"] if script else []
        with open(log, "a" if script else "w") as output:
            result = subprocess.run(
                self.command(*command, "--config", str(self.config), *arguments),
                # Python's warnings are complaints like any other.
                env={**self.environment(), "PYTHONWARNINGS": "default"},
                cwd=ENV,
                stdout=output,
                stderr=output,
                input=script,
                text=True,
            )
        if result.returncode:
            tail = "\n".join(open(log).read().splitlines()[-15:])
            raise SetupError(f"Odoo failed:\n{tail}\nThe whole log is in {log}.")

    def base_database(self):
        """Return a template database with Odoo's own modules, made once."""
        release = (self.odoo_home / "odoo" / "release.py").read_text()
        stamp = ENV / "base.stamp"
        if not (
            stamp.exists()
            and stamp.read_text() == release
            and self.postgres.exists(BASE)
        ):
            say("Making a database with Odoo's own modules (about a minute) …")
            self.drop_database(BASE)
            self.odoo(
                f"--database={BASE}",
                f"--init={STANDARD_MODULES}",
                "--stop-after-init",
                "--no-http",
                log=ENV / "base.log",
            )
            stamp.write_text(release)
        return BASE

    def addon_database(self):
        """Return ``(template, complaints)``: a database with the add-on as it is now.

        Clone it to use it. ``complaints`` are the warnings and errors that were logged
        during its installation.
        """
        name = f"crm_mailchimp_{self.addon_digest()}"
        installed = ENV / f"{name}_building.install.log"
        with alone(ENV):
            # Another clone may have made it, on a server that both use.
            if not self.postgres.exists(name) or not installed.exists():
                for old in self.postgres.names():
                    if re.fullmatch("crm_mailchimp_[0-9a-f]{12}(_building)?", old):
                        self.drop_database(old)
                say("Installing the add-on …")
                building = f"{name}_building"
                self.install(building)
                # Otherwise each browser test compiles the assets, then rolls them back.
                log = ENV / f"{building}.assets.log"
                self.odoo(f"--database={building}", "--no-http", log=log, script=ASSETS)
                self.clone_database(building, name)
                self.drop_database(building)
        return name, complaints(installed)

    def website_database(self):
        """Return ``(template, complaints)``: as above, with the website's add-on."""
        template, _complaints = self.addon_database()
        name = f"crm_mailchimp_website_{self.addon_digest(ADDON, WEBSITE_ADDON)}"
        log = ENV / f"{name}.install.log"
        with alone(ENV / "website"):
            if not self.postgres.exists(name):
                for old in self.postgres.names():
                    if re.fullmatch(
                        "crm_mailchimp_website_[0-9a-f]{12}(_building)?", old
                    ):
                        self.drop_database(old)
                say("Installing the add-on for the website …")
                building = self.clone_database(template, f"{name}_building")
                self.odoo(
                    f"--database={building}",
                    f"--init={WEBSITE_ADDON.name}",
                    "--stop-after-init",
                    "--no-http",
                    log=log,
                )
                self.clone_database(building, name)
                self.drop_database(building)
        return name, complaints(log)

    def addon_digest(self, *addons):
        """Return a digest that changes whenever a database needs an update of add-ons.

        :param addons: their folders; without any, only the main add-on
        """
        release = (self.odoo_home / "odoo" / "release.py").read_bytes()
        digest = hashlib.sha256(release)
        for addon in addons or (ADDON,):
            for path in sorted(filter(Path.is_file, addon.rglob("*.*"))):
                inside = path.relative_to(addon)
                if path.suffix != ".pyc" and inside.parts[0] not in ("tests", "static"):
                    digest.update(f"{inside}\n".encode() + path.read_bytes())
        return digest.hexdigest()[:12]

    def install(self, name, demo=False):
        """Make a database with the add-on; return the complaints in its log."""
        log = ENV / f"{name}.install.log"
        if demo:
            self.drop_database(name)
        else:
            self.clone_database(self.base_database(), name)
        self.odoo(
            f"--database={name}",
            "--init=crm_mailchimp" + (",contacts" if demo else ""),
            *(["--with-demo"] if demo else []),
            "--stop-after-init",
            "--no-http",
            log=log,
        )
        if not demo:
            # Some warnings appear only at a process's first writes.
            self.odoo(f"--database={name}", "--no-http", log=log, script=FIRST_WRITES)
        return complaints(log)

    def update(self, name):
        """Update the add-on in a database; return the complaints in the log."""
        log = ENV / f"{name}.update.log"
        self.odoo(
            f"--database={name}",
            "--update=crm_mailchimp",
            "--stop-after-init",
            "--no-http",
            log=log,
        )
        return complaints(log)

    def clone_database(self, template, name):
        """Copy a database and its filestore, which PostgreSQL knows nothing about."""
        stores = self.data / "filestore"
        shutil.rmtree(stores / name, ignore_errors=True)
        if (stores / template).exists():
            # Odoo never changes a file in its store, so hard links will do.
            shutil.copytree(stores / template, stores / name, copy_function=os.link)
        self.postgres.clone(template, name)
        return name

    def drop_database(self, name):
        self.postgres.drop(name)
        shutil.rmtree(self.data / "filestore" / name, ignore_errors=True)


def complaints(log):
    """Return the warning and error lines of an Odoo log.

    A warning by Python counts only if the add-on is involved: the warning names it, or
    it is among the calls that Odoo logs below.
    """
    found = []
    for record in RECORD.split(open(log, encoding="utf-8").read()):
        line, _end, calls = record.partition("\n")
        if not (" WARNING " in line or " ERROR " in line or " CRITICAL " in line):
            continue
        # These are about the server, not about any add-on.
        if " ? odoo" in line or "pg_trgm" in line or "unaccent" in line:
            continue
        if " py.warnings:" in line and not OURS.search(line.partition(": ")[2] + calls):
            continue
        found.append(line)
    return found


class Instance:
    """One Odoo server on one database.

    :param Environment environment: where it runs
    :param str database: an existing database
    :param port: HTTP port; a free one if not given
    :param int cron_threads: threads, or workers, for scheduled actions
    :param options: further command-line options for Odoo
    """

    def __init__(self, environment, database, port=None, cron_threads=1, options=()):
        self.environment = environment
        self.database = database
        self.port = port or free_port()
        self.cron_threads = cron_threads
        self.options = options
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = ENV / f"{database}.{self.port}.log"
        self.process = None
        self.uid = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc_info):
        self.stop()

    def start(self, patience=120):
        """Start the server and wait until it answers.

        :raise SetupError: when it does not come up
        """
        with open(self.log, "a") as output:
            self.process = subprocess.Popen(
                self.environment.command(
                    "--config",
                    str(self.environment.config),
                    f"--database={self.database}",
                    f"--http-port={self.port}",
                    f"--max-cron-threads={self.cron_threads}",
                    *self.options,
                ),
                env=self.environment.environment(),
                cwd=ENV,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/web/health", timeout=5):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        self.kill()
        raise SetupError(f"Odoo did not come up. Its log is {self.log}.")

    def stop(self):
        """Shut the server down cleanly."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self):
        """Kill the server as a power cut would."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def rpc(self, model, method, *args, user="admin", password="admin", **kwargs):
        """Call a method as a user, over XML-RPC like any other program."""
        server = xmlrpc.client.ServerProxy
        if self.uid is None or user != "admin":
            common = server(f"{self.url}/xmlrpc/2/common", allow_none=True)
            uid = common.authenticate(self.database, user, password, {})
            if user == "admin":
                self.uid = uid
        else:
            uid = self.uid
        models = server(f"{self.url}/xmlrpc/2/object", allow_none=True)
        return models.execute_kw(
            self.database, uid, password, model, method, list(args), kwargs
        )

    def sql(self, query):
        """Run SQL in the database and return the rows."""
        return self.environment.postgres.sql(query, self.database)
