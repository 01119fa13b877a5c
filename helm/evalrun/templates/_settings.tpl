{{/* The operator's settings: evalrun_operator.settings.OperatorSettings, field by field. */}}
{{- define "evalrun.settings" -}}
watch:
  namespaces: {{ toJson .Values.watch.namespaces }}
image:
  reference: {{ include "evalrun.image" (list . .Values.runner.image) | quote }}
  pullPolicy: {{ .Values.runner.image.pullPolicy }}
  pullSecrets: {{ include "evalrun.pullSecrets" (list . .Values.runner.image) }}
driver:
  resources:
    {{- toYaml .Values.runner.driver.resources | nindent 4 }}
  nodeSelector: {{ toJson .Values.runner.driver.nodeSelector }}
  tolerations: {{ toJson .Values.runner.driver.tolerations }}
  annotations: {{ merge (dict) .Values.runner.driver.annotations (include "evalrun.scrape" (list . 8080 .Values.metrics.podMonitor) | fromYaml) | toJson }}
pods:
  {{- with .Values.runner.pods.serviceAccountName }}
  serviceAccountName: {{ . | quote }}
  {{- end }}
  labels: {{ toJson .Values.runner.pods.labels }}
  annotations: {{ toJson .Values.runner.pods.annotations }}
  {{- with .Values.runner.pods.cacheSizeLimit }}
  cacheSizeLimit: {{ . | quote }}
  {{- end }}
  tmpSizeLimit: {{ .Values.runner.pods.tmpSizeLimit | quote }}
  sharedMemory: {{ .Values.runner.pods.sharedMemory | quote }}
  unreachableSeconds: {{ int .Values.runner.pods.unreachableSeconds }}
  env: {{ include "evalrun.runEnv" . }}
  volumes: {{ include "evalrun.runVolumes" . }}
  volumeMounts: {{ include "evalrun.runVolumeMounts" . }}
  {{- $pod := include "evalrun.restrictedPod" . | fromYaml | merge (dict "fsGroup" 1000 "fsGroupChangePolicy" "OnRootMismatch") }}
  securityContext: {{ include "evalrun.securityContext" (list . .Values.runner.pods.securityContext $pod) }}
  {{- $container := include "evalrun.restrictedContainer" . | fromYaml }}
  containerSecurityContext: {{ include "evalrun.securityContext" (list . .Values.runner.pods.containerSecurityContext $container) }}
  {{- if not (kindIs "invalid" .Values.runner.pods.hostUsers) }}
  hostUsers: {{ .Values.runner.pods.hostUsers }}
  {{- end }}
  {{- with .Values.runner.pods.schedulerName }}
  schedulerName: {{ . | quote }}
  {{- end }}
  topologySpreadConstraints: {{ toJson .Values.runner.pods.topologySpreadConstraints }}
election:
  namespace: {{ .Release.Namespace }}
  name: {{ include "evalrun.operator" . }}
networkPolicy:
  enabled: {{ .Values.networkPolicy.enabled }}
  metricsFrom:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Release.Namespace }}
      podSelector:
        matchLabels:
          {{- include "evalrun.selector" . | nindent 10 }}
    {{- with .Values.networkPolicy.metricsFrom }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  egress: {{ toJson .Values.networkPolicy.egress }}
  blocked: {{ toJson .Values.networkPolicy.blocked }}
  metadataServices: {{ toJson .Values.networkPolicy.metadataServices }}
metrics:
  finishedRuns: {{ int .Values.metrics.finishedRuns }}
  finishedDays: {{ .Values.metrics.finishedDays }}
{{- $limits := dict }}
{{- range $name, $value := .Values.runner.limits }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $limits $name (kindIs "float64" $value | ternary (int64 $value) $value) }}{{ end }}
{{- end }}
limits: {{ toJson $limits }}
{{- if not (kindIs "invalid" .Values.runner.allowedEndpoints) }}
allowedEndpoints: {{ toJson .Values.runner.allowedEndpoints }}
{{- end }}
accelerators: {{ toJson .Values.runner.accelerators }}
allowCode: {{ .Values.runner.allowCode }}
referenceGraceSeconds: {{ .Values.operator.referenceGraceSeconds }}
queuedDriverSeconds: {{ .Values.operator.queuedDriverSeconds }}
{{- if not (kindIs "invalid" .Values.operator.ttlSecondsAfterFinished) }}
ttlSecondsAfterFinished: {{ int .Values.operator.ttlSecondsAfterFinished }}
{{- end }}
progressSeconds: {{ .Values.operator.progressSeconds }}
resyncSeconds: {{ .Values.operator.resyncSeconds }}
workers: {{ int .Values.operator.workers }}
healthPort: 8081
metricsPort: 8080
{{- end -}}
