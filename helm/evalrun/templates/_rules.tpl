{{/* Permissions of the operator in a namespace of runs. Garbage collection deletes children with their EvalRun. */}}
{{- define "evalrun.rules" -}}
- apiGroups: [evalrun.dev]
  resources: [evalruns]
  verbs: [get, list, watch, delete] # delete: ttlSecondsAfterFinished
- apiGroups: [evalrun.dev]
  resources: [evalruns/status]
  verbs: [get, patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete] # those of Jobs that are stuck on lost nodes; never create
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, create, delete] # delete: those of a finished run, and of an earlier attempt
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, create, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, delete] # the token of a run's Ray
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create] # list: why the API server refuses a Job's pods, why a pod's volume is not mounted
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list] # why a queue does not admit a Job
{{- end -}}

{{/* To check whether runs may use a Secret; RBAC has no permission for metadata alone. */}}
{{- define "evalrun.secretReader" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end -}}

{{/* To check whether a node is lost. */}}
{{- define "evalrun.nodeReader" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [get]
{{- end -}}
