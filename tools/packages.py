"""Odoo and Chromium from Debian's packages, Python packages from the machine's index.

Debian packages are fetched into private apt folders and unpacked in the user's cache,
where the next clone finds them: no root needed, nothing installed on the machine.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .paths import CACHE, ENV, REPOSITORY, SetupError, say

ODOO_PACKAGES = (
    "odoo-19",
    "libjs-jquery",
    "fonts-font-awesome",
    "fonts-roboto-unhinted",
)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# The names Odoo looks for, in the order it tries them.
BROWSERS = ("google-chrome", "chromium", "chromium-browser", "google-chrome-stable")
# Without these switches Chromium contacts its maker's servers at every start.
WRAPPER = """#!/bin/sh
{preparation}exec '{program}' --no-sandbox --no-first-run --disable-quic \\
    --disable-background-networking --disable-component-update --disable-sync "$@"
"""
UNPACKED = """# Unpacked from its Debian packages, with the libraries beside it.
root='{root}'
export LD_LIBRARY_PATH="$root/usr/lib/{triplet}:$root/lib/{triplet}"
LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$root/usr/lib/{triplet}/pulseaudio"
export FONTCONFIG_FILE="${{0%/bin/*}}/fonts.conf"
"""
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir>{root}/usr/share/fonts</dir>
  <dir>{odoo}/usr/share/fonts</dir>
  <cachedir>{cache}</cachedir>
</fontconfig>
"""


def _run(command, log, **options):
    with open(log, "ab") as output:
        return subprocess.run(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, **options
        ).returncode


# === PYTHON === #


def python():
    """Return the private interpreter with all packages, installing them if needed.

    :raise SetupError: without a suitable Python, or if packages cannot be installed
    """
    requirements = REPOSITORY / "tools" / "requirements.txt"
    venv = ENV / "venv"
    stamp = venv / "requirements.txt"
    binary = venv / "bin" / "python"
    works = binary.exists() and _works([binary, "-m", "pip", "--version"])
    current = stamp.exists() and stamp.read_bytes() == requirements.read_bytes()
    if works and current:
        return binary
    log = ENV / "pip.log"
    if not works:
        shutil.rmtree(venv, ignore_errors=True)
        _make_venv(venv, log)
    say("Installing Python packages (a minute or two the first time) …")
    # Most modules are never imported: compiling all of them takes longer than the rest.
    command = [binary, "-m", "pip", "install", "-q", "--no-compile"]
    if _run([*command, "-r", str(requirements)], log):
        raise SetupError(
            "Python packages could not be installed. Check that pip can reach its index"
            f" (pip download six), then run the command again. Details: {log}"
        )
    shutil.copy(requirements, stamp)
    return binary


def _works(command):
    return not subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ).returncode


def _make_venv(venv, log):
    base = _base_python()
    if _works([base, "-c", "import ensurepip"]):
        failed = _run([base, "-m", "venv", venv], log)
    else:
        # Debian's python3 comes without ensurepip: pip is a separate package.
        failed = _run([base, "-m", "venv", "--without-pip", venv], log)
        pip = _pip_wheel()
        failed = failed or _run(
            [venv / "bin/python", pip / "pip", "install", "--no-index", pip], log
        )
    if failed:
        raise SetupError(
            "Python cannot make a virtual environment. On Debian, install python3-venv."
            f" Details: {log}"
        )


def _pip_wheel():
    root = CACHE / "python3-pip-whl"
    if not root.exists():
        apt = Apt(_release())
        apt.update()
        _unpack(apt.download("python3-pip-whl"), root)
    return next(root.glob("usr/share/python-wheels/pip-*.whl"))


def _base_python():
    check = "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))"
    # A distribution compiles its Python with what it learnt from a profile; one that
    # pyenv compiled is a third slower. Whoever names one with PYTHON gets that.
    candidates = [os.environ.get("PYTHON"), "/usr/bin/python3", sys.executable]
    candidates += [shutil.which(f"python3.{minor}") for minor in (12, 11, 13, 10)]
    # pyenv keeps its interpreters off the PATH.
    candidates += sorted(Path("~/.pyenv/versions").expanduser().glob("3.1*/bin/python"))
    for name in candidates:
        path = name and shutil.which(name)
        if path and _works([path, "-c", check]):
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
        """Fetch the package lists of the suite.

        :raise SetupError: without apt-get, or when they cannot be fetched
        """
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
        """Run apt-get, up to three times in case the network falters.

        :raise SetupError: with the path of apt's own log
        """
        for _attempt in range(3):
            command = ["apt-get", "-q", *self._options(), *arguments]
            if not _run(command, self.log, cwd=cwd):
                return
        raise SetupError(
            f"Debian's packages of {self.suite} cannot be fetched from {mirror()}."
            f" Run the command again when the mirror answers. Details: {self.log}"
        )

    def download(self, *packages):
        """Fetch packages without their dependencies; return their files.

        apt checks the files that are there already: a complete one is kept, one cut
        off by an interruption is fetched again.
        """
        folder = self.root / "download"
        folder.mkdir(exist_ok=True)
        self.get("download", *packages, cwd=folder)
        listing = subprocess.run(
            ["apt-get", *self._options(), "download", "--print-uris", *packages],
            capture_output=True,
            text=True,
        ).stdout
        names = re.findall(r"^'\S+' (\S+\.deb) ", listing, re.M)
        return [folder / name for name in names]

    def download_missing(self, *packages):
        """Fetch packages and their missing dependencies; return the files."""
        self.get("install", "--download-only", "-y", *packages)
        return sorted((self.root / "cache" / "archives").glob("*.deb"))


def mirror():
    """Return the Debian mirror this machine's own apt uses.

    The addresses of an update contain it even if no list was ever downloaded.

    :raise SetupError: when apt has no Debian mirror
    """
    uris = subprocess.run(
        ["apt-get", "-oDebug::NoLocking=1", "update", "--print-uris"],
        capture_output=True,
        text=True,
    ).stdout
    for uri in re.findall(r"^'(\S+)/dists/", uris, re.M):
        if uri.rpartition("/")[2] in ("debian", "debian.list"):
            return uri
    raise SetupError(
        "The machine's apt has no Debian mirror. Add one to its sources, or set"
        " ODOO_HOME to a folder with Odoo 19."
    )


def _release():
    """Return the code name of the machine's own Debian."""
    text = Path("/etc/os-release").read_text()
    found = re.search(r'^VERSION_CODENAME="?(\w+)', text, re.M)
    return found[1] if found else "sid"


def _unpack(archives, root):
    """Unpack packages into ``root``, which appears only once it is complete."""
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
        archives = apt.download(*ODOO_PACKAGES)
        say("Unpacking Odoo …")
        _unpack(archives, root)
    # The package lacks this file, and every page would log an error about it.
    missing = home / "odoo/addons/mail/static/lib/selfie_segmentation"
    missing.mkdir(parents=True, exist_ok=True)
    (missing / "selfie_segmentation.js").touch()
    return home


def browser():
    """Return a Chromium for browser tests, unpacking one if the machine has none.

    :return: a wrapper under the first name Odoo looks for, so that it wins on the PATH
    """
    wrapper = ENV / "bin" / BROWSERS[0]
    folders = os.environ["PATH"].split(os.pathsep)
    path = os.pathsep.join(name for name in folders if name != str(wrapper.parent))
    found = (shutil.which(name, path=path) for name in BROWSERS)
    program, preparation = next(filter(None, found), None), ""
    if not program:
        root = CACHE / f"chromium-{_release()}"
        if not root.exists():
            say("Fetching Chromium (about 130 MB) …")
            apt = Apt(_release())
            apt.update()
            _unpack(apt.download_missing("chromium", "fonts-dejavu-core"), root)
        triplet = next((root / "usr/lib").glob("*-linux-gnu*")).name
        program = root / "usr/lib/chromium/chromium"
        preparation = UNPACKED.format(root=root, triplet=triplet)
        # Roboto, which Odoo's pages ask for, was unpacked along with Odoo.
        fonts = FONTS.format(root=root, odoo=CACHE / "odoo-19", cache=ENV / "fonts")
        (ENV / "fonts.conf").write_text(fonts)
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    wrapper.write_text(WRAPPER.format(preparation=preparation, program=program))
    wrapper.chmod(0o755)
    if not _works([wrapper, "--version"]):
        raise SetupError(
            f"Chromium does not start here: run {wrapper} --version to see why, or"
            " install Debian's chromium."
        )
    return wrapper


def node_modules():
    """Install the pinned npm packages; return their folder, ``None`` without npm."""
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    source, target = REPOSITORY / "tools" / "node", ENV / "node"
    wanted = (source / "package-lock.json").read_bytes()
    lock = target / "package-lock.json"
    if not lock.exists() or lock.read_bytes() != wanted:
        shutil.rmtree(target, ignore_errors=True)
        partial = target.with_name("node.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--silent"]
        if subprocess.run(command, cwd=partial).returncode:
            raise SetupError(
                "Packages could not be installed from npm. Check that it can reach its"
                " registry (npm view prettier), then run the command again."
            )
        partial.rename(target)
    return target / "node_modules"
