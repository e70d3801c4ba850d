import numpy as np
import pytest

from motion_offsets import BadInputError
from motion_offsets.demo.answers import Answer, AnswerStore


def _answer(side: int = 100) -> Answer:
    photo = np.zeros((side, side, 3), np.uint8)
    return Answer(photo, photo, np.zeros((4, side, side), np.float16), "etraj-quadratic", "quadratic", 15, {})


def test_a_ticket_gives_its_own_answer() -> None:
    store = AnswerStore(10_000_000, 3600)
    first, second = _answer(), _answer()
    tickets = store.put(first), store.put(second)
    assert store.get(tickets[0]) is first
    assert store.get(tickets[1]) is second
    store.drop(tickets[0])
    for unknown in (tickets[0], "guessed", None):
        with pytest.raises(BadInputError, match="expired; press the button again"):
            store.get(unknown)


def test_memory_is_bounded_and_the_least_recently_used_goes_first() -> None:
    size = _answer().nbytes
    store = AnswerStore(3 * size, 3600)
    tickets = [store.put(_answer()) for _ in range(3)]
    store.get(tickets[0])
    newest = store.put(_answer())
    assert store.nbytes == 3 * size
    store.get(tickets[0])
    store.get(newest)
    with pytest.raises(BadInputError):
        store.get(tickets[1])


def test_old_answers_go_and_examples_stay() -> None:
    store = AnswerStore(10_000_000, keep_seconds=-1)
    example, visitor = store.put(_answer(), pinned=True), store.put(_answer())
    store.sweep()
    assert store.nbytes == 0
    with pytest.raises(BadInputError):
        store.get(visitor)
    store.drop(example)
    assert store.get(example).width == 100
