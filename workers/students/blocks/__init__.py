"""Building blocks shared by the student families.

Activations are [N, T, C] throughout: a depthwise convolution is then a channels-last Conv2d
(several times faster to train on a CPU than Conv1d) and a pointwise convolution is a Linear,
which exports as MatMul, the operator that dynamic int8 speeds up. Under `torch.autocast` the
matrix products run in bfloat16 and everything else stays in float32.
"""
