"""What counts as a part of a mask."""

import numpy as np
from cobot.propagate_rule import connected_parts


def test_of_many_parts_of_one_size_none_is_a_speck():
    mask = np.zeros((50, 50), bool)
    mask[::10, ::10] = True
    assert len(connected_parts(mask, 0.05)) == 25
    mask[1:9, 1:9] = True
    assert len(connected_parts(mask, 0.05)) == 1, "beside a large part they are"
    assert connected_parts(np.zeros((5, 5), bool), 0.05) == []
