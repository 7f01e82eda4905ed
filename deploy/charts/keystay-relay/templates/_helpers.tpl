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
{{- if .Values.cluster.nodes -}}
{{- if not .Values.cluster.etcd.endpoints }}{{ fail "cluster.etcd.endpoints: the members of an etcd" }}{{ end -}}
{{- $_ := set $chart "cluster" (dict "etcd" .Values.cluster.etcd "listen" ":9441") -}}
{{- end -}}
{{- toYaml (mergeOverwrite $chart (deepCopy .Values.config)) -}}
{{- end }}

{{- /* The pod of a relay, or of a node of one. */}}
{{- define "keystay-relay.pod" -}}
automountServiceAccountToken: false
# No variables of the Services of the namespace.
enableServiceLinks: false
# Visitors have drain_timeout, 30 s, to finish.
terminationGracePeriodSeconds: 40
securityContext:
  runAsNonRoot: true
  runAsUser: 65534
  runAsGroup: 65534
  fsGroup: 65534
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
  sysctls:
    # Lets the relay listen on 443 and 80 in the pod's own network without a
    # capability, which a user that is not root would not get from Kubernetes.
    - {name: net.ipv4.ip_unprivileged_port_start, value: "0"}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: relay
    image: {{ printf "%s:%s" (required "image.repository: where the image of make images is" .Values.image.repository) (required "image.tag: the version" .Values.image.tag) | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args: [--config, /etc/keystay/relay.yaml]
    env:
      # A folder of its own in the volume, whose root Kubernetes opens to the group.
      - {name: KEYSTAY_RELAY_STATE_DIR, value: /var/lib/keystay/state}
      {{- if .Values.cluster.nodes }}
      - name: KEYSTAY_RELAY_CLUSTER_NODE
        valueFrom: {fieldRef: {fieldPath: metadata.name}}
      - name: HOST_IP
        valueFrom: {fieldRef: {fieldPath: status.hostIP}}
      - {name: KEYSTAY_RELAY_CLUSTER_ADDRESS, value: "$(KEYSTAY_RELAY_CLUSTER_NODE).{{ include "keystay-relay.name" . }}-nodes.{{ .Release.Namespace }}.svc:9441"}
      {{- with .Values.cluster.public }}
      - {name: KEYSTAY_RELAY_CLUSTER_PUBLIC, value: {{ . | quote }}}
      {{- end }}
      - {name: KEYSTAY_RELAY_CLUSTER_TLS_CA_FILE, value: /etc/keystay-cluster/ca.pem}
      - {name: KEYSTAY_RELAY_CLUSTER_TLS_CERT_FILE, value: /etc/keystay-cluster/$(KEYSTAY_RELAY_CLUSTER_NODE).pem}
      - {name: KEYSTAY_RELAY_CLUSTER_TLS_KEY_FILE, value: /etc/keystay-cluster/$(KEYSTAY_RELAY_CLUSTER_NODE).key}
      - {name: KEYSTAY_RELAY_CLUSTER_RECORD_KEY_FILE, value: /etc/keystay-cluster/record.key}
      {{- end }}
    ports:
      - {name: public, containerPort: 443{{ if eq .Values.expose "hostPort" }}, hostPort: 443{{ end }}}
      - {name: http, containerPort: 80{{ if eq .Values.expose "hostPort" }}, hostPort: 80{{ end }}}
      - {name: admin, containerPort: 9440}
      {{- if .Values.cluster.nodes }}
      - {name: nodes, containerPort: 9441}
      {{- end }}
    startupProbe:
      httpGet: {path: /healthz, port: admin}
      periodSeconds: 2
      failureThreshold: 60
    livenessProbe:
      httpGet: {path: /healthz, port: admin}
      periodSeconds: 20
      timeoutSeconds: 5
    readinessProbe:
      httpGet: {path: /readyz, port: admin}
      periodSeconds: 5
      timeoutSeconds: 5
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    {{- with .Values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - {name: config, mountPath: /etc/keystay, readOnly: true}
      {{- if .Values.secret }}
      - {name: secret, mountPath: /etc/keystay-secrets, readOnly: true}
      {{- end }}
      {{- if .Values.cluster.nodes }}
      - {name: cluster, mountPath: /etc/keystay-cluster, readOnly: true}
      {{- end }}
      - {name: state, mountPath: /var/lib/keystay}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .Values.cluster.nodes }}
# One machine that fails takes one node.
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "keystay-relay.selector" . | nindent 8 }}
{{- end }}
volumes:
  - name: config
    configMap:
      name: {{ include "keystay-relay.name" . }}
  {{- with .Values.secret }}
  - name: secret
    secret:
      secretName: {{ . | quote }}
      defaultMode: 0440
  {{- end }}
  {{- if .Values.cluster.nodes }}
  - name: cluster
    secret:
      secretName: {{ required "cluster.secret: the Secret with the certificates of the nodes" .Values.cluster.secret | quote }}
      defaultMode: 0440
  {{- else }}
  - name: state
    persistentVolumeClaim:
      claimName: {{ default (include "keystay-relay.name" .) .Values.persistence.existingClaim | quote }}
  {{- end }}
{{- end }}
