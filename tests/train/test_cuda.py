"""How CUDA is set, in fresh processes: what a variable says is the user's."""

import os
import subprocess
import sys

import pytest

from nas.train.cuda import ALLOCATOR_SETTINGS

GROWS = "expandable_segments:True" if sys.platform == "linux" else None
CODE = """
import os
import nas.train.cuda as own
import torch
print([os.environ.get(name) for name in own.ALLOCATOR_SETTINGS], torch.backends.cuda.cudnn_sdp_enabled())
"""


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, [GROWS, None, None]),
        ({"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}, ["max_split_size_mb:64", None, None]),
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}, [None, "max_split_size_mb:64", None]),
        ({"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}, [None, None, "1"]),
    ],
)
def test_segments_grow_unless_a_user_says_otherwise(given: dict[str, str], found: list[str | None]) -> None:
    variables = {name: value for name, value in os.environ.items() if name not in ALLOCATOR_SETTINGS} | given
    told = subprocess.run([sys.executable, "-c", CODE], env=variables, capture_output=True, text=True, check=True)
    assert told.stdout == f"{found} False\n"
