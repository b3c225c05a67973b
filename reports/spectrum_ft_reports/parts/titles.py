"""How a model is named where there is little room."""

from spectrum_ft.records.scans import ModelInfo
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.untrusted import printable


def short_source(source: str) -> str:
    """A Hub id as it is; of a path, its last part."""
    is_path = source.startswith(("/", "~", ".")) or source.count("/") > 1
    return source.rstrip("/").rsplit("/", 1)[-1] if is_path else source


def model_title(model: ModelInfo) -> str:
    """The model in one line: its name, its revision, how large it is."""
    revision = f" @ {printable(model.revision[:12])}" if model.revision else ""
    size = f", {numbers.count(model.parameters)} weights" if model.parameters else ""
    layers = numbers.plural(model.layers, "layer")
    return f"{printable(short_source(model.source), 60)}{revision}{size}, {layers}"
