{{/* poolfleet.name begins the name of every object; releases of other names do not collide. */}}
{{- define "poolfleet.name" -}}
{{- if contains "poolfleet" .Release.Name -}}
{{ .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-poolfleet" .Release.Name | trunc 45 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "poolfleet.selector" -}}
app.kubernetes.io/name: poolfleet
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: manager
{{- end }}

{{- define "poolfleet.labels" -}}
{{ include "poolfleet.selector" . }}
{{ include "poolfleet.origin" . }}
{{- end }}

{{- define "poolfleet.edge.selector" -}}
app.kubernetes.io/name: poolfleet
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: edge
{{- end }}

{{- define "poolfleet.edge.labels" -}}
{{ include "poolfleet.edge.selector" . }}
{{ include "poolfleet.origin" . }}
{{- end }}

{{/* poolfleet.origin tells what an object belongs to and who installed it. */}}
{{- define "poolfleet.origin" -}}
app.kubernetes.io/part-of: poolfleet
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* poolfleet.image makes a reference from {key, image, appVersion}; a digest wins over a tag. */}}
{{- define "poolfleet.image" -}}
{{- $repository := required (printf "set %s.repository to where the image is, and %s.digest or %s.tag to which" .key .key .key) .image.repository -}}
{{- if .image.digest -}}
{{ $repository }}@{{ .image.digest }}
{{- else -}}
{{ $repository }}:{{ .image.tag | default .appVersion }}
{{- end -}}
{{- end }}

{{/*
poolfleet.rules prints those of the manager's rules that are about cluster-scoped
resources (scope "cluster") or about namespaced ones (scope "namespaced").
*/}}
{{- define "poolfleet.rules" -}}
{{- $clusterScoped := list "upstreams" "upstreams/status" "upstreams/finalizers" "namespaces" "nodes" -}}
{{- $picked := list -}}
{{- range $rule := .files.Get "files/manager-rules.yaml" | fromYamlArray -}}
{{- $resources := list -}}
{{- range $resource := $rule.resources -}}
{{- if eq (has $resource $clusterScoped) (eq $.scope "cluster") -}}
{{- $resources = append $resources $resource -}}
{{- end -}}
{{- end -}}
{{- if $resources -}}
{{- $picked = append $picked (merge (dict "resources" $resources) $rule) -}}
{{- end -}}
{{- end -}}
{{ toYaml $picked }}
{{- end }}
