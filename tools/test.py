"""``make test``: every kind of test, each in its own process, and the sum of them."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

from .instance import Environment
from .paths import ENV, REPOSITORY, SetupError, main, say

SPEC = REPOSITORY.parent / "shared" / "mailchimp-api" / "marketing-spec.json"
SPEC_REASON = "specification"
KINDS = {
    "engine": ["tests/engine"],
    "simulator": ["tests/simulator"],
    "odoo": ["crm_mailchimp/tests"],
    "e2e": ["tests/e2e"],
}


def run():
    kinds = os.environ.get("KIND", "").split() or list(KINDS)
    environment = Environment(browser="odoo" in kinds or "e2e" in kinds)
    results, failed = {}, False
    if "odoo" in kinds:
        say("Installing the add-on …")
        lines = environment.install("crm_mailchimp_test")
        results["install"] = {"passed": int(not lines), "failed": int(bool(lines))}
        for line in lines:
            print(f"  {line}")
        failed |= bool(lines)
    for kind in kinds:
        folders = [path for path in KINDS[kind] if (REPOSITORY / path).exists()]
        if not folders:
            continue
        say(f"Tests of kind {kind} …")
        code, counts = pytest(environment, kind, folders)
        results[kind] = counts
        failed |= code not in (0, 5)
    return report(results, failed)


def pytest(environment, kind, folders):
    """Run pytest on folders and return ``(exit code, counts)``."""
    xml = ENV / f"{kind}.xml"
    xml.unlink(missing_ok=True)
    command = [str(environment.python), "-m", "pytest", "-q", f"--junitxml={xml}"]
    command += ["-p", "no:cacheprovider", *folders]
    path = [str(REPOSITORY)]
    if kind == "odoo":
        command += [
            "--odoo-database=crm_mailchimp_test",
            f"--odoo-config={environment.config}",
            "--odoo-http",
        ]
    else:
        # The plugin would load Odoo even for tests that have nothing of it.
        command += ["-p", "no:odoo"]
        path.append(str(REPOSITORY / "crm_mailchimp"))
    command += ["-o", f"pythonpath={' '.join(path)}", *sys.argv[1:]]
    variables = environment.environment()
    if SPEC.exists():
        variables.setdefault("MAILCHIMP_SPEC", str(SPEC))
    code = subprocess.run(command, cwd=REPOSITORY, env=variables).returncode
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
        print(f"{kind:>10}: {counts['passed']} passed, {counts['failed']} failed")
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
