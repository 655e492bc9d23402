"""What a server on one's own GPU says when the GPU has no room left."""

_WORDS = ("out of memory", "outofmemory", "not enough memory", "allocation on device", "cannot allocate memory")
_LONGEST = 4_000


def is_out_of_memory(*words: str) -> bool:
    """Whether one of these texts says so, in the words of CUDA, ROCm, MPS, DirectML or the system."""
    return any(sign in text[:_LONGEST].lower() for text in words for sign in _WORDS)
