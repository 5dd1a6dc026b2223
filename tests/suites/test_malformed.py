from __future__ import annotations

from collections import Counter

import pytest

from suites.conformance import malformed

CORPORA = {"http1": malformed.http1(), "http2": malformed.http2(), "tls": malformed.tls()}


@pytest.mark.parametrize("corpus", CORPORA)
def test_cases_are_told_apart_by_name(corpus):
    names = Counter(case.name for case in CORPORA[corpus])
    assert not [name for name, count in names.items() if count > 1]


@pytest.mark.parametrize("corpus", ["http1", "http2"])
def test_a_case_is_known_by_its_mark(corpus):
    marks = [case.mark for case in CORPORA[corpus]]
    assert len(set(marks)) == len(marks)
    for case in CORPORA[corpus]:
        others = [mark for mark in marks if mark != case.mark and mark.encode() in case.bytes]
        assert not others, case.name
        assert case.seen in {(), (f"{case.mark}good",)}, case.name


def test_a_malformed_request_has_its_mark():
    for case in CORPORA["http1"]:
        assert f"{case.mark}bad".encode() in case.bytes, case.name
    assert not [case.name for case in CORPORA["http2"] if b"/NN/" in case.bytes]


def test_frames_say_their_length():
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for case in CORPORA["http2"]:
        assert case.bytes.startswith(preface)
        rest = case.bytes[len(preface) :]
        if case.name == "noise instead of frames":
            continue
        while rest:
            length = int.from_bytes(rest[:3], "big")
            assert len(rest) >= 9 + length, case.name
            rest = rest[9 + length :]
