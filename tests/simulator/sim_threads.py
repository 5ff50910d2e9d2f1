"""Calls aside, and waiting for what comes of them."""

import threading
import time

import requests


def in_thread(call):
    """Run a call aside; ``join`` the thread, then read ``thread.result``."""

    def run():
        try:
            thread.result = call()
        except requests.RequestException as error:
            thread.result = error

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait_for(test):
    deadline = time.monotonic() + 10
    while not test():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)
