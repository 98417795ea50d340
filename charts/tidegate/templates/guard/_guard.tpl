{{- /*
What the admission policies share. Rules of these expressions: none can fail, whatever the object holds, because an expression
that fails is answered by 422 Invalid, upon which kustomize-controller deletes the object where `force` is set; and each
validation has `reason: Forbidden`. Nothing here trusts a label or an ownerReference of the workload.

`failurePolicy: Ignore` where there is a parameter: until an API server that starts has read all ConfigMaps, it answers for a second
that it cannot judge; with Fail that is a 422 too, whatever the mode of the binding. The costs of the expressions are bounded, so
that nothing that an object holds leads there (tests/it/guard/costs.rs).
*/ -}}

{{- /* The user name of the controller. */ -}}
{{- define "tidegate.guard.controller" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "tidegate.serviceAccountName" . }}
{{- end -}}

{{- /* Users as a CEL list of texts. */ -}}
{{- define "tidegate.guard.texts" -}}
[{{ range $index, $text := . }}{{ if $index }}, {{ end }}{{ $text | squote }}{{ end }}]
{{- end -}}

{{- define "tidegate.guard.actions" -}}
{{- if eq .Values.guard.mode "Deny" }}[Deny]{{ else if eq .Values.guard.mode "Audit" }}[Audit]{{ else }}[Warn, Audit]{{ end }}
{{- end -}}

{{- /* Opt-in: namespaces with this label; of a release for one namespace that one alone. */ -}}
{{- define "tidegate.guard.namespaces" -}}
matchResources:
  namespaceSelector:
    matchLabels:
      tidegate.dev/guard: enabled
      {{- with .Values.watchNamespace }}
      kubernetes.io/metadata.name: {{ . }}
      {{- end }}
{{- end -}}

{{- /*
Variables from `images` and `old` (lists of texts, as the object has them now and had them before) to `refused`.

An image is read as the kubelet reads it (github.com/distribution/reference): the digest after `@` decides alone; else the tag
after the last `:` that no `/` follows; else `latest`. Its repository is brought to the spelling of the list: host in lower
case, no port that TLS implies, docker.io and library/ where Docker Hub implies them. Each step is a list that the next one
maps, because CEL computes a variable once.
*/ -}}
{{- define "tidegate.guard.judgement" -}}
- name: repositories
  expression: params.?data[?'repositories'].orValue('').split('\n')
- name: allowed
  expression: params.?data[?'allowed'].orValue('').split('\n')
- name: open
  expression: params.?data[?'open'].orValue('').split('\n')
- name: fresh
  # Unchanged images always pass: scaling, restarts, drift correction. What is longer than any reference is cut, and stays none.
  expression: >-
    variables.images == variables.old || variables.images.size() > {{ .imagesMax }} ? [] :
    variables.images.filter(x, !(x in variables.old)).map(x, (x.size() > 1024 ? x.substring(0, 1024) : x).trim())
- name: halves
  # [text, name with tag, "@digest"]
  expression: >-
    variables.fresh.map(x, x.contains('@')
    ? [x, x.substring(0, x.indexOf('@')), x.substring(x.indexOf('@'))] : [x, x, ''])
- name: thirds
  # [text, name, ":tag", "@digest"]
  expression: >-
    variables.halves.map(h, [h[0], h[1].substring(0, h[1].size() - h[1].find(':[^/:]*$').size()), h[1].find(':[^/:]*$'), h[2]])
- name: hosts
  # [text, host as written, path, what the name is looked up by]
  expression: >-
    variables.thirds.map(t, t[1].matches('^([^/]*[.:A-Z][^/]*|localhost)/')
    ? [t[0], t[1].substring(0, t[1].indexOf('/')).lowerAscii(), t[1].substring(t[1].indexOf('/') + 1),
    t[3] != '' ? t[3] : t[2] == '' ? ':latest' : t[2]]
    : [t[0], 'docker.io', t[1], t[3] != '' ? t[3] : t[2] == '' ? ':latest' : t[2]])
- name: places
  # [text, host, path, …] with the host as the list spells it
  expression: >-
    variables.hosts.map(h, [h[0], h[1].matches(':0*443$') ? h[1].substring(0, h[1].lastIndexOf(':')) : h[1], h[2], h[3]])
    .map(h, h[1] in ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com']
    ? [h[0], 'docker.io/' + (h[2].contains('/') ? h[2] : 'library/' + h[2]), h[3]] : [h[0], h[1] + '/' + h[2], h[3]])
- name: refused
  # An image by the id of what a node has stored names no repository at all.
  expression: >-
    variables.places.filter(p, (p[1] in variables.repositories && !(p[1] in variables.open) && !((p[1] + p[2]) in variables.allowed))
    || (p[1] == 'docker.io/library/sha256' && variables.repositories.size() > 1 && variables.open.size() <= 1))
    .map(p, p[0])
{{- end -}}

{{- /* An image with spaces is not repeated: kustomize-controller takes any refusal that says "is immutable" for a 422. */ -}}
{{- define "tidegate.guard.validations" -}}
- expression: variables.images.size() <= {{ .imagesMax }} || variables.images == variables.old
  reason: Forbidden
  message: >-
    more than {{ .imagesMax }} images in one object cannot be judged by the guard of this namespace: split the workload
- expression: variables.refused.size() == 0
  reason: Forbidden
  message: >-
    an image is not a promoted release of its ReleaseSet: see `kubectl get releasesets`; in an emergency set
    spec.breakGlass.reason of the ReleaseSet
  messageExpression: >-
    'image ' + (variables.refused.size() > 0 && variables.refused[0].matches('^[!-~]+$') ? variables.refused[0] : 'that is no reference') +
    (variables.refused.size() > 1 ? ' and ' + string(variables.refused.size() - 1) + ' more' : '') +
    ': its repository belongs to a ReleaseSet of this namespace, and this reference is not promoted, nor in its history; use what' +
    ' `kubectl get releasesets -n ' + request.namespace + '` shows as promoted, or wait for it; in an emergency' +
    ' spec.breakGlass.reason of the ReleaseSet lets it pass'
{{- end -}}
