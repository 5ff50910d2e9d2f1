"""Odoo and Chromium from Debian's packages, Python packages from the machine's index.

Debian packages are fetched into private apt folders and unpacked in the user's cache,
for the next clone as well: no root, nothing installed on the machine.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .paths import CACHE, ENV, REPOSITORY, SetupError, say

ODOO_PACKAGES = ("odoo-19", "libjs-jquery", "fonts-font-awesome", "fonts-roboto-unhinted")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
BROWSERS = ("chromium", "google-chrome", "chromium-browser", "google-chrome-stable")
WRAPPER = """#!/bin/sh
# Chromium unpacked from its Debian packages, with the libraries beside it.
root='{root}'
export LD_LIBRARY_PATH="$root/usr/lib/{triplet}:$root/lib/{triplet}:$LD_LIBRARY_PATH"
export FONTCONFIG_PATH="$root/etc/fonts" FONTCONFIG_SYSROOT=''
export XDG_DATA_DIRS="$root/usr/share:${{XDG_DATA_DIRS:-/usr/share}}"
exec "$root/usr/lib/chromium/chromium" --no-sandbox --no-first-run --disable-sync \\
    --disable-background-networking --disable-component-update "$@"
"""


def _run(command, log, **options):
    with open(log, "ab") as output:
        return subprocess.run(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, **options
        ).returncode


# === PYTHON === #


def python():
    """Return the private interpreter with all packages, installing them if needed.

    :raise SetupError: when no suitable Python is there or packages cannot be had
    """
    requirements = REPOSITORY / "tools" / "requirements.txt"
    venv = ENV / "venv"
    stamp = venv / "requirements.txt"
    binary = venv / "bin" / "python"
    if stamp.exists() and stamp.read_bytes() == requirements.read_bytes():
        return binary
    base = _base_python()
    log = ENV / "pip.log"
    say("Installing Python packages (a minute or two the first time) …")
    if not binary.exists() and _run([base, "-m", "venv", str(venv)], log):
        raise SetupError(
            "Python cannot make a virtual environment. On Debian, install python3-venv."
            f" Details: {log}"
        )
    if _run([binary, "-m", "pip", "install", "-q", "-r", str(requirements)], log):
        raise SetupError(
            "Python packages could not be installed. Check that pip can reach its index"
            f" (pip download six), then run the command again. Details: {log}"
        )
    shutil.copy(requirements, stamp)
    return binary


def _base_python():
    candidates = [sys.executable]
    candidates += [f"python3.{minor}" for minor in (12, 11, 13, 10)]
    for candidate in candidates:
        path = shutil.which(candidate)
        if not path:
            continue
        check = "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))"
        if subprocess.run([path, "-c", check]).returncode == 0:
            return path
    raise SetupError("Odoo 19 needs Python 3.10 to 3.13, and none of them is here.")


# === DEBIAN === #


class Apt:
    """Private apt folders for one suite of the Debian archive."""

    def __init__(self, suite):
        self.suite = suite
        self.root = CACHE / "apt" / suite
        self.log = CACHE / f"apt-{suite}.log"

    def _options(self):
        settings = {
            "Dir::State::lists": self.root / "lists",
            "Dir::Cache": self.root / "cache",
            "Dir::Etc::sourcelist": self.root / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Debug::NoLocking": "1",
            "APT::Sandbox::User": "",
            "APT::Install-Recommends": "0",
        }
        return [f"-o{name}={value}" for name, value in settings.items()]

    def update(self):
        """Fetch the package lists of the suite."""
        if not shutil.which("apt-get"):
            raise SetupError(
                "This machine has no apt-get, so Debian's packages cannot be fetched."
                " Set ODOO_HOME to a folder with Odoo 19 (the one that holds odoo/),"
                " and put Chromium on the PATH."
            )
        for folder in ("lists/partial", "cache/archives/partial"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "sources.list").write_text(
            f"deb [signed-by={KEYRING}] {mirror()} {self.suite} main\n"
        )
        self.get("update")

    def get(self, *arguments, cwd=None):
        """Run apt-get, a few times if the network falters.

        :raise SetupError: with the place of apt's own words
        """
        for _attempt in range(3):
            if not _run(
                ["apt-get", "-q", *self._options(), *arguments], self.log, cwd=cwd
            ):
                return
        raise SetupError(
            f"Debian's packages of {self.suite} cannot be fetched from {mirror()}."
            f" Run the command again when the mirror answers. Details: {self.log}"
        )


def mirror():
    """Return the Debian mirror this machine's own apt uses."""
    found = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(COMPONENT)"],
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    configured = ""
    for place in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"):
        if os.path.exists(place):
            configured += Path(place).read_text()
    uris = [line.split()[0] for line in found if line.split()]
    uris += [word for word in configured.split() if word.startswith("http")]
    for uri in uris:
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise SetupError(
        "The machine's apt has no Debian mirror. Set ODOO_HOME to a folder with Odoo 19."
    )


def _unpack(archives, root):
    """Unpack packages into ``root``, which appears only when it is complete."""
    partial = root.with_name(root.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for archive in archives:
        if subprocess.run(["dpkg-deb", "-x", str(archive), str(partial)]).returncode:
            Path(archive).unlink()
            raise SetupError(
                f"The package {Path(archive).name} came damaged and was thrown away."
                " Run the command again."
            )
    partial.rename(root)


def odoo_home():
    """Return the folder that holds the ``odoo`` package, fetching it if needed."""
    given = os.environ.get("ODOO_HOME")
    if given:
        if not (Path(given) / "odoo" / "release.py").exists():
            raise SetupError(f"ODOO_HOME is {given}, but there is no odoo/ in it.")
        return Path(given)
    root = CACHE / "odoo-19"
    home = root / "usr" / "lib" / "python3" / "dist-packages"
    if not home.exists():
        say("Fetching Odoo 19 (about 125 MB) …")
        apt = Apt("sid")
        apt.update()
        downloads = apt.root / "download"
        downloads.mkdir(exist_ok=True)
        apt.get("download", *ODOO_PACKAGES, cwd=downloads)
        say("Unpacking Odoo …")
        _unpack(sorted(downloads.glob("*.deb")), root)
    # The package lacks this file, and every page logs an error about it.
    missing = home / "odoo/addons/mail/static/lib/selfie_segmentation"
    missing.mkdir(parents=True, exist_ok=True)
    (missing / "selfie_segmentation.js").touch()
    return home


def browser():
    """Return a Chromium for browser tests, unpacking one if the machine has none."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return Path(path)
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    suite = release.get("VERSION_CODENAME", "sid").strip('"')
    root = CACHE / f"chromium-{suite}"
    wrapper = ENV / "bin" / "chromium"
    if not root.exists():
        say("Fetching Chromium (about 130 MB) …")
        apt = Apt(suite)
        apt.update()
        apt.get(
            "install", "--download-only", "-y", "chromium", "fonts-dejavu-core"
        )
        _unpack(sorted((apt.root / "cache" / "archives").glob("*.deb")), root)
    triplet = next((root / "usr/lib").glob("*-linux-gnu*"), Path("x86_64-linux-gnu"))
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    wrapper.write_text(WRAPPER.format(root=root, triplet=triplet.name))
    wrapper.chmod(0o755)
    return wrapper
