{{- define "keystay-relay.name" -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "keystay-relay.selector" -}}
app.kubernetes.io/name: keystay-relay
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "keystay-relay.labels" -}}
{{ include "keystay-relay.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* relay.yaml: what the chart needs, then what the values say. */}}
{{- define "keystay-relay.config" -}}
{{- $chart := dict "domain" (required "domain: the relay's own name" .Values.domain) "admin" (dict "listen" ":9440") -}}
{{- toYaml (mergeOverwrite $chart (deepCopy .Values.config)) -}}
{{- end }}
