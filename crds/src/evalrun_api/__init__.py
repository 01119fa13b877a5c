"""The contract of EvalRun: what users write, what the operator passes to the runner, what the runner reports.

This package exports the models of spec, status and messages; import everything else from the module that defines it.
"""

from evalrun_api.run import EvalRun
from evalrun_api.spec.benchmark import (
    Benchmark,
    ClaimSource,
    ConfigMapSource,
    GenerationOverrides,
    RandomSample,
    S3Source,
    SuiteSource,
    SystemInstructionIn,
)
from evalrun_api.spec.engine import EngineSpec, MockEngineSpec, Numerics, VllmEngineSpec
from evalrun_api.spec.engine_args import EngineArgs
from evalrun_api.spec.gates import Gate, GateRule, RunReference
from evalrun_api.spec.meta import ObjectMeta
from evalrun_api.spec.model import AdapterSpec, ClaimRef, ModelCache, ModelScheme, ModelSpec
from evalrun_api.spec.policy import Policy, StopEarly, StopRule
from evalrun_api.spec.reasoning import (
    BenchmarkReasoning,
    EngineReasoning,
    ReasoningEffort,
    ReasoningParser,
    ThinkingMarkers,
)
from evalrun_api.spec.replicas import Replicas, Resources, TaintEffect, Toleration, TolerationOperator
from evalrun_api.spec.spec import EvalRunSpec, OutputSpec
from evalrun_api.spec.storage import AddressingStyle, Checksums, ConfigMapKeyRef, SecretRef, Storage
from evalrun_api.spec.template_args import TemplateValue
from evalrun_api.status.conditions import Condition, ConditionStatus, ConditionType, Phase, Reason
from evalrun_api.status.outcomes import (
    AnswerCounts,
    Counts,
    Failure,
    GateResult,
    IntervalTarget,
    RunWarning,
    Score,
    ScoreInterval,
    Verdict,
    Work,
)
from evalrun_api.status.status import (
    DisplayColumns,
    Disruptions,
    EvalRunStatus,
    Progress,
    ReplicaStatus,
    ResolvedRun,
)
from evalrun_api.wire.runconfig import ModelLocation, RunConfig, RunLocation, StorageAccess, SuiteLocation
from evalrun_api.wire.runprogress import Head, RunProgress
from evalrun_api.wire.runresult import RunResult

__all__ = [
    "AdapterSpec",
    "AddressingStyle",
    "AnswerCounts",
    "Benchmark",
    "BenchmarkReasoning",
    "Checksums",
    "ClaimRef",
    "ClaimSource",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "ConfigMapKeyRef",
    "ConfigMapSource",
    "Counts",
    "DisplayColumns",
    "Disruptions",
    "EngineArgs",
    "EngineReasoning",
    "EngineSpec",
    "EvalRun",
    "EvalRunSpec",
    "EvalRunStatus",
    "Failure",
    "Gate",
    "GateResult",
    "GateRule",
    "GenerationOverrides",
    "Head",
    "IntervalTarget",
    "MockEngineSpec",
    "ModelCache",
    "ModelLocation",
    "ModelScheme",
    "ModelSpec",
    "Numerics",
    "ObjectMeta",
    "OutputSpec",
    "Phase",
    "Policy",
    "Progress",
    "RandomSample",
    "Reason",
    "ReasoningEffort",
    "ReasoningParser",
    "ReplicaStatus",
    "Replicas",
    "ResolvedRun",
    "Resources",
    "RunConfig",
    "RunLocation",
    "RunProgress",
    "RunReference",
    "RunResult",
    "RunWarning",
    "S3Source",
    "Score",
    "ScoreInterval",
    "SecretRef",
    "StopEarly",
    "StopRule",
    "Storage",
    "StorageAccess",
    "SuiteLocation",
    "SuiteSource",
    "SystemInstructionIn",
    "TaintEffect",
    "TemplateValue",
    "ThinkingMarkers",
    "Toleration",
    "TolerationOperator",
    "Verdict",
    "VllmEngineSpec",
    "Work",
]
