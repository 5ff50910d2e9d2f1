import signal
import subprocess
import sys
import time

import pytest

TOOL = """
import sys, time
from tools.paths import main

def run():
    try:
        print("at work", flush=True)
        time.sleep(float(sys.argv[1]))
        return 0
    finally:
        print("cleaned up", flush=True)

main(run)
"""


def started(seconds, *before):
    process = subprocess.Popen(
        [*before, sys.executable, "-c", TOOL, str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.stdout.readline() != "at work\n":
        assert process.poll() is None
    return process


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
def test_a_tool_that_is_ended_cleans_up(ending):
    process = started(60)
    process.send_signal(ending)
    output, _nothing = process.communicate(timeout=30)
    assert output == "cleaned up\n"
    assert process.returncode == 130


def test_a_tool_under_nohup_outlives_the_terminal():
    process = started(1, "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    output, _nothing = process.communicate(timeout=30)
    assert output == "cleaned up\n"
    assert process.returncode == 0
