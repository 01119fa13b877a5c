{{/* Name of the release, for everything that belongs to it. */}}
{{- define "evalrun.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "evalrun.operator" -}}
{{ include "evalrun.fullname" . }}-operator
{{- end -}}

{{- define "evalrun.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "evalrun.operator" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/* Selector of the operator's pod. It never changes, because a Deployment's selector is immutable. */}}
{{- define "evalrun.selector" -}}
app.kubernetes.io/name: evalrun-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "evalrun.labels" -}}
{{ include "evalrun.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: evalrun
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Reference of an image: (list . image). */}}
{{- define "evalrun.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* "true" if the operator watches some namespaces only. */}}
{{- define "evalrun.namespaced" -}}
{{- if .Values.watch.namespaces }}true{{ end -}}
{{- end -}}
