{{/* Annotations by which a plain Prometheus scrapes a pod, as YAML: (list . port monitor); monitor are the values of the monitor for the same pod. */}}
{{- define "evalrun.scrape" -}}
{{- $root := index . 0 -}}
{{- $monitor := index . 2 -}}
{{- $enabled := $root.Values.metrics.annotations -}}
{{- if kindIs "invalid" $enabled }}{{ $enabled = not $monitor.enabled }}{{ end -}}
{{- if $enabled -}}
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

{{/* Endpoint of a monitor: the port of both monitors is named http. */}}
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
