"""The methods by name. A new method is a new file and a new member of the union."""

from typing import Annotated

from pydantic import Field

from zoo.methods.front import Front
from zoo.methods.kronecker import Kronecker

AnyMethod = Annotated[Front | Kronecker, Field(discriminator="name")]
"""A method with its options, as it stands in recipes and manifests: `{name: front, keep: 0.5}`."""

CLOSED_FORMS: dict[str, type[Front]] = {"front": Front}
"""The methods that condense trained weights without training."""
