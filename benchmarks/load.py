"""Load on a server: threads that send requests as fast as it answers, and check every answer."""

import concurrent.futures
import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.traffic import TOLERANCE, Answer, Call, Client, RefusedError, difference

RIGHT, REFUSED = 'right', 'refused'

_TIMEOUT = 120  # seconds after the planned end, in case the server has not stopped


class Record(NamedTuple):
    """The result of a call. Times are seconds of the monotonic clock."""

    call: int
    began: float
    ended: float
    verdict: str
    """`RIGHT`, `REFUSED` (the server did not accept the request), or a description of the fault."""
    difference: float = 0.0
    version: int | None = None


def run(
    addresses: tuple[str, str], calls: Sequence[Call], expected: Sequence[Answer], threads: int, seconds: float
) -> list[Record]:
    """Sends calls from `threads` threads until the server refuses them, after about `seconds`; returns the results."""
    deadline = time.monotonic() + seconds + _TIMEOUT
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda n: _call_until_refused(addresses, calls, expected, n, deadline), range(threads))
        return [record for records in found for record in records]


def _call_until_refused(
    addresses: tuple[str, str], calls: Sequence[Call], expected: Sequence[Answer], thread: int, deadline: float
) -> list[Record]:
    client, chance, records = Client(*addresses), random.Random(thread), []
    while time.monotonic() < deadline:
        number = chance.randrange(len(calls))
        began = time.monotonic()
        verdict, distance, version = _check(client, calls[number], expected[number])
        records.append(Record(number, began, time.monotonic(), verdict, distance, version))
        if verdict == REFUSED:
            break
        if verdict != RIGHT:
            client.close()
            client = Client(*addresses)
    client.close()
    return records


def _check(client: Client, call: Call, expected: Answer) -> tuple[str, float, int | None]:
    try:
        answer = client.ask(call)
    except RefusedError:
        return REFUSED, 0.0, None
    except Exception as error:  # of any kind: the call has no answer
        return f'no answer: {error!r}', 0.0, None
    distance = difference(answer, expected)
    if distance <= TOLERANCE:
        return RIGHT, distance, answer.version
    if answer.code != expected.code:
        return f'{answer.code}: {str(answer.content)[:200]}', distance, answer.version
    return f'different answer, by {distance:g}', distance, answer.version
