"""Which weights start to learn when, under gradual unfreezing: a model cut into stages from its head down.

Owns the cut. When the next stage begins is the loop's, by steps; the last stage is the worst for memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What starts to learn at one time."""

    parameters: tuple[nn.Parameter, ...]
    modules: tuple[nn.Module, ...]
    """In evaluation mode (no dropout) until then; a head has none, it learns from the start."""

    def set_learning(self, is_learning: bool) -> None:
        """Let these weights learn, or keep them."""
        for parameter in self.parameters:
            parameter.requires_grad_(is_learning)

    def set_mode(self) -> None:
        """Evaluation mode, while these weights do not learn."""
        if not any(parameter.requires_grad for parameter in self.parameters):
            for module in self.modules:
                module.eval()


@dataclass(slots=True)
class _Level:
    """One repeated layer with what stands behind it, or what lies below all of them."""

    parameters: dict[int, nn.Parameter] = field(default_factory=dict)
    modules: list[nn.Module] = field(default_factory=list)


def stages_from_head(model: nn.Module, heads: frozenset[int], layers: int) -> tuple[Stage, ...]:
    """Cut a model: the head, then `layers` repeated layers at a time from the top, at last what lies below them.

    What stands behind a layer and before the next one (a last norm, say) goes with that layer. Layers are the items of
    the outermost lists of modules, in the order of the model's definition; a decoder's thus learn before an encoder's.

    Args:
        model: with its head.
        heads: `id` of the parameters of the head.
        layers: how many start at a time, at least 1.
    """
    bottom, *tops = _levels(model, heads)
    tops.reverse()
    cuts = [tops[at : at + layers] for at in range(0, len(tops), layers)]
    head = Stage(parameters=tuple(part for part in model.parameters() if id(part) in heads), modules=())
    return tuple(stage for stage in (head, *(_stage(cut) for cut in [*cuts, [bottom]])) if stage.parameters)


def _levels(model: nn.Module, heads: frozenset[int]) -> list[_Level]:
    """From the bottom: what lies below the first layer, then one for each layer; the head in none."""
    layers = list(_layers(model))
    apart = {id(layer) for layer in layers} | {
        id(module) for module in model.modules() if any(id(part) in heads for part in module.parameters(recurse=False))
    }
    levels = [_Level()]
    starts = {id(layer) for layer in layers}
    inside: set[int] = set()
    for module in model.modules():
        if id(module) in starts:
            levels.append(_Level())
        level = levels[-1]
        own = [part for part in module.parameters(recurse=False) if id(part) not in heads]
        level.parameters.update({id(part): part for part in own})
        holds_others = any(id(part) in apart for part in module.modules() if part is not module)
        if id(module) not in inside and not holds_others and (id(module) not in apart or id(module) in starts):
            level.modules.append(module)
            inside.update(id(part) for part in module.modules())
    return levels


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Items of the outermost lists, with weights."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from (item for item in child if any(True for _ in item.parameters()))
        else:
            yield from _layers(child)


def _stage(levels: list[_Level]) -> Stage:
    parameters = {key: part for level in levels for key, part in level.parameters.items()}
    modules = tuple(module for level in levels for module in level.modules)
    return Stage(parameters=tuple(parameters.values()), modules=modules)
