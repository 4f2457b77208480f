{{/* poolfleet.monitoring.labels are those of an object that Prometheus or Grafana looks for. */}}
{{- define "poolfleet.monitoring.labels" -}}
app.kubernetes.io/name: poolfleet
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{ include "poolfleet.origin" .root }}
{{- with .labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "poolfleet.monitoring.endpoint" -}}
path: /metrics
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- end }}
