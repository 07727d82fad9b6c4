"""A machine that costs more than the plan allows is refused before the launch; an unknown price refuses nothing."""

from dataclasses import dataclass

import pytest

from manager.launch.sky_price_check import PriceMovedError, check_prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What SkyPilot's `Resources` has of it."""

    max_hourly_cost: float | None
    instance_type: str | None = "g6.xlarge"
    price: float | None = 1.0

    def get_cost(self, seconds: float) -> float:
        assert self.price is not None, "the catalog has two prices"
        return self.price * seconds / 3600


@pytest.mark.parametrize(
    "machine",
    [
        Machine(max_hourly_cost=1.1),
        Machine(max_hourly_cost=1.0),
        Machine(max_hourly_cost=None, price=50.0),
        Machine(max_hourly_cost=0.5, price=None),
        Machine(max_hourly_cost=0.5, instance_type=None),
    ],
)
def test_what_is_not_known_to_be_dearer_passes(machine: Machine) -> None:
    check_prices([machine])


def test_a_dearer_machine_is_refused_with_both_prices() -> None:
    with pytest.raises(PriceMovedError, match=r"g6.xlarge costs \$1.0000/h now, above the \$0.8853/h"):
        check_prices([Machine(max_hourly_cost=None), Machine(max_hourly_cost=0.8853)])
