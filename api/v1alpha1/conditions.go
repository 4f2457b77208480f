// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types of a ConnectionPool. The first five are always there, Unknown
// before they are known; the last two only while True, as kstatus reads them.
const (
	// ConditionReady is True when clients can connect through the published URLs.
	ConditionReady = "Ready"
	// ConditionUpstreamObserved is True when the server's limits are known and fresh.
	ConditionUpstreamObserved = "UpstreamObserved"
	// ConditionBudgetGranted is True when every pooler that should run has its floor.
	ConditionBudgetGranted = "BudgetGranted"
	// ConditionPoolersAvailable is True when enough poolers are ready.
	ConditionPoolersAvailable = "PoolersAvailable"
	// ConditionConfigApplied is True when every pooler runs the newest configuration.
	ConditionConfigApplied = "ConfigApplied"
	// ConditionEdgePublished is True when the gateway serves the pool under its name. It is
	// there where spec.edge.mode is Enabled, and does not decide Ready.
	ConditionEdgePublished = "EdgePublished"
	// ConditionReconciling is there while the operator is still working.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is there while only a person can help.
	ConditionStalled = "Stalled"
)

// Reasons of Ready. While another condition keeps it False, it has that one's reason.
// Pending stands in every condition that is not known yet.
const (
	// ReasonAvailable means that clients can connect.
	ReasonAvailable = "Available"
	// ReasonPending means that it is not known yet.
	ReasonPending = "Pending"
	// ReasonPausing means that not every pooler holds its clients yet, as spec.state asks:
	// a server that is stopped now would cut queries off.
	ReasonPausing = "Pausing"
	// ReasonResuming means that no pooler has let its clients go on yet, as spec.state asks.
	ReasonResuming = "Resuming"
	// ReasonPaused means that clients can connect and wait, as spec.state asks. Ready is
	// False then: who waits for it, such as a migration's Job, would else find queries
	// that do not return. It is what was asked for, so nothing alarms: neither Stalled
	// nor Reconciling is there, and a server that is away in the meantime shows in UpstreamObserved alone. kstatus says InProgress of
	// any object that is not Ready; tools that wait for health wait until the pool
	// runs again, and a health check of Argo CD can tell by the reason (Suspended).
	ReasonPaused = "Paused"
	// ReasonScaledToZero means that no pooler is asked for. As with Paused, Ready is
	// False and nothing alarms.
	ReasonScaledToZero = "ScaledToZero"
)

// Holds reports whether Ready's reason is that clients can connect but have to wait.
func Holds(reason string) bool {
	return reason == ReasonPausing || reason == ReasonPaused || reason == ReasonResuming
}

// Reasons of UpstreamObserved.
const (
	// ReasonObserved means that the server was asked and answered.
	ReasonObserved = "Observed"
	// ReasonDeclared means that spec.upstream.maxConnections stands in for the server's word.
	ReasonDeclared = "Declared"
	// ReasonSecretMissing means that the Secret is not there.
	ReasonSecretMissing = "SecretMissing"
	// ReasonKeyMissing means that the Secret holds no URL and no host.
	ReasonKeyMissing = "KeyMissing"
	// ReasonInvalidURL means that the Secret's URL can not be read.
	ReasonInvalidURL = "InvalidURL"
	// ReasonHostUnknown means that the host's name leads nowhere.
	ReasonHostUnknown = "HostUnknown"
	// ReasonUnreachable means that nothing answers at the address.
	ReasonUnreachable = "Unreachable"
	// ReasonAuthenticationFailed means that the server refused the user or the password.
	ReasonAuthenticationFailed = "AuthenticationFailed"
	// ReasonDatabaseMissing means that the server has no such database.
	ReasonDatabaseMissing = "DatabaseMissing"
	// ReasonTLSFailed means that the server refused TLS, or its certificate is not trusted.
	ReasonTLSFailed = "TLSFailed"
	// ReasonInRecovery means that the server is a standby and takes no writes.
	ReasonInRecovery = "InRecovery"
	// ReasonNotInRecovery means that the server is a primary where a standby is meant.
	ReasonNotInRecovery = "NotInRecovery"
	// ReasonAlreadyPooled means that a pooler answers in place of the server.
	ReasonAlreadyPooled = "AlreadyPooled"
	// ReasonServerFull means that the server answers but has no connection left, not even
	// for a look at it.
	ReasonServerFull = "ServerFull"
	// ReasonRoleFull means that the role has as many connections as its CONNECTION LIMIT.
	ReasonRoleFull = "RoleFull"
	// ReasonDatabaseFull means that the database has as many connections as its CONNECTION LIMIT.
	ReasonDatabaseFull = "DatabaseFull"
	// ReasonAddressForbidden means that the operator may not connect to the address.
	ReasonAddressForbidden = "AddressForbidden"
)

// Reasons of BudgetGranted.
const (
	// ReasonGranted means that every pooler has its floor.
	ReasonGranted = "Granted"
	// ReasonInsufficientBudget means that the server has too few connections for the pods asked for.
	ReasonInsufficientBudget = "InsufficientBudget"
	// ReasonWaitingForRelease means that others have yet to let go of connections.
	ReasonWaitingForRelease = "WaitingForRelease"
	// ReasonNamespaceNotAllowed means that the Upstream's spec does not let this namespace in.
	ReasonNamespaceNotAllowed = "NamespaceNotAllowed"
)

// Reasons of PoolersAvailable.
const (
	// ReasonMinimumAvailable means that enough poolers are ready.
	ReasonMinimumAvailable = "MinimumAvailable"
	// ReasonRollingOut means that poolers are being replaced or added.
	ReasonRollingOut = "RollingOut"
	// ReasonUnavailable means that too few poolers are ready.
	ReasonUnavailable = "Unavailable"
	// ReasonNameConflict means that an object of a needed name belongs to someone else.
	ReasonNameConflict = "NameConflict"
	// ReasonRefused means that the API server refused an object of the pool.
	ReasonRefused = "Refused"
)

// Reasons of ConfigApplied.
const (
	// ReasonApplied means that every pooler runs the newest configuration.
	ReasonApplied = "Applied"
	// ReasonReloading means that poolers are still taking it up.
	ReasonReloading = "Reloading"
	// ReasonRejected means that the configuration can not be run.
	ReasonRejected = "Rejected"
	// ReasonCertificateMissing means that the certificate for clients, or its CA, is
	// not there; the last good one stays in use.
	ReasonCertificateMissing = "CertificateMissing"
	// ReasonCertificateInvalid means that the certificate for clients, its key or its
	// CA can not be used; the last good one stays in use.
	ReasonCertificateInvalid = "CertificateInvalid"
	// ReasonIssuerMissing means that cert-manager, which spec.tls.issuerRef asks, is
	// not installed.
	ReasonIssuerMissing = "IssuerMissing"
	// ReasonLookupMissing means that the function or the user that looks up database
	// users is not there, or may not be used.
	ReasonLookupMissing = "LookupMissing"
)

// Reasons of EdgePublished.
const (
	// ReasonPublished means that the gateway serves the pool under its name.
	ReasonPublished = "Published"
	// ReasonNameTaken means that an older pool has the name.
	ReasonNameTaken = "NameTaken"
	// ReasonNameInvalid means that the default name is no DNS label: it is too long, or
	// has a dot; spec.edge.name gives another.
	ReasonNameInvalid = "NameInvalid"
	// ReasonNoGateway means that the operator was not told of a gateway's domain.
	ReasonNoGateway = "NoGateway"
)

// Condition types of an Upstream. Beside these it has Ready, which is True while pools can
// take connections of the server, and at times Reconciling and Stalled.
const (
	// ConditionReachable is True when the server answered the last look at it.
	ConditionReachable = "Reachable"
	// ConditionWithinBudget is True when what pools may hold fits the budget.
	ConditionWithinBudget = "WithinBudget"
	// ConditionHeadroomAvailable is True while connections that are not the pools' stay
	// within what is left to them.
	ConditionHeadroomAvailable = "HeadroomAvailable"
	// ConditionAdmissionActive is True when new server connections count themselves in at the server.
	ConditionAdmissionActive = "AdmissionActive"
)

// Reasons of an Upstream's conditions. Beside these, Pending, Observed and Declared
// mean there what they mean for a ConnectionPool.
const (
	// ReasonWithinBudget means that what pools may hold fits the budget.
	ReasonWithinBudget = "WithinBudget"
	// ReasonOverBudget means that the budget fell and pools have yet to let go.
	ReasonOverBudget = "OverBudget"
	// ReasonNoBudget means that nothing is left for pools.
	ReasonNoBudget = "NoBudget"
	// ReasonAdmissionQuery means that connections count themselves in with a query.
	ReasonAdmissionQuery = "AdmissionQuery"
	// ReasonAdmissionFails means that the server does not run the admission query, so
	// that the bound rests on grants alone.
	ReasonAdmissionFails = "AdmissionFails"
	// ReasonHeadroom means that others use no more than what is left to them.
	ReasonHeadroom = "Headroom"
	// ReasonIntruded means that others use more than what is left to them, at the pools' cost.
	ReasonIntruded = "Intruded"
	// ReasonNotVisible means that the server does not show its connections to our role.
	ReasonNotVisible = "NotVisible"
	// ReasonBehindPooler means that a pooler hides the server, so that the bound rests on grants alone.
	ReasonBehindPooler = "BehindPooler"
	// ReasonNotAnswering means that the server did not answer.
	ReasonNotAnswering = "NotAnswering"
)

// Reasons of events that no condition has.
const (
	// EventBudgetShrank means that pools may take fewer connections than before.
	EventBudgetShrank = "BudgetShrank"
	// EventBudgetGrew means that pools may take more connections than before.
	EventBudgetGrew = "BudgetGrew"
	// EventLedgerRebuilt means that pods held connections that the ledger did not know of.
	EventLedgerRebuilt = "LedgerRebuilt"
	// EventHoldsTooLong means that pods have not let go of connections for over a minute.
	EventHoldsTooLong = "HoldsTooLong"
	// EventGrantRefused means that a pool gets too little for the poolers asked for.
	EventGrantRefused = "GrantRefused"
	// EventLoginsRefused means that the server has no room for connections that were granted.
	EventLoginsRefused = "LoginsRefused"
	// EventMoved means that the pool's address leads to another server than before.
	EventMoved = "Moved"
	// EventRotated means that clients have a new user and password.
	EventRotated = "CredentialsRotated"
	// EventRotationWaits means that as many credentials work as may at a time.
	EventRotationWaits = "RotationWaits"
	// EventCertificateRenewed means that clients see a new certificate.
	EventCertificateRenewed = "CertificateRenewed"
	// EventCertificateExpires means that the certificate that clients see ends within a week.
	EventCertificateExpires = "CertificateExpires"
	// EventMerged means that the Upstream proved to be the same server as an older one.
	EventMerged = "Merged"
)

// UpstreamFinalizer keeps an Upstream while its ledger has entries: without the
// ledger nobody knows what is held.
const UpstreamFinalizer = "poolfleet.dev/ledger"

// RotateAnnotation on a ConnectionPool asks for new credentials: each new value, such
// as the time of day, rotates them once.
const RotateAnnotation = "poolfleet.dev/rotate"

// PeersAnnotation is the annotation on a pooler pod that says which peer it is and who
// the others are, so that a cancel request that reaches the wrong pooler is handed on.
// Only the operator may set it.
const PeersAnnotation = "poolfleet.dev/peers"

// GrantAnnotation is the annotation on a pooler pod that holds its grant. Only the
// operator may set it.
const GrantAnnotation = "poolfleet.dev/grant"
