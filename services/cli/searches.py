"""Commands that look at searches."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nas.records import to_dict
from services.cli.access import find_search, look, opened
from services.cli.output import Format, Output, emit_json, say

SearchId = Annotated[str, typer.Argument(metavar="ID", help="A search: its id, a beginning of it, or its name.")]


def ls(output: Output = Format.TABLE) -> None:
    """List the searches."""
    from nas.units import format_seconds

    with opened() as (_, store):
        searches = store.searches()
    if output is Format.JSON:
        emit_json({"searches": [_summary(to_dict(own)) for own in searches]})
        return
    if output is Format.ID:
        print("\n".join(own.id for own in searches))
        return
    if not searches:
        say("no searches yet; begin one with: nas run search.yaml")
    for own in searches:
        loss = f"{own.result['test_bpb'] or own.result['val_bpb']:.3f} bits per byte" if own.result else ""
        print(f"{own.id:<32} {own.state:<10} {format_seconds(own.setting.get('elapsed', 0.0)):<12} {loss}".rstrip())


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "name", "state", "reason", "created_at", "started_at", "finished_at", "result")
    return {name: record[name] for name in names}


def status(search: SearchId, output: Output = Format.TABLE) -> None:
    """How a search stands: its state, its account, its best candidate so far."""
    from dashboards.labels import headline
    from nas.units import format_flops, format_seconds

    with opened() as (_, store):
        seen = look(store, search)
    if output is Format.JSON:
        counts = {str(state): count for state, count in seen.by_state.items()}
        emit_json({**_summary(to_dict(seen.search)), "counts": counts, "spent_flops": seen.search_account.balance.spent})
        return
    if output is Format.ID:
        print(seen.search.id)
        return
    print(f"{seen.search.id}: {seen.search.state}{f' ({seen.search.reason})' if seen.search.reason else ''}")
    print(headline(seen))
    counted = ", ".join(f"{count} {state}" for state, count in seen.by_state.items() if count)
    print(f"candidates: {counted or 'none yet'}")
    for name, account in (("search", seen.search_account), ("final run", seen.final_account)):
        balance = account.balance
        print(
            f"{name}: {format_flops(balance.spent)} of {format_flops(balance.granted)} spent, "
            f"{format_seconds(balance.seconds)} of worker time"
        )


def candidates(search: SearchId, output: Output = Format.TABLE) -> None:
    """All candidates of a search, with what became of them."""
    from dashboards.text import candidates_table

    with opened() as (_, store):
        seen = look(store, search)
    rows = [{**to_dict(own), "on_front": own.number in seen.front} for own in seen.candidates]
    _print_candidates(output, "candidates", rows, lambda: candidates_table(seen), seen.search.id)


def front(search: SearchId, output: Output = Format.TABLE) -> None:
    """The Pareto front: a table, and a plot on a terminal."""
    from dashboards.text import front_plot, front_table

    with opened() as (_, store):
        seen = look(store, search)
    rows = [{**to_dict(own), "on_front": True} for own in seen.members]
    _print_candidates(
        output, "front", rows, lambda: f"{front_table(seen)}\n\n{front_plot(seen)}", seen.search.id
    )


def _print_candidates(output: Format, name: str, rows: list[dict[str, Any]], table: Any, search_id: str) -> None:
    if output is Format.JSON:
        emit_json({name: rows})
    elif output is Format.ID:
        print("\n".join(f"{search_id}/{row['number']}" for row in rows))
    else:
        print(table())


def report(
    search: SearchId,
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write.")] = Path("report.html"),
) -> None:
    """Write a self-contained HTML report that works offline."""
    from dashboards.report import render_report
    from nas.data.storage import atomic_file

    with opened() as (_, store):
        find_search(store, search)
        page = render_report(look(store, search))
    with atomic_file(out.absolute()) as file:
        file.write(page.encode())
    say(f"wrote {out}")
