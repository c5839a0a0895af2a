"""Building one image from its recipe, through any Docker Engine."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from devenv.core import labels
from devenv.core.errors import BuildError
from devenv.images.recipe import Recipe
from devenv.images.trust import extra_certificates

if TYPE_CHECKING:
    from docker import DockerClient

#: Lines of a failed build's output that are worth showing.
TAIL = 25


def build(
    client: DockerClient,
    recipe: Recipe,
    recipe_hash: str,
    *,
    tag: str | None = None,
    network: str = "host",
) -> str:
    """Build `recipe` on the engine behind `client` and return the image's id.

    :param tag: the image's name; the recipe's own if not given.
    :raises BuildError: with the last lines of the output.
    """
    context = recipe.context({"extra-ca.crt": extra_certificates()})
    return build_context(
        client,
        context,
        tag or recipe.reference,
        recipe_hash,
        arguments={"RELEASE": recipe.release},
        target=recipe.target,
        network=network,
    )


def _proxies() -> dict[str, str]:
    """The proxies that this process uses; the engine knows them as arguments of every build."""
    names = ("http_proxy", "https_proxy", "no_proxy")
    found = {name: os.environ.get(name) or os.environ.get(name.upper()) for name in names}
    return {name: value for name, value in found.items() if value}


def build_context(
    client: DockerClient,
    context: bytes,
    tag: str,
    recipe_hash: str,
    *,
    arguments: dict[str, str] | None = None,
    target: str = "",
    network: str = "host",
) -> str:
    """Build a context (a tar with a Dockerfile) and return the image's id.

    :raises BuildError: with the last lines of the output.
    """
    lines: list[str] = []
    stream = client.api.build(
        fileobj=io.BytesIO(context),
        custom_context=True,
        tag=tag,
        buildargs={**_proxies(), **(arguments or {})},
        target=target or None,
        network_mode=network,
        labels={labels.RECIPE: recipe_hash},
        rm=True,
        forcerm=True,
        decode=True,
        timeout=1800,
    )
    image = ""
    for message in stream:
        if "stream" in message:
            lines += [line for line in message["stream"].splitlines() if line.strip()]
        if "aux" in message:
            image = message["aux"].get("ID", image)
        if "error" in message:
            raise BuildError(
                f"the build of {tag} failed: {message['error'].strip()}",
                detail="\n".join(lines[-TAIL:]),
                remedy="mend what the last lines name, then: devenv images build",
            )
    return image
