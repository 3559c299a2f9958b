"""After any walk with saves and restores, the KV cache holds what a fresh one would."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tchat.engine.kv_cache import KVCache
from tchat.engine.snapshots import snapshots as module
from tests.engine.snapshots.conftest import OpenSaved
from tests.engine.test_kv_cache import WORDS, Walk, logits, ready

ACTS = ["next", "again", "edit", "cut", "stop", "leave", "choose"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(ACTS),
        WORDS.map("".join),
        st.integers(1, 60),
        st.sampled_from(["", "save", "reopen", "leave"]),
    ),
    min_size=4,
    max_size=10,
)


@pytest.mark.parametrize("name", ["tiny_model", "tiny_recurrent", "tiny_sliding", "tiny_spm"])
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_after_any_walk_the_logits_are_those_of_a_fresh_cache(
    open_saved: OpenSaved,
    request: pytest.FixtureRequest,
    name: str,
    steps: list[tuple[str, str, int, str]],
) -> None:
    path: Path = request.getfixturevalue(name)
    with pytest.MonkeyPatch.context() as patch:
        for constant, value in (("MIN_TOKENS", 16), ("MIN_GAIN", 1)):
            patch.setattr(module, constant, value)
        for constant, value in (("MIN_NEW_TOKENS", 1), ("SEGMENT_TOKENS", 32)):
            patch.setattr(module, constant, value)
        patch.setattr("tchat.engine.loading.INITIAL_CAPACITY", 256)  # so that it has to grow
        patch.setattr("tchat.engine.snapshots.index.LEAD", 8)
        fresh = ready(open_saved(path, session=""))
        # The last output of a decode with a draft may be that of one that was cut off.
        walk = Walk(open_saved(path, prompt_lookup=False))
        for act, text, number, then in steps:
            walk.step(act, text, number)
            walked = ready(walk.engine)
            cold = KVCache(fresh.context, fresh.model)
            cold.clear()
            assert cold.reserve(len(walked.kv.tokens))
            assert all(cold.prefill(walked.kv.tokens))
            expected = logits(fresh)
            assume(numpy.isfinite(expected).all())  # random weights may overflow
            # Batches of other sizes add up in another order.
            assert abs(logits(walked) - expected).max() < 0.1 * expected.std()
            if then:
                walk.engine.save(at_exit=then == "leave")
            if then in ("reopen", "leave"):
                walk.engine.close()
                walk.engine = open_saved(path)
        walk.engine.close()
