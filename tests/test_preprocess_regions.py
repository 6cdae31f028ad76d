from __future__ import annotations

import numpy as np

from litdome.preprocess.regions import FEWEST_PX, REGIONS, region_masks, region_means

REGION_OF_LABEL = ["", "face", "hands", "body", "clothes"]


def test_every_point_of_the_person_is_in_one_region_and_clothes_are_body() -> None:
    parts = np.array([[0, 1, 2], [3, 4, 9]], np.uint8)  # 9: a label that nobody named
    inside = np.array([[True, True, True], [True, True, True]])
    masks = region_masks(parts, REGION_OF_LABEL, inside)
    assert REGIONS == ("face", "hands", "body")
    assert masks[0].tolist() == [[False, True, False], [False, False, False]]
    assert masks[1].tolist() == [[False, False, True], [False, False, False]]
    assert masks.sum(axis=0).tolist() == [[1, 1, 1], [1, 1, 1]]
    assert not region_masks(parts, REGION_OF_LABEL, ~inside).any()  # a label outside the person counts nowhere


def test_a_region_that_is_hardly_seen_has_no_mean() -> None:
    values = np.arange(400, dtype=np.float32).reshape(20, 20)
    masks = np.zeros((3, 20, 20), bool)
    masks[0].flat[: FEWEST_PX - 1] = masks[1].flat[:FEWEST_PX] = masks[2, 10:] = True
    face, hands, body = region_means(values, masks)
    assert np.isnan(face) and hands == (FEWEST_PX - 1) / 2 and body == 299.5
