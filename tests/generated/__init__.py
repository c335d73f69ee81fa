"""Tests made of the samples that stand beside every public function, layer and optimizer.

A file of ``src/flambeau`` that defines public names has a table ``SAMPLES`` of calls, written as
text; what is compared of each with PyTorch is said here, once for all of them.

- ``samples``: the tables, and the little language that their samples are written in
- ``operands``: the tensors that samples name
- ``sides``: a call in either library, and all that can be seen of its result
- ``comparing``, ``nearness``: when two results are the same
- ``kinds``: what a name stands for
- ``functions``, ``variants``, ``layers``, ``optimizers``, ``distributions``: what is compared
- ``names``: which names must have samples; ``primitives``: which primitives samples record

Samples are separated by ``;``, and each is the text of a call's arguments; after ``|`` stands what
the result is called with (a layer's inputs). ``!`` says that both libraries refuse it, with the
same type of exception. A sample may end in ``#`` and markers: ``no-grad``, ``no-second`` (no second
gradients), ``no-compile (why)``, ``floats`` (no integers, booleans and complex numbers in place of
its floats), ``loose`` (compared at 1e-3), ``sign`` (but for the sign).

To try the samples of a file or a name alone (a regular expression of paths below ``src/flambeau``
or of whole names)::

    SAMPLES=functions/reductions pytest tests/test_generated_functions.py -q -n 0
    SAMPLES='softmax|linalg.qr' pytest tests/test_generated_functions.py -q -n 0
    pytest tests/test_generated_functions.py -k softmax

The first sample of each name is compiled, too; ``SAMPLES_COMPILE=1`` compiles all, and so does
``FLAMBEAU_TIER=compile``, in every test.
"""
