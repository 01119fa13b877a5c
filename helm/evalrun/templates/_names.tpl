{{/* Name of the release, for everything that belongs to it. */}}
{{- define "evalrun.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
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
{{- $repository := $image.repository -}}
{{- with $root.Values.global.imageRegistry -}}
{{- $parts := splitn "/" 2 $repository -}}
{{- if and $parts._1 (or (contains "." $parts._0) (contains ":" $parts._0) (eq $parts._0 "localhost")) }}{{ $repository = $parts._1 }}{{ end -}}
{{- $repository = printf "%s/%s" . $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Names of pull Secrets of an image, as JSON: (list . image). */}}
{{- define "evalrun.pullSecrets" -}}
{{- $root := index . 0 -}}
{{- concat (index . 1).pullSecrets ($root.Values.global.imagePullSecrets | default list) | uniq | toJson -}}
{{- end -}}

{{/* "true" if the operator watches some namespaces only. */}}
{{- define "evalrun.namespaced" -}}
{{- if .Values.watch.namespaces }}true{{ end -}}
{{- end -}}
