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
