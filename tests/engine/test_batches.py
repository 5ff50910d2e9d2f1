"""Batches: what may go into one, and what is made of the archive that comes back."""

import gzip
import io
import json
import tarfile
import tracemalloc

import pytest
from engine import batches, errors
from engine import session as session_module

MEMBER = "/lists/l/members/0123"


def patch(body, path=MEMBER, method="PATCH", ref=1):
    return {"method": method, "path": path, "operation_id": ref, "body": body}


def result(ref, status=200, response="{}"):
    return {"status_code": status, "operation_id": ref, "response": response}


def archive(*files, special=None):
    """Return a gzipped tar of ``(name, content)`` as Mailchimp makes them."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        folder = tarfile.TarInfo("results")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        if special:
            item = tarfile.TarInfo("results/special")
            item.type, item.linkname = special, "/etc/passwd"
            tar.addfile(item)
        for name, content in files:
            data = content if isinstance(content, bytes) else json.dumps(content)
            data = data if isinstance(data, bytes) else data.encode()
            item = tarfile.TarInfo(name)
            item.size = len(data)
            tar.addfile(item, io.BytesIO(data))
    return gzip.compress(raw.getvalue())


# === Starting one === #


def test_the_body_of_an_operation_is_json_in_json():
    values = {"merge_fields": {"FNAME": "Zoë"}}
    (operation,) = batches.encode([patch(values, ref=7)])["operations"]
    assert json.loads(operation["body"]) == values
    assert operation["operation_id"] == "7"
    archive_one = {"method": "DELETE", "path": MEMBER, "operation_id": "a"}
    assert batches.encode([archive_one])["operations"] == [archive_one]


@pytest.mark.parametrize(
    "operation",
    [
        patch({"status": "subscribed"}),
        patch({"status_if_new": "subscribed"}),
        patch({}),
        patch({"language": "fr"}, method="PUT"),
        patch({"language": "fr"}, method="POST"),
        patch({"members": []}, path="/lists/l", method="POST"),
        patch({"name": "x"}, path="/lists/l"),
        patch(None, path="/lists/l", method="DELETE"),
        patch(None, path=MEMBER + "/actions/delete-permanent", method="POST"),
        patch({"language": "fr"}, path=MEMBER + "?x=1"),
    ],
)
def test_a_batch_cannot_subscribe_or_destroy(operation):
    with pytest.raises(ValueError):
        batches.encode([operation])


def test_a_batch_has_a_size():
    with pytest.raises(ValueError):
        batches.encode([])
    with pytest.raises(ValueError):
        batches.encode([patch({"language": "fr"})] * 501)


# === Reading the results === #


def read(gateway, answers, raw, status=200):
    answers.set(status, raw)
    return list(gateway.batch_results(answers.url + "/results?signature=secret"))


def test_each_operation_has_its_outcome(answers, gateway):
    missing = '{"title": "Resource Not Found", "status": 404}'
    refused = '{"title": "Member In Compliance State", "status": 400}'
    raw = archive(
        ("results/1.json", [result("1", response='{"id": "a"}')]),
        ("results/empty.json", b""),
        (
            "results/2.json",
            [
                result("2", 404, missing),
                result("3", 204, ""),
                result("4", 400, refused),
                result("5", 429, ""),
                result("6", 500, "<html>"),
                result("7", 200, "{broken"),
                {"operation_id": "8"},
                result(None),
            ],
        ),
    )
    found = dict(read(gateway, answers, raw))
    assert found["1"] == {"id": "a"} and found["3"] == {} and found[None] == {}
    assert isinstance(found["2"], errors.NotFound)
    assert found["4"].code == "compliance"
    assert isinstance(found["5"], errors.Retryable)
    assert not found["5"].outcome_unknown
    for ref, kind in (("6", errors.Retryable), ("7", errors.Protocol)):
        assert isinstance(found[ref], kind) and found[ref].outcome_unknown
    assert isinstance(found["8"], errors.Protocol)


def test_the_storage_gets_no_key_nor_netrc(answers, gateway, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def new_session(*args, **kwargs):
        session = session_module.new_session(*args, **kwargs)
        session.trust_env = True  # as for hosts that are not this machine
        return session

    monkeypatch.setattr(batches, "new_session", new_session)
    read(gateway, answers, archive())
    assert "Authorization" not in answers.requests[-1][3]


def test_an_archive_sent_as_an_encoding_is_the_same_archive(answers, gateway):
    answers.set(200, archive(("a", [result("1")])), **{"Content-Encoding": "gzip"})
    found = gateway.batch_results(answers.url + "/results")
    assert list(found) == [("1", {})]


@pytest.mark.parametrize(
    "raw",
    [
        archive(("../up.json", [])),
        archive(("/etc/up.json", [])),
        archive(("results/../../up.json", [])),
        archive(special=tarfile.SYMTYPE),
        archive(special=tarfile.LNKTYPE),
        archive(special=tarfile.FIFOTYPE),
        archive(("a.json", {"not": "a list"})),
        archive(("a.json", ["no result"])),
        archive(("a.json", b"[{")),
        archive(("a.json", [result("1")] * 100))[:-30],
        gzip.compress(b"no tar"),
        b"rubbish",
        b"",
    ],
)
def test_unsafe_or_broken_results_are_refused(answers, gateway, raw):
    with pytest.raises(errors.Protocol):
        read(gateway, answers, raw)


def test_an_address_that_has_run_out_is_for_later(answers, gateway):
    with pytest.raises(errors.Retryable) as caught:
        read(gateway, answers, b"<Error>expired</Error>", status=403)
    assert "secret" not in str(caught.value)
    answers.next.append("cut")
    with pytest.raises(errors.Retryable) as caught:
        read(gateway, answers, archive())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "limit", ["MAX_DOWNLOAD_BYTES", "MAX_UNPACKED_BYTES", "MAX_FILE_BYTES"]
)
def test_results_have_bounds(answers, gateway, monkeypatch, limit):
    raw = archive(("a.json", json.dumps([result("1")] * 9000).encode()))
    assert len(read(gateway, answers, raw)) == 9000
    monkeypatch.setattr(batches, limit, 1000)
    with pytest.raises(errors.Protocol, match="too large"):
        read(gateway, answers, raw)


def header(kind, size, name="./PaxHeaders/a"):
    """Return the block that announces a header of a tar, of so many bytes."""
    item = tarfile.TarInfo(name)
    item.type, item.size = kind, size
    return item.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    "kind",
    [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE]
    + [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK],
)
def test_a_large_header_does_not_fill_the_memory(answers, gateway, kind):
    size = 50 * 1024 * 1024
    raw = gzip.compress(header(kind, size) + b"0" * size, 1)
    tracemalloc.start()
    try:
        with pytest.raises(errors.Protocol):
            read(gateway, answers, raw)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * 1024 * 1024


def test_headers_without_end_are_refused(answers, gateway):
    pax = header(tarfile.XHDTYPE, 11) + b"11 path=ab\n".ljust(512, b"\0")
    with pytest.raises(errors.Protocol, match="too many"):
        read(gateway, answers, gzip.compress(pax * 10_001))
    sparse = header(tarfile.GNUTYPE_SPARSE, 0, "a")
    with pytest.raises(errors.Protocol, match="no file"):
        read(gateway, answers, gzip.compress(sparse))


def test_many_files_do_not_fill_the_memory(answers, gateway, monkeypatch):
    monkeypatch.setattr(batches, "MAX_FILES", 20)
    files = [(f"results/{number}.json", b"[]") for number in range(20)]
    assert not read(gateway, answers, archive(*files[2:]))
    with pytest.raises(errors.Protocol, match="too many"):
        read(gateway, answers, archive(*files))


def test_a_long_name_is_no_reason_to_refuse(answers, gateway):
    name = "results/" + "a" * 300 + ".json"
    assert read(gateway, answers, archive((name, [result("1")]))) == [("1", {})]


def test_results_come_over_https(answers):
    for url in (answers.url + "/results", "ftp://x.example/a", "", "results"):
        with pytest.raises(errors.Protocol):
            list(batches.results(url))
    assert not answers.requests
