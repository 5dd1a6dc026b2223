from __future__ import annotations

from collections import Counter

import pytest

from suites.conformance import malformed

CORPORA = {"http1": malformed.http1(), "http2": malformed.http2(), "tls": malformed.tls()}


@pytest.mark.parametrize("corpus", CORPORA)
def test_cases_are_told_apart_by_name(corpus):
    names = Counter(case.name for case in CORPORA[corpus])
    assert not [name for name, count in names.items() if count > 1]


def test_a_case_is_known_by_its_target():
    for number, case in enumerate(CORPORA["http1"]):
        assert f"/{number}/bad".encode() in case.bytes, case.name
        assert case.seen in {(), (f"/{number}/good",)}, case.name


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
