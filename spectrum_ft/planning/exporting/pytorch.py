"""A Python file that freezes a model, for a loop of one's own; it needs nothing of ours."""

from spectrum_ft.records.plans import Plan

_FILE = '''\
"""Which parameters of the model train, by their whole names. Written by spectrum-ft."""

TRAINED = (
{names})


def freeze(model):
    """`model` with exactly the parameters in TRAINED set to train.

    Raises ValueError, and changes nothing, if the model has no parameter of one of these names.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))  # tied ones by each name
    lacking = [name for name in TRAINED if name not in parameters]
    if lacking:
        raise ValueError(f"{{len(lacking)}} names are not in this model: {{lacking[:3]}}")
    model.requires_grad_(False)
    for name in TRAINED:
        parameters[name].requires_grad_(True)
    return model
'''


def train_by_pytorch(plan: Plan) -> str:
    """A module with the names and a function `freeze(model)` that proves them and sets them."""
    # ASCII only, in quotes: whatever a name holds, it stays a string.
    return _FILE.format(names="".join(f"    {name!a},\n" for name in plan.train))
