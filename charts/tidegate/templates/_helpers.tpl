{{- /* Name of every object of the chart: the release's, which holds the chart's or is followed by it. */ -}}
{{- define "tidegate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tidegate.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tidegate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "tidegate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "tidegate.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "tidegate.fullname" .) -}}
{{- end -}}

{{- define "tidegate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* The PodSecurity standard "restricted", for every pod of the chart. */ -}}
{{- define "tidegate.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "tidegate.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* Who works: one Deployment, or one for each shard. A list of {name, selector, labels} as JSON below "list". */ -}}
{{- define "tidegate.deployments" -}}
{{- $name := include "tidegate.fullname" . -}}
{{- if and .Values.shards .Values.watchLabelSelector -}}
{{- fail "shards and watchLabelSelector exclude each other: give each shard its labelSelector" -}}
{{- end -}}
{{- $list := list -}}
{{- range .Values.shards -}}
{{- $list = append $list (dict "name" (printf "%s-%s" $name .name) "selector" .labelSelector "labels" (dict "tidegate.dev/shard" .name)) -}}
{{- else -}}
{{- $list = list (dict "name" $name "selector" .Values.watchLabelSelector "labels" dict) -}}
{{- end -}}
{{- dict "list" $list | toJson -}}
{{- end -}}
