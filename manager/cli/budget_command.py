"""`budget`: what all runs of a month, of a user's month, or of a project, may cost together."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from manager.cli.output import console, emit_json, narrate
from manager.cli.plan_command import parse_usd
from manager.errors import ExitCode, UsageError
from manager.service.context import Context, open_context

if TYPE_CHECKING:
    from manager.service.budgets import BudgetState

ScopeArgument = Annotated[str, typer.Argument(metavar="month|user|project", help="What it bounds.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    budget = typer.Typer(no_args_is_help=True, help="What the runs of a month, a user or a project may cost together.")
    budget.command("show")(show)
    budget.command("set")(set_)
    budget.command("remove")(remove)
    app.add_typer(budget, name="budget")


def show(
    months: Annotated[int, typer.Option("--months", min=1, max=120, help="How many months of history.")] = 6,
    as_json: JsonOption = False,
) -> int:
    """Limits, what is spent, committed by open runs, and left; what past months have cost."""
    # The ledger's libraries: `--help` must not wait for them.
    from manager.cli.budget_view import budgets_to_json, print_budgets
    from manager.service.budgets import budget_states, month_history, time_zone
    from manager.service.money import money_now

    context = open_context()
    states, history, money = budget_states(context), month_history(context, months), money_now(context)
    if as_json:
        emit_json(budgets_to_json(states, history, money))
    else:
        print_budgets(states, history, money, console(), time_zone=time_zone(context))
    return ExitCode.DONE


def set_(
    scope: ScopeArgument,
    values: Annotated[list[str], typer.Argument(metavar="[NAME] USD", help="Name of a user or project; dollars.")],
    as_json: JsonOption = False,
) -> int:
    """Bound each calendar month (`budget set month 200`), a user's (`budget set user ann@host 50`) or a project
    (`budget set project research 50`)."""
    from manager.service.budgets import budget_scope  # as above

    budget_scope(scope)
    wanted = 1 if scope == "month" else 2
    if len(values) != wanted:
        names = {"month": "", "user": " ann@host", "project": " research"}
        hint = f"budget set {scope}{names[scope]} {200 if wanted == 1 else 50}"
        raise UsageError(f"a {scope}'s budget takes {'dollars' if wanted == 1 else 'a name and dollars'}", hint=hint)
    return _change(scope, None if wanted == 1 else values[0], parse_usd(values[-1]), as_json=as_json)


def remove(
    scope: ScopeArgument,
    name: Annotated[str | None, typer.Argument(help="Of the user or the project.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Take a budget away; runs keep their caps."""
    return _change(scope, name, None, as_json=as_json)


def _change(scope: str, name: str | None, usd: Decimal | None, *, as_json: bool) -> int:
    from manager.cli.budget_view import budgets_to_json  # as above
    from manager.service.budgets import budget_states, month_history, set_budget
    from manager.service.money import money_now

    context = open_context()
    set_budget(context, scope, name, usd)
    if as_json:
        emit_json(budgets_to_json(budget_states(context), month_history(context, 1), money_now(context)))
        return ExitCode.DONE
    state = _state(context, scope, name)
    narrate("the budget is taken away" if state is None else state.text)
    return ExitCode.DONE


def _state(context: Context, scope: str, name: str | None) -> BudgetState | None:
    from manager.service.budgets import budget_states  # as above

    found = budget_states(context)
    return next((one for one in found if (one.limit.scope, one.limit.name) == (scope, name or "")), None)
