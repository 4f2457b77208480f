// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/contract"
)

// pod is a pooler pod: what its node knows of it and runs. Its object is in the API
// server, and lags behind like everything there.
type pod struct {
	w        *world
	key      types.NamespacedName
	uid, ip  string
	pool     string
	template int
	// copied pods are made by hand from another.
	copied bool

	// cutOff is whether its node can reach nothing but the database.
	cutOff bool
	// file is the annotation as the volume shows it, config the configuration's.
	file, config string
	// started and ended are of the container; a container that starts again has not ended.
	started, ended bool
	// told is the container's SIGTERM.
	told bool

	memory
	pgbouncer
	// leaving is PgBouncer on its way out because the pod is parked, gone is when
	// there is no way back.
	leaving, gone bool

	// accounted is false after the ledger was lost, until it knows what the pod may hold.
	accounted bool
	// grants are all that its annotation ever said.
	grants []contract.Grant
	// said are the different answers it could ever have given.
	said []contract.Status
	// saidBefore is how many of them it had given when a leader's pass began.
	saidBefore map[*leader]int
	// peak and starved are its clients' demand.
	peak, starved int32
}

// memory is what outlives a restart of the container; see pooler.memory.
type memory struct {
	seen     int64
	applied  contract.Grant
	doc      string
	released struct {
		gen   int64
		share int32
	}
}

// order is a copy of pooler.decide: the grant if it is this pod's own and not older
// than what was seen, with the configuration it names; until both are there, what
// ran before.
func (p *pod) order() (grant contract.Grant, doc string, waits bool) {
	grant = p.applied
	if g, err := contract.DecodeGrant(p.file); err == nil && p.obeys(g) {
		grant = g
	}
	grant = p.rest(grant)
	switch {
	case grant.Config == p.config || grant.Config == p.doc:
		return grant, grant.Config, false
	case grant.Share == 0:
		return grant, p.doc, false
	case p.doc != "":
		return p.rest(p.applied), p.doc, false
	}
	return grant, "", true
}

func (p *pod) obeys(g contract.Grant) bool {
	q := p.w.mutant
	return g.Gen > 0 && (g.UID == p.uid || q.anyUID) && (g.Gen >= p.seen || q.anyGen)
}

// rest is what a drain has left of a grant.
func (p *pod) rest(g contract.Grant) contract.Grant {
	if p.released.gen == g.Gen && g.Gen > 0 && !p.w.mutant.keepsNothing {
		g.Share = min(g.Share, p.released.share)
	}
	return g
}

// act is a step of the supervisor; see pooler.Supervisor.Step. The limits of several
// databases are one here.
func (p *pod) act() {
	if !p.started || p.ended || p.told {
		return
	}
	grant, doc, waits := p.order()
	p.seen = max(p.seen, grant.Gen)
	parked := grant.Share == 0 && !p.w.mutant.zeroRuns
	switch {
	case p.leaving && (p.gone || parked):
		p.depart()
	case parked && p.running:
		p.leaving = true
	case waits:
	case parked:
		p.remember(grant, doc)
	case grant.Gen == 0:
	default:
		p.leaving, p.running, p.limit = false, true, grant.Share
		p.remember(grant, doc)
	}
}

func (p *pod) remember(grant contract.Grant, doc string) {
	if grant.Gen > 0 {
		p.applied, p.doc = grant, doc
	}
}

// depart gives back what the clients that are left do not need; when none are left,
// PgBouncer ends.
func (p *pod) depart() {
	p.gone = true
	if p.active == 0 {
		p.exit()
		return
	}
	p.close(p.idle)
	limit := min(p.limit, max(p.active, 1))
	if limit < p.limit {
		p.released.gen, p.released.share = p.applied.Gen, limit
		p.limit = limit
	}
}

// exit is PgBouncer's end. What its clients ran goes on at the server for a while.
func (p *pod) exit() {
	p.drop()
	p.leaving, p.gone = false, false
}

// drain is a step of a container that was told to end.
func (p *pod) drain() {
	switch {
	case !p.told || p.ended:
	case p.running:
		p.depart()
	default:
		p.ended = true
	}
}

// restart is the node starting the container again.
func (p *pod) restart() {
	if p.ended && !p.terminating() && !p.failed() {
		p.ended, p.told = false, false
	}
}

// status is the pod's account of itself; see pooler.Supervisor.account.
func (p *pod) status() contract.Status {
	s := contract.Status{UID: p.uid, Gen: p.applied.Gen, Config: p.doc, Draining: p.told && p.drains, Peak: p.peak, Starved: p.starved}
	if p.running {
		s.Cap, s.Current, s.Active = p.limit, p.current(), p.active
	}
	return s
}

// say keeps what the pod could have told.
func (p *pod) say() {
	if s := p.status(); len(p.said) == 0 || p.said[len(p.said)-1] != s {
		p.said = append(p.said, s)
	}
}

// note keeps what the pod could be told, now or late.
func (p *pod) note() {
	g, err := contract.DecodeGrant(p.annotation())
	if err == nil && !slices.Contains(p.grants, g) {
		p.grants = append(p.grants, g)
	}
}

// late is one of the answers since the leader's pass began, the older the lower of 8 is.
func (p *pod) late(l *leader, of8 int) contract.Status {
	p.say()
	since := p.said[max(p.saidBefore[l]-1, 0):]
	return since[len(since)*of8/8]
}

// most is what it could ever hold, by all that has reached it.
func (p *pod) most() int32 {
	if p.over() {
		return 0
	}
	if p.told && p.terminating() {
		return max(p.limit, p.current()) // It does not start again, and takes no orders.
	}
	most := int32(0)
	if grant, _, _ := p.order(); grant.Gen == 0 || grant.Share > 0 || p.applied.Gen >= p.seen {
		most = p.rest(p.applied).Share // Until what replaces it is in force.
	}
	if p.running {
		most = max(most, p.limit, p.current())
		if p.limit == 0 {
			return unlimited
		}
	}
	if g, err := contract.DecodeGrant(p.file); err == nil && p.obeys(g) {
		most = max(most, p.rest(g).Share)
	}
	if p.terminating() {
		return most
	}
	for _, g := range p.grants { // A node that is behind may yet bring any of them.
		if p.obeys(g) {
			most = max(most, p.rest(g).Share)
		}
	}
	return most
}

// object is the pod's own object; nil when it is gone, or another has its name.
func (p *pod) object() *corev1.Pod {
	o, ok := p.w.api.now(podsKind)[p.key].(*corev1.Pod)
	if !ok || string(o.UID) != p.uid {
		return nil
	}
	return o
}

func (p *pod) change(change func(*corev1.Pod)) {
	if p.object() != nil {
		p.w.api.change(podsKind, p.key, func(o client.Object) { change(as[*corev1.Pod](o)) })
	}
}

// annotation is the grant that can still reach the pod's volume.
func (p *pod) annotation() string {
	if o := p.object(); o != nil && o.DeletionTimestamp.IsZero() {
		return o.Annotations[poolv1.GrantAnnotation]
	}
	return ""
}

func (p *pod) terminating() bool {
	o := p.object()
	return o == nil || !o.DeletionTimestamp.IsZero()
}

func (p *pod) failed() bool {
	o := p.object()
	return o != nil && o.Status.Phase == corev1.PodFailed
}

// refresh is the kubelet writing the volumes.
func (p *pod) refresh() {
	if p.cutOff || p.terminating() {
		return
	}
	p.file = p.annotation()
	if pool := p.w.pool(p.pool); pool != nil {
		p.config = pool.Status.ConfigRevision
	}
}

// refreshLate is the kubelet writing what it has from an API server that is behind.
func (p *pod) refreshLate(states int) {
	history := p.w.api.history[podsKind]
	then, ok := history[max(len(history)-1-states, 0)][p.key].(*corev1.Pod)
	if !ok || string(then.UID) != p.uid || p.cutOff || p.terminating() {
		return
	}
	p.file = then.Annotations[poolv1.GrantAnnotation]
}

// report is the kubelet telling the API server how the pod is.
func (p *pod) report() {
	if p.cutOff || p.object() == nil || p.failed() {
		return
	}
	var state corev1.ContainerState
	switch {
	case p.ended:
		state.Terminated = &corev1.ContainerStateTerminated{}
	case p.started:
		state.Running = &corev1.ContainerStateRunning{}
	default:
		return
	}
	serving := corev1.ConditionFalse
	if p.running && !p.leaving && !p.told {
		serving = corev1.ConditionTrue
	}
	p.change(func(o *corev1.Pod) {
		o.Status.PodIP = p.ip
		o.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "pooler", State: state}}
		o.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: serving}}
	})
}

// over is whether nothing of it will ever run again.
func (p *pod) over() bool { return p.ended && (p.terminating() || p.failed()) }

// draining pods were told to end, busy ones have clients and were not, down are those whose container has ended and can
// start again.
func (p *pod) draining() bool { return p.told && !p.ended }
func (p *pod) busy() bool     { return p.active > 0 && !p.told }
func (p *pod) down() bool     { return p.ended && !p.over() }

func (p *pod) ready() bool {
	o := p.object()
	return o != nil && len(o.Status.Conditions) > 0 && o.Status.Conditions[0].Status == corev1.ConditionTrue
}

// evict ends the pod for good, with an object that stays for a while.
func (p *pod) evict() {
	p.exit()
	p.ended = true
	p.change(func(o *corev1.Pod) {
		o.Status.Phase = corev1.PodFailed
		o.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "pooler", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
		o.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	})
}

// delete marks the object; the kubelet removes it when the container has ended.
func (p *pod) delete() {
	p.change(func(o *corev1.Pod) {
		if o.DeletionTimestamp.IsZero() {
			o.DeletionTimestamp = new(metav1.NewTime(p.w.clock().Add(gracePeriod)))
		}
	})
}

// terminate is the kubelet bringing a deleted pod to its end, a step at a time.
func (p *pod) terminate() {
	o := p.object()
	switch {
	case o == nil || o.DeletionTimestamp.IsZero() || p.cutOff:
	case p.ended || !p.started:
		p.ended = true
		p.w.api.commit(podsKind, p.key, nil)
	default:
		p.sigterm()
	}
}

// sigterm tells the container to end. One whose PgBouncer does not run has nothing
// to drain, and does not say that it does.
func (p *pod) sigterm() {
	if p.started && !p.ended && !p.told {
		p.told, p.drains = true, p.running
	}
}

func (p *pod) String() string {
	return fmt.Sprintf("%s (%s) of %s", p.uid, p.key.Name, p.pool)
}

func (p *pod) describe() string {
	return fmt.Sprintf("%s: object %t, terminating %t, started %t, ended %t, told to end %t, cut off %t, ready %t, file %q, annotation %q, seen %d, applied %+v, released %+v, PgBouncer %+v, most %d",
		p, p.object() != nil, p.terminating(), p.started, p.ended, p.told, p.cutOff, p.ready(), p.file, p.annotation(), p.seen, p.applied, p.released, p.pgbouncer, p.most())
}
