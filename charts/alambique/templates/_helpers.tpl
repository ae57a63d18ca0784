{{/* The base of all names: the release, with the chart's name unless it has it; room is left for suffixes. */}}
{{- define "alambique.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 36 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pods of one component, and never changes. Takes (list $ component). */}}
{{- define "alambique.selectorLabels" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ default $.Chart.Name $.Values.nameOverride }}
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of a pod. The network policies select by part-of, as they do the pods of stages. */}}
{{- define "alambique.podLabels" -}}
{{ include "alambique.selectorLabels" . }}
app.kubernetes.io/part-of: alambique
{{- end -}}

{{- define "alambique.labels" -}}
{{- $ := index . 0 -}}
{{ include "alambique.podLabels" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- with $.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Name, namespace and labels of an object. Takes (list $ component suffix). */}}
{{- define "alambique.metadata" -}}
{{- $ := index . 0 -}}
name: {{ include "alambique.fullname" $ }}{{ index . 2 }}
namespace: {{ $.Release.Namespace }}
labels:
  {{- include "alambique.labels" (list $ (index . 1)) | nindent 2 }}
{{- end -}}

{{/* An image by digest, or else by tag. Takes (dict "image" "at"). */}}
{{- define "alambique.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else if .image.tag -}}
{{ .image.repository }}:{{ .image.tag }}
{{- else -}}
{{ fail (printf "%s: set digest (or tag) beside repository; no image has a default here" .at) }}
{{- end -}}
{{- end -}}

{{/* Pod Security "restricted", for a pod and for each container. */}}
{{- define "alambique.podSecurityContext" -}}
runAsNonRoot: true
{{- with . }}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
fsGroup: {{ int64 . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "alambique.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end -}}

{{/* What every pod has: no token of the API server, no service variables. Takes (list $ serviceAccountSuffix user). */}}
{{- define "alambique.podDefaults" -}}
{{- $ := index . 0 -}}
serviceAccountName: {{ include "alambique.fullname" $ }}{{ index . 1 }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "alambique.podSecurityContext" (index . 2) | nindent 2 }}
{{- end -}}

{{/* The Secrets: those that are named, or the trial's own. */}}
{{- define "alambique.databaseSecret" -}}
{{- if .Values.trial.enabled -}}
{{ include "alambique.fullname" . }}-postgresql
{{- else -}}
{{ required "mlflow.database.existingSecret: name the Secret with PostgreSQL's password, or set trial.enabled" .Values.mlflow.database.existingSecret }}
{{- end -}}
{{- end -}}

{{- define "alambique.authSecret" -}}
{{- if .Values.trial.enabled -}}
{{ include "alambique.fullname" . }}-mlflow
{{- else -}}
{{ required "mlflow.auth.existingSecret: name the Secret with MLflow's administrator and Flask's key, or set trial.enabled" .Values.mlflow.auth.existingSecret }}
{{- end -}}
{{- end -}}

{{- define "alambique.clientSecret" -}}
{{- if .Values.trial.enabled -}}
{{ include "alambique.fullname" . }}-mlflow-client
{{- else -}}
{{ required "mlflow.client.existingSecret: name the Secret with the user and password with which stages reach MLflow" .Values.mlflow.client.existingSecret }}
{{- end -}}
{{- end -}}

{{/* Empty with workload identity. */}}
{{- define "alambique.s3Secret" -}}
{{- ternary (printf "%s-s3" (include "alambique.fullname" .)) .Values.s3.existingSecret .Values.trial.enabled -}}
{{- end -}}

{{- define "alambique.s3Endpoint" -}}
{{- if .Values.trial.enabled -}}
http://{{ include "alambique.fullname" . }}-s3:8333
{{- else -}}
{{ .Values.s3.endpoint }}
{{- end -}}
{{- end -}}

{{- define "alambique.stageServiceAccount" -}}
{{- default (printf "%s-stage" (include "alambique.fullname" .)) .Values.stages.serviceAccount.name -}}
{{- end -}}

{{- define "alambique.airflowNamespace" -}}
{{- default .Release.Namespace .Values.airflow.namespace -}}
{{- end -}}

{{/* Where stages find MLflow: the server of this chart, by a name that other namespaces resolve too. */}}
{{- define "alambique.trackingUri" -}}
{{- if .Values.mlflow.enabled -}}
http://{{ include "alambique.fullname" . }}-mlflow.{{ .Release.Namespace }}.svc:5000
{{- else -}}
{{ .Values.project.trackingUri }}
{{- end -}}
{{- end -}}

{{/* Without a password: libpq takes it from PGPASSWORD, so that it is in no argument and no ConfigMap. */}}
{{- define "alambique.databaseUri" -}}
{{- $database := .Values.mlflow.database -}}
{{- if .Values.trial.enabled -}}
postgresql://mlflow@{{ include "alambique.fullname" . }}-postgresql:5432/mlflow
{{- else -}}
{{- $host := required "mlflow.database.host: name the PostgreSQL server, or set trial.enabled" $database.host -}}
postgresql://{{ $database.user }}@{{ $host }}:{{ int $database.port }}/{{ $database.name }}
{{- end -}}
{{- end -}}

{{- define "alambique.databaseEnvironment" -}}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "alambique.databaseSecret" . }}
      key: {{ .Values.mlflow.database.passwordKey }}
- name: PGSSLMODE
  value: {{ ternary "disable" .Values.mlflow.database.sslMode .Values.trial.enabled }}
{{- end -}}

{{- define "alambique.s3Environment" -}}
- name: AWS_DEFAULT_REGION
  value: {{ .Values.s3.region }}
{{- with include "alambique.s3Endpoint" . }}
- name: AWS_ENDPOINT_URL
  value: {{ . }}
{{- end }}
{{- with include "alambique.s3Secret" . }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.s3.accessKeyIdKey }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.s3.secretAccessKeyKey }}
{{- end }}
{{- end -}}

{{/* A container that runs files/mlflow_database.py. Takes (list $ verb). */}}
{{- define "alambique.databaseContainer" -}}
{{- $ := index . 0 -}}
name: {{ index . 1 }}
image: {{ include "alambique.image" (dict "image" $.Values.mlflow.image "at" "mlflow.image") }}
imagePullPolicy: {{ $.Values.mlflow.image.pullPolicy }}
command: [python, /etc/alambique/mlflow_database.py, {{ index . 1 }}, {{ include "alambique.databaseUri" $ }}]
env:
  {{- include "alambique.databaseEnvironment" $ | nindent 2 }}
  - name: HOME
    value: /tmp
securityContext:
  {{- include "alambique.containerSecurityContext" $ | nindent 2 }}
resources:
  {{- toYaml $.Values.mlflow.migration.resources | nindent 2 }}
volumeMounts:
  - name: configuration
    mountPath: /etc/alambique
    readOnly: true
  - name: temporary
    mountPath: /tmp
{{- end -}}

{{- define "alambique.mlflowVolumes" -}}
- name: configuration
  configMap:
    name: {{ include "alambique.fullname" . }}-mlflow
- name: temporary
  emptyDir:
    sizeLimit: 2Gi
{{- end -}}

{{- define "alambique.artifactsDestination" -}}
{{- if .Values.trial.enabled -}}
s3://{{ .Values.trial.bucket }}/mlflow
{{- else -}}
{{ required "mlflow.artifactsDestination: say where MLflow keeps artifacts, s3://bucket/prefix, or set trial.enabled" .Values.mlflow.artifactsDestination }}
{{- end -}}
{{- end -}}

{{/* The Service by each of its names, loopback (port-forward), pods by address where Prometheus asks them, and further ones. */}}
{{- define "alambique.allowedHosts" -}}
{{- $service := printf "%s-mlflow" (include "alambique.fullname" .) -}}
{{- $hosts := list "localhost:*" "127.0.0.1:*" -}}
{{- range list "" (printf ".%s" .Release.Namespace) (printf ".%s.svc" .Release.Namespace) (printf ".%s.svc.cluster.local" .Release.Namespace) -}}
{{- $hosts = append $hosts (printf "%s%s:5000" $service .) -}}
{{- end -}}
{{- if .Values.mlflow.serviceMonitor.enabled -}}
{{- $hosts = append $hosts "[0-9]*:5000" -}}
{{- end -}}
{{- concat $hosts .Values.mlflow.allowedHosts | join "," -}}
{{- end -}}

{{/* The port of a URL, or of its scheme. */}}
{{- define "alambique.urlPort" -}}
{{- $url := urlParse . -}}
{{- trimPrefix ":" (regexFind ":[0-9]+$" $url.host) | default (ternary "80" "443" (eq $url.scheme "http")) -}}
{{- end -}}

{{/* Rules of network policies: to the trial's own pods, or to the peers named; without any, to every address on that port. */}}
{{- define "alambique.postgresqlEgress" -}}
{{- $peers := .Values.networkPolicy.postgresql -}}
{{- if .Values.trial.enabled -}}
{{- $peers = list (dict "podSelector" (dict "matchLabels" (fromYaml (include "alambique.selectorLabels" (list . "postgresql"))))) -}}
{{- end -}}
ports:
  - {port: {{ ternary 5432 (int .Values.mlflow.database.port) .Values.trial.enabled }}, protocol: TCP}
{{- with $peers }}
to:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "alambique.s3Egress" -}}
{{- $peers := .Values.networkPolicy.s3 -}}
{{- if .Values.trial.enabled -}}
{{- $peers = list (dict "podSelector" (dict "matchLabels" (fromYaml (include "alambique.selectorLabels" (list . "s3"))))) -}}
{{- end -}}
ports:
  - {port: {{ include "alambique.urlPort" (include "alambique.s3Endpoint" . | default "https://s3") }}, protocol: TCP}
{{- with $peers }}
to:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Immutable once it is in the cluster: no label that a version changes. Takes (list $ storage). */}}
{{- define "alambique.trialClaim" -}}
metadata:
  name: data
spec:
  accessModes: [ReadWriteOnce]
  {{- with (index . 0).Values.trial.storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ index . 1 }}
{{- end -}}
