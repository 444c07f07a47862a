"""What the bodies of this wire's requests hold; members that are not here are passed over. Anything may be left out or null."""

from typing import Any

import msgspec


class CancelBody(msgspec.Struct, rename="camel"):
    site_id: str | None = None


class RackFilterBody(msgspec.Struct, rename="camel"):
    names: list[str] | None = None


class TrayFilterBody(msgspec.Struct, rename="camel"):
    rack_id: str | None = None
    rack_name: str | None = None
    type: str | None = None
    component_ids: list[str] | None = None
    ids: list[str] | None = None
    slot_id: int | None = None


class PerComponentSecrets(msgspec.Struct, forbid_unknown_fields=True):
    compute: str | None = None
    nvswitch: str | None = None
    powershelf: str | None = None


class Secrets(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    shared: str | None = None
    per_component: PerComponentSecrets | None = None


class OperationBody(msgspec.Struct, rename="camel"):
    """What all requests for an operation may say; each kind reads what is its own."""

    site_id: str | None = None
    rule_id: str | None = None
    override_readiness_check: bool | None = None
    state: str | None = None
    version: str | None = None
    targets: list[str] | None = None
    authentication_data: Secrets | None = None
    description: str | None = None


class RacksBody(OperationBody, rename="camel"):
    filter: RackFilterBody | None = None


class TraysBody(OperationBody, rename="camel"):
    filter: TrayFilterBody | None = None


class RetryBody(msgspec.Struct, rename="camel"):
    max_attempts: int | None = None
    initial_interval: str | None = None
    backoff_coefficient: float | None = None
    max_interval: str | None = None


class ActionBody(msgspec.Struct, rename="camel"):
    name: str | None = None
    timeout: str | None = None
    poll_interval: str | None = None
    parameters: dict[str, Any] | None = None


class StepBody(msgspec.Struct, rename="camel"):
    component_type: str | None = None
    stage: int | None = None
    max_parallel: int | None = None
    timeout: str | None = None
    retry: RetryBody | None = None
    pre_operation: list[ActionBody] | None = None
    main_operation: ActionBody | None = None
    post_operation: list[ActionBody] | None = None
    delay_after: str | None = None


class DefinitionBody(msgspec.Struct, rename="camel"):
    version: str | None = None
    steps: list[StepBody] | None = None


class CreateRuleBody(msgspec.Struct, rename="camel"):
    site_id: str | None = None
    name: str | None = None
    description: str | None = None
    operation_type: str | None = None
    operation_code: str | None = None
    rule_definition: DefinitionBody | None = None


class UpdateRuleBody(msgspec.Struct, rename="camel"):
    site_id: str | None = None
    name: str | None = None
    description: str | None = None
    rule_definition: DefinitionBody | None = None


class DefaultRuleBody(msgspec.Struct, rename="camel"):
    site_id: str | None = None


class RackRuleBody(msgspec.Struct, rename="camel"):
    site_id: str | None = None
    rule_id: str | None = None


class RunSiteBody(msgspec.Struct, rename="camel"):
    site_id: str | None = None


class AdvanceRunBody(RunSiteBody, rename="camel"):
    expected_phase_index: int | None = None


class CancelRunBody(RunSiteBody, rename="camel"):
    reason: str | None = None


class PercentageBody(msgspec.Struct, rename="camel"):
    percent: int | None = None
    seed: str | None = None


class SelectorBody(msgspec.Struct, rename="camel"):
    percentage: PercentageBody | None = None


class FailureRateBody(msgspec.Struct, rename="camel"):
    scope: str | None = None
    threshold_percent: int | None = None


class FailureCountBody(msgspec.Struct, rename="camel"):
    scope: str | None = None
    threshold_count: int | None = None


class GateBody(msgspec.Struct, rename="camel"):
    failure_rate: FailureRateBody | None = None
    failure_count: FailureCountBody | None = None


class SafetyBody(msgspec.Struct, rename="camel"):
    gates: list[GateBody] | None = None


class ConflictRetryBody(msgspec.Struct, rename="camel"):
    retry_timeout: str | None = None
    initial_retry_delay: str | None = None
    max_retry_delay: str | None = None


class ConflictBody(msgspec.Struct, rename="camel"):
    retry: ConflictRetryBody | None = None


class RandomBody(msgspec.Struct, rename="camel"):
    seed: str | None = None


class OrderingBody(msgspec.Struct, rename="camel"):
    random: RandomBody | None = None


class EqualPhasesBody(msgspec.Struct, rename="camel"):
    phase_count: int | None = None


class ListedPhasesBody(msgspec.Struct, rename="camel"):
    phases: list[int] | None = None


class PhasesBody(msgspec.Struct, rename="camel"):
    equal: EqualPhasesBody | None = None
    percentage: ListedPhasesBody | None = None
    count: ListedPhasesBody | None = None
    auto_advance: bool | None = None


class RunOptionsBody(msgspec.Struct, rename="camel"):
    max_concurrent_targets: int | None = None
    safety_policy: SafetyBody | None = None
    conflict_policy: ConflictBody | None = None
    ordering_policy: OrderingBody | None = None
    phase_policy: PhasesBody | None = None


class RunFirmwareBody(msgspec.Struct, rename="camel"):
    version: str | None = None
    rule_id: str | None = None
    override_readiness_check: bool | None = None
    sub_targets: list[str] | None = None


class RunOperationBody(msgspec.Struct, rename="camel"):
    firmware: RunFirmwareBody | None = None
    exclude_run_ids: list[str] | None = None


class CreateRunBody(RunSiteBody, rename="camel"):
    name: str | None = None
    description: str | None = None
    selector: SelectorBody | None = None
    options: RunOptionsBody | None = None
    operation: RunOperationBody | None = None
