r"""What does a kernel look like when nobody counts threads?

CUDA is written from the point of view of one thread. Triton {cite}`triton` is written
from that of one *program*: a small block of work that owns a few thousand numbers at once, loads
them with one expression, computes with them as if they were arrays, and stores them with another.
How the block is dealt out to threads, which loads become one wide instruction, what passes through
shared memory: the compiler decides that, and one can read what it decided
({py:mod}`mini_vllm.kernels.triton.compiling`).

What stays the author's is what matters most: which program does what (the *grid*), what is read
how often, and what a program holds while it works. Each module here answers those three questions
for its kernel, beside the code, and gives the function that launches it, its meaning in plain
torch, and its cost for given shapes ({py:mod}`mini_vllm.kernels.cost`).

## Three ways to run

On a CUDA device the kernels are compiled when first launched. On a machine without one they can
still be compiled, for any device that is named, which proves that they compile and shows what
they became. And with `TRITON_INTERPRET=1` in the environment Triton interprets them with NumPy,
one program after the other: slow, and good enough to test every number. A process does one or the
other, since Triton reads the variable when it is first imported.

Importing this package imports no Triton. The modules below it do, all but
{py:mod}`~mini_vllm.kernels.triton.availability`, which says whether that would work.
"""
