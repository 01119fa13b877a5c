{{/* The annotations by which a plain Prometheus scrapes a pod, as YAML: (list . port monitor), where monitor is what scrapes the pod otherwise. */}}
{{- define "evalrun.scrape" -}}
{{- $root := index . 0 -}}
{{- $monitor := index . 2 -}}
{{- $wanted := $root.Values.metrics.annotations -}}
{{- if kindIs "invalid" $wanted }}{{ $wanted = not $monitor.enabled }}{{ end -}}
{{- if $wanted -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ index . 1 | quote }}
prometheus.io/path: /metrics
{{- end -}}
{{- end -}}

{{/* Name, namespace, labels and annotations of an object of the Prometheus Operator: (list . name values). */}}
{{- define "evalrun.monitoringMetadata" -}}
{{- $root := index . 0 -}}
{{- $values := index . 2 -}}
name: {{ index . 1 }}
namespace: {{ $values.namespace | default $root.Release.Namespace }}
labels:
  {{- merge (dict) $values.labels (include "evalrun.labels" $root | fromYaml) | toYaml | nindent 2 }}
{{- with $values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where and how a monitor scrapes: both of ours name their port http. */}}
{{- define "evalrun.endpoint" -}}
port: http
path: /metrics
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
