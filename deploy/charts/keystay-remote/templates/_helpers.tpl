{{- define "keystay-remote.name" -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "keystay-remote.selector" -}}
app.kubernetes.io/name: keystay-remote
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "keystay-remote.labels" -}}
{{ include "keystay-remote.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* remote.yaml, as the values say. */}}
{{- define "keystay-remote.config" -}}
{{- $_ := required "config.services: what is published" .Values.config.services -}}
{{- toYaml .Values.config -}}
{{- end }}
