"""What a state dict has to hold: no key too many or too few, and as many parameters as the papers tell."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest

from ivit_ref.checkpoints import State
from ivit_ref.errors import CheckpointError
from ivit_ref.models import MODELS, Config, SwinConfig, ViTConfig, model_graph, random_state
from ivit_ref.models.sites import Layer, Norm, Table, sites

VIT = ViTConfig((4, 6), (2, 2), channels=1, dim=8, depth=2, heads=2, hidden=8, classes=3)
SWIN = SwinConfig((16, 16), (2, 2), 1, 4, depths=(2, 1), heads=(2, 4), window=2, hidden=8, classes=3)

PARAMETERS = {
    "deit_tiny_patch16_224": 5.7,
    "deit_small_patch16_224": 22.1,
    "deit_base_patch16_224": 86.6,
    "vit_small_patch16_224": 22.1,
    "vit_base_patch16_224": 86.6,
    "vit_large_patch16_224": 304.3,
    "swin_tiny_patch4_window7_224": 28.3,
    "swin_small_patch4_window7_224": 49.6,
    "swin_base_patch4_window7_224": 87.8,
}
"""In millions: DeiT's and Swin's papers and the model cards of timm."""


def parameters(config: Config) -> int:
    """Weights, biases, tokens and tables, and of each norm a gain and a bias."""
    count = 0
    for site in sites(config):
        if isinstance(site, Layer):
            count += prod(site.shape) + site.bias * site.shape[0]
        elif isinstance(site, Norm):
            count += 2 * site.dim
        elif isinstance(site, Table):
            count += prod(site.shape)
    return count


@pytest.mark.parametrize("name", MODELS)
def test_published_models_have_as_many_parameters_as_published(name: str) -> None:
    assert set(PARAMETERS) == set(MODELS)
    assert abs(parameters(MODELS[name]) / 1e6 / PARAMETERS[name] - 1) < 0.005


@pytest.mark.parametrize(("name", "count"), [("deit_tiny_patch16_224", 5717416), ("swin_tiny_patch4_window7_224", 28288354)])
def test_published_models_have_the_parameters_of_timm(name: str, count: int) -> None:
    assert parameters(MODELS[name]) == count


@pytest.mark.parametrize("config", [VIT, SWIN, replace(SWIN, position=True)])
def test_every_site_is_a_key_that_conversion_asks_for(config: Config) -> None:
    """The list holds what each architecture's graph is made of, and beside that what follows from others."""
    arrays = dict(random_state(config).arrays)
    model_graph(State(arrays), config)
    follow = ("int_softmax.act_scaling_factor", ".mlp.act.act_scaling_factor", "relative_position_index", "attn_mask")
    for key in arrays:
        without = State({name: array for name, array in arrays.items() if name != key})
        if key.endswith(follow):
            assert model_graph(without, config) == model_graph(State(arrays), config)
        else:
            with pytest.raises(CheckpointError) as caught:
                model_graph(without, config)
            assert repr(key) in str(caught.value)
