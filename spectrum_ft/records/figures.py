"""Figures as text: the same figure reads the same in notebooks and in every report."""

NONE = "-"
"""What stands where there is no figure."""


def score(value: float | None) -> str:
    """A score with three significant digits."""
    if value is None:
        return NONE
    if abs(value) >= 1000 or abs(value) < 0.001:
        return f"{value:.3g}"
    return f"{value:#.3g}".removesuffix(".")


def loss(value: float | None) -> str:
    """A loss in nats with four significant digits."""
    return NONE if value is None else f"{value:#.4g}".removesuffix(".")


def percent(value: float | None) -> str:
    """A share in [0, 1] in per cent, one decimal, without the sign."""
    return NONE if value is None else f"{100.0 * value:.1f}"


def change(value: float | None) -> str:
    """A change in per cent with its sign: `+3.14 %`; `0 %` for none."""
    if value is None:
        return NONE
    if value == 0.0:
        return "0 %"
    return f"{100.0 * value:+.1f} %" if abs(value) >= 0.1 else f"{100.0 * value:+.2f} %"


def size(num_bytes: int | None) -> str:
    """An amount of memory: `2.43 GiB`, `612 MiB`."""
    if num_bytes is None:
        return NONE
    gib = num_bytes / 2**30
    if gib >= 1.0:
        return f"{gib:.2f} GiB" if gib < 100 else f"{gib:.0f} GiB"
    return f"{num_bytes / 2**20:.0f} MiB"


def seconds(value: float | None) -> str:
    """A duration: `3.4 s`, `12 min 5 s`, `3 h 26 min`."""
    if value is None:
        return NONE
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours} h {minutes} min"


def place(layer: int | None, expert: int | None) -> str:
    """A block, and its expert if it is one: `3`, `3:17`."""
    if layer is None:
        return NONE
    return str(layer) if expert is None else f"{layer}:{expert}"


def extents(shape: tuple[int, ...]) -> str:
    """Rows and columns: `64 x 160`."""
    return " x ".join(map(str, shape)) or NONE


def yes_or_no(value: bool | None) -> str:
    """`yes`, `no`, or nothing known."""
    return NONE if value is None else ("yes" if value else "no")
