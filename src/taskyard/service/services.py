"""Every service, built together: what a face or a loop is given."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from taskyard.core.limits import MAX_PAYLOAD_BYTES
from taskyard.service.accounts import Accounts
from taskyard.service.culling import Culling
from taskyard.service.destinations import Destinations
from taskyard.service.explain import Explain
from taskyard.service.federation import Federation
from taskyard.service.feed import Feed
from taskyard.service.hooks import Hooks
from taskyard.service.inbox import Inbox
from taskyard.service.operations import Operations
from taskyard.service.polls import Polls
from taskyard.service.questionnaires import Questionnaires
from taskyard.service.queues import Queues
from taskyard.service.results import Results
from taskyard.service.rollouts import Rollouts
from taskyard.service.rules import Rules
from taskyard.service.runs import Runs
from taskyard.service.schedules import Schedules
from taskyard.service.seal import Seal
from taskyard.service.sessions import Sessions
from taskyard.service.sites import Sites
from taskyard.service.sources import Sources
from taskyard.service.tasks import Tasks
from taskyard.service.work import Work


@dataclass(frozen=True, slots=True)
class Services:
    tasks: Tasks
    work: Work
    schedules: Schedules
    runs: Runs
    culling: Culling
    queues: Queues
    accounts: Accounts
    inbox: Inbox
    explain: Explain
    feed: Feed
    sites: Sites
    rules: Rules
    operations: Operations
    rollouts: Rollouts
    questionnaires: Questionnaires
    federation: Federation
    sources: Sources
    sessions: Sessions
    polls: Polls
    results: Results
    destinations: Destinations
    hooks: Hooks


def build_services(
    new_id: Callable[[], str],
    jitter: Callable[[], float],
    *,
    token: Callable[[int], str] = secrets.token_urlsafe,
    max_payload_bytes: int = MAX_PAYLOAD_BYTES,
    seal: Seal | None = None,
) -> Services:
    """
    Args:
        new_id: Makes UUIDv7 text.
        jitter: Returns a number in [0, 1).
        token: Returns unguessable text of at least so many random bytes.
        seal: Seals secrets that are kept; without one they are lost with the process.
    """
    tasks = Tasks(new_id, max_payload_bytes=max_payload_bytes)
    work = Work(tasks, new_id, jitter, max_payload_bytes=max_payload_bytes)
    schedules = Schedules(tasks, new_id, max_payload_bytes=max_payload_bytes)
    sites = Sites(new_id)
    operations = Operations(tasks, sites)
    sources = Sources()
    sessions = Sessions(tasks, sources, new_id)
    destinations = Destinations(tasks, token)
    return Services(
        tasks=tasks,
        work=work,
        schedules=schedules,
        runs=Runs(tasks, schedules),
        culling=Culling(schedules, work, new_id),
        queues=Queues(),
        accounts=Accounts(new_id, token),
        inbox=Inbox(tasks, work, new_id, max_payload_bytes=max_payload_bytes),
        explain=Explain(tasks),
        feed=Feed(),
        sites=sites,
        rules=Rules(new_id),
        operations=operations,
        rollouts=Rollouts(sites, operations, new_id),
        questionnaires=Questionnaires(tasks),
        federation=Federation(),
        sources=sources,
        sessions=sessions,
        polls=Polls(tasks, sources, sessions, destinations, new_id),
        results=Results(),
        destinations=destinations,
        hooks=Hooks(new_id, seal or Seal(token(32)), token, jitter),
    )
