"""Recognize errors of a GPU that is out of memory."""

_WORDS = ("out of memory", "outofmemory", "not enough memory", "allocation on device", "cannot allocate memory")
_LONGEST = 4_000


def is_out_of_memory(*words: str) -> bool:
    """Whether one of these texts reports it, in the words of CUDA, ROCm, MPS, DirectML or the system."""
    return any(sign in text[:_LONGEST].lower() for text in words for sign in _WORDS)
