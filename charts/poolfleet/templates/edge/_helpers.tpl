{{/*
poolfleet.edge.plain is "true" where TLS ends before the gateway: at an Ingress, at a
Gateway, or at what the user has said.
*/}}
{{- define "poolfleet.edge.plain" -}}
{{- if or .Values.edge.ingress.enabled .Values.edge.gateway.enabled .Values.edge.tls.terminatedElsewhere -}}
true
{{- end -}}
{{- end }}

{{/* poolfleet.edge.certificate names the Secret of the certificate; it is empty where this chart has none. */}}
{{- define "poolfleet.edge.certificate" -}}
{{- if .Values.edge.tls.issuerRef.name -}}
{{ include "poolfleet.name" . }}-edge-tls
{{- else -}}
{{ .Values.edge.tls.secretName }}
{{- end -}}
{{- end }}

{{/* poolfleet.edge.port is the Service's. Some Ingress controllers speak TLS to every port 443. */}}
{{- define "poolfleet.edge.port" -}}
{{ .Values.edge.service.port | default (ternary 80 443 (eq (include "poolfleet.edge.plain" .) "true")) }}
{{- end }}

{{/* poolfleet.edge.check refuses values that make no gateway, and says what is missing. */}}
{{- define "poolfleet.edge.check" -}}
{{- $edge := .Values.edge -}}
{{- $certificate := or $edge.tls.secretName $edge.tls.issuerRef.name -}}
{{- if not $edge.domain -}}
{{- fail "edge.enabled needs edge.domain: the domain under which workers reach pools, such as edge.example.com; pools are then at NAME.edge.example.com" -}}
{{- end -}}
{{- if and $edge.tls.secretName $edge.tls.issuerRef.name -}}
{{- fail "set edge.tls.secretName, for a certificate that is there, or edge.tls.issuerRef, for one that cert-manager makes: not both" -}}
{{- end -}}
{{- if and $edge.ingress.enabled $edge.gateway.enabled -}}
{{- fail "set edge.ingress.enabled or edge.gateway.enabled, not both" -}}
{{- end -}}
{{- if and $edge.gateway.enabled (not $edge.gateway.parentRefs) -}}
{{- fail "edge.gateway.enabled needs edge.gateway.parentRefs: the Gateway that the route belongs to" -}}
{{- end -}}
{{- if and $certificate $edge.gateway.enabled -}}
{{- fail "with edge.gateway the certificate belongs to the Gateway's listener: leave edge.tls.secretName and edge.tls.issuerRef out" -}}
{{- end -}}
{{- if and $edge.tls.terminatedElsewhere (or $certificate $edge.ingress.enabled $edge.gateway.enabled) -}}
{{- fail "edge.tls.terminatedElsewhere is for a proxy that this chart does not set up: leave it out beside edge.tls.secretName, edge.tls.issuerRef, edge.ingress and edge.gateway" -}}
{{- end -}}
{{- if not (or $certificate (include "poolfleet.edge.plain" .)) -}}
{{- fail (printf "edge.enabled needs TLS, for workers send passwords: set edge.tls.secretName or edge.tls.issuerRef to a certificate for *.%s, or edge.ingress or edge.gateway to what has one" $edge.domain) -}}
{{- end -}}
{{- end }}

{{/* poolfleet.edge.limits prints the flags of the limits; each value has a flag of the gateway and a unit. */}}
{{- define "poolfleet.edge.limits" -}}
{{- $limits := .Values.edge.limits -}}
{{- $flags := dict
  "requestBytes" (list "max-request-bytes" "") "resultBytes" (list "max-result-bytes" "")
  "requestTimeoutSeconds" (list "request-timeout" "s") "webSocketIdleSeconds" (list "websocket-idle-timeout" "s")
  "callerConcurrency" (list "caller-concurrency" "") "callerRate" (list "caller-rate" "") "callerBurst" (list "caller-burst" "")
  "transactionSeconds" (list "max-transaction-time" "s") "transactionWaitSeconds" (list "max-transaction-wait" "s")
  "transactions" (list "max-transactions" "") "callerTransactions" (list "caller-transactions" "")
  "cacheBytes" (list "max-cache-bytes" "") -}}
{{- range $value, $flag := $flags }}
{{- if hasKey $limits $value }}
- --{{ first $flag }}={{ get $limits $value | int64 }}{{ last $flag }}
{{- end }}
{{- end }}
{{- end }}

{{/*
poolfleet.edge.accelerateLegacy is the sidecar for Prisma's clients 5 and 6. Kubernetes
starts it before the gateway and ends it after: transactions finish while the gateway ends.
*/}}
{{- define "poolfleet.edge.accelerateLegacy" -}}
{{- $legacy := .Values.edge.accelerateLegacy -}}
{{- $limits := .Values.edge.limits -}}
- name: accelerate-legacy
  image: {{ include "poolfleet.image" (dict "key" "edge.accelerateLegacy.image" "image" $legacy.image "appVersion" .Chart.AppVersion) }}
  imagePullPolicy: {{ $legacy.image.pullPolicy }}
  restartPolicy: Always
  args:
    - --socket=/run/accelerate/legacy.sock
    - --health-port=9091
    - --max-engines={{ $legacy.engines }}
    - --max-request-bytes={{ $limits.requestBytes | int64 }}
    - --max-result-bytes={{ $limits.resultBytes | int64 }}
    - --max-statement-seconds={{ $limits.requestTimeoutSeconds }}
    - --max-transaction-seconds={{ $limits.transactionSeconds }}
    - --max-transaction-wait-seconds={{ $limits.transactionWaitSeconds }}
  ports:
    - name: accelerate
      containerPort: 9091
      protocol: TCP
  startupProbe:
    httpGet:
      path: /healthz
      port: accelerate
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet:
      path: /healthz
      port: accelerate
    periodSeconds: 20
    timeoutSeconds: 5
  {{- with $legacy.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop:
        - ALL
  volumeMounts:
    - name: accelerate
      mountPath: /run/accelerate
{{- end }}
