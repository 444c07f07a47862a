"""What answers where. A path ends without a slash; what is updated is posted to (contract, sections 1 and 2)."""

from collections.abc import Sequence

from taskyard.dialects.ricloud import routes_accounts as accounts
from taskyard.dialects.ricloud import routes_configs as configs
from taskyard.dialects.ricloud import routes_polls as polls
from taskyard.dialects.ricloud import routes_sessions as sessions
from taskyard.dialects.ricloud import routes_sources as sources
from taskyard.dialects.ricloud import routes_tasks as tasks
from taskyard.http.dialect import Backend, Path


def paths(_backend: Backend) -> Sequence[Path]:
    return [
        Path("/tasks", {"GET": tasks.list_tasks}),
        Path("/tasks/{id}", {"GET": tasks.get_task}),
        Path("/tasks/{id}/results", {"GET": tasks.results_of_task}),
        Path("/results", {"GET": tasks.list_results}),
        Path("/results/ack", {"POST": tasks.ack_results}),
        Path("/results/{id}", {"GET": tasks.get_result}),
        Path("/results/{id}/ack", {"GET": tasks.ack_result, "POST": tasks.ack_result}),
        Path("/users", {"GET": sources.list_users, "POST": sources.create_user}),
        Path("/users/{number:int}", {"GET": sources.get_user, "POST": sources.change_user}),
        Path("/sources", {"GET": sources.list_sources, "POST": sources.create_source}),
        Path("/sources/{number:int}", {"GET": sources.get_source, "POST": sources.change_source}),
        Path("/sessions", {"GET": sessions.list_sessions, "POST": sessions.create_session}),
        Path("/sessions/{id}", {"GET": sessions.get_session, "DELETE": sessions.delete_session}),
        Path("/polls", {"GET": polls.list_polls, "POST": polls.create_poll}),
        Path("/polls/{id}", {"GET": polls.get_poll}),
        Path("/polls/{id}/results", {"GET": tasks.results_of_poll}),
        Path("/organisation", {"GET": accounts.get_organisation, "POST": accounts.change_organisation}),
        Path("/key", {"GET": accounts.get_calling_key}),
        Path("/keys", {"GET": accounts.list_keys, "POST": accounts.create_key}),
        Path("/keys/{number:int}", {"GET": accounts.get_key, "POST": accounts.change_key}),
        Path("/keys/{number:int}/rotate", {"POST": accounts.rotate_key}),
        *configs.paths(),
    ]
