"""placeholder"""
from .server import Reply


def answer(simulator, received):
    return Reply(404, {}, b"")
