{{- define "screener.labels" -}}
app.kubernetes.io/name: screener
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "screener.selector" -}}
app.kubernetes.io/name: screener
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "screener.secret" -}}
{{ .Values.secrets.existing | default (printf "%s-screener" .Release.Name) }}
{{- end }}

{{/* The pod of a role: takes root, role, port (of its probes) and resources. */}}
{{- define "screener.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 30
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "screener.selector" . | nindent 8 }}
containers:
  - name: {{ .role }}
    image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: [{{ .role | quote }}]
    ports:
      - name: http
        containerPort: {{ .port }}
    env:
      - name: SCREENER_BUS__SERVERS
        value: {{ .root.Values.bus.servers | toJson | quote }}
      - name: SCREENER_BUS__MONITOR
        value: {{ .root.Values.bus.monitor | quote }}
      - name: SCREENER_BUS__SHARDS
        value: {{ .root.Values.bus.shards | quote }}
      - name: SCREENER_BUS__REPLICAS
        value: {{ .root.Values.bus.replicas | quote }}
      - name: SCREENER_SCREEN__WORKERS
        value: {{ .root.Values.screen.workers | quote }}
      - name: SCREENER_STORE__URL
        valueFrom:
          secretKeyRef:
            name: {{ include "screener.secret" .root }}
            key: store-url
      - name: SCREENER_BUS__TOKEN
        valueFrom:
          secretKeyRef:
            name: {{ include "screener.secret" .root }}
            key: bus-token
            optional: true
      {{- if eq .role "serve" }}
      - name: SCREENER_SERVE__HOST
        value: "0.0.0.0"
      {{- if .root.Values.jwt.issuer }}
      - name: SCREENER_SERVE__JWT__ISSUER
        value: {{ .root.Values.jwt.issuer | quote }}
      - name: SCREENER_SERVE__JWT__AUDIENCE
        value: {{ .root.Values.jwt.audience | quote }}
      - name: SCREENER_SERVE__JWT__SECRET
        valueFrom:
          secretKeyRef:
            name: {{ include "screener.secret" .root }}
            key: jwt-secret
            optional: true
      {{- end }}
      {{- end }}
      {{- if .root.Values.config }}
      - name: SCREENERD_CONFIG
        value: /etc/screener/screener.toml
      {{- end }}
      {{- range $name, $value := .root.Values.env }}
      - name: {{ $name }}
        value: {{ $value | quote }}
      {{- end }}
    startupProbe:
      httpGet:
        path: /health/live
        port: http
        httpHeaders:
          - name: Host
            value: 127.0.0.1
      periodSeconds: 5
      failureThreshold: 60
    livenessProbe:
      httpGet:
        path: /health/live
        port: http
        httpHeaders:
          - name: Host
            value: 127.0.0.1
      periodSeconds: 10
      timeoutSeconds: 3
      failureThreshold: 6
    readinessProbe:
      httpGet:
        path: /health/ready
        port: http
        httpHeaders:
          - name: Host
            value: 127.0.0.1
      periodSeconds: 5
      timeoutSeconds: 3
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: ["ALL"]
    {{- with .resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - name: tmp
        mountPath: /tmp
      - name: data
        mountPath: /data
      {{- if .root.Values.config }}
      - name: config
        mountPath: /etc/screener
        readOnly: true
      {{- end }}
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: 64Mi
  - name: data
    emptyDir:
      sizeLimit: 64Mi
  {{- if .root.Values.config }}
  - name: config
    secret:
      secretName: {{ .root.Release.Name }}-screener-config
      defaultMode: 0440
  {{- end }}
{{- end }}
