"""Threads of one process that ask a server as fast as it answers, and judge every answer."""

import concurrent.futures
import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.traffic import TOLERANCE, Answer, Call, Client, RefusedError, difference

RIGHT, REFUSED = 'right', 'refused'

_PATIENCE = 120  # seconds after which threads stop where nobody has stopped the server


class Record(NamedTuple):
    """What became of a call; times are seconds of the monotonic clock."""

    call: int
    began: float
    ended: float
    verdict: str
    """`RIGHT`, `REFUSED` (nothing was taken), or what was wrong."""
    difference: float = 0.0
    version: int | None = None


def run(
    addresses: tuple[str, str], calls: Sequence[Call], expected: Sequence[Answer], threads: int, seconds: float
) -> list[Record]:
    """What became of the calls of so many threads, which ask until the server refuses them, about `seconds`."""
    deadline = time.monotonic() + seconds + _PATIENCE
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda n: _ask_until_refused(addresses, calls, expected, n, deadline), range(threads))
        return [record for records in found for record in records]


def _ask_until_refused(
    addresses: tuple[str, str], calls: Sequence[Call], expected: Sequence[Answer], thread: int, deadline: float
) -> list[Record]:
    client, chance, records = Client(*addresses), random.Random(thread), []
    while time.monotonic() < deadline:
        number = chance.randrange(len(calls))
        began = time.monotonic()
        verdict, apart, version = _judge(client, calls[number], expected[number])
        records.append(Record(number, began, time.monotonic(), verdict, apart, version))
        if verdict == REFUSED:
            break
        if verdict != RIGHT:
            client.close()
            client = Client(*addresses)
    client.close()
    return records


def _judge(client: Client, call: Call, expected: Answer) -> tuple[str, float, int | None]:
    try:
        answer = client.ask(call)
    except RefusedError:
        return REFUSED, 0.0, None
    except Exception as error:  # whatever it is, it is no answer
        return f'no answer: {error!r}', 0.0, None
    apart = difference(answer, expected)
    if apart <= TOLERANCE:
        return RIGHT, apart, answer.version
    if answer.code != expected.code:
        return f'{answer.code}: {str(answer.content)[:200]}', apart, answer.version
    return f'another answer, {apart:g} apart', apart, answer.version
