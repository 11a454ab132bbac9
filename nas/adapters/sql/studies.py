"""Studies of Optuna's that lie in our database: a search's goes with it.

Optuna makes and fills them (`nas.adapters.optuna_suggester`). Here are only its tables, of its version 5, so that a
search can be deleted where there is no Optuna.
"""

from sqlalchemy import Connection, column, delete, inspect, select, table

OF_TRIALS = (
    "trial_params",
    "trial_values",
    "trial_intermediate_values",
    "trial_user_attributes",
    "trial_system_attributes",
    "trial_heartbeats",
)
OF_STUDIES = ("trials", "study_directions", "study_user_attributes", "study_system_attributes")
STUDIES = "studies"


def delete_study(connection: Connection, name: str) -> None:
    """With all that belongs to it, within the caller's transaction; does nothing where there is none."""
    there = set(inspect(connection).get_table_names())
    if not there.issuperset((STUDIES, *OF_STUDIES)):
        return
    studies = table(STUDIES, column("study_id"), column("study_name"))
    own = select(studies.c.study_id).where(studies.c.study_name == name).scalar_subquery()
    trials = table("trials", column("trial_id"), column("study_id"))
    of_own = select(trials.c.trial_id).where(trials.c.study_id == own)
    # No rows go by themselves: Optuna's foreign keys do not cascade, so what refers to others goes first.
    for part in OF_TRIALS:
        if part in there:
            rows = table(part, column("trial_id"))
            connection.execute(delete(rows).where(rows.c.trial_id.in_(of_own)))
    for part in OF_STUDIES:
        rows = table(part, column("study_id"))
        connection.execute(delete(rows).where(rows.c.study_id == own))
    connection.execute(delete(studies).where(studies.c.study_name == name))
