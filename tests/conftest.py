"""One torch thread a test: two workers of the test run share two cores."""

import torch

torch.set_num_threads(1)
