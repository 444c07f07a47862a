"""The table of paths."""

from collections.abc import Sequence

from taskyard.dialects.nico import routes_accounts as accounts
from taskyard.dialects.nico import routes_operations as operations
from taskyard.dialects.nico import routes_rules as rules
from taskyard.dialects.nico import routes_runs as runs
from taskyard.dialects.nico import routes_sites as sites
from taskyard.dialects.nico import routes_tasks as tasks
from taskyard.dialects.nico import routes_validation as validation
from taskyard.http.dialect import Backend, Path


def paths(api: str, _: Backend) -> Sequence[Path]:
    """Return the paths of the API called *api*; the first that matches answers."""
    return [Path(f"/v2/org/{{org}}/{api}{path.pattern}", path.endpoints, path.public) for path in _PATHS]


_PATHS: Sequence[Path] = (
    Path("/user/current", {"GET": accounts.user}),
    Path("/service-account/current", {"GET": accounts.service_account}),
    Path("/infrastructure-provider/current", {"GET": accounts.provider}),
    Path("/infrastructure-provider", {"POST": accounts.make_provider}),
    Path("/task", {"GET": tasks.of_site}),
    Path("/task/rule", {"GET": rules.search, "POST": rules.create}),
    Path("/task/rule/{id}", {"GET": rules.get, "PATCH": rules.change, "DELETE": rules.delete}),
    Path("/task/rule/{id}/default", {"POST": rules.make_default}),
    Path("/task/run", {"GET": runs.search, "POST": runs.create}),
    Path("/task/run/{id}", {"GET": runs.get}),
    Path("/task/run/{id}/target", {"GET": runs.targets}),
    Path("/task/run/{id}/pause", {"POST": runs.pause}),
    Path("/task/run/{id}/resume", {"POST": runs.resume}),
    Path("/task/run/{id}/advance", {"POST": runs.advance}),
    Path("/task/run/{id}/cancel", {"POST": runs.cancel}),
    Path("/task/{id}", {"GET": tasks.get}),
    Path("/task/{id}/cancel", {"POST": tasks.cancel}),
    Path("/rack", {"GET": sites.racks}),
    Path("/rack/validation", {"GET": validation.racks}),
    Path("/rack/power", {"PATCH": operations.racks_power}),
    Path("/rack/firmware", {"PATCH": operations.racks_firmware}),
    Path("/rack/bringup", {"POST": operations.racks_bring_up}),
    # The older mount of tasks, before racks by id: an id is never the word "task".
    Path("/rack/task/{id}", {"GET": tasks.get}),
    Path("/rack/task/{id}/cancel", {"POST": tasks.cancel}),
    Path("/rack/{id}", {"GET": sites.rack}),
    Path("/rack/{id}/validation", {"GET": validation.rack}),
    Path("/rack/{id}/task", {"GET": tasks.of_rack}),
    Path("/rack/{id}/task/rule", {"GET": rules.of_rack, "PUT": rules.give}),
    Path("/rack/{id}/task/rule/{rule}", {"DELETE": rules.take}),
    Path("/rack/{id}/power", {"PATCH": operations.rack_power}),
    Path("/rack/{id}/firmware", {"PATCH": operations.rack_firmware}),
    Path("/rack/{id}/bringup", {"POST": operations.rack_bring_up}),
    Path("/tray", {"GET": sites.trays}),
    Path("/tray/validation", {"GET": validation.trays}),
    Path("/tray/power", {"PATCH": operations.trays_power}),
    Path("/tray/firmware", {"PATCH": operations.trays_firmware}),
    Path("/tray/{id}", {"GET": sites.tray}),
    Path("/tray/{id}/validation", {"GET": validation.tray}),
    Path("/tray/{id}/task", {"GET": tasks.of_tray}),
    Path("/tray/{id}/power", {"PATCH": operations.tray_power}),
    Path("/tray/{id}/firmware", {"PATCH": operations.tray_firmware}),
)
