{{- /* What the controller may do, by feature: a list of {name, rules}. A suite runs it under exactly these rules; a rule that no
request needs fails there as one does that is missing. */ -}}
{{- define "tidegate.rules" -}}
- name: releases
  rules:
  # patch: metadata.finalizers of sets with deletionPolicy Delete, and nothing else.
  - apiGroups: [tidegate.dev]
    resources: [releasesets]
    verbs: [get, list, watch, patch]
  # Whoever may write this may move production: the promoted release stands here.
  - apiGroups: [tidegate.dev]
    resources: [releasesets/status]
    verbs: [update]
  - apiGroups: [events.k8s.io]
    resources: [events]
    verbs: [create, patch]
{{- if .Values.rbac.smoke }}
- name: smoke
  rules:
  - apiGroups: [batch]
    resources: [jobs]
    verbs: [get, list, watch, create, delete]
  # A smoke test's verdict is read from its pod, why it failed from its log, and why it has no pod from Events.
  - apiGroups: [""]
    resources: [pods]
    verbs: [list, watch]
  - apiGroups: [""]
    resources: [pods/log]
    verbs: [get]
  - apiGroups: [""]
    resources: [events]
    verbs: [list]
{{- end }}
{{- /* Targets. delete: those with our mark, when a set with deletionPolicy Delete is deleted. */}}
{{- if .Values.rbac.targets.configMap }}
- name: target-config-map
  rules:
  - apiGroups: [""]
    resources: [configmaps]
    verbs: [get, list, watch, create, update, delete]
{{- end }}
{{- if .Values.rbac.targets.imagePolicy }}
- name: target-image-policy
  rules:
  - apiGroups: [image.toolkit.fluxcd.io]
    resources: [imagepolicies]
    verbs: [get, list, watch, create, update, delete]
{{- end }}
{{- if .Values.rbac.targets.resourceSetInputProvider }}
- name: target-resource-set-input-provider
  rules:
  - apiGroups: [fluxcd.controlplane.io]
    resources: [resourcesetinputproviders]
    verbs: [get, list, watch, create, update, delete]
{{- end }}
{{- if .Values.rbac.flux }}
- name: flux
  rules:
  # patch: the annotation reconcile.fluxcd.io/requestedAt, once for each promotion: a scan that knows the promoted tag.
  - apiGroups: [image.toolkit.fluxcd.io]
    resources: [imagerepositories]
    verbs: [get, list, watch, patch]
  # Named by policyRef.
  - apiGroups: [image.toolkit.fluxcd.io]
    resources: [imagepolicies]
    verbs: [get, list, watch]
  - apiGroups: [image.toolkit.fluxcd.io]
    resources: [imageupdateautomations]
    verbs: [get, list]
  # How far a release is, where a target says who rolls it out (rolledOutBy).
  - apiGroups: [kustomize.toolkit.fluxcd.io]
    resources: [kustomizations]
    verbs: [get]
  - apiGroups: [helm.toolkit.fluxcd.io]
    resources: [helmreleases]
    verbs: [get]
  - apiGroups: [source.toolkit.fluxcd.io]
    resources: [gitrepositories]
    verbs: [get]
{{- end }}
{{- end -}}

{{- define "tidegate.subjects" -}}
- kind: ServiceAccount
  name: {{ include "tidegate.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- /* Names of cluster-wide objects: two releases of one name in two namespaces must not take each other's. */ -}}
{{- define "tidegate.clusterName" -}}
{{- $name := include "tidegate.fullname" . -}}
{{- if eq $name .Release.Namespace }}{{ $name }}{{ else }}{{ printf "%s-%s" .Release.Namespace $name }}{{ end -}}
{{- end -}}
