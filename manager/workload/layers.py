"""The matrix products of one transformer layer, and which of them carry a LoRA adapter.

One inventory for parameters, FLOPs and memory, so that the three cannot disagree. Biases and norms are left out: they
carry under 0.1 % of the weights of the models that fit this description.
"""

from __future__ import annotations

from dataclasses import dataclass

from manager.workload.profile import WorkloadProfile

ROLES = ("query", "key", "value", "output", "gate", "up", "down")

_NAMES_OF_ROLE: dict[str, frozenset[str]] = {
    "query": frozenset(
        {"query", "q_proj", "q_lin", "query_proj", "Wqkv", "c_attn", "query_key_value", "qkv_proj", "q"}
    ),
    "key": frozenset({"key", "k_proj", "k_lin", "key_proj", "Wqkv", "c_attn", "query_key_value", "qkv_proj", "k"}),
    "value": frozenset(
        {"value", "v_proj", "v_lin", "value_proj", "Wqkv", "c_attn", "query_key_value", "qkv_proj", "v"}
    ),
    "output": frozenset({"o_proj", "out_lin", "dense", "out_proj", "Wo", "c_proj", "o", "attention.output.dense"}),
    "gate": frozenset({"gate_proj", "w1", "Wi", "gate_up_proj"}),
    "up": frozenset({"up_proj", "lin1", "dense", "fc1", "fc_in", "c_fc", "dense_h_to_4h", "w3", "Wi", "gate_up_proj"}),
    "down": frozenset({"down_proj", "lin2", "dense", "fc2", "fc_out", "c_proj", "dense_4h_to_h", "w2", "Wo"}),
}
"""Names that the model families of transformers give to the linear layers of these roles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """One weight matrix of a layer."""

    role: str
    """One of ROLES."""
    inputs: int
    outputs: int

    @property
    def parameters(self) -> int:
        """Weights, without bias."""
        return self.inputs * self.outputs

    def adapter_parameters(self, rank: int) -> int:
        """Weights of a LoRA pair of this rank (Hu et al. 2021, arXiv:2106.09685): rank x (inputs + outputs)."""
        return rank * (self.inputs + self.outputs)


def attention_width(profile: WorkloadProfile) -> int:
    """Width of all query heads together; differs from hidden_size where the config fixes the head size."""
    return profile.attention_heads * head_size(profile)


def key_value_width(profile: WorkloadProfile) -> int:
    """Width of all key (or value) heads together; smaller than the queries' with grouped-query attention."""
    return profile.key_value_heads * head_size(profile)


def head_size(profile: WorkloadProfile) -> int:
    """Width of one attention head."""
    return profile.head_size or max(1, profile.hidden_size // profile.attention_heads)


def layer_linears(profile: WorkloadProfile) -> tuple[Linear, ...]:
    """The weight matrices of one layer, attention first."""
    hidden, inner = profile.hidden_size, profile.intermediate_size
    query, key_value = attention_width(profile), key_value_width(profile)
    attention = (
        Linear(role="query", inputs=hidden, outputs=query),
        Linear(role="key", inputs=hidden, outputs=key_value),
        Linear(role="value", inputs=hidden, outputs=key_value),
        Linear(role="output", inputs=query, outputs=hidden),
    )
    gate = (Linear(role="gate", inputs=hidden, outputs=inner),) if profile.gated_mlp else ()
    mlp = (Linear(role="up", inputs=hidden, outputs=inner), Linear(role="down", inputs=inner, outputs=hidden))
    return (*attention, *gate, *mlp)


def adapted_linears(profile: WorkloadProfile) -> tuple[Linear, ...]:
    """The weight matrices of one layer that carry an adapter; empty without LoRA."""
    if profile.lora_rank is None:
        return ()
    return tuple(linear for linear in layer_linears(profile) if linear.role in profile.adapted_linears)


def dense_parameters(profile: WorkloadProfile) -> int:
    """Weights of all layers' matrices: those that a forward pass multiplies with each token."""
    return profile.layers * sum(linear.parameters for linear in layer_linears(profile))


def roles_of_targets(targets: str | list[str]) -> tuple[str, ...] | None:
    """Roles that `lora_targets` names (`all-linear`, or names of modules); None when a name is not known here."""
    if targets == "all-linear":
        return ROLES
    names = [targets] if isinstance(targets, str) else targets
    found: set[str] = set()
    for name in names:
        last = name.rsplit(".", 1)[-1]
        roles = {role for role, known in _NAMES_OF_ROLE.items() if name in known or last in known}
        if not roles:
            return None
        found |= roles
    return tuple(role for role in ROLES if role in found)
