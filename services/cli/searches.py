"""Commands that look at searches."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.records import SearchRecord, SearchState, to_dict
from services.cli.access import look, opened
from services.cli.output import Format, Output, emit_json, emit_lines, say

SearchId = Annotated[str, typer.Argument(metavar="ID", help="A search: its id, a beginning of it, or its name.")]


def ls(output: Output = Format.TABLE) -> None:
    """List the searches.

    Example: nas ls -o json
    """
    from nas.units import format_seconds

    with opened() as (_, store):
        searches = store.searches()
    if output is Format.JSON:
        emit_json({"searches": [_summary(own) for own in searches]})
    elif output is Format.ID:
        emit_lines(own.id for own in searches)
    elif not searches:
        say("no searches yet; begin one with: nas run search.yaml")
    else:
        wide = max(len(own.id) for own in searches)
        print(f"{'id':<{wide}}  {'state':<9}  {'time':<12}  bits per byte")
        for own in searches:
            elapsed = format_seconds(float(own.setting.get("elapsed", 0.0)))
            print(f"{own.id:<{wide}}  {own.state:<9}  {elapsed:<12}  {_loss(own)}".rstrip())
        for own in searches:
            _say_when_left(own)


def _say_when_left(search: SearchRecord) -> None:
    """A search that no process is at work on (it was interrupted or killed) can go on."""
    if search.state is SearchState.PAUSED:
        say(f"{search.id} is paused ({search.reason}); go on with: nas resume {search.id}")


def _loss(search: SearchRecord) -> str:
    if search.result is None:
        return ""
    test = search.result["test_bpb"]
    return f"{search.result['val_bpb']:.3f} (validation)" if test is None else f"{test:.3f} (test)"


def _summary(search: SearchRecord) -> dict[str, Any]:
    names = ("id", "name", "state", "reason", "created_at", "started_at", "finished_at", "result")
    record = to_dict(search)
    return {name: record[name] for name in names}


def status(search: SearchId, output: Output = Format.TABLE) -> None:
    """Say how a search stands: state, account, best candidate.

    Example: nas status austen
    """
    from dashboards.labels import headline, prospects
    from nas.units import format_flops, format_seconds

    with opened() as (_, store):
        seen = look(store, search)
    if output is Format.JSON:
        counts = {str(state): count for state, count in seen.by_state.items()}
        spent = {"counts": counts, "spent_flops": seen.search_account.balance.spent}
        emit_json({**_summary(seen.search), **spent, "prospects": seen.search.prospects})
        return
    if output is Format.ID:
        print(seen.search.id)
        return
    print(f"{seen.search.id}: {seen.search.state}{f' ({seen.search.reason})' if seen.search.reason else ''}")
    print(headline(seen))
    counted = ", ".join(f"{count} {state}" for state, count in seen.by_state.items() if count)
    print(f"{'candidates':<11}{counted or 'none yet'}")
    for name, account in (("search", seen.search_account), ("final run", seen.final_account)):
        balance = account.balance
        print(
            f"{name:<11}{format_flops(balance.spent)} of {format_flops(balance.granted)} spent, "
            f"{format_seconds(balance.seconds)} of worker time"
        )
    if seen.search.prospects is not None:
        print(f"{'next 10%':<11}{prospects(seen.search.prospects)}")
    _say_when_left(seen.search)


def candidates(search: SearchId, output: Output = Format.TABLE) -> None:
    """List the candidates of a search and what became of them.

    Example: nas candidates austen -o json
    """
    from dashboards.text import candidates_table

    with opened() as (_, store):
        seen = look(store, search)
    rows = [{**to_dict(own), "on_front": own.number in seen.front} for own in seen.candidates]
    _print_candidates(output, "candidates", rows, lambda: candidates_table(seen), seen.search.id)


def front(search: SearchId, output: Output = Format.TABLE) -> None:
    """Show the Pareto front as a table and a plot.

    Example: nas front austen
    """
    from dashboards.text import front_plot, front_table

    with opened() as (_, store):
        seen = look(store, search)
    rows = [{**to_dict(own), "on_front": True} for own in seen.members]
    _print_candidates(output, "front", rows, lambda: f"{front_table(seen)}\n\n{front_plot(seen)}", seen.search.id)


def _print_candidates(
    output: Format, name: str, rows: list[dict[str, Any]], table: Callable[[], str], search_id: str
) -> None:
    if output is Format.JSON:
        emit_json({name: rows})
    elif output is Format.ID:
        emit_lines(f"{search_id}/{row['number']}" for row in rows)
    else:
        print(table())


def report(
    search: SearchId,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("report.html"),
) -> None:
    """Write a report in HTML that works offline.

    Example: nas report austen --out report.html
    """
    from dashboards.report import render_report
    from nas.data.storage import atomic_file

    with opened() as (_, store):
        page = render_report(look(store, search))
    with atomic_file(out.absolute()) as file:
        file.write(page.encode())
    say(f"wrote {out}")
