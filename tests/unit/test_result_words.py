"""Results in a report: names and units for a person, nothing of Python's own."""

from __future__ import annotations

import pytest

from fsgr_tui.service.result_words import rows


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"mode": "precomputed"}, [("way", "precomputed")]),
        ({"file_bytes": 2758739, "seconds": 2.207}, [("the file takes", "2.76 MB"), ("extraction took", "2.2 s")]),
        ({"step_s": 0.0312}, [("a step took", "31.2 ms")]),
        ({"data_wait_share": 0.0018}, [("share of waiting for data", "0.2%")]),
        ({"metrics": {"cider": 0.29029576499969156, "bleu_1": 0.5}}, [("scores", "cider 0.2903, bleu_1 0.5")]),
        ({"best": {"by": "cider", "value": 0.29029576499969156, "step": 60}}, [("best", "cider 0.2903, at step 60")]),
        ({"samples": [{"image_id": 578, "caption": ""}, {"image_id": 9, "caption": "a [red] ball"}]},
         [("captions", "578: nothing said | 9: a [red] ball")]),
        ({"good": True, "worst_id": 1651}, [("good", "yes"), ("image that differs most", "1651")]),
        ({"trained_parameters": 22208000}, [("trained parameters", "22,208,000")]),
        ({"largest_batch": None, "java_metrics": {}, "curve": [{"step": 1}]}, []),
        ({"their_own": {"a": ["b"]}}, [("their own", '{"a":["b"]}')]),
        ({"best": "odd", "samples": "odd", "mode": 3}, [("best", "odd"), ("captions", "odd"), ("way", "3")]),
    ],
)  # fmt: skip
def test_results_are_told_in_words_and_units(result, expected):
    assert rows(result) == expected
