"""What is said of a run's contract: what it is about to do, before its first step."""

from spectrum_ft.records.training import Contract, DataSummary, TrainSettings
from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.facts import Fact
from spectrum_ft_reports.parts.titles import short_source
from spectrum_ft_reports.parts.untrusted import printable

_KEPT = {
    "master": "kept in float32",
    "stochastic": "kept in {dtype}, rounded stochastically",
    "as-is": "kept in {dtype}",
}


def contract_facts(
    contract: Contract, settings: TrainSettings, data: DataSummary, eval_data: DataSummary | None
) -> tuple[Fact, ...]:
    """What a run is about to do, one line a subject."""
    facts = [Fact("data", _data(data, settings))]
    if eval_data is not None:
        facts.append(Fact("held-out", _data(eval_data, settings)))
    facts.append(Fact("model", _model(contract)))
    facts.append(Fact("trains", _trained(contract)))
    if contract.adapters:
        facts.append(Fact("adapters", _adapters(contract)))
    if contract.quantized or contract.frozen:
        facts.append(Fact("rest", _rest(contract)))
    facts.append(Fact("backward", _backward(contract)))
    facts.append(Fact("steps", _steps(contract, settings)))
    facts.append(Fact("memory", _memory(contract)))
    return tuple(facts)


def precision_warning(contract: Contract) -> str | None:
    """What to know before 16-bit weights are trained as they are; None where they are not."""
    if contract.precision != "as-is" or contract.dtype == "float32" or not contract.trained:
        return None
    return (
        f"--precision as-is: the updates of {contract.dtype} weights are mostly too small to "
        "change them; --precision master or stochastic keeps what they lose"
    )


def _data(data: DataSummary, settings: TrainSettings) -> str:
    parts = [numbers.plural(data.rows, "example")]
    if data.truncated:
        parts.append(f"{data.truncated:,} cut at {settings.max_length:,} tokens")
    if data.dropped:
        parts.append(f"{data.dropped:,} dropped")
    if data.last_answer_only:
        parts.append(f"{data.last_answer_only:,} learned by their last answer only")
    learned = f"{data.learned_tokens:,} of {data.tokens:,} tokens are learned"
    return f"{printable(data.shape)}: {', '.join(parts)}; {learned}"


def _model(contract: Contract) -> str:
    source = printable(short_source(contract.source), 60)
    layers = numbers.plural(contract.layers, "layer")
    where = f"on {printable(contract.device, 60)} in {contract.dtype}"
    return f"{source}, {numbers.count(contract.total)} weights, {layers}, {where}"


def _trained(contract: Contract) -> str:
    if not contract.trained:
        return "adapters only"
    kept = _KEPT[contract.precision].format(dtype=contract.dtype)
    return (
        f"{numbers.plural(contract.trained_tensors, 'tensor')}, "
        f"{numbers.count(contract.trained)} weights = "
        f"{numbers.share(contract.trained, contract.total)} of the model, {kept}"
    )


def _adapters(contract: Contract) -> str:
    matrices = numbers.plural(contract.adapters, "matrix", "matrices")
    return f"on {matrices}: {numbers.count(contract.adapter_weights)} weights on top"


def _rest(contract: Contract) -> str:
    parts = []
    if contract.quantized:
        packed = numbers.share(contract.quantized, contract.total)
        parts.append(f"{numbers.count(contract.quantized)} weights = {packed} in {contract.base}")
    if contract.frozen:
        frozen = numbers.share(contract.frozen, contract.total)
        parts.append(f"{numbers.count(contract.frozen)} = {frozen} frozen as they are")
    return ", ".join(parts)


def _backward(contract: Contract) -> str:
    lowest, layers = contract.lowest_layer, contract.layers
    if lowest is None:
        return "runs through the whole model"
    if not lowest:
        return "reaches layer 0; no block is skipped"
    skipped = f"{lowest} of {layers} = {numbers.share(lowest, layers)}"
    return f"stops at layer {lowest}; the blocks below it are skipped: {skipped}"


def _steps(contract: Contract, settings: TrainSettings) -> str:
    rows = f"{settings.batch_size:,}"
    if settings.grad_accum > 1:
        rows += f" × {settings.grad_accum:,}"
    return f"{contract.steps:,} of {rows} {'row' if rows == '1' else 'rows'}"


def _memory(contract: Contract) -> str:
    available = numbers.size(contract.available_bytes)
    forecast = contract.forecast
    if forecast is None:
        return f"{available} available; what training takes cannot be told"
    needed = numbers.size(forecast.total_bytes)
    fits = forecast.total_bytes <= contract.available_bytes
    beyond = " beyond the libraries" if forecast.device == "cpu" else ""
    verdict = "" if fits else ": it does not fit"
    return f"{needed} forecast{beyond}, {available} available{verdict}"
