// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	poolv1 "github.com/poolfleet/poolfleet/api/v1alpha1"
	"github.com/poolfleet/poolfleet/internal/manifests"
)

// unserved is a pool that the operator has looked at, with no pooler that takes clients.
func unserved(conditions ...metav1.Condition) *poolv1.ConnectionPool {
	pool, _ := shop(func(pool *poolv1.ConnectionPool) {
		pool.Status.ObservedGeneration = &pool.Generation
		pool.Status.Conditions = append(pool.Status.Conditions[:0], conditions...)
		pool.Status.Conditions = append(pool.Status.Conditions, metav1.Condition{
			Type: poolv1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Broken", Message: "it does not serve", ObservedGeneration: 1,
		})
	})
	return pool
}

func failed(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message, ObservedGeneration: 1}
}

func fine(kind string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "Fine", Message: "it is well", ObservedGeneration: 1}
}

func database(keys map[string]string) *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop-db"}, Data: map[string][]byte{}}
	for key, value := range keys {
		secret.Data[key] = []byte(value)
	}
	return secret
}

func aPooler(name string, edit func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, Labels: manifests.Labels("shop")}}
	edit(pod)
	return pod
}

func TestDoctorNamesTheFaultAndStopsThere(t *testing.T) {
	good := database(map[string]string{"DATABASE_URL": "postgresql://shop:word@192.0.2.1/shop"})
	waits := aPooler("shop-pool-1", func(pod *corev1.Pod) {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"},
		}}}
	})
	ungranted := aPooler("shop-pool-2", func(*corev1.Pod) {})
	upstream, budget := fine(poolv1.ConditionUpstreamObserved), fine(poolv1.ConditionBudgetGranted)
	none := int32(0)
	for _, c := range []struct {
		why, step, words string
		objects          []client.Object
	}{
		{"the operator is away", "operator", "has not looked", []client.Object{func() client.Object { pool, _ := shop(); return pool }()}},
		{"no Secret", "secret", "Secret shop-db is not there", []client.Object{unserved()}},
		{"no key in the Secret", "secret", "holds no URL and no host", []client.Object{unserved(), database(map[string]string{"else": "x"})}},
		{"a URL that is none", "secret", "scheme names a driver", []client.Object{unserved(), database(map[string]string{"uri": "postgresql+asyncpg://shop@db/shop"})}},
		{"no such Service", "dns", "no Service db in namespace demo", []client.Object{unserved(), database(map[string]string{"uri": "postgresql://shop@db/shop"})}},
		{"a wrong password", "server", "AuthenticationFailed: the server refused", []client.Object{
			unserved(failed(poolv1.ConditionUpstreamObserved, poolv1.ReasonAuthenticationFailed, "the server refused the user or the password")), good,
		}},
		{"a server that is full", "budget", "InsufficientBudget: 9 of 20", []client.Object{
			unserved(upstream, failed(poolv1.ConditionBudgetGranted, poolv1.ReasonInsufficientBudget, "9 of 20")), good,
		}},
		{"no pooler asked for", "poolers", "spec.replicas is 0", []client.Object{func() client.Object {
			pool := unserved(upstream, budget)
			pool.Spec.Replicas = &none
			return pool
		}(), good}},
		{"an image that is not there", "poolers", "ImagePullBackOff: no such image", []client.Object{unserved(upstream, budget), good, waits}},
		{"a grant that does not come", "poolers", "waits for its grant", []client.Object{unserved(upstream, budget), good, ungranted}},
	} {
		t.Run(c.why, func(t *testing.T) {
			s := aStage(t, interceptor.Funcs{}, c.objects...)
			if code := s.run(t, "doctor", "shop", "-o", "json"); code != exitWrong {
				t.Errorf("exit code %d, want %d: %s", code, exitWrong, s.err.String())
			}
			var findings []finding
			if err := json.Unmarshal(s.out.Bytes(), &findings); err != nil {
				t.Fatal(err)
			}
			last := -1
			for i, f := range findings {
				if f.Result == stepFault {
					last = i
				}
			}
			if last < 0 || findings[last].Step != c.step || !strings.Contains(findings[last].Says, c.words) {
				t.Fatalf("it found %+v", findings)
			}
			if last+1 < len(findings) && findings[last+1].Result != stepUntried {
				t.Errorf("it went on to %+v", findings[last+1])
			}
		})
	}
}

func TestDoctorsOutputFitsATerminal(t *testing.T) {
	s := aStage(t, interceptor.Funcs{}, unserved(failed(poolv1.ConditionUpstreamObserved, poolv1.ReasonHostUnknown, strings.Repeat("far too many words ", 20))),
		database(map[string]string{"uri": "postgresql://shop@192.0.2.1/shop"}))
	s.run(t, "doctor", "shop")
	for line := range strings.SplitSeq(s.out.String(), "\n") {
		if utf8.RuneCountInString(line) > columns {
			t.Errorf("a line is longer than %d: %q", columns, line)
		}
	}
	if !strings.Contains(s.out.String(), "fault    server     HostUnknown: far too many") {
		t.Errorf("it says:\n%s", s.out.String())
	}
}

func TestDoctorTellsNoPassword(t *testing.T) {
	s := aStage(t, interceptor.Funcs{}, unserved(), database(map[string]string{"uri": "postgresql://shop:hidden-word@192.0.2.1/shop"}))
	s.run(t, "doctor", "shop")
	if strings.Contains(s.out.String()+s.err.String(), "hidden-word") {
		t.Errorf("it says:\n%s", s.out.String())
	}
}

func TestDoctorRefusesBadInput(t *testing.T) {
	aStage(t, interceptor.Funcs{}).exits(t, exitWrong, "no ConnectionPool shop", "doctor", "shop")
	aStage(t, interceptor.Funcs{}).exits(t, exitUsage, "arg", "doctor")
}
