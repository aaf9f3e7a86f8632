"""Numbers, ratios, durations and threads as the page writes them."""


def number(value: float | None) -> str:
    """Four digits that matter, thousands separated; a dash for nothing."""
    if value is None:
        return "–"
    if value >= 1e6:
        return f"{value:.1e}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def times(value: float) -> str:
    """How many times the dense model's: three digits that matter."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def duration(seconds: float) -> str:
    """`0.8 s`, `12 s`, `2 min 10 s` or `5 h 1 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def threads(count: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{count} thread{'' if count == 1 else 's'}"


def bytes_text(count: int) -> str:
    """`338.9 MB`, `4.1 kB`."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"
