"""Dump every module of the released I-ViT simulation, for ``ivit-ref doctor CHECKPOINT --images X --against simulation.npz``.

Copy this file into a checkout of the release. ``images``: floats (N, C, H, W), normalised as for validation, all in one batch.
A state dict may be nested under ``model`` or ``state_dict`` and have the prefix ``module.``.

    from dump_simulation import dump; from models import deit_tiny_patch16_224
    state = torch.load("checkpoint.pth.tar", map_location="cpu", weights_only=True)
    dump(deit_tiny_patch16_224(), state, np.load("images.npy"), "simulation.npz")
"""

import numpy as np
import torch


class Pinned:
    """A QuantAct that keeps its saved scale: the release computes it anew, from a range that no checkpoint holds."""

    def __setattr__(self, name, value):
        if name != "act_scaling_factor":
            super().__setattr__(name, value)


def dump(model, state, images, path):
    """Run the images and write each module's tensor as ``<name>``, its scale as ``<name>.scale``, and ``logits``."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.Tensor.cuda = lambda self, *args, **kwargs: self  # the release moves tensors to a GPU that is not there
    load(model, state.get("model", state.get("state_dict", state)))
    model.to(device).eval()
    arrays = {}

    def keep(name, output):
        if isinstance(output, tuple):
            arrays[name], arrays[name + ".scale"] = (tensor.float().cpu().numpy() for tensor in output)

    for name, module in model.named_modules():
        module.register_forward_hook(lambda module, inputs, output, name=name: keep(name, output))
    with torch.no_grad():
        arrays["logits"] = model(torch.as_tensor(images, dtype=torch.float32, device=device)).float().cpu().numpy()
    np.savez_compressed(path, **arrays)


def load(model, state):
    """Set parameters and buffers one by one, as training reshapes buffers; freeze every QuantAct at its scale."""
    state = {name[7:] if name.startswith("module.") else name: torch.as_tensor(value) for name, value in state.items()}
    modules, differing = dict(model.named_modules()), sorted(set(state) ^ set(model.state_dict()))
    if differing:
        raise ValueError("names only in the checkpoint or only in the model: " + ", ".join(differing[:5]))
    for name, value in state.items():
        path, _, leaf = name.rpartition(".")
        parameter = modules[path]._parameters.get(leaf)
        if parameter is None:
            modules[path]._buffers[leaf] = value.clone()
        elif parameter.shape == value.shape:
            parameter.data = value.clone()
        else:
            raise ValueError(f"{name}: {tuple(value.shape)} in the checkpoint, {tuple(parameter.shape)} in the model")
    for module in modules.values():
        if hasattr(module, "running_stat"):
            module.running_stat, module.min_val, module.max_val = False, torch.zeros(1), torch.zeros(1)
            module.__class__ = type("PinnedQuantAct", (Pinned, type(module)), {})
