"""The methods by name. A new method is a new file and a new member of the union."""

from typing import Annotated, get_args

from pydantic import Field

from zoo.methods.base import ClosedForm, Method
from zoo.methods.bot import BoT
from zoo.methods.front import Front
from zoo.methods.hypercloning import HyperCloning
from zoo.methods.kronecker import Kronecker
from zoo.methods.lemon import Lemon
from zoo.methods.ligo import Ligo
from zoo.methods.mimetic import Mimetic
from zoo.methods.mupscaling import MuPScaling
from zoo.methods.net2net import Net2Net
from zoo.methods.principal import Principal
from zoo.methods.random import Random
from zoo.methods.selection import Selection
from zoo.methods.stackbert import StackBERT
from zoo.methods.tleg import TLEG

AnyClosedForm = Annotated[
    Front
    | BoT
    | Principal
    | Selection
    | Net2Net
    | HyperCloning
    | Lemon
    | StackBERT
    | TLEG
    | Ligo
    | Mimetic
    | Random
    | MuPScaling,
    Field(discriminator="name"),
]
"""A method that condenses trained weights without training."""

AnyMethod = Annotated[AnyClosedForm | Kronecker, Field(discriminator="name")]
"""A method with its options, as it stands in recipes and manifests: `{name: front, keep: 0.5}`."""

CLOSED_FORMS: dict[str, type[ClosedForm]] = {
    kind.model_fields["name"].default: kind for kind in get_args(get_args(AnyClosedForm)[0])
}
METHODS: dict[str, type[Method]] = {**CLOSED_FORMS, "kronecker": Kronecker}
"""All methods."""
