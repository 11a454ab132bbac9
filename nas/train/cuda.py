"""How CUDA is set in each process that trains or measures. `nas.train.fused` and `nas.measure.fingerprint` import this
for its effect, which has to come before the first tensor on a GPU.

- Segments grow. What a step reserves is then what it allocates, rounded up; in segments of fixed sizes it was up to a
  fifth more, which nobody can predict (docs/decisions/0016-cuda.md). A user's own settings stay.
- Attention goes by the flash and the memory-efficient kernels. cuDNN's, which torch prefers on Hopper, builds a plan
  for each new shape: a second at the start of each run, and a tenth of a second for each token that is written, since
  each sees one more than the last.
"""

import os
import sys

import torch

ALLOCATOR_SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING")
"""Variables that the allocator goes by."""

if sys.platform == "linux" and not any(os.environ.get(own) for own in ALLOCATOR_SETTINGS):
    os.environ[ALLOCATOR_SETTINGS[0]] = "expandable_segments:True"
torch.backends.cuda.enable_cudnn_sdp(False)
