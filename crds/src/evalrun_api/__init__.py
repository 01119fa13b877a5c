"""The contract of EvalRun: what users write, what the operator passes to the runner, what the runner reports."""

from evalrun_api.base import API_VERSION, GROUP, KIND, VERSION
from evalrun_api.reading.documents import load_documents
from evalrun_api.reading.parse import EvalRunFile, FileObject, cluster_problems, parse_evalrun, parse_file
from evalrun_api.reading.problems import InvalidInput, Problem
from evalrun_api.run import EvalRun
from evalrun_api.spec.benchmark import Benchmark, GenerationOverrides, SuiteSource
from evalrun_api.spec.engine import EngineSpec, MockEngineSpec, Numerics, VllmEngineSpec
from evalrun_api.spec.engine_args import EngineArgs
from evalrun_api.spec.gates import Gate, RunReference
from evalrun_api.spec.meta import ObjectMeta
from evalrun_api.spec.model import ModelScheme, ModelSpec
from evalrun_api.spec.policy import Policy
from evalrun_api.spec.replicas import Replicas
from evalrun_api.spec.spec import EvalRunSpec, OutputSpec
from evalrun_api.spec.storage import AddressingStyle, Checksums, Storage
from evalrun_api.status.conditions import Condition, ConditionStatus, ConditionType, Phase, Reason
from evalrun_api.status.outcomes import Counts, Failure, GateResult, Score, Verdict, Work
from evalrun_api.status.status import EvalRunStatus
from evalrun_api.wire.runconfig import ModelLocation, RunConfig, RunLocation, StorageAccess, SuiteLocation
from evalrun_api.wire.runprogress import Head, RunProgress
from evalrun_api.wire.runresult import RunResult

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "VERSION",
    "AddressingStyle",
    "Benchmark",
    "Checksums",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "Counts",
    "EngineArgs",
    "EngineSpec",
    "EvalRun",
    "EvalRunFile",
    "EvalRunSpec",
    "EvalRunStatus",
    "Failure",
    "FileObject",
    "Gate",
    "GateResult",
    "GenerationOverrides",
    "Head",
    "InvalidInput",
    "MockEngineSpec",
    "ModelLocation",
    "ModelScheme",
    "ModelSpec",
    "Numerics",
    "ObjectMeta",
    "OutputSpec",
    "Phase",
    "Policy",
    "Problem",
    "Reason",
    "Replicas",
    "RunConfig",
    "RunLocation",
    "RunProgress",
    "RunReference",
    "RunResult",
    "Score",
    "Storage",
    "StorageAccess",
    "SuiteLocation",
    "SuiteSource",
    "Verdict",
    "VllmEngineSpec",
    "Work",
    "cluster_problems",
    "load_documents",
    "parse_evalrun",
    "parse_file",
]
