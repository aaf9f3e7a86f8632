"""What a GGUF file says of its types (`method.bits` has these), and llama.cpp's own converter. Free of torch."""

from __future__ import annotations

FILE_TYPES = {16: 1, 8: 7, 4: 2}
"""`general.file_type`: mostly of that type."""

CONVERTER = "python convert_hf_to_gguf.py DIR --outfile model.gguf"
"""llama.cpp's own, for what is not written here."""
