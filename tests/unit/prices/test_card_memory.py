"""Memory comes from our table; a catalog's figure chooses among cards of one name, where a cloud has such names."""

import pytest

from manager.catalog.accelerators import accelerator
from manager.prices.card_memory import card_of

MIB = 2**20


def info(mebibytes: int) -> str:
    return f"{{'Gpus': [{{'Name': 'X', 'Count': 1, 'MemoryInfo': {{'SizeInMiB': {mebibytes}}}}}]}}"


def memory_of(name: str) -> int:
    known = accelerator(name)
    assert known is not None
    return known.memory_bytes


@pytest.mark.parametrize(
    ("instance_type", "name", "count", "mebibytes", "card", "flags"),
    [
        ("1x-A100_SXM4", "A100", 1, 40960, "A100", ()),
        ("2x-A100_SXM4", "A100", 2, 81920, "A100", ()),
        ("1x-A100_PCIE", "A100", 1, 81920, "A100-80GB", ("card_by_memory",)),
        ("4x-A100_PCIE", "A100", 4, 327680, "A100-80GB", ("card_by_memory",)),
        ("1x-H100_SXM", "H100", 1, 81559, "H100", ()),
        ("2x-H100_NVL", "H100", 2, 191660, "H100-NVL", ("card_by_memory",)),
        ("1x-RTX_4090", "RTX4090", 1, 24564, "RTX4090", ()),
    ],
)
def test_vasts_sum_over_all_cards_says_which_card_it_is(
    instance_type: str, name: str, count: float, mebibytes: int, card: str, flags: tuple[str, ...]
) -> None:
    found = card_of("vast", name, instance_type, count, info(mebibytes))
    assert found.memory_bytes == memory_of(card)
    assert found.flags == flags
    assert found.differs is bool(flags)


def test_modified_card_with_more_memory_counts_as_the_one_of_the_table() -> None:
    found = card_of("vast", "RTX4090", "1x-RTX_4090", 1, info(49140))
    assert (found.memory_bytes, found.flags, found.differs) == (memory_of("RTX4090"), (), True)


def test_card_with_less_memory_than_its_name_is_not_known() -> None:
    found = card_of("vast", "RTX3060", "2x-RTX_3060_Ti", 2, info(2 * 8192))
    assert (found.memory_bytes, found.flags) == (None, ("card_not_known",))


@pytest.mark.parametrize(
    ("cloud", "name", "count", "gpu_info", "differs"),
    [
        ("runpod", "A100-80GB", 1, info(80), True),  # GiB in a field of MiB.
        ("lambda", "H100", 8, info(81920), False),
        ("aws", "L4", 0.25, info(5722), False),  # The part of a shared card.
        ("aws", "L4", 1, info(22888), False),
        ("aws", "Trainium2", 16, info(524288), True),
        ("azure", "A10", 2, "A10", False),  # The bare name.
        ("gcp", "tpu-v6e-8", 1, "tpu-v6e-8", False),
        ("nebius", "L40S", 1, "", False),
    ],
)
def test_other_clouds_figures_are_not_used(cloud: str, name: str, count: float, gpu_info: str, differs: bool) -> None:
    found = card_of(cloud, name, "any", count, gpu_info)
    assert found.memory_bytes == memory_of(name)
    assert (found.flags, found.differs) == ((), differs)


def test_name_that_the_table_does_not_have_has_no_memory() -> None:
    assert card_of("vast", "Abacus", "1x-Abacus", 1, info(99999)).memory_bytes is None
