"""The framing of a server's channel: frames survive any cutting, credits keep every stream within its window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.agent.frames import (
    PAYLOAD_LIMIT,
    PIECE,
    WINDOW,
    Decoder,
    FrameError,
    Inlet,
    Kind,
    Outlet,
    credit,
    encode,
    granted,
)

pytestmark = pytest.mark.pure

FRAMES = st.lists(st.tuples(st.sampled_from(list(Kind)), st.integers(0, 2**32 - 1), st.binary(max_size=300)))


@given(FRAMES, st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(
    frames: list[tuple[Kind, int, bytes]], cuts: list[int]
) -> None:
    data, decoder, found, turn = b"".join(encode(*frame) for frame in frames), Decoder(), [], 0
    while data:
        size = cuts[turn % len(cuts)]
        found += list(decoder.feed(data[:size]))
        data, turn = data[size:], turn + 1
    assert found == frames


@given(st.binary(min_size=9, max_size=200))
def test_garbage_is_a_frame_or_an_error_but_never_more_than_came(data: bytes) -> None:
    decoder, found = Decoder(), []
    try:
        found = list(decoder.feed(data))
    except FrameError:
        return
    assert b"".join(encode(*frame) for frame in found) == data[: sum(9 + len(each[2]) for each in found)]


def test_a_frame_that_is_too_big_is_refused_by_its_head_alone() -> None:
    head = encode(Kind.DATA, 1)[4:]
    assert list(Decoder().feed(PAYLOAD_LIMIT.to_bytes(4, "big") + head)) == []
    with pytest.raises(FrameError, match="65537 bytes"):
        list(Decoder().feed((PAYLOAD_LIMIT + 1).to_bytes(4, "big") + head))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(FrameError, match="unknown kind 77"):
        list(Decoder().feed(b"\0\0\0\0\x4d\0\0\0\1"))


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=3000), st.just(None)), max_size=60))
def test_what_is_put_arrives_whole_and_never_more_than_a_window_is_under_way(steps: list[bytes | None]) -> None:
    outlet, inlet = Outlet(), Inlet()
    put, arrived, unread = bytearray(), bytearray(), 0
    for step in steps:
        if step is None:  # the reader takes what came
            told, unread = inlet.used(unread), 0
            outlet.grant(told)
        else:
            data = step * 97
            put += data
            outlet.put(data)
        for piece in outlet.take():
            assert len(piece) <= PIECE
            inlet.arrived(len(piece))
            arrived += piece
            unread += len(piece)
        assert unread <= WINDOW
    while len(arrived) < len(put):
        told, unread = inlet.used(unread), 0
        outlet.grant(told)
        before = len(arrived)
        for piece in outlet.take():
            inlet.arrived(len(piece))
            arrived += piece
            unread += len(piece)
        assert len(arrived) > before, "a stream whose reader takes everything came to a halt"
    assert arrived == put


def test_more_than_the_credit_is_a_violation_on_either_side() -> None:
    with pytest.raises(FrameError, match="1 bytes more"):
        Inlet().arrived(WINDOW + 1)
    with pytest.raises(FrameError, match="credit"):
        Outlet().grant(1)
    with pytest.raises(FrameError, match="instead of 4"):
        granted(b"12345")
    assert granted(credit(3, 70_000)[9:]) == 70_000
