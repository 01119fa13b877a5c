{{/*
A security context, as JSON: (list . given default). Without one given, the default, on OpenShift without users and groups,
which its SecurityContextConstraints assign. Of one given, fields that are null are left out; an empty one is none.
*/}}
{{- define "evalrun.securityContext" -}}
{{- $root := index . 0 -}}
{{- $given := index . 1 -}}
{{- $context := index . 2 -}}
{{- if kindIs "invalid" $given -}}
  {{- if $root.Capabilities.APIVersions.Has "security.openshift.io/v1" }}{{ $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}{{ end -}}
{{- else if not $given -}}
  {{- $context = dict -}}
{{- else -}}
  {{- range $field, $value := $given -}}
    {{- if kindIs "invalid" $value }}{{ $context = omit $context $field }}{{ else }}{{ $context = merge (dict $field $value) (omit $context $field) }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- toJson $context -}}
{{- end -}}

{{- define "evalrun.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "evalrun.restrictedContainer" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end -}}

{{/* Environment variables of runs, as JSON: proxies, certificates, hub, then what the administrator adds. */}}
{{- define "evalrun.runEnv" -}}
{{- $env := list -}}
{{- with .Values.runner.proxy -}}
  {{- if or .http .https -}}
    {{- $direct := list "localhost" "127.0.0.1" "::1" ".svc" ".cluster.local" -}}
    {{- with .noProxy }}{{ $direct = append $direct . }}{{ end -}}
    {{- /* Libraries differ in which spelling they read. */ -}}
    {{- range $name, $value := dict "HTTP_PROXY" .http "HTTPS_PROXY" .https "NO_PROXY" (join "," $direct) -}}
      {{- with $value }}{{ $env = concat $env (list (dict "name" $name "value" .) (dict "name" (lower $name) "value" .)) }}{{ end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if .Values.runner.caBundle.configMap -}}
  {{- range list "SSL_CERT_FILE" "REQUESTS_CA_BUNDLE" "CURL_CA_BUNDLE" "AWS_CA_BUNDLE" -}}
    {{- $env = append $env (dict "name" . "value" "/etc/ssl/evalrun/ca.crt") -}}
  {{- end -}}
{{- end -}}
{{- with .Values.runner.hubEndpoint }}{{ $env = append $env (dict "name" "HF_ENDPOINT" "value" .) }}{{ end -}}
{{- concat $env .Values.runner.pods.env | default list | toJson -}}
{{- end -}}

{{/* Volumes of runs and their mounts, as JSON: certificates, then what the administrator adds. */}}
{{- define "evalrun.runVolumes" -}}
{{- $volumes := list -}}
{{- with .Values.runner.caBundle -}}
  {{- if .configMap -}}
    {{- $item := dict "key" .key "path" "ca.crt" -}}
    {{- $volumes = append $volumes (dict "name" "ca-bundle" "configMap" (dict "name" .configMap "items" (list $item))) -}}
  {{- end -}}
{{- end -}}
{{- concat $volumes .Values.runner.pods.volumes | default list | toJson -}}
{{- end -}}

{{- define "evalrun.runVolumeMounts" -}}
{{- $mounts := list -}}
{{- if .Values.runner.caBundle.configMap -}}
  {{- $mounts = append $mounts (dict "name" "ca-bundle" "mountPath" "/etc/ssl/evalrun" "readOnly" true) -}}
{{- end -}}
{{- concat $mounts .Values.runner.pods.volumeMounts | default list | toJson -}}
{{- end -}}
