"""Numbers as reports print them: the same figure reads the same everywhere."""

_STEPS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


def count(value: int) -> str:
    """A number of weights with three or four digits: `134.5 M`."""
    for step, letter in _STEPS:
        if value >= step:
            return f"{value / step:.1f} {letter}"
    return str(value)


def size(num_bytes: int) -> str:
    """An amount of memory: `2.43 GiB`, `612 MiB`."""
    gib = num_bytes / 2**30
    if gib >= 1.0:
        return f"{gib:.2f} GiB" if gib < 100 else f"{gib:.0f} GiB"
    return f"{num_bytes / 2**20:.0f} MiB"


def share(part: int, whole: int) -> str:
    """`part` of `whole` in per cent, one decimal: `25.0 %`."""
    return f"{100.0 * part / whole:.1f} %" if whole else "0.0 %"


def score(value: float | None) -> str:
    """A score with three significant digits; `-` where there is none."""
    if value is None:
        return "-"
    if abs(value) >= 1000 or abs(value) < 0.001:
        return f"{value:.3g}"
    return f"{value:#.3g}".removesuffix(".")


def plural(number: int, noun: str, many: str | None = None) -> str:
    """`1 matrix`, `2 matrices`."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def seconds(value: float) -> str:
    """A duration: `3.4 s`, `12 min 5 s`, `3 h 26 min`."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours} h {minutes} min"


def loss(value: float) -> str:
    """A loss in nats with four significant digits."""
    return f"{value:#.4g}"


def rate(value: float) -> str:
    """A learning rate: `2.00e-05`."""
    return f"{value:.2e}"


def disk_size(num_bytes: int) -> str:
    """A size on disk, which may be far below what memory is counted in."""
    return size(num_bytes) if num_bytes >= 2**20 else f"{num_bytes / 2**10:.0f} KiB"
